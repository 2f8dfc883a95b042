//! Where control sockets are: a private directory, fresh for this process, gone with it.

use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// Hands out paths for sockets, each another one: ssh would not open a socket where an old one still lies.
#[derive(Debug)]
pub(super) struct Place {
    dir: TempDir,
    next: AtomicU64,
}

/// A unix socket's path has 107 bytes, of which ssh takes 17 for a name in passing, and ours have up to 8.
const LONGEST: usize = 107 - 17 - 8;

impl Place {
    /// In a directory that is ours, or where its path is too long, among the temporary files. Made with mode 0700.
    pub fn new(preferred: &Path) -> io::Result<Self> {
        let dir = match fresh(preferred) {
            Ok(dir) => dir,
            Err(_) => fresh(&std::env::temp_dir())?,
        };
        let next = AtomicU64::new(1);
        Ok(Self { dir, next })
    }

    /// A path where nothing is.
    pub fn socket(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.dir.path().join(format!("{number:x}"))
    }
}

fn fresh(parent: &Path) -> io::Result<TempDir> {
    let private = Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new()
        .prefix("ssh-")
        .permissions(private)
        .tempdir_in(parent)?;
    if fits(dir.path()) {
        Ok(dir)
    } else {
        Err(io::Error::other("no path for a control socket"))
    }
}

/// Whether it is short, and means the same to ssh and to a shell as it does to us: ssh expands `%`, `~` and `${…}`.
fn fits(dir: &Path) -> bool {
    let bytes = dir.as_os_str().as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/-_.+,@".contains(b);
    bytes.first() == Some(&b'/') && bytes.len() < LONGEST && bytes.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_fresh_and_gone_at_the_end() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::new(parent.path()).unwrap();
        let (first, second) = (place.socket(), place.socket());
        assert_ne!(first, second);
        let dir = first.parent().unwrap().to_owned();
        assert_eq!(dir.parent(), Some(parent.path()));
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_ne!(Place::new(parent.path()).unwrap().socket().parent(), first.parent());
        drop(place);
        assert!(!dir.exists());
    }

    #[test]
    fn what_ssh_would_misread_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        for name in [
            "x".repeat(90),
            "a b".to_owned(),
            "100%".to_owned(),
            "${HOME}".to_owned(),
            "nowhere/at/all".to_owned(),
        ] {
            let dir = parent.path().join(&name);
            if !name.contains('/') {
                std::fs::create_dir(&dir).unwrap();
            }
            let socket = Place::new(&dir).unwrap().socket();
            assert!(!socket.starts_with(&dir), "{name}");
            assert!(fits(&socket), "{name}");
            assert_eq!(dir.read_dir().map_or(0, Iterator::count), 0, "{name}");
        }
    }
}
