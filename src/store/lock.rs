//! One daemon a workdir.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Held for as long as the daemon lives; the kernel lets go of it when the daemon dies, however it dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] File);

/// The whole file, for one writer. The lock is that of an open file, not of a process, and, other than `flock`'s, it
/// can be asked about without being taken: a look must not be in the way of a daemon that starts.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Why the workdir is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error("another pipelined (pid {pid}) works in {workdir}")]
    InUse {
        /// Where.
        workdir: PathBuf,
        /// What the other wrote into the lock file.
        pid: String,
    },
    /// The lock file cannot be made.
    #[error("cannot lock {path}")]
    Io {
        /// Of the lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock or fails at once.
    pub fn take(workdir: &Path) -> Result<Self, LockError> {
        let path = workdir.join("pipelined.lock");
        let io = |source: std::io::Error| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => {
                // For people and for the message below; the lock itself is the kernel's.
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| writeln!(file, "{}", std::process::id()))
                    .map_err(io)?;
                Ok(Self(file))
            }
            Err(Errno::EAGAIN | Errno::EACCES) => {
                let mut pid = String::new();
                // Only for the message.
                let _ = file.read_to_string(&mut pid);
                Err(LockError::InUse {
                    workdir: workdir.to_owned(),
                    pid: pid.trim().to_owned(),
                })
            }
            Err(errno) => Err(io(errno.into())),
        }
    }

    /// Whether a daemon works in the workdir.
    pub fn is_held(workdir: &Path) -> bool {
        let Ok(file) = File::open(workdir.join("pipelined.lock")) else {
            return false;
        };
        let mut found = whole_file();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found)).is_ok() && found.l_type != libc::F_UNLCK as libc::c_short
    }
}
