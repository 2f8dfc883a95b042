//! Where the repository is that git would enter for a path.
//!
//! The order of the candidates and what makes a directory a repository are those of `enter_repo` in git's path.c and
//! `is_git_directory` in its setup.c. Whatever is odd is left to git, and nothing here reads a ref.

use super::super::reply::Missed;
use crate::git::list::ListError;
use bstr::ByteSlice;
use nix::sys::statfs::{self, FsType};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What git appends to a path, in this order.
const SUFFIXES: [&str; 4] = ["/.git", "", ".git/.git", ".git"];

/// Bytes of a file that holds one line: a `.git` file, `commondir`, a loose ref.
const LINE: u64 = 8 * 1024;

/// A file or directory, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for Identity {
    fn from(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
        }
    }
}

/// What led to a repository: the path and its `.git`. While they are the same, the repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Approach([Option<(Identity, [i64; 4])>; 2]);

impl Approach {
    /// To the repository that git would enter for this path.
    pub fn of(path: &Path) -> Self {
        let stamp = |meta: Metadata| {
            let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
            (Identity::from(&meta), times)
        };
        let dot_git = path.join(".git").symlink_metadata();
        Self([std::fs::metadata(path), dot_git].map(|meta| meta.ok().map(stamp)))
    }
}

/// A repository on this machine.
#[derive(Debug)]
pub(super) struct Repository {
    /// With `HEAD`; the main repository's, or that of a linked work tree.
    pub git_dir: PathBuf,
    /// With `refs`, `packed-refs`, `config` and `objects`.
    pub common_dir: PathBuf,
    /// Of the `.git` directory or file.
    pub identity: Identity,
    /// Whose it is, when it is not ours: git has rules for that (`safe.directory`).
    pub stranger: Option<u32>,
}

/// The path of a remote that is on this machine, read as git reads it: a URL is percent-decoded and its host does not
/// matter, a path is taken as it stands. The daemon's remotes are never relative.
pub(in crate::git::ask) fn local_path(remote: &str) -> Option<PathBuf> {
    let Some(rest) = remote.strip_prefix("file://") else {
        return remote.starts_with('/').then(|| remote.into());
    };
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(rest).collect();
    let slash = decoded.find_byte(b'/')?;
    Some(OsString::from_vec(decoded[slash..].to_vec()).into())
}

/// File systems whose answers come from this machine alone.
const AT_HAND: [FsType; 6] = [
    statfs::EXT4_SUPER_MAGIC,
    statfs::XFS_SUPER_MAGIC,
    statfs::BTRFS_SUPER_MAGIC,
    statfs::TMPFS_MAGIC,
    statfs::OVERLAYFS_SUPER_MAGIC,
    // ZFS, which the kernel's headers do not name.
    FsType(0x2fc1_2fc1),
];

impl Repository {
    /// Whether no server and no process has a say in how soon its files can be looked at.
    pub fn is_at_hand(&self) -> bool {
        [&self.git_dir, &self.common_dir]
            .into_iter()
            .all(|dir| statfs::statfs(dir).is_ok_and(|found| AT_HAND.contains(&found.filesystem_type())))
    }

    /// Finds it. The error says what is wrong with the path.
    pub fn find(path: &Path) -> Result<Self, Missed> {
        let bytes = path.as_os_str().as_bytes();
        let trimmed = bytes.trim_end_with(|c| c == '/');
        let base = if trimmed.is_empty() { b"/" } else { trimmed };
        let mut denied = None;
        for suffix in SUFFIXES {
            let candidate = PathBuf::from(OsStr::from_bytes(&[base, suffix.as_bytes()].concat()));
            match Self::enter(&candidate) {
                Ok(None) => {}
                Ok(Some(Entered::Repository(found))) => return Ok(found),
                Ok(Some(Entered::Odd(why))) => return Err(Missed::Unable(why.to_owned())),
                Err(error) => denied = Some(error),
            }
        }
        Err(match denied {
            Some(error) => trouble(path, &error),
            None => missing(path),
        })
    }

    /// None if there is no repository at exactly this place.
    fn enter(candidate: &Path) -> std::io::Result<Option<Entered>> {
        let Some(entry) = there(std::fs::metadata(candidate))? else {
            return Ok(None);
        };
        let (git_dir, target) = if entry.is_dir() {
            (candidate.to_owned(), None)
        } else if entry.is_file() {
            let line = read_line(candidate)?;
            let Some(target) = line.strip_prefix(b"gitdir: ") else {
                // A bundle, perhaps; git never looks further when it has met a file.
                return Ok(Some(Entered::Odd("a file that is no repository")));
            };
            let git_dir = beside(candidate, target);
            let Some(target) = there(std::fs::metadata(&git_dir))? else {
                return Ok(Some(Entered::Odd("a .git file that leads nowhere")));
            };
            (git_dir, Some(target))
        } else {
            return Ok(None);
        };
        let Some(common_dir) = common_dir(&git_dir)? else {
            return Ok(target.map(|_| Entered::Odd("a .git file that leads to no repository")));
        };
        let us = nix::unistd::geteuid().as_raw();
        let owners = [Some(&entry), target.as_ref()];
        Ok(Some(Entered::Repository(Self {
            stranger: owners.into_iter().flatten().map(Metadata::uid).find(|uid| *uid != us),
            identity: Identity::from(target.as_ref().unwrap_or(&entry)),
            git_dir,
            common_dir,
        })))
    }
}

enum Entered {
    Repository(Repository),
    Odd(&'static str),
}

/// The directory of what a repository's work trees share; none if this is no git directory.
fn common_dir(git_dir: &Path) -> std::io::Result<Option<PathBuf>> {
    if there(git_dir.join("HEAD").symlink_metadata())?.is_none() {
        return Ok(None);
    }
    let link = git_dir.join("commondir");
    let common = match there(read_line(&link))? {
        Some(target) => beside(&link, &target),
        None => git_dir.to_owned(),
    };
    for part in ["objects", "refs"] {
        if !there(std::fs::metadata(common.join(part)))?.is_some_and(|meta| meta.is_dir()) {
            return Ok(None);
        }
    }
    Ok(Some(common))
}

/// A path that a file names, which is relative to the file's directory.
fn beside(file: &Path, target: &[u8]) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).join(OsStr::from_bytes(target))
}

/// Reads a small file, without the end of its line.
pub(super) fn read_line(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(LINE).read_to_end(&mut content)?;
    content.truncate(content.trim_end_with(|c| matches!(c, '\n' | '\r')).len());
    Ok(content)
}

/// What is not there is no error.
pub(super) fn there<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why there is nothing to enter, in clearer words than git's.
fn missing(path: &Path) -> Missed {
    match std::fs::metadata(path) {
        Ok(_) => lost(path, "not a git repository".to_owned()),
        Err(error) => trouble(path, &error),
    }
}

/// The system does not let us look.
pub(super) fn trouble(path: &Path, error: &std::io::Error) -> Missed {
    let said = match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::NotFound => "no such directory".to_owned(),
        ErrorKind::NotADirectory => "a part of the path is not a directory".to_owned(),
        _ => error.to_string(),
    };
    lost(path, said)
}

fn lost(path: &Path, said: String) -> Missed {
    let remote = path.to_string_lossy().replace(char::is_control, "\u{fffd}");
    Missed::Error(ListError::Missing { remote, said })
}
