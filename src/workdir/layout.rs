//! Where things are. Pure.

use crate::model::{ProjectName, RefName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// RFC 3986's unreserved characters stay; all else, `/` above all, is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest directory name that we make; file systems take 255 bytes.
const LONGEST: usize = 200;

/// A ref as one path component. A name that would be too long for a file system keeps its beginning and gets a digest
/// of the whole.
pub fn encode_ref(reference: &RefName) -> String {
    let encoded = percent_encode(reference.as_bytes(), ENCODED).to_string();
    if encoded.len() <= LONGEST {
        return encoded;
    }
    let digest = Sha256::digest(reference.as_bytes());
    let tail: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    // Cut between characters: an encoded one is three bytes long, and a cut-off `%2` would be a riddle.
    let mut cut = LONGEST - tail.len() - 1;
    while encoded.as_bytes()[cut - 2..cut].contains(&b'%') {
        cut -= 1;
    }
    format!("{}~{tail}", &encoded[..cut])
}

/// Paths in a workdir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    workdir: PathBuf,
}

impl Layout {
    /// Of the workdir at this absolute path.
    pub fn new(workdir: impl Into<PathBuf>) -> Self {
        Self {
            workdir: workdir.into(),
        }
    }

    /// The workdir itself.
    pub fn root(&self) -> &Path {
        &self.workdir
    }

    /// All attempts of a ref.
    pub fn of_ref(&self, project: &ProjectName, reference: &RefName) -> PathBuf {
        self.workdir.join(project.as_str()).join(encode_ref(reference))
    }

    /// An attempt that runs or did not succeed.
    pub fn running(&self, project: &ProjectName, reference: &RefName, dir: &str) -> PathBuf {
        self.of_ref(project, reference).join(format!("{dir}.tmp"))
    }

    /// An attempt that succeeded.
    pub fn finished(&self, project: &ProjectName, reference: &RefName, dir: &str) -> PathBuf {
        self.of_ref(project, reference).join(dir)
    }

    /// An attempt's directory as it is on disk now: finished if it is there, else the `.tmp` one.
    pub fn existing(&self, project: &ProjectName, reference: &RefName, dir: &str) -> PathBuf {
        let finished = self.finished(project, reference, dir);
        if finished.is_dir() {
            finished
        } else {
            self.running(project, reference, dir)
        }
    }

    /// Copies of remotes, safe to remove. No project can have this name.
    pub fn mirrors(&self) -> PathBuf {
        self.workdir.join("pipelined.mirrors")
    }

    /// What looks into released images need while they run; safe to remove while none does.
    pub fn checks(&self) -> PathBuf {
        self.workdir.join("pipelined.checks")
    }

    /// What is being deleted.
    pub fn trash(&self) -> PathBuf {
        self.workdir.join("pipelined.trash")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.workdir.join("pipelined.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(name: &[u8]) -> String {
        encode_ref(&RefName::new(name.to_vec()).unwrap())
    }

    #[test]
    fn one_harmless_component() {
        assert_eq!(encoded(b"refs/heads/main"), "refs%2Fheads%2Fmain");
        assert_eq!(encoded(b"refs/tags/v1.0-a_b~"[..18].as_ref()), "refs%2Ftags%2Fv1.0-a_b");
        assert_eq!(encoded(b"refs/heads/$(x)'\"%"), "refs%2Fheads%2F%24%28x%29%27%22%25");
        assert_eq!(encoded(b"refs/heads/\xff"), "refs%2Fheads%2F%FF");
    }

    proptest! {
        #[test]
        fn never_too_long_and_never_the_same_for_two(a in "[a-zü%$]{1,300}", b in "[a-zü%$]{1,300}") {
            let (x, y) = (encoded(format!("refs/heads/{a}").as_bytes()), encoded(format!("refs/heads/{b}").as_bytes()));
            prop_assert!(x.len() <= LONGEST && !x.contains('/'));
            prop_assert_eq!(a == b, x == y);
        }
    }
}
