//! Removing what is big without waiting for it: a rename now, the deletion later, by one thread.
//!
//! Deleting thousands of files takes as long as making them, and on ext4 slows down whoever makes files meanwhile, so
//! one tree is deleted at a time. What a crash leaves in the trash, the next start deletes.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};

/// A directory whose content is being deleted. Clones share it; the thread ends with the last of them.
#[derive(Debug, Clone)]
pub struct Trash {
    dir: PathBuf,
    /// Tells what is thrown away by this process apart from what an earlier one left.
    begin: u128,
    count: Arc<AtomicU64>,
    wake: mpsc::Sender<()>,
}

impl Trash {
    /// Takes an absolute path, which is made when it is needed, and begins to delete what is there.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        let (wake, woken) = mpsc::channel();
        let emptied = dir.clone();
        std::thread::Builder::new().name("trash".to_owned()).spawn(move || {
            empty(&emptied);
            while woken.recv().is_ok() {
                // Once for all that has come meanwhile.
                while woken.try_recv().is_ok() {}
                empty(&emptied);
            }
        })?;
        Ok(Self {
            dir,
            begin: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos()),
            count: Arc::default(),
            wake,
        })
    }

    /// Makes a path free at once: a directory, a file or a link (not what it points at). One that is not there is fine.
    pub fn discard(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let there = self.dir.join(format!("{}-{n}", self.begin));
        let renamed = fs::rename(path, &there).or_else(|error| match error.kind() {
            // A directory that its owner may not write to cannot be moved to another parent.
            ErrorKind::PermissionDenied if is_dir(path) => {
                fs::set_permissions(path, Permissions::from_mode(0o700))?;
                fs::rename(path, &there)
            }
            ErrorKind::CrossesDevices => remove(path),
            _ => Err(error),
        });
        match renamed {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        // A thread that is gone leaves it to the next start.
        let _ = self.wake.send(());
        Ok(())
    }
}

fn empty(dir: &Path) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(path = %dir.display(), %error, "cannot look into the trash");
            return;
        }
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if let Err(error) = remove(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot delete what was thrown away");
        }
    }
}

/// Removes a tree, also one with directories that its owner may not write to.
fn remove(path: &Path) -> io::Result<()> {
    if !is_dir(path) {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            unlock(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

fn unlock(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}

fn is_dir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}
