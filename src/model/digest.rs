//! Digests of content.

use serde::{Deserialize, Serialize};

/// What content is known by: `sha256:` and 64 lower-case hex digits, or `sha512:` and 128 (OCI image-spec,
/// descriptor.md, "Digests").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

/// A string that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest (sha256: and 64 lower-case hex digits)")]
pub struct DigestError(String);

impl Digest {
    /// Checks and takes a digest with its algorithm.
    pub fn new(text: impl Into<String>) -> Result<Self, DigestError> {
        let text = text.into();
        let length = match text.split_once(':') {
            Some(("sha256", _)) => 64,
            Some(("sha512", _)) => 128,
            _ => return Err(DigestError(text)),
        };
        let hex = &text.as_bytes()["sha256:".len()..];
        let fine = hex.len() == length && hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(DigestError(text))
        }
    }

    /// With its algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The hex digits.
    pub fn hex(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The first twelve hex digits, for people.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_digests_and_nothing_else() {
        let (a, b) = ("a".repeat(64), "0".repeat(128));
        assert_eq!(Digest::new(format!("sha256:{a}")).unwrap().hex(), a);
        assert_eq!(Digest::new(format!("sha512:{b}")).unwrap().algorithm(), "sha512");
        let upper = "A".repeat(64);
        for bad in [
            "",
            "sha256:",
            &a,
            &format!("sha256:{upper}"),
            &format!("sha256:{b}"),
            &format!("md5:{a}"),
            "sha512",
        ] {
            assert!(Digest::new(bad).is_err(), "{bad}");
        }
    }
}
