//! What a daemon that died left behind: processes, containers, and directories that disagree with the record.

use super::core::Daemon;
use crate::engine::{Cleaned, Scope, deciding};
use crate::model::{Job, JobState, Outcome, error_chain};
use crate::pipeline::{project_variables, scratch, tidy};
use crate::process::sweep;
use crate::reconcile::Event;
use crate::store::JobFilter;
use crate::updates::tidy_looks;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// More jobs than this cannot have ended in the moment before a crash.
const LOOK_BACK: usize = 1000;
/// An engine that does not answer must not keep the daemon from its work for longer.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

impl Daemon {
    /// Ends what was left before anything new is started, so that the two cannot be mixed up.
    pub(super) async fn recover(&mut self) {
        self.settle_directories();
        let instance = self.store.instance().to_owned();
        let left = sweep(&instance, self.config.grace + Duration::from_secs(2)).await;
        if left > 0 {
            tracing::error!(left, "processes of the last daemon cannot be ended, not even by KILL");
        }
        let interrupted = self.interrupted_directories();
        if !interrupted.is_empty() {
            let jobs = interrupted.len();
            tracing::warn!(jobs, "the last daemon did not stop cleanly: its jobs run again");
        }
        self.tidy();
        tidy_looks(&self.layout);
        let cleanup = self.clean_engine(&instance, &interrupted);
        if tokio::time::timeout(ENGINE_PATIENCE, cleanup).await.is_err() {
            tracing::error!("the engine does not answer: what the last daemon left there stays");
        }
        self.decide(Event::Recovered);
    }

    /// Removes containers also after a clean stop: a removal that failed then is not forgotten.
    async fn clean_engine(&self, instance: &str, interrupted: &[PathBuf]) {
        let with_image = self.config.projects.values().filter(|p| !p.images.is_empty());
        // A project's env may name another storage or host.
        let mut environments: BTreeSet<_> = with_image.map(|p| deciding(project_variables(p))).collect();
        if !environments.is_empty() || !interrupted.is_empty() {
            // Our own: that of projects which have gone from the config since, or changed.
            environments.insert(Vec::new());
        }
        for env in environments {
            let mut runner = self.asking.runner(self.asking.stop()).with_env(env);
            runner.grace = self.config.grace;
            match self.engine.cleanup(&runner, Scope::Instance(instance)).await {
                Ok(cleaned) if cleaned == Cleaned::default() => {}
                Ok(Cleaned {
                    containers,
                    working,
                    processes,
                }) => tracing::info!(
                    containers,
                    working,
                    processes,
                    "removed what the last daemon left in the engine"
                ),
                Err(error) => tracing::error!(%error, "cannot ask the engine what the last daemon left in it"),
            }
            for directory in interrupted {
                self.engine.remove_scratch(&runner, &scratch(directory)).await;
            }
        }
    }

    /// Of the attempts that were running when the last daemon ended.
    fn interrupted_directories(&self) -> Vec<PathBuf> {
        let running = self.state.jobs.values().filter(|job| job.is_running());
        running.filter_map(|job| self.last_directory(job)).collect()
    }

    /// What attempts needed that were cut off, but for what a release is finished with.
    fn tidy(&self) {
        for job in self.state.jobs.values().filter(|job| job.is_running()) {
            if let Some(directory) = self.last_directory(job) {
                tidy(&directory, !self.state.releasing.contains_key(&job.id));
            }
        }
    }

    /// Where the last attempt of a job runs, or ran without success.
    pub(super) fn last_directory(&self, job: &Job) -> Option<PathBuf> {
        let record = self.store.job(job.id).ok()??;
        let attempt = record.attempts.last()?;
        Some(self.layout.running(&job.project, &job.reference, &attempt.dir))
    }

    /// Takes away what the last attempt of a job that has ended left for a later one.
    pub(super) fn tidy_last(&self, job: &Job) {
        if let Some(directory) = self.last_directory(job) {
            tidy(&directory, true);
        }
    }

    /// A crash between the outcome's record and what it means on disk.
    fn settle_directories(&self) {
        let filter = JobFilter {
            newest: Some(LOOK_BACK),
            ..JobFilter::default()
        };
        match self.store.jobs(&filter) {
            Ok(records) => {
                for record in records {
                    match record.job.state {
                        JobState::Done(Outcome::Succeeded) => self.publish(&record),
                        JobState::Done(_) => self.tidy_last(&record.job),
                        _ => {}
                    }
                }
            }
            Err(error) => tracing::error!(error = %error_chain(&error), "cannot read the database"),
        }
    }
}
