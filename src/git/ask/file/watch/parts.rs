//! Which directories of a repository are watched, and what an event in them means: the decision, without any effect.

use super::super::place::{Identity, Repository};
use notify::event::{CreateKind, EventKind, ModifyKind, RenameMode};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dir {
    /// Without symbolic links: two names of one directory are one watch.
    pub path: PathBuf,
    /// By which another directory of the same name is known.
    pub identity: Identity,
    /// What it holds.
    pub part: Part,
}

/// Which part of a repository a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// With `HEAD`, or with `packed-refs`.
    Git,
    /// `refs` itself.
    Refs,
    /// `refs/heads` or `refs/tags`, with all below.
    Names,
    /// `reftable`.
    Reftable,
}

/// What an event means for its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// Nothing.
    Nothing,
    /// Its refs may have changed.
    Changed,
    /// The same, and there is a directory that is not watched yet, or no longer.
    Stale,
}

/// The directories of a repository that are there.
pub(super) fn dirs(repository: &Repository) -> Vec<Dir> {
    let (git, common) = (&repository.git_dir, &repository.common_dir);
    let mut dirs = Vec::new();
    for (top, below, part) in [
        (common, "", Part::Git),
        (git, "", Part::Git),
        (common, "refs", Part::Refs),
        (common, "refs/heads", Part::Names),
        (common, "refs/tags", Part::Names),
        (common, "reftable", Part::Reftable),
    ] {
        let found = top
            .canonicalize()
            .map(|top| if below.is_empty() { top } else { top.join(below) })
            .and_then(|path| Ok((path.metadata()?, path)));
        // What is not there, its parent tells of.
        if let Ok((meta, path)) = found
            && meta.is_dir()
        {
            let identity = Identity::from(&meta);
            let dir = Dir { path, identity, part };
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
    }
    dirs
}

/// What an event for `path`, relative to a directory of this part, means.
pub(super) fn meaning(part: Part, path: &Path, kind: EventKind) -> Meaning {
    use Meaning::{Changed, Nothing, Stale};
    let moved = match kind {
        // It was told as two events already.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return Nothing,
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
        _ => false,
    };
    let stale = if moved { Stale } else { Nothing };
    let name = path.as_os_str().as_bytes();
    match (part, name) {
        (_, b"") => stale,
        // Only the rename to the final name counts.
        (_, lock) if lock.ends_with(b".lock") => Nothing,
        (Part::Git, b"HEAD" | b"packed-refs" | b"config" | b"config.worktree") => Changed,
        (Part::Git, b"refs" | b"reftable") | (Part::Refs, b"heads" | b"tags") => stale,
        (Part::Names, _) if kind == EventKind::Create(CreateKind::Folder) => Stale,
        (Part::Names, _) | (Part::Reftable, b"tables.list") => Changed,
        _ => Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::Meaning::{Changed, Nothing, Stale};
    use super::*;
    use notify::event::{AccessKind, AccessMode, DataChange, MetadataKind, RemoveKind};

    #[test]
    fn only_refs_count() {
        let create = EventKind::Create(CreateKind::File);
        let mkdir = EventKind::Create(CreateKind::Folder);
        let remove = EventKind::Remove(RemoveKind::File);
        let to = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let from = EventKind::Modify(ModifyKind::Name(RenameMode::From));
        let both = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let meta = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        for (part, path, kind, expected) in [
            (Part::Git, "HEAD", to, Changed),
            (Part::Git, "HEAD", open, Nothing),
            (Part::Git, "HEAD.lock", create, Nothing),
            (Part::Git, "packed-refs", to, Changed),
            (Part::Git, "packed-refs", both, Nothing),
            (Part::Git, "packed-refs.lock", from, Nothing),
            (Part::Git, "packed-refs.new", create, Nothing),
            (Part::Git, "index", to, Nothing),
            (Part::Git, "objects", mkdir, Nothing),
            (Part::Git, "refs", mkdir, Stale),
            (Part::Git, "refs", meta, Nothing),
            (Part::Git, "", remove, Stale),
            (Part::Git, "", from, Stale),
            (Part::Git, "", meta, Nothing),
            (Part::Refs, "heads", mkdir, Stale),
            (Part::Refs, "stash", to, Nothing),
            (Part::Names, "a/b", to, Changed),
            (Part::Names, "a/b", remove, Changed),
            (Part::Names, "a/b", data, Changed),
            (Part::Names, "a/b.lock", create, Nothing),
            (Part::Names, "a/b.lock", from, Nothing),
            (Part::Names, "a", mkdir, Stale),
            (Part::Names, "a", open, Nothing),
            (Part::Reftable, "tables.list", to, Changed),
            (Part::Reftable, "0x1-0x2.ref", to, Nothing),
        ] {
            assert_eq!(
                meaning(part, Path::new(path), kind),
                expected,
                "{part:?} {path} {kind:?}"
            );
        }
    }
}
