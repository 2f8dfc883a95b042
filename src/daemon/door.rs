//! What goes into the daemon, and what may come out of it.

use super::listening::ListenError;
use super::logging::LogError;
use crate::api::SocketError;
use crate::config::{LoadError, Overrides};
use crate::store::{LockError, StoreError};
use crate::workdir::WorkdirError;
use std::path::PathBuf;

/// What `pipelined run` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The config's path.
    pub config: PathBuf,
    /// What the command line says in place of the file.
    pub overrides: Overrides,
}

/// Why the daemon did not start, or ended otherwise than it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The config is bad, or not there.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The workdir cannot be used.
    #[error(transparent)]
    Workdir(#[from] WorkdirError),
    /// The workdir is another daemon's.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Webhooks cannot be taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system refuses what a daemon needs.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
