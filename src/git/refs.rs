//! The answer of `git ls-remote`, read as bytes.

use crate::model::{CommitId, RefName};
use std::collections::BTreeMap;

/// The branches and tags of a remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefList {
    /// Sorted by name. An annotated tag stands for what it points at in the end, which is nearly always a commit:
    /// a tag of a tree or a blob looks the same from afar, and fails at the checkout.
    pub refs: Vec<(RefName, CommitId)>,
    /// Names that no git would make: shown to people, never followed.
    pub odd: Vec<String>,
}

/// A line that is not `HASH TAB NAME`, for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rubbish(pub String);

/// Reads the whole answer; one line that is no ref means that none of it can be trusted.
pub(super) fn parse(answer: &[u8]) -> Result<RefList, Rubbish> {
    let mut refs: BTreeMap<RefName, CommitId> = BTreeMap::new();
    let mut peeled: BTreeMap<RefName, CommitId> = BTreeMap::new();
    let mut odd = Vec::new();
    for line in answer.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let rubbish = || Rubbish(String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned());
        let tab = line.iter().position(|b| *b == b'\t').ok_or_else(rubbish)?;
        let hash = String::from_utf8_lossy(&line[..tab]).into_owned();
        let commit = CommitId::new(hash).map_err(|_| rubbish())?;
        let name = &line[tab + 1..];
        let (name, into) = match name.strip_suffix(b"^{}") {
            Some(tag) => (tag, &mut peeled),
            None => (name, &mut refs),
        };
        match RefName::new(name) {
            Ok(name) => {
                into.insert(name, commit);
            }
            Err(_) => odd.push(String::from_utf8_lossy(name).into_owned()),
        }
    }
    refs.extend(peeled);
    Ok(RefList {
        refs: refs.into_iter().collect(),
        odd,
    })
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
