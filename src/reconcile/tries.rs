//! What was tried for an image: for the same inputs it is not built again, whether that failed, cured nothing or was
//! cancelled, until they change or a person asks.

use super::handle::{Turn, replace};
use super::judge::base_key;
use super::mends::{mends, waits_for_mend};
use super::overtaken::is_newer;
use super::timing::rounded;
use crate::config::Config;
use crate::model::{
    ImageName, Job, JobId, JobState, Node, Outcome, ProjectName, RefName, ReleaseStage, State, Tried, Updates, Write,
};
use jiff::Timestamp;

/// Why an image is not built again although there is something new below it; none if it may be.
pub fn held(node: &Node, key: &str, updates: &Updates, config: &Config) -> Option<String> {
    let tried = updates.tried.get(node).filter(|tried| tried.key == key)?;
    let job = tried.job;
    let checked_since = |at: &Timestamp| {
        let packages = updates.packages.get(node).and_then(|check| check.last.as_ref());
        let standing = updates.standings.get(node);
        let bases = standing.into_iter().flat_map(|standing| &standing.bases);
        let mut looks = bases
            .filter_map(|base| base_key(node, base))
            .filter_map(|key| updates.bases.get(&key)?.last.as_ref());
        looks.any(|look| look.checked > *at) || packages.is_some_and(|packages| packages.checked > *at)
    };
    match &tried.ended {
        None => Some(format!("job {job} is about it")),
        // Our own trouble: with the next look it is tried again.
        Some((Outcome::Errored, at)) if checked_since(at) => None,
        // What it begins is another wave by now.
        Some(_) if !mends(node, job, updates, config).is_empty() => None,
        Some((Outcome::Errored, _)) => Some(format!("job {job} errored: tried again after the next check")),
        Some((Outcome::Succeeded, _)) => Some(format!(
            "job {job} built it again and that did not change it: not tried again until something else is new"
        )),
        Some((Outcome::Superseded, _)) => Some(format!(
            "job {job} found that its commit is gone from the remote: not tried again until something else is new"
        )),
        Some((outcome, _)) => Some(match waits_for_mend(node, job, updates) {
            Some(why) => format!("job {job} was built for the same and was not released: {why}"),
            None => format!(
                "job {job} was built for the same and {}: not tried again until something else is new, or by hand",
                match outcome {
                    Outcome::Cancelled => "cancelled",
                    Outcome::TimedOut => "timed out",
                    _ => "failed",
                }
            ),
        }),
    }
}

/// The live job that builds a released image again, if there is one.
pub fn tried_job(node: &Node, state: &State) -> Option<JobId> {
    let tried = state.updates.tried.get(node)?;
    state.jobs.contains_key(&tried.job).then_some(tried.job)
}

impl Turn<'_> {
    pub(super) fn note_try(
        &mut self,
        project: &ProjectName,
        reference: &RefName,
        image: &ImageName,
        key: String,
        job: JobId,
    ) {
        let node = Node {
            project: project.clone(),
            reference: reference.clone(),
            image: image.clone(),
        };
        let tried = Tried { key, job, ended: None };
        self.put_tried(&node, Some(tried));
    }

    pub(super) fn put_tried(&mut self, node: &Node, tried: Option<Tried>) {
        if replace(&mut self.state.updates.tried, node, tried.as_ref()) {
            self.note_node(node);
            let node = node.clone();
            self.decision.writes.push(Write::Tried { node, tried });
        }
    }

    /// What was tried with another commit says nothing of this one.
    pub(super) fn forget_try(&mut self, node: &Node) {
        let tried = self.state.updates.tried.get(node);
        if tried.is_some_and(|tried| tried.ended.is_some()) {
            self.put_tried(node, None);
        }
    }

    /// A job has its outcome, with its release as far as that had come: what was tried by it holds, or does not.
    pub(super) fn tried(&mut self, job: &Job, stage: Option<ReleaseStage>) {
        let JobState::Done(outcome) = job.state else { return };
        let tried = Node::of_ref(&self.state.updates.tried, &job.project, &job.reference);
        let about: Vec<(Node, Tried)> = tried
            .filter(|(_, tried)| tried.job == job.id)
            .map(|(node, tried)| (node.clone(), tried.clone()))
            .collect();
        let holds = match outcome {
            Outcome::Skipped => false,
            // By a newer commit, before its turn: that may fail.
            Outcome::Superseded => job.is_gone(),
            // Of what its wave took down with it nothing was found out.
            _ if self.is_of_failed_wave(job, stage) => false,
            Outcome::Succeeded | Outcome::Failed | Outcome::Errored | Outcome::TimedOut | Outcome::Cancelled => true,
        };
        let ended = Some((outcome, rounded(self.now)));
        for (node, tried) in about {
            let standing = self.state.updates.standings.get(&node);
            // What a newer job has released meanwhile nobody has tried to renew.
            let is_overtaken = standing
                .and_then(|standing| standing.job)
                .is_some_and(|other| is_newer(other, &node.image, job.id, job.rebuild.as_ref()));
            let tried = (holds && !is_overtaken).then_some(Tried { ended, ..tried });
            self.put_tried(&node, tried);
        }
    }
}

/// By which it is known that the tip was tried for these inputs.
pub(super) fn tip_key(key: &str) -> String {
    format!("tip {key}")
}
