//! What people ask for.

use super::event::Effect;
use super::handle::{Tip, Turn, Why};
use crate::model::{CommitId, JobId, JobState, Mode, Outcome, ProjectName, Reason, RefName};

impl Turn<'_> {
    /// A person asks for the commit that a ref was just seen at.
    pub(super) fn build_requested(&mut self, name: &ProjectName, reference: &RefName, commit: &CommitId) {
        let config = self.config;
        let project = config.projects.get(name).filter(|project| project.enabled);
        let Some(project) = project.filter(|_| self.state.mode == Mode::Normal) else {
            return;
        };
        let waiting = self
            .state
            .live(name, reference)
            .find(|job| job.commit == *commit && job.is_queued())
            .map(|job| job.id);
        let id = match waiting {
            Some(id) => {
                self.put(id, |job| {
                    job.state = JobState::Queued { not_before: None };
                    job.reason = Reason::Manual;
                    // All of the commit.
                    job.rebuild = None;
                    job.note = "asked for, and was queued already".to_owned();
                });
                id
            }
            None => {
                let tip = Tip {
                    project: name,
                    reference,
                    commit,
                };
                let queued = JobState::Queued { not_before: None };
                self.add(tip, Why::new(Reason::Manual, "asked for"), None, queued)
            }
        };
        // It was just seen at the remote: the next look must not find an older one to be the tip still.
        let seen = self.state.projects.get(name).and_then(|seen| seen.refs.get(reference));
        if seen.is_some_and(|seen| seen != commit) {
            self.tip_moved(project, reference, commit, false, false);
        }
        self.decision.effects.push(Effect::Queued(id));
    }

    pub(super) fn cancel_requested(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get(&id) else { return };
        match job.state {
            JobState::Queued { .. } | JobState::Running { .. } if self.state.is_moving_with_its_wave(job) => {
                let why = "its wave is being released: that is finished";
                if job.note != why {
                    self.put(id, |job| job.note = why.to_owned());
                }
            }
            JobState::Queued { .. } => self.end(id, Outcome::Cancelled, "cancelled by request before it started"),
            JobState::Running { cancelling: false } => {
                self.put(id, |job| {
                    job.state = JobState::Running { cancelling: true };
                    job.note = "being cancelled by request".to_owned();
                });
                self.decision.effects.push(Effect::Cancel(id));
            }
            JobState::Running { cancelling: true } | JobState::Done(_) => {}
        }
    }
}
