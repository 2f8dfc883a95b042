//! What one loose ref says, by the rules of `parse_loose_ref_contents` in git's refs/files-backend.c.

use bstr::ByteSlice;
use gix_hash::{Kind, ObjectId};

/// A loose ref, or `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loose {
    /// An object.
    Id(ObjectId),
    /// Another ref, by its full name.
    Symbolic(Vec<u8>),
}

/// None if it is broken.
pub(super) fn parse(content: &[u8], kind: Kind) -> Option<Loose> {
    let content = content.trim_end();
    if let Some(target) = content.strip_prefix(b"ref:") {
        return Some(Loose::Symbolic(target.trim_start().to_vec()));
    }
    // Git allows anything behind the hash and a space.
    let hash = content.split(u8::is_ascii_whitespace).next()?;
    let id = ObjectId::from_hex(hash).ok()?;
    (id.kind() == kind && !id.is_null()).then_some(Loose::Id(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn by_the_rules_of_git() {
        let id = || Some(Loose::Id(ObjectId::from_hex(HASH.as_bytes()).unwrap()));
        let to = |name: &str| Some(Loose::Symbolic(name.into()));
        let zero = "0".repeat(40);
        for (content, expected) in [
            (format!("{HASH}\n"), id()),
            (HASH.to_owned(), id()),
            (HASH.to_uppercase(), id()),
            (format!("{HASH}\tnot-for-merge"), id()),
            ("ref: refs/heads/main\n".to_owned(), to("refs/heads/main")),
            ("ref:refs/heads/a \r\n".to_owned(), to("refs/heads/a")),
            (String::new(), None),
            (format!("{HASH}0\n"), None),
            (format!("{HASH}x"), None),
            (format!(" {HASH}"), None),
            (HASH[1..].to_owned(), None),
            (format!("{HASH}{}", &HASH[..24]), None),
            (zero, None),
        ] {
            assert_eq!(parse(content.as_bytes(), Kind::Sha1), expected, "{content:?}");
        }
        let long = format!("{HASH}{}\n", &HASH[..24]);
        assert!(matches!(parse(long.as_bytes(), Kind::Sha256), Some(Loose::Id(id)) if id.kind() == Kind::Sha256));
        assert_eq!(parse(HASH.as_bytes(), Kind::Sha256), None);
    }

    proptest! {
        #[test]
        fn never_panics(content in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&content, Kind::Sha1);
        }
    }
}
