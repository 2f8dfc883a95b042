//! Names of refs: any bytes that git allows, not only UTF-8.

use bstr::{BStr, BString, ByteSlice};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A full ref name, `refs/heads/…` or `refs/tags/…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(BString);

/// Whether a ref is a branch or a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefKind {
    /// `refs/heads/…`
    Branch,
    /// `refs/tags/…`
    Tag,
}

impl RefKind {
    /// `branch` or `tag`, as `BUILD_REF_TYPE` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        }
    }

    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Branch => b"refs/heads/",
            Self::Tag => b"refs/tags/",
        }
    }
}

/// A name that is not a branch or tag, or that git would not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not refs/heads/… or refs/tags/… as git check-ref-format allows it")]
pub struct RefNameError(BString);

impl RefName {
    /// No name comes before this one.
    pub(super) fn least() -> Self {
        Self(BString::from("refs/"))
    }

    /// Checks a full name by the rules of `git check-ref-format`, which a hostile server might not keep:
    /// no `..`, no component that starts with `.` or ends with `.lock`, no control bytes, no ` ~^:?*[\`, no `@{`,
    /// no empty component, no trailing `.`.
    pub fn new(name: impl Into<Vec<u8>>) -> Result<Self, RefNameError> {
        let name: Vec<u8> = name.into();
        let in_namespace = [RefKind::Branch, RefKind::Tag]
            .iter()
            .any(|k| name.starts_with(k.prefix()));
        let bytes_fine = !name.iter().any(|b| *b < 0x20 || *b == 0x7f || b" ~^:?*[\\".contains(b));
        let parts_fine = name
            .split(|b| *b == b'/')
            .all(|p| !p.is_empty() && p[0] != b'.' && !p.ends_with(b".lock"));
        let sequence_fine = !name.contains_str("..") && !name.contains_str("@{") && !name.ends_with(b".");
        if in_namespace && bytes_fine && parts_fine && sequence_fine {
            Ok(Self(name.into()))
        } else {
            Err(RefNameError(name.into()))
        }
    }

    /// Branch or tag.
    pub fn kind(&self) -> RefKind {
        if self.0.starts_with(RefKind::Tag.prefix()) {
            RefKind::Tag
        } else {
            RefKind::Branch
        }
    }

    /// The whole name as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name without `refs/heads/` or `refs/tags/`.
    pub fn short(&self) -> &BStr {
        self.0[self.kind().prefix().len()..].as_bstr()
    }

    /// The short name as hosts, paths and references can hold it: lower case, everything but letters and digits a dash,
    /// none at the ends, 63 bytes at most. Other CI systems know it as `CI_COMMIT_REF_SLUG`.
    pub fn slug(&self) -> String {
        let text = self.short().to_str_lossy().to_lowercase();
        let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        let cut: String = plain.take(63).collect();
        cut.trim_matches('-').to_owned()
    }

    /// The whole name as an argument or environment value.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

/// Bytes that are not UTF-8 show as U+FFFD.
impl std::fmt::Display for RefName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// UTF-8 names are strings, others arrays of bytes, so that no name is changed by a round trip.
impl Serialize for RefName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Ok(text) => s.serialize_str(text),
            Err(_) => s.collect_seq(self.0.iter()),
        }
    }
}

impl<'de> Deserialize<'de> for RefName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Bytes(Vec<u8>),
        }
        let bytes = match Either::deserialize(d)? {
            Either::Text(text) => text.into_bytes(),
            Either::Bytes(bytes) => bytes,
        };
        Self::new(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_git_takes_and_refuses_what_it_refuses() {
        for good in [
            "refs/heads/main",
            "refs/tags/v1.0",
            "refs/heads/a/b",
            "refs/heads/\"q'$()%`",
            "refs/heads/ü",
            "refs/heads/@",
            "refs/heads/-",
        ] {
            assert!(RefName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "HEAD",
            "refs/pull/1",
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/heads/a//b",
            "refs/heads/a.",
            "refs/heads/a@{b",
            "refs/heads/a\nb",
            "refs/heads/../../etc",
        ] {
            assert!(RefName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slug_is_what_hosts_and_references_can_hold() {
        let slug = |short: &[u8]| RefName::new([b"refs/heads/", short].concat()).unwrap().slug();
        for (short, expected) in [
            ("main", "main"),
            ("Feature/X_1", "feature-x-1"),
            ("-ü-", ""),
            ("v1.0", "v1-0"),
        ] {
            assert_eq!(slug(short.as_bytes()), expected, "{short}");
        }
        assert_eq!(slug(b"a\xffb"), "a-b");
        assert_eq!(slug(&[b'a'; 70]), "a".repeat(63));
    }

    #[test]
    fn json_keeps_bytes_that_are_not_utf8() {
        let name = RefName::new(b"refs/heads/\xff\xfe".to_vec()).unwrap();
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(serde_json::from_str::<RefName>(&json).unwrap(), name);
    }
}
