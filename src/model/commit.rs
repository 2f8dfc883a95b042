//! Full object names of commits.

use serde::{Deserialize, Serialize};

/// The full hash of a commit in lower-case hex: 40 digits in a sha1 repository, 64 in a sha256 one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(Box<str>);

/// A string that is not a full object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a full commit hash (40 or 64 lower-case hex digits)")]
pub struct CommitError(String);

impl CommitId {
    /// How many digits the short form has where nothing collides.
    pub const SHORT: usize = 8;

    /// Checks and takes a hash.
    pub fn new(hex: impl Into<String>) -> Result<Self, CommitError> {
        let hex = hex.into();
        let fine = matches!(hex.len(), 40 | 64) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fine {
            Ok(Self(hex.into()))
        } else {
            Err(CommitError(hex))
        }
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits.
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT]
    }
}

impl std::fmt::Display for CommitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CommitId {
    type Error = CommitError;
    fn try_from(hex: String) -> Result<Self, Self::Error> {
        Self::new(hex)
    }
}

impl From<CommitId> for String {
    fn from(commit: CommitId) -> String {
        commit.0.into()
    }
}
