//! A server process in a group of its own, that goes with its owner.

use crate::support::scratch::{SOON, wait_for_state};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The process, and where its output is.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it with its output in `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}; `make deps` installs what the tests need"));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Of the process that was started.
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Returns when `ready` does; panics with the output when the server ends.
    pub fn wait_until(&mut self, ready: impl Fn() -> bool) {
        let Self { child, log } = self;
        wait_for_state("a server to accept", SOON, || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the server ended, {status}: {}", std::fs::read_to_string(&log).unwrap());
            }
            ready()
                .then_some(())
                .ok_or_else(|| std::fs::read_to_string(&log).unwrap())
        });
    }

    /// Returns when something accepts on the port.
    pub fn wait_until_accepting(&mut self, port: u16) {
        self.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.pid());
        // It may have ended by itself; then there is nothing to do.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
