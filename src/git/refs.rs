//! The answer of `git ls-remote`, read as bytes.

use crate::model::{CommitId, RefName};

/// The branches and tags of a remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefList {
    /// Sorted by name. An annotated tag stands for what it points at in the end, which is nearly always a commit:
    /// a tag of a tree or a blob looks the same from afar, and fails at the checkout.
    pub refs: Vec<(RefName, CommitId)>,
    /// Names that no git would make, and refs that are broken: shown to people, never followed.
    pub odd: Vec<String>,
}

/// A line that is not `HASH TAB NAME`, for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rubbish(pub String);

/// Reads the whole answer; one line that is no ref means that none of it can be trusted.
pub(super) fn parse(answer: &[u8]) -> Result<RefList, Rubbish> {
    let mut list = RefListBuilder::default();
    for line in answer.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let tab = line
            .iter()
            .position(|b| *b == b'\t')
            .ok_or_else(|| Rubbish::new(line))?;
        list.add(&line[tab + 1..], &line[..tab])
            .ok_or_else(|| Rubbish::new(line))?;
    }
    Ok(list.finish())
}

impl Rubbish {
    /// Its beginning says enough.
    pub fn new(line: &[u8]) -> Self {
        Self(String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned())
    }
}

/// Names that are shown; a server may send any number.
const ODD_SHOWN: usize = 100;

/// Collects refs in any order.
#[derive(Debug, Default)]
pub(super) struct RefListBuilder {
    refs: Vec<(RefName, CommitId)>,
    peeled: Vec<(RefName, CommitId)>,
    odd: Vec<String>,
}

impl RefListBuilder {
    /// Takes a ref, or with `^{}` behind its name what a tag points at in the end. None if the hash is none.
    pub fn add(&mut self, name: &[u8], hash: &[u8]) -> Option<()> {
        match name.strip_suffix(b"^{}") {
            Some(tag) => self.add_peeled(tag, hash),
            None => {
                let commit = commit(hash)?;
                // Git gives a broken ref a hash of zeros.
                let is_broken = commit.as_str().bytes().all(|digit| digit == b'0');
                match RefName::new(name) {
                    Ok(name) if !is_broken => self.refs.push((name, commit)),
                    _ if self.odd.len() < ODD_SHOWN => self.odd.push(String::from_utf8_lossy(name).into_owned()),
                    _ => {}
                }
                Some(())
            }
        }
    }

    /// Takes what a tag points at in the end. None if the hash is none.
    pub fn add_peeled(&mut self, tag: &[u8], hash: &[u8]) -> Option<()> {
        let commit = commit(hash)?;
        // One that is odd was told by its own line.
        if let Ok(name) = RefName::new(tag) {
            self.peeled.push((name, commit));
        }
        Some(())
    }

    /// Sorted, each name once.
    pub fn finish(self) -> RefList {
        let Self { mut refs, peeled, odd } = self;
        refs.extend(peeled);
        // Stable, and the last of a name wins: its peeled commit if it has one.
        refs.sort_by(|a, b| b.0.cmp(&a.0));
        refs.reverse();
        refs.dedup_by(|earlier, last| earlier.0 == last.0);
        RefList { refs, odd }
    }
}

fn commit(hash: &[u8]) -> Option<CommitId> {
    CommitId::new(std::str::from_utf8(hash).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn listed(answer: &[u8]) -> Vec<(Vec<u8>, String)> {
        let list = parse(answer).unwrap();
        list.refs
            .iter()
            .map(|(name, commit)| (name.as_bytes().to_vec(), commit.to_string()))
            .collect()
    }

    #[test]
    fn sorted_and_peeled() {
        let answer = format!("{A}\trefs/tags/v1\n{B}\trefs/tags/v1^{{}}\n{A}\trefs/heads/main\n");
        let expected = [
            (b"refs/heads/main".to_vec(), A.to_owned()),
            (b"refs/tags/v1".to_vec(), B.to_owned()),
        ];
        assert_eq!(listed(answer.as_bytes()), expected);
        let turned = format!("{B}\trefs/tags/v1^{{}}\n{A}\trefs/tags/v1\n{A}\trefs/heads/main\n");
        assert_eq!(listed(turned.as_bytes()), expected);
    }

    #[test]
    fn odd_bytes_and_names() {
        let mut answer = format!("{A}\trefs/heads/").into_bytes();
        answer.extend(b"\xff\"$(x)%\n");
        assert_eq!(listed(&answer), [(b"refs/heads/\xff\"$(x)%".to_vec(), A.to_owned())]);
        let list = parse(format!("{A}\trefs/heads/../x\n{A}\trefs/pull/1\n").as_bytes()).unwrap();
        assert!(list.refs.is_empty());
        assert_eq!(list.odd, ["refs/heads/../x", "refs/pull/1"]);
        let zeros = "0".repeat(40);
        let list = parse(format!("{zeros}\trefs/heads/broken\n{A}\trefs/heads/m\n").as_bytes()).unwrap();
        assert_eq!((list.refs.len(), list.odd), (1, vec!["refs/heads/broken".to_owned()]));
        let long = "a".repeat(64);
        assert_eq!(listed(format!("{long}\trefs/heads/m\n").as_bytes())[0].1, long);
    }

    #[test]
    fn rubbish_is_not_an_empty_repository() {
        for bad in ["<html>\n", "aaaa\trefs/heads/x\n", "\trefs/heads/x"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(parse(b"").unwrap(), RefList::default());
    }

    proptest! {
        #[test]
        fn never_panics(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&answer);
        }
    }
}
