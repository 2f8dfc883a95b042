//! One task a project that asks its remote, again and again.
//!
//! A poller decides nothing: it passes on what the remote said. A remote that hangs holds its own slot until
//! `poll_timeout`, and no other project's.

use super::happening::Happening;
use crate::git::{self, ListError};
use crate::model::ProjectName;
use crate::process::{Cancel, Marker, Runner, Supervisor};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

/// How many remotes are asked at the same time.
const AT_ONCE: usize = 32;
/// How many of those that did not answer in time at the last look: they wait for each other, and nobody for them.
const SILENT_AT_ONCE: usize = 16;

/// What all pollers share.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub supervisor: Supervisor,
    pub instance: String,
    pub workdir: PathBuf,
    pub tell: mpsc::UnboundedSender<Happening>,
    /// Everything that asks a remote, so that the daemon does not end before its questions.
    pub tasks: TaskTracker,
    stop: Cancel,
    slots: Arc<Semaphore>,
    silent_slots: Arc<Semaphore>,
}

/// The task of one project. Ends when this is dropped, and its git with it.
#[derive(Debug)]
pub(super) struct Poller {
    cancel: Cancel,
    poke: Arc<Notify>,
}

impl Asking {
    pub fn new(
        supervisor: Supervisor,
        instance: String,
        workdir: PathBuf,
        tell: mpsc::UnboundedSender<Happening>,
    ) -> Self {
        Self {
            supervisor,
            instance,
            workdir,
            tell,
            tasks: TaskTracker::new(),
            stop: Cancel::new(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            silent_slots: Arc::new(Semaphore::new(SILENT_AT_ONCE)),
        }
    }

    /// Runs commands for a question outside of jobs.
    pub fn runner(&self, grace: Duration) -> Runner {
        Runner {
            supervisor: self.supervisor.clone(),
            marker: Marker::service(&self.instance),
            env: Vec::new(),
            cancel: self.stop.clone(),
            grace,
            log: None,
        }
    }

    /// Ends all questions at once, for they have nothing to lose, and waits until no process of theirs is left.
    pub async fn end(&self) {
        self.stop.insist();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Poller {
    /// Asks at once, then each interval, and whenever poked.
    pub fn start(asking: &Asking, project: ProjectName, remote: String, interval: Duration, timeout: Duration) -> Self {
        let (cancel, poke) = (Cancel::new(), Arc::new(Notify::new()));
        let (cancelled, poked) = (cancel.clone(), poke.clone());
        let tasks = asking.tasks.clone();
        let asking = asking.clone();
        tasks.spawn(async move {
            let mut silent = false;
            loop {
                let slots = if silent { &asking.silent_slots } else { &asking.slots };
                let slot = tokio::select! {
                    slot = slots.acquire() => slot,
                    () = cancelled.asked() => return,
                };
                // When a remote does not answer in time: KILL follows TERM quickly.
                let runner = Runner {
                    cancel: cancelled.clone(),
                    ..asking.runner(Duration::from_secs(1))
                };
                let result = git::list_refs(&runner, &remote, &asking.workdir, timeout).await;
                drop(slot);
                silent = matches!(result, Err(ListError::TimedOut { .. }));
                if cancelled.is_asked() {
                    return;
                }
                let told = asking.tell.send(Happening::Listed {
                    project: project.clone(),
                    remote: remote.clone(),
                    result,
                });
                if told.is_err() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    () = poked.notified() => {}
                    () = cancelled.asked() => return,
                }
            }
        });
        Self { cancel, poke }
    }

    /// Asks now. A poke while the remote is being asked makes it asked again.
    pub fn poke(&self) {
        self.poke.notify_one();
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.cancel.insist();
    }
}
