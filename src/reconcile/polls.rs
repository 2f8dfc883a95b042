//! What a look at a remote changes.

use super::handle::{Tip, Turn, Why};
use super::sight::{is_selected, selected_by, selection, skip_at_first_sight};
use crate::config::Project;
use crate::model::{CommitId, Job, JobState, Mode, Outcome, ProjectName, Reason, RefName, Write};
use std::collections::{BTreeMap, BTreeSet};

impl Turn<'_> {
    pub(super) fn refs_listed(
        &mut self,
        name: &ProjectName,
        refs: &BTreeMap<RefName, CommitId>,
        settled: &BTreeSet<RefName>,
    ) {
        let config = self.config;
        let Some(project) = config.projects.get(name).filter(|p| p.enabled) else {
            return;
        };
        if self.state.mode != Mode::Normal {
            return;
        }
        let selection = selection(project);
        let seen = self.state.projects.entry(name.clone()).or_default();
        let known = seen.refs.clone();
        let changed = seen.selection.as_ref() != Some(&selection);
        let before = seen.selection.clone().filter(|_| changed);
        if changed {
            seen.selection = Some(selection.clone());
            self.decision.writes.push(Write::Selection {
                project: name.clone(),
                selection,
            });
        }
        // Beside the refs of the last look, those of jobs that came back to the queue since.
        let queued = self.state.jobs.of_project(name).filter(|job| job.is_queued());
        let followed: BTreeSet<RefName> = known
            .keys()
            .cloned()
            .chain(queued.map(|job| job.reference.clone()))
            .collect();
        for reference in &followed {
            if !refs.contains_key(reference) {
                self.gone(name, reference, "the ref was deleted");
            } else if !is_selected(project, reference) {
                self.gone(name, reference, "the ref is not selected any more");
            }
        }
        for (reference, commit) in refs {
            if known.get(reference) == Some(commit) || !is_selected(project, reference) {
                continue;
            }
            // What the patterns of the last look selected too is not brought in by these.
            let watched = known.contains_key(reference) || before.as_ref().is_some_and(|b| selected_by(b, reference));
            self.tip_moved(
                project,
                reference,
                commit,
                changed && !watched,
                settled.contains(reference),
            );
        }
    }

    pub(super) fn gone(&mut self, project: &ProjectName, reference: &RefName, why: &str) {
        self.set_ref(project, reference, None);
        self.forget_links(project, Some(reference), |_| false);
        for job in self.superseded_by_polls(project, reference) {
            self.skip(&job, why);
        }
    }

    /// Queued jobs of a ref that what a poll sees may end: all but those that a person asked for, and those whose
    /// release has begun.
    pub(super) fn superseded_by_polls(&self, project: &ProjectName, reference: &RefName) -> Vec<Job> {
        self.state
            .live(project, reference)
            .filter(|job| {
                job.is_queued() && job.reason != Reason::Manual && !self.state.releasing.contains_key(&job.id)
            })
            .cloned()
            .collect()
    }

    pub(super) fn tip_moved(
        &mut self,
        project: &Project,
        reference: &RefName,
        commit: &CommitId,
        first_sight: bool,
        settled: bool,
    ) {
        let name = &project.name;
        let tip = Tip {
            project: name,
            reference,
            commit,
        };
        let before = self
            .state
            .projects
            .get(name)
            .and_then(|seen| seen.refs.get(reference))
            .cloned();
        self.set_ref(name, reference, Some(commit));
        let stale = self.superseded_by_polls(name, reference);
        let live = self.state.live(name, reference).any(|job| job.commit == *commit);
        let place = stale.iter().map(|job| job.place).min();
        for job in stale.iter().filter(|job| job.commit != *commit) {
            self.supersede(job.id, commit);
        }
        if live || settled {
            return;
        }
        if first_sight && let Some(why) = skip_at_first_sight(project, reference) {
            let skipped = JobState::Done(Outcome::Skipped);
            self.add(tip, Why::new(Reason::NewCommit, why), None, skipped);
            return;
        }
        let note = match before {
            Some(before) => format!("the ref moved from {} to {}", before.short(), commit.short()),
            None => format!("the ref is new here, at {}", commit.short()),
        };
        let queued = JobState::Queued { not_before: None };
        self.add(tip, Why::new(Reason::NewCommit, note), place, queued);
    }
}
