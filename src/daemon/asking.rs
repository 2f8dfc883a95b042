//! What questions outside of jobs run with.

use crate::process::{Cancel, Marker, Masks, Runner, Supervisor};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Runs commands for questions, and ends them.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    supervisor: Supervisor,
    instance: String,
    /// Tasks that ask, so that the daemon does not end before its questions.
    pub tasks: TaskTracker,
    stop: Cancel,
}

impl Asking {
    pub fn new(supervisor: Supervisor, instance: String) -> Self {
        Self {
            supervisor,
            instance,
            tasks: TaskTracker::new(),
            stop: Cancel::new(),
        }
    }

    /// Runs commands that end with `cancel`.
    pub fn runner(&self, cancel: Cancel) -> Runner {
        Runner {
            supervisor: self.supervisor.clone(),
            marker: Marker::service(&self.instance),
            env: Vec::new(),
            cancel,
            // When a remote does not answer in time: KILL follows TERM quickly.
            grace: Duration::from_secs(1),
            log: None,
            masks: Masks::default(),
        }
    }

    /// The workdir's own name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The cancel of what ends only with the daemon.
    pub fn stop(&self) -> Cancel {
        self.stop.clone()
    }

    /// Ends everything that runs until [`Self::stop`], and waits until no process of it is left.
    pub async fn end(&self) {
        self.stop.insist();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
