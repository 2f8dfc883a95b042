//! Looking at repositories of this machine from a loop that must not wait for a file system.
//!
//! A look blocks for as long as its file system does: a dead server of files, a pipe in place of a file. So each is on a
//! thread that may be left behind, and a remote has one such thread at most.

use super::file::{self, RefWatch, WatchError};
use super::reply::{Digest, Missed, Reply};
use crate::git::list::ListError;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Looks at the same time: they are short, and threads are not.
const AT_ONCE: usize = 8;

/// Gets the remote of a repository that has changed.
pub type Tell = Box<dyn Fn(&str) + Send>;

/// Shared by all looks.
#[derive(Clone)]
pub(super) struct Local {
    slots: Arc<Semaphore>,
    /// None: nobody wants to be told of changes.
    watch: Option<Arc<Mutex<RefWatch>>>,
}

/// What is remembered of a repository on this machine.
#[derive(Default)]
pub(super) enum Memory {
    /// Nothing yet: most remotes are elsewhere.
    #[default]
    None,
    /// At hand.
    Here(Box<file::Memory>),
    /// With a thread that has not come back from its file system.
    Away(JoinHandle<Look>),
}

type Look = (Result<Reply, Missed>, Box<file::Memory>);

impl Memory {
    /// Git has told the list for which the last look was of no use.
    pub fn learned(&mut self, digest: Digest) {
        if let Self::Here(memory) = self {
            memory.learned(digest);
        }
    }
}

impl Local {
    /// `tell` gets the remote of a repository that has changed. It runs on a thread of its own, and must not block.
    pub fn new(tell: Option<Tell>) -> Self {
        let watch = tell.and_then(|tell| match RefWatch::start(tell) {
            Ok(watch) => Some(Arc::new(Mutex::new(watch))),
            Err(error) => {
                warn(&error);
                None
            }
        });
        Self {
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            watch,
        }
    }

    /// Looks at the repository at `path`, which is watched from then on for `remote`.
    pub async fn look(
        &self,
        remote: &str,
        masked: &str,
        path: PathBuf,
        memory: &mut Memory,
        known: Option<Digest>,
        patience: Duration,
    ) -> Result<Reply, Missed> {
        let timed_out = || ListError::TimedOut {
            remote: masked.to_owned(),
            timeout: patience,
        };
        if let Memory::Here(at_hand) = memory
            && file::glance(&path, at_hand, known)
        {
            return Ok(Reply::Unchanged);
        }
        // Never closed, so there is always a slot in the end; who is left behind holds none.
        let _slot = self.slots.acquire().await;
        let mut at_hand = match std::mem::take(memory) {
            Memory::None => Box::default(),
            Memory::Here(at_hand) => at_hand,
            Memory::Away(thread) if !thread.is_finished() => {
                *memory = Memory::Away(thread);
                return Err(timed_out().into());
            }
            Memory::Away(thread) => thread.await.map_or_else(|_| Box::default(), |(_, at_hand)| at_hand),
        };
        let (watch, remote) = (self.watch.clone(), remote.to_owned());
        let mut thread = tokio::task::spawn_blocking(move || {
            if let Some(watch) = watch {
                set_watch(&watch, &remote, &path);
            }
            let reply = file::look(&path, &mut at_hand, known);
            (reply, at_hand)
        });
        match timeout(patience, &mut thread).await {
            Ok(Ok((reply, at_hand))) => {
                *memory = Memory::Here(at_hand);
                reply
            }
            Ok(Err(error)) => {
                Err(ListError::Command(format!("{masked}: a mistake in pipelined itself: {error}")).into())
            }
            Err(_) => {
                *memory = Memory::Away(thread);
                Err(timed_out().into())
            }
        }
    }

    /// Watches a remote no more.
    pub fn unwatch(&self, remote: &str) {
        if let Some(watch) = self.watch.clone() {
            let remote = remote.to_owned();
            // Whoever holds the lock may wait for a file system.
            tokio::task::spawn_blocking(move || {
                watch.lock().unwrap_or_else(PoisonError::into_inner).unwatch(&remote);
            });
        }
    }
}

/// Set before the look, so that whatever comes later is told. Who holds the lock may be waiting for a dead file system:
/// then this watch is for the next look to set.
fn set_watch(watch: &Mutex<RefWatch>, remote: &str, path: &std::path::Path) {
    let mut watch = match watch.try_lock() {
        Ok(watch) => watch,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    if let Err(error) = watch.watch(remote, path) {
        warn(&error);
    }
}

fn warn(error: &WatchError) {
    match error {
        WatchError::Full => tracing::warn!(%error, "cannot watch local repositories"),
        // At each look.
        WatchError::Other { .. } => {
            tracing::debug!(error = %crate::model::error_chain(error), "cannot watch a repository")
        }
    }
}
