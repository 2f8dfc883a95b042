//! A directory for one test, and waiting for conditions.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Long enough for a busy machine; who waits that long has failed.
pub const SOON: Duration = Duration::from_secs(60);

/// A directory that goes with its owner. Declare it first, so that it is dropped last.
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    /// An empty directory with a short path: podman and ssh put unix sockets into it.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("pl-").tempdir().unwrap();
        Self { dir }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it, which need not exist.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Makes a directory in it, with its parents.
    pub fn mkdir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a file in it, with its parents.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes a script for `/bin/sh` that can be executed, for instance as a callback.
    pub fn script(&self, name: impl AsRef<Path>, body: &str) -> PathBuf {
        let path = self.write(name, format!("#!/bin/sh\n{body}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

/// Asks until there is an answer; panics with `what` after the deadline.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    wait_for_state(what, deadline, || ask().ok_or_else(String::new))
}

/// As [`wait_for`], where an error says how things stand; the last one is in the panic.
#[track_caller]
pub fn wait_for_state<T>(what: &str, deadline: Duration, ask: impl FnMut() -> Result<T, String>) -> T {
    match ask_until(deadline, ask) {
        Ok(answer) => answer,
        Err(state) => panic!("waited {deadline:?} in vain for {what}; at last: {state}"),
    }
}

/// Asks until there is an answer, or the deadline has passed: then the last error.
pub fn ask_until<T>(deadline: Duration, mut ask: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let end = Instant::now() + deadline;
    loop {
        match ask() {
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(15)),
            answer => return answer,
        }
    }
}
