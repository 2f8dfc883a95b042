//! The process that holds the connection to one host, from its start to its end.
//!
//! It runs under a supervisor, so that it cannot outlive the daemon. It must never be waited for without a deadline.

use super::session;
use crate::process::{Cancel, Done, Ended, ProcessError, Spec, Supervisor};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How many questions go over one connection at once. sshd's `MaxSessions` is 10, and fetches need some.
const SESSIONS: usize = 8;

/// How often is looked for the socket, until there is a connection.
const LOOK: Duration = Duration::from_millis(10);

/// How often is looked whether one that is in use for long is free.
const BUSY: Duration = Duration::from_secs(1);

/// How far a master is.
#[derive(Debug, Clone)]
enum Phase {
    Connecting,
    Ready,
    Over(Over),
}

/// Why there is no connection (any more).
#[derive(Debug, Clone)]
pub(super) enum Over {
    /// ssh ended without one; its words.
    Failed(Arc<str>),
    /// There was one.
    Lost,
    /// No connection within this time.
    Late(Duration),
    /// Somebody stopped us.
    Cancelled,
    /// It could not be run.
    NotRun(Arc<str>),
}

/// One connection to a host.
#[derive(Debug)]
pub(super) struct Master {
    /// Its control socket.
    pub socket: PathBuf,
    phase: watch::Sender<Phase>,
    retired: CancellationToken,
    sessions: Semaphore,
    width: AtomicUsize,
    /// When the last answer came; at first, when it was started.
    answered: Mutex<Instant>,
}

/// When a master gives up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until it is connected.
    pub connect: Duration,
    /// Without a question.
    pub idle: Duration,
}

impl Master {
    /// One that is about to connect; [`Master::live`] is its life.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            phase: watch::Sender::new(Phase::Connecting),
            retired: CancellationToken::new(),
            sessions: Semaphore::new(SESSIONS),
            width: AtomicUsize::new(SESSIONS),
            answered: Mutex::new(Instant::now()),
        }
    }

    /// Whether a new question needs another one.
    pub fn is_over(&self) -> bool {
        self.retired.is_cancelled() || matches!(*self.phase.borrow(), Phase::Over(_))
    }

    /// Whether sessions can be opened now.
    pub fn is_ready(&self) -> bool {
        !self.retired.is_cancelled() && matches!(*self.phase.borrow(), Phase::Ready)
    }

    /// Returns when there is a connection, or none to be had.
    pub async fn ready(&self) -> Result<(), Over> {
        let mut phase = self.phase.subscribe();
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Connecting)).await;
        match settled.as_deref() {
            Ok(Phase::Over(over)) => Err(over.clone()),
            Ok(_) => Ok(()),
            // The sender is ours.
            Err(_) => Err(Over::Cancelled),
        }
    }

    /// Waits for a place among the sessions.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.sessions.acquire().await.ok()
    }

    /// The server takes fewer sessions than we thought: a place is to be forgotten. False if it is the last.
    pub fn narrow(&self) -> bool {
        let fewer = |width: usize| (width > 1).then(|| width - 1);
        self.width
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer)
            .is_ok()
    }

    /// The server has answered.
    pub fn note_answer(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// A question that began then got no answer in time. If nobody else did, the connection may be dead.
    pub fn suspect(&self, begin: Instant) {
        if self.answered() < begin {
            self.retire();
        }
    }

    /// Takes no more questions. What goes over the connection now, fetches too, may end.
    pub fn retire(&self) {
        self.retired.cancel();
    }

    fn answered(&self) -> Instant {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the process to its end. `stop` ends it at once.
    pub async fn live(&self, supervisor: &Supervisor, spec: &Spec, patience: Patience, stop: impl Future<Output = ()>) {
        let cancel = Cancel::new();
        let process = supervisor.run(spec, &cancel);
        tokio::pin!(process, stop);
        let late = tokio::select! {
            done = &mut process => return self.over(failed(done)),
            () = &mut stop => Some(Over::Cancelled),
            found = timeout(patience.connect, self.appear()) => found.err().map(|_| Over::Late(patience.connect)),
        };
        if let Some(over) = late {
            self.over(over);
            cancel.insist();
            let _ = process.await;
            return;
        }
        self.phase.send_replace(Phase::Ready);
        let has_time = tokio::select! {
            _ = &mut process => return self.over(Over::Lost),
            () = &mut stop => false,
            () = self.unused(patience.idle) => true,
        };
        self.retire();
        if has_time && session::let_go(&self.socket).await {
            tokio::select! {
                // It ends with the last session; on a dead connection by ssh's own keep-alives.
                _ = &mut process => return self.over(Over::Lost),
                () = &mut stop => {}
            }
        }
        self.over(Over::Lost);
        cancel.insist();
        // How it ends is all the same now.
        let _ = process.await;
    }

    fn over(&self, over: Over) {
        self.phase.send_replace(Phase::Over(over));
        // ssh removes it by itself unless it was killed.
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Returns when the socket is there. ssh makes it under another name first, so one that is there accepts.
    async fn appear(&self) {
        while !self.socket.exists() {
            sleep(LOOK).await;
        }
    }

    /// Returns when it was not used for that long, or is not to be used any more.
    async fn unused(&self, idle: Duration) {
        let unused = async {
            loop {
                let until = self.answered() + idle;
                let busy = self.sessions.available_permits() < self.width.load(Ordering::Relaxed);
                if !busy && Instant::now() >= until {
                    return;
                }
                sleep_until(until.max(Instant::now() + BUSY)).await;
            }
        };
        tokio::select! {
            () = unused => {}
            () = self.retired.cancelled() => {}
        }
    }
}

fn failed(done: Result<Done, ProcessError>) -> Over {
    match done {
        Ok(Done {
            ended: Ended::Cancelled,
            ..
        }) => Over::Cancelled,
        Ok(done) => Over::Failed(done.stderr.into()),
        Err(error) => Over::NotRun(crate::model::error_chain(&error).into()),
    }
}
