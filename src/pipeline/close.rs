//! The end of an attempt: what it leaves is tidied up, people are told, and `build.json` is finished.
//!
//! An attempt that goes on later is no end for anybody who waits for one: the error callback must never hear of it.

use super::attempt::{Attempt, callback};
use super::stage::tidy;
use crate::engine::Scope;
use crate::model::{Failure, FailureKind, Outcome, Step};
use crate::process::Cancel;
use std::ffi::OsString;

impl Attempt<'_> {
    /// Tidies up after what was cut off, tells the error callback, and finishes the report.
    pub(super) async fn close(&mut self, result: &Result<(), (Step, Failure)>) {
        self.report.results(&self.results);
        let Err((step, failure)) = result else {
            self.tidy();
            self.report.done(Outcome::Succeeded, None, false);
            self.write_report();
            return;
        };
        if failure.kind == FailureKind::Waiting {
            // What was said of it stands in the log. All that a later part of the attempt needs stays.
            self.tidy();
            self.report.waiting();
            self.write_report();
            return;
        }
        let interrupted = failure.kind == FailureKind::Cancelled && self.work.stop.is_asked();
        let will_retry = failure.kind == FailureKind::Errored
            && (self.is_half_released() || !self.work.last && !self.work.cancel.is_asked());
        self.tidy();
        if matches!(step, Step::Pull | Step::Build | Step::Test | Step::Run) && failure.kind != FailureKind::Failed {
            self.remove_containers().await;
        }
        if interrupted {
            self.runner.note(
                *step,
                "interrupted: the daemon stops; the job runs again after the next start",
            );
            self.report.interrupted();
            self.write_report();
            return;
        }
        let outcome = failure.outcome();
        self.runner.note(*step, &format!("{outcome}: {failure}"));
        self.report
            .done(outcome, Some((*step, failure.to_string())), will_retry);
        self.write_report();
        if let Some(argv) = &self.work.project.error_callback
            && outcome.calls_error_callback()
            && !will_retry
        {
            self.error_callback(argv, *step, failure, outcome).await;
        }
    }

    /// Of what was announced, the record says that it is finished from what waits here, until this end is on record too.
    fn tidy(&self) {
        tidy(&self.directory, !self.announced);
    }

    async fn error_callback(&mut self, argv: &[String], step: Step, failure: &Failure, outcome: Outcome) {
        let mut runner = self.runner.with_env([
            ("BUILD_OUTCOME".into(), outcome.as_str().into()),
            ("BUILD_STEP".into(), step.as_str().into()),
            ("BUILD_ERROR".into(), OsString::from(&failure.message)),
        ]);
        if self.work.cancel.is_asked() {
            // It tells of a cancel, and is not what was to be cancelled.
            runner.cancel = self.work.stop.clone();
        }
        let timeout = self.work.project.callback_timeout;
        self.report.begin(Step::ErrorCallback);
        let told = callback(&runner, Step::ErrorCallback, argv, &self.callback_dir(), timeout).await;
        self.report.end(told.as_ref().err().map(ToString::to_string));
        self.write_report();
        if let Err(error) = told {
            let job = &self.work.job;
            tracing::warn!(job = job.id.0, project = %job.project, %error, "the error_callback failed");
        }
    }

    pub(super) async fn remove_containers(&self) {
        let mut runner = self.runner.clone();
        runner.cancel = Cancel::new();
        match self
            .work
            .engine
            .cleanup(&runner, Scope::Attempt(&self.runner.marker))
            .await
        {
            Ok(cleaned) => tracing::debug!(
                job = self.work.job.id.0,
                ?cleaned,
                "removed what a step left in the engine"
            ),
            Err(error) => {
                tracing::error!(job = self.work.job.id.0, %error, "cannot remove what a step left in the engine");
            }
        }
    }
}
