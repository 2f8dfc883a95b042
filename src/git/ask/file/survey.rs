//! A fingerprint of everything that a list of refs rests on, taken without reading a ref.
//!
//! It covers `HEAD`, `config`, `packed-refs`, the table of a reftable, and each directory and file below `refs/heads`
//! and `refs/tags`: device, inode, size, mtime and ctime. Git replaces these files and never writes into them, so that
//! a change shows even in a file system with coarse clocks, but for what [`super::memory`] says.

use super::place::{Repository, there};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// Two that are equal mean the same files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u128);

#[cfg(test)]
impl Fingerprint {
    pub(super) const fn of(number: u128) -> Self {
        Self(number)
    }
}

/// A directory or file of refs.
#[derive(Debug)]
pub(super) struct Entry {
    /// `refs/heads/…`, as it is on disk.
    name: Vec<u8>,
    /// A loose ref.
    file: bool,
}

/// What a walk over the refs' files found.
#[derive(Debug)]
pub(super) struct Survey {
    /// Of all that it met.
    pub fingerprint: Fingerprint,
    /// The directories and files below `refs/heads` and `refs/tags`.
    pub entries: Vec<Entry>,
    /// There are symbolic links: what they lead to is not in the fingerprint.
    pub links: bool,
}

impl Survey {
    /// Walks. `NotFound` means that something vanished under its feet.
    pub fn take(repository: &Repository) -> std::io::Result<Self> {
        let mut walk = Walk::begin(repository)?;
        let common = &repository.common_dir;
        for names in ["refs/heads", "refs/tags"] {
            let dir = common.join(names);
            match there(dir.symlink_metadata())? {
                Some(meta) if meta.is_dir() => walk.dir(&dir, names.as_bytes(), &meta)?,
                Some(meta) => walk.links |= meta.is_symlink(),
                None => walk.enter(names.into(), false, None),
            }
        }
        Ok(Self {
            fingerprint: Fingerprint(walk.hash.digest128()),
            entries: walk.entries,
            links: walk.links,
        })
    }

    /// The fingerprint that another walk would find if it met the same entries again. No directory is opened: that
    /// would cost more, and wake who watches it. A directory that has other entries now has other times too.
    pub fn glance(repository: &Repository, entries: &[Entry]) -> std::io::Result<Fingerprint> {
        let mut walk = Walk::begin(repository)?;
        for Entry { name, .. } in entries {
            let path = repository.common_dir.join(OsStr::from_bytes(name));
            walk.stamp(name, there(path.symlink_metadata())?.as_ref());
        }
        Ok(Fingerprint(walk.hash.digest128()))
    }

    /// Full names of the loose refs.
    pub fn loose(&self) -> impl Iterator<Item = &[u8]> {
        self.entries
            .iter()
            .filter(|entry| entry.file)
            .map(|entry| entry.name.as_slice())
    }

    /// Whether a list that was read after `before` and before this is whole: it is, if no loose ref has come to light
    /// meanwhile. Some file systems do not show a file that is replaced while its directory is listed.
    pub fn confirms(&self, before: &Self) -> bool {
        if self.fingerprint == before.fingerprint {
            return true;
        }
        let known: HashSet<&[u8]> = before.loose().collect();
        self.loose().all(|name| known.contains(name))
    }
}

struct Walk {
    hash: Xxh3,
    entries: Vec<Entry>,
    links: bool,
}

impl Walk {
    /// With what is not below `refs/heads` and `refs/tags`.
    fn begin(repository: &Repository) -> std::io::Result<Self> {
        let mut walk = Self {
            hash: Xxh3::new(),
            entries: Vec::new(),
            links: false,
        };
        let (git, common) = (&repository.git_dir, &repository.common_dir);
        // Which repository this is; its directory's times change with every lock file.
        walk.identify(&std::fs::metadata(common)?);
        walk.stamp(b"HEAD", there(git.join("HEAD").symlink_metadata())?.as_ref());
        for (dir, name) in [
            (git, "config.worktree"),
            (common, "config"),
            (common, "packed-refs"),
            (common, "reftable/tables.list"),
            (common, "refs"),
        ] {
            walk.stamp(name.as_bytes(), there(std::fs::metadata(dir.join(name)))?.as_ref());
        }
        Ok(walk)
    }

    fn enter(&mut self, name: Vec<u8>, file: bool, meta: Option<&Metadata>) {
        self.stamp(&name, meta);
        self.entries.push(Entry { name, file });
    }

    fn dir(&mut self, dir: &Path, name: &[u8], meta: &Metadata) -> std::io::Result<()> {
        self.enter(name.to_vec(), false, Some(meta));
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let file = entry.file_name();
            // Neither is a ref to git, whatever it is.
            if file.as_bytes().starts_with(b".") || file.as_bytes().ends_with(b".lock") {
                continue;
            }
            let name = [name, b"/", file.as_bytes()].concat();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.dir(&entry.path(), &name, &entry.metadata()?)?;
            } else if kind.is_file() {
                self.enter(name, true, Some(&entry.metadata()?));
            } else {
                self.links |= kind.is_symlink();
            }
        }
        Ok(())
    }

    fn stamp(&mut self, name: &[u8], meta: Option<&Metadata>) {
        self.hash.update(name);
        // No name has a zero byte: what follows cannot be taken for a part of it.
        self.hash.update(&[0]);
        if let Some(meta) = meta {
            self.identify(meta);
            for number in [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()] {
                self.hash.update(&number.to_le_bytes());
            }
            self.hash.update(&meta.size().to_le_bytes());
        }
    }

    fn identify(&mut self, meta: &Metadata) {
        self.hash.update(&meta.dev().to_le_bytes());
        self.hash.update(&meta.ino().to_le_bytes());
    }
}
