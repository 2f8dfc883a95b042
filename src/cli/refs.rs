//! Which ref a person means.

use crate::model::{ProjectName, RefKind, RefName};
use crate::store::Store;
use anyhow::bail;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The refs of a project that the record knows: seen at the last look, or built once.
pub(super) fn known(store: &Store, project: &ProjectName) -> anyhow::Result<BTreeSet<RefName>> {
    let mut names: BTreeSet<RefName> = store.refs(project)?.into_keys().collect();
    names.extend(store.newest_jobs(Some(project))?.into_iter().map(|r| r.job.reference));
    Ok(names)
}

/// A full name as it is; a short one if only one of branch and tag is known by it. None if neither is.
pub(super) fn find(text: &OsStr, known: &BTreeSet<RefName>) -> anyhow::Result<Option<RefName>> {
    let bytes = text.as_bytes();
    if bytes.starts_with(b"refs/") {
        return Ok(Some(RefName::new(bytes)?));
    }
    let named = |kind: RefKind| known.iter().find(|r| r.kind() == kind && r.short() == bytes);
    match (named(RefKind::Branch), named(RefKind::Tag)) {
        (Some(branch), Some(tag)) => bail!("{} is a branch and a tag: say {branch} or {tag}", text.display()),
        (found, None) | (None, found) => Ok(found.cloned()),
    }
}

/// As [`find`]; it is an error if there is no such ref.
pub(super) fn must_find(text: &OsStr, project: &ProjectName, known: &BTreeSet<RefName>) -> anyhow::Result<RefName> {
    match find(text, known)? {
        Some(found) => Ok(found),
        None if known.is_empty() => bail!("{project}: no ref was seen yet"),
        None => Err(unknown(text, project, known)),
    }
}

/// Nobody has seen it.
pub(super) fn unknown(text: &OsStr, project: &ProjectName, known: &BTreeSet<RefName>) -> anyhow::Error {
    let names: Vec<String> = known.iter().take(20).map(|r| r.short().to_string()).collect();
    anyhow::anyhow!(
        "{project}: no ref {} was ever seen; there are: {}",
        text.display(),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_must_mean_one_ref() {
        let known: BTreeSet<RefName> = ["refs/heads/main", "refs/heads/v1", "refs/tags/v1", "refs/tags/v2"]
            .map(|n| RefName::new(n).unwrap())
            .into();
        let found = |text: &str| find(OsStr::new(text), &known);
        assert_eq!(found("main").unwrap().unwrap().as_bytes(), b"refs/heads/main");
        assert_eq!(found("v2").unwrap().unwrap().as_bytes(), b"refs/tags/v2");
        assert_eq!(found("refs/heads/new").unwrap().unwrap().as_bytes(), b"refs/heads/new");
        assert!(found("nothing").unwrap().is_none());
        let both = found("v1").unwrap_err().to_string();
        assert!(
            both.contains("refs/heads/v1") && both.contains("refs/tags/v1"),
            "{both}"
        );
        assert!(found("refs/heads/a b").is_err());
    }
}
