//! The control socket's file: made, found and removed.
//!
//! Whoever can connect commands the daemon, so there must never be a moment in which others can: the socket is bound in
//! a directory that only we can enter, and moved to its place when its mode is 0600. Paths of any length work, as both
//! sides go through `/proc/self/fd`: a socket's address has room for 107 bytes only.

use nix::fcntl::OFlag;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The socket's name in the workdir, and in the runtime directory.
pub const SOCKET: &str = "pipelined.sock";

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}")]
pub struct SocketError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError { what, path, source }
}

/// The files of a bound socket. Dropped, it removes them.
#[derive(Debug)]
pub struct SocketFile(Vec<PathBuf>);

impl Drop for SocketFile {
    fn drop(&mut self) {
        for path in &self.0 {
            // A file that stays is replaced by the next daemon.
            let _ = fs::remove_file(path);
        }
    }
}

/// The directory that systemd made for us (`RuntimeDirectory=`), if there is one.
pub fn runtime_directory() -> Option<PathBuf> {
    let list = std::env::var_os("RUNTIME_DIRECTORY")?;
    let first = std::env::split_paths(&list).next()?;
    first.is_absolute().then_some(first)
}

/// Binds the workdir's socket, replacing whatever a dead daemon left: the caller holds the workdir's lock. With a
/// runtime directory the socket lives there, and the workdir has a link to it. Needs a tokio runtime.
pub fn bind(workdir: &Path, runtime: Option<&Path>) -> Result<(tokio::net::UnixListener, SocketFile), SocketError> {
    let home = runtime.unwrap_or(workdir);
    let socket = home.join(SOCKET);
    let listener = bind_in(home, &socket)?;
    let mut files = SocketFile(vec![socket.clone()]);
    if runtime.is_some() {
        let link = workdir.join(SOCKET);
        let new = workdir.join(".pipelined.sock.link");
        remove(&new)?;
        std::os::unix::fs::symlink(&socket, &new).map_err(failed("make the link", &new))?;
        fs::rename(&new, &link).map_err(failed("make the link", &link))?;
        files.0.push(link);
    }
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixListener::from_std(listener))
        .map_err(failed("listen on", &socket))?;
    Ok((listener, files))
}

fn bind_in(home: &Path, socket: &Path) -> Result<std::os::unix::net::UnixListener, SocketError> {
    let private = home.join(".pipelined.sock.new");
    remove(&private.join("s"))?;
    match fs::remove_dir(&private) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &private)(error)),
        _ => {}
    }
    let bind = || {
        DirBuilder::new().mode(0o700).create(&private)?;
        let listener = std::os::unix::net::UnixListener::bind(Address::new(&private)?.join("s"))?;
        let new = private.join("s");
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(&new, socket)?;
        fs::remove_dir(&private)?;
        Ok(listener)
    };
    bind().map_err(failed("make the control socket", socket))
}

fn remove(path: &Path) -> Result<(), SocketError> {
    match fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound) => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Connects to the workdir's socket.
pub(super) async fn connect(workdir: &Path) -> io::Result<tokio::net::UnixStream> {
    let address = Address::new(workdir)?;
    tokio::net::UnixStream::connect(address.join(SOCKET)).await
}

/// A directory as a short path, for as long as this lives.
struct Address(File);

impl Address {
    fn new(dir: &Path) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits())
            .open(dir)
            .map(Self)
    }

    fn join(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}
