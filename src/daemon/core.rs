//! The loop: one happening at a time.

use super::asking::Asking;
use super::door::Options;
use super::happening::Happening;
use super::hooks::{Followers, Gate};
use super::listening::Listening;
use super::logging::LevelHandle;
use super::notify::{self, Watchdog};
use super::pokes::Pokes;
use super::polls::Polls;
use super::updates::Checks;
use super::watch::ConfigWatch;
use crate::api::{Answer, Command, Refused};
use crate::config::Config;
use crate::engine::Engine;
use crate::git::Mirrors;
use crate::model::{JobId, Mode, ProjectName, State};
use crate::pipeline::{Desk, ReleaseLocks, Told};
use crate::process::{Cancel, Supervisor};
use crate::reconcile::{Event, next_wake};
use crate::registry::Registries;
use crate::store::{Store, StoreError};
use crate::workdir::Layout;
use jiff::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How soon a decision that could not be recorded (a full disk) is tried again.
pub(super) const RECORD_AGAIN: Duration = Duration::from_secs(2);

/// An attempt that is running.
#[derive(Debug)]
pub(super) struct Running {
    /// Ends its steps.
    pub cancel: Cancel,
    /// Ends all of it.
    pub stop: Cancel,
    /// An error on our side is not tried again.
    pub last: bool,
}

/// Everything that the loop owns.
pub(super) struct Daemon {
    pub options: Options,
    pub config: Config,
    pub state: State,
    pub store: Store,
    pub layout: Layout,
    pub mirrors: Mirrors,
    pub engine: Arc<Engine>,
    pub registries: Registries,
    /// Held while release references are moved, so that two jobs never move the same one at once.
    pub locks: ReleaseLocks,
    pub desk: Desk,
    pub told: mpsc::UnboundedReceiver<Told>,
    pub supervisor: Supervisor,
    pub level: LevelHandle,
    pub tell: mpsc::UnboundedSender<Happening>,
    pub asking: Asking,
    pub polls: Polls,
    pub checks: Checks,
    pub pokes: Pokes,
    pub running: HashMap<JobId, Running>,
    /// Polling troubles that were told already.
    pub troubles: HashMap<ProjectName, String>,
    /// Events whose decision could not be recorded; they are not lost, they wait.
    pub unrecorded: VecDeque<Event>,
    /// When they are tried again. A moment, not a pause: remotes may answer all the time.
    pub record_again: Instant,
    pub watch: Option<ConfigWatch>,
    /// Where webhooks are taken.
    pub listening: Listening,
    /// The config may say that they are taken elsewhere.
    pub listen_anew: bool,
    /// Who has asked for a reload, and what came of it, until the rest of it is done.
    pub reloaded: Option<(Answer<String>, Result<String, Refused>)>,
    pub followers: Followers,
    pub gate: Gate,
    pub started: Timestamp,
}

impl Daemon {
    pub fn new(
        options: Options,
        config: Config,
        store: Store,
        mirrors: Mirrors,
        level: LevelHandle,
        listening: Listening,
        tell: mpsc::UnboundedSender<Happening>,
    ) -> Result<Self, StoreError> {
        let supervisor = Supervisor::default();
        let asking = Asking::new(supervisor.clone(), store.instance().to_owned());
        let (desk, told) = Desk::new();
        let troubles = store.remote_troubles()?;
        Ok(Self {
            state: store.load_state()?,
            layout: Layout::new(&config.workdir),
            mirrors,
            engine: Arc::new(Engine::new(config.engine)),
            registries: Registries::new(config.registries.clone()),
            locks: ReleaseLocks::default(),
            desk,
            told,
            polls: Polls::new(asking.clone(), &config),
            checks: Checks::default(),
            pokes: Pokes::default(),
            asking,
            running: HashMap::new(),
            troubles: troubles
                .into_iter()
                .map(|(name, trouble)| (name, trouble.error))
                .collect(),
            unrecorded: VecDeque::new(),
            record_again: Instant::now(),
            watch: None,
            listening,
            listen_anew: false,
            reloaded: None,
            followers: Followers::of(&config),
            gate: Gate::default(),
            started: Timestamp::now(),
            options,
            config,
            store,
            level,
            supervisor,
            tell,
        })
    }

    /// Turns until a signal has ended everything.
    pub async fn run(
        mut self,
        mut happenings: mpsc::UnboundedReceiver<Happening>,
        mut requests: mpsc::Receiver<Command>,
    ) {
        let mut watchdog = Watchdog::new();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workdir = %self.config.workdir.display(),
            projects = self.config.projects.values().filter(|p| p.enabled).count(),
            limit = self.config.limit,
            "started"
        );
        let stopped = tokio::select! {
            () = self.recover() => false,
            () = stop_asked(&mut happenings) => true,
        };
        if stopped {
            tracing::info!("stopped before the start was over: the next one does the rest");
            return;
        }
        self.prune_mirrors();
        self.polls.watch(&self.config);
        self.watch_config();
        notify::ready();
        watchdog.turn(self.status_line());
        while !self.is_finished() {
            let wait = self.patience(watchdog.patience());
            tokio::select! {
                Some(happening) = happenings.recv() => self.take(happening),
                Some(command) = requests.recv() => self.request(command),
                Some(told) = self.told.recv() => self.told(told),
                listed = self.polls.turn() => self.listed(listed),
                () = tokio::time::sleep(wait) => {
                    self.decide(Event::Tick);
                }
            }
            self.tend_door().await;
            self.record_waiting();
            watchdog.turn(self.status_line());
        }
        self.polls.end().await;
        tracing::info!(queued = self.state.jobs.len(), "stopped");
    }

    /// Jobs have ended, and their end is recorded. A stop does not wait for a disk to have room again: what could not be
    /// recorded looks like a crash to the next start, which runs it again.
    fn is_finished(&self) -> bool {
        let stopping = self.state.mode == Mode::Stopping;
        self.running.is_empty() && (stopping || self.state.is_finished() && self.unrecorded.is_empty())
    }

    fn patience(&self, most: Duration) -> Duration {
        let now = Timestamp::now();
        let until_wake = next_wake(&self.state, now)
            .and_then(|at| Duration::try_from(at.duration_since(now)).ok())
            .unwrap_or(most);
        let until_record = match self.unrecorded.is_empty() {
            true => most,
            false => self.record_again.saturating_duration_since(Instant::now()),
        };
        most.min(until_wake).min(until_record)
    }

    fn record_waiting(&mut self) {
        if Instant::now() >= self.record_again {
            for event in std::mem::take(&mut self.unrecorded) {
                self.decide(event);
            }
        }
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::AttemptEnded { job, finished } => self.attempt_ended(job, finished),
            Happening::Resolved {
                project,
                reference,
                commit,
                answer,
            } => self.build_requested(project, reference, commit, answer),
            Happening::Checked { answer, round } => self.checked(answer, round),
            Happening::Poked { poke, result } => self.poked(poke, result),
            Happening::Poke(project) => self.poke_now(&project),
            Happening::ConfigFileChanged | Happening::Reload => {
                // The outcome is in the log.
                let _ = self.reload();
            }
            Happening::Drain if self.state.mode == Mode::Normal => {
                tracing::info!("INT: taking no new jobs, finishing those that are there; INT again or TERM stops now");
                self.polls.clear();
                self.decide(Event::Drain);
            }
            Happening::Drain | Happening::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        self.polls.clear();
        if self.state.mode == Mode::Stopping {
            tracing::warn!("asked to stop again: killing what still runs");
            for running in self.running.values() {
                running.cancel.insist();
                running.stop.insist();
            }
            return;
        }
        tracing::info!(
            running = self.running.len(),
            "stopping: running jobs are interrupted, and run again after the start"
        );
        notify::stopping();
        self.decide(Event::Stop);
    }

    /// One line for `systemctl status`.
    fn status_line(&self) -> String {
        let running = self.state.jobs.values().filter(|job| job.is_running()).count();
        let mode = match self.state.mode {
            Mode::Normal => "",
            Mode::Draining => "draining: ",
            Mode::Stopping => "stopping: ",
        };
        format!(
            "{mode}{running} running, {} queued, {} projects, {} remotes failing",
            self.state.jobs.len() - running,
            self.polls.projects(),
            self.troubles.len()
        )
    }
}

/// Waits for a signal that ends the daemon, while nothing runs that could be interrupted.
async fn stop_asked(happenings: &mut mpsc::UnboundedReceiver<Happening>) {
    while let Some(happening) = happenings.recv().await {
        if matches!(happening, Happening::Stop | Happening::Drain) {
            return;
        }
    }
}
