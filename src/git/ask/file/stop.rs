//! Why refs were not read.

/// What git must judge: the answer of `git ls-remote` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// Git's answer rests on files that the fingerprint covers. A phrase for people, as is the next.
    Covered(&'static str),
    /// Git's answer may change while the fingerprint stays the same.
    Uncovered(&'static str),
}

/// Why a reading has no list.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is not ours to read.
    Odd(Odd),
    /// `NotFound` means that something vanished meanwhile.
    Io(std::io::Error),
}

impl From<Odd> for Stop {
    fn from(odd: Odd) -> Self {
        Self::Odd(odd)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}
