//! What the end of an attempt, or of a daemon, means for its job.

use super::handle::Turn;
use super::retry::{backoff, later};
use crate::model::{Failure, FailureKind, ImageResult, Job, JobId, JobState, Outcome, ReleaseStage, Step, Write};

impl Turn<'_> {
    pub(super) fn recovered(&mut self) {
        let running: Vec<JobId> = self.state.jobs.running().map(|job| job.id).collect();
        for id in running {
            self.requeue(id, "the daemon was gone while it ran: it runs again");
        }
    }

    /// An interrupted attempt does not count. What a person cancelled before the end came stays cancelled.
    pub(super) fn requeue(&mut self, id: JobId, note: &str) {
        self.put(id, |job| {
            if let JobState::Running { cancelling: true } = job.state {
                job.state = JobState::Done(Outcome::Cancelled);
                job.note = "cancelled by request".to_owned();
            } else {
                job.state = JobState::Queued { not_before: None };
                job.note = note.to_owned();
            }
        });
    }

    /// It has ended for now: until something upstream is settled, or until the rest of its wave is good.
    fn waiting(&mut self, job: &Job, why: &str) {
        let id = job.id;
        if let JobState::Running { cancelling: true } = job.state {
            return self.end(id, Outcome::Cancelled, "cancelled by request");
        }
        match self.state.releasing.get(&id).map(|plan| plan.stage) {
            Some(ReleaseStage::Gathering) => {
                self.decision.writes.push(Write::AttemptEnd {
                    job: id,
                    failure: None,
                    image_id: None,
                    images: Vec::new(),
                    void: false,
                });
                self.hold(id);
                self.reconsider_below_ref(&job.project, &job.reference);
            }
            _ => {
                self.decision.writes.push(Write::AttemptWaits(id));
                self.put(id, |job| {
                    job.state = JobState::Queued { not_before: None };
                    job.note = why.to_owned();
                });
            }
        }
    }

    pub(super) fn attempt_ended(
        &mut self,
        id: JobId,
        result: Result<(), (Step, Failure)>,
        recorded: Write,
        last: bool,
    ) {
        let Some(job) = self.state.jobs.get(&id).filter(|job| job.is_running()).cloned() else {
            return;
        };
        if let Err((_, failure)) = &result
            && failure.kind == FailureKind::Waiting
        {
            return self.waiting(&job, &failure.message.clone());
        }
        let mut half = false;
        if let Write::AttemptEnd { void, images, .. } = &recorded {
            if *void {
                let plan = self.state.releasing.remove(&id);
                self.state.jobs.touch(id);
                if plan.is_some_and(|plan| plan.stage == ReleaseStage::Moving) && job.atomic.is_some() {
                    // The rest of its wave is released, or will be: it follows by itself.
                    self.put(id, |job| job.atomic = None);
                }
            }
            // Of an atomic wave that is being released, every image is half of it.
            let is_wave = job.atomic.is_some()
                && self
                    .state
                    .releasing
                    .get(&id)
                    .is_some_and(|plan| plan.stage == ReleaseStage::Moving);
            half = !void && (is_wave || images.iter().any(ImageResult::is_half_released));
        }
        self.decision.writes.push(recorded);
        let (step, failure) = match result {
            Ok(()) => {
                self.put(id, |job| {
                    job.attempts += 1;
                    job.state = JobState::Done(Outcome::Succeeded);
                    job.failure = None;
                    job.note = "all steps ended well".to_owned();
                });
                return;
            }
            Err(failed) => failed,
        };
        if failure.kind == FailureKind::Cancelled {
            return self.requeue(id, "the daemon stopped while it ran: it runs again");
        }
        if failure.kind == FailureKind::Superseded {
            // Forgotten, so that the next look at the remote decides anew.
            self.set_ref(&job.project, &job.reference, None);
        }
        let attempts = job.attempts + 1;
        let cancelling = matches!(job.state, JobState::Running { cancelling: true });
        let retry = &self.config.retry;
        // What is half released is finished, whatever was said or counted meanwhile.
        let again = failure.kind == FailureKind::Errored && (half || !last && !cancelling);
        let wait = backoff(retry, attempts);
        let now = self.now;
        let allowed = retry.attempts.max(attempts);
        let last_place = self.state.next_id;
        self.put(id, |job| {
            job.attempts = attempts;
            if again {
                // It had its turn: a ref that errors all the time, or whoever inherits its place, must not hold up others.
                job.place = last_place;
                job.state = JobState::Queued {
                    not_before: Some(later(now, wait)),
                };
                job.note = format!(
                    "attempt {attempts} of {allowed} errored, tried again in {}: {failure}",
                    humantime::format_duration(wait)
                );
            } else {
                let outcome = failure.outcome();
                job.state = JobState::Done(outcome);
                job.note = match outcome {
                    Outcome::Errored if attempts > 1 => format!("after {attempts} attempts: {failure}"),
                    _ => failure.to_string(),
                };
            }
            job.failure = Some((step, failure));
        });
    }
}
