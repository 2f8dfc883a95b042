//! Bare repositories that keep what was fetched, so that a remote is asked for nothing twice.
//!
//! There is one for each remote, and for each kind: of single commits (`shallow`), or of whole histories. A checkout
//! copies its objects out of it and shares nothing with it, so a mirror is never more than a shortcut: it may be
//! removed at any time, and one that is damaged is thrown away. It must never decide anything about a commit (the
//! remote does), never hold a credential, and never fail a job.
//!
//! Each commit that is asked for has a ref, `refs/pipelined/<hash>`, as long as it is kept. Those refs are loose files
//! always, so that a look at the disk tells what is there, and their times tell what was used last.

mod copy;
mod fetch;
mod name;
mod stale;
mod tend;
mod turn;

pub(super) use copy::Gift;
pub(super) use fetch::{Brought, Fetching, git_dir};
pub(super) use turn::Held;

use name::{is_mirror_name, mirror_name};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use turn::Turns;

/// Puts a path out of the way and sees to its removal, later: a caller does not wait for that.
type Discard = dyn Fn(&Path) -> io::Result<()> + Send + Sync;

/// The mirrors of a workdir, shared by all of its jobs. Nobody else may use the directory: whoever holds a mirror's
/// turn removes the locks that a git of an earlier life left in it.
#[derive(Clone)]
pub struct Mirrors {
    root: PathBuf,
    discard: Arc<Discard>,
    turns: Arc<Mutex<HashMap<PathBuf, Arc<Turns>>>>,
}

impl fmt::Debug for Mirrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirrors")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Mirrors {
    /// Those below an absolute path, which is made when it is needed. `discard` gets what is to be removed.
    pub fn new(root: impl Into<PathBuf>, discard: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            root: root.into(),
            discard: Arc::new(discard),
            turns: Arc::default(),
        }
    }

    /// Where the mirror of a remote is, or would be.
    pub fn path(&self, remote: &str, shallow: bool) -> PathBuf {
        self.root.join(mirror_name(remote, shallow))
    }

    /// Throws away the mirrors of remotes that are not to be kept, each given with its `shallow`; answers how many.
    /// One that is in use stays until the next time.
    pub fn prune<'a>(&self, keep: impl IntoIterator<Item = (&'a str, bool)>) -> io::Result<usize> {
        let keep: HashSet<PathBuf> = keep
            .into_iter()
            .map(|(remote, shallow)| self.path(remote, shallow))
            .collect();
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut thrown = 0;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let ours = entry.file_name().to_str().is_some_and(is_mirror_name);
            if !ours || keep.contains(&path) {
                continue;
            }
            let Ok(_turn) = self.turns(&path).turn.clone().try_lock_owned() else {
                continue;
            };
            (self.discard)(&path)?;
            thrown += 1;
        }
        Ok(thrown)
    }

    /// Puts a path out of the way.
    pub(super) fn discard(&self, path: &Path) -> io::Result<()> {
        (self.discard)(path)
    }

    fn turns(&self, path: &Path) -> Arc<Turns> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(path.to_owned()).or_default().clone()
    }
}
