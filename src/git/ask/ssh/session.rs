//! One command on the server, over the control socket of a master, without a process of ours.

use openssh_mux_client::{Connection, Error, EstablishedSession, NonZeroByteSlice, SessionStatus};
use std::borrow::Cow;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, Join, join};
use tokio::net::unix::pipe;
use tokio::time::timeout;

/// How long the end of a session may take once all is said: its place at the server is free only then.
const END: Duration = Duration::from_secs(2);
/// How much of the command's stderr is kept.
const WORDS: u64 = 16 << 10;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpen {
    /// The master does not answer: it has ended, or is about to.
    #[error("the shared connection is gone")]
    Lost,
    /// The server wants no more sessions on this connection, or none at all.
    #[error("the server opens no session on a shared connection ({0})")]
    Refused(String),
    /// This process cannot.
    #[error("no session can be opened: {0}")]
    Broken(#[from] io::Error),
}

/// Ends at the server when it is dropped.
pub(super) struct Session {
    /// The command's stdout and stdin.
    pub stream: Join<pipe::Receiver, pipe::Sender>,
    stderr: pipe::Receiver,
    established: EstablishedSession,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Whether the server told its exit code. Otherwise the connection is lost, or a signal ended the command.
    pub exited: bool,
    /// What it wrote to stderr.
    pub words: String,
}

impl Session {
    /// Starts a command. The caller bounds it.
    pub async fn open(socket: &Path, command: &[u8]) -> Result<Self, NotOpen> {
        let connection = Connection::connect(socket).await.map_err(|_| NotOpen::Lost)?;
        let (stdin, to_command) = io::pipe()?;
        let (from_command, stdout) = io::pipe()?;
        let (words, stderr) = io::pipe()?;
        let receiver = |end: io::PipeReader| pipe::Receiver::from_owned_fd(OwnedFd::from(end));
        let sender = pipe::Sender::from_owned_fd(OwnedFd::from(to_command))?;
        let stream = join(receiver(from_command)?, sender);
        let command = NonZeroByteSlice::new(command).ok_or_else(|| io::Error::other("a zero byte in the path"))?;
        let session = openssh_mux_client::Session::builder()
            .cmd(Cow::Borrowed(command))
            .build();
        let theirs = [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
        let established = match connection.open_new_session(&session, &theirs).await {
            Ok(established) => established,
            Err(Error::RequestFailure(reason) | Error::PermissionDenied(reason)) => {
                return Err(NotOpen::Refused(reason.into_string()));
            }
            Err(_) => return Err(NotOpen::Lost),
        };
        Ok(Self {
            stream,
            stderr: receiver(words)?,
            established,
        })
    }

    /// Hangs up and waits until the command is gone.
    pub async fn end(self) -> Ended {
        let Self {
            stream,
            stderr,
            established,
        } = self;
        drop(stream);
        let mut words = Vec::new();
        let exited = timeout(END, async {
            // Until the master closes it. What was read until the time is up counts.
            let _ = stderr.take(WORDS).read_to_end(&mut words).await;
            matches!(
                established.wait().await,
                Ok(SessionStatus::Exited { exit_value: Some(_) })
            )
        });
        let exited = exited.await.unwrap_or(false);
        Ended {
            exited,
            words: String::from_utf8_lossy(&words).into_owned(),
        }
    }
}

/// Asks a master to take no more sessions, and to end when it has none. False if it does not answer.
pub(super) async fn let_go(socket: &Path) -> bool {
    let told = timeout(END, async {
        Connection::connect(socket).await?.request_stop_listening().await
    });
    matches!(told.await, Ok(Ok(())))
}

/// Whether a master answers there.
pub(super) async fn is_alive(socket: &Path) -> bool {
    matches!(timeout(END, Connection::connect(socket)).await, Ok(Ok(_)))
}
