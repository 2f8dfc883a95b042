//! The one function that decides.

use super::event::{Decision, Effect, Event};
use super::rebuilds::Scope;
use crate::config::Config;
use crate::model::{
    CommitId, Job, JobId, JobState, Memo, Mode, Node, Outcome, ProjectName, Reason, Rebuild, RefKey, RefName,
    ReleaseStage, State, Write,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Takes one event into the state. Replaying an event that was taken already changes nothing.
pub fn handle(state: &mut State, config: &Config, now: Timestamp, event: Event) -> Decision {
    let mut turn = Turn {
        state,
        config,
        now,
        decision: Decision::default(),
        ended: Vec::new(),
        reconsider: BTreeSet::new(),
    };
    match event {
        Event::Recovered => {
            turn.state.graph = Memo::default();
            turn.recovered();
            turn.reviewed();
        }
        Event::RefsListed { project, refs, settled } => {
            turn.refs_listed(&project, &refs, &settled);
            if !turn.decision.writes.is_empty() {
                turn.check_at(now);
            }
        }
        Event::BuildRequested {
            project,
            reference,
            commit,
        } => turn.build_requested(&project, &reference, &commit),
        Event::RebuildRequested { wanted } => turn.rebuild_requested(wanted),
        Event::RebuildAsked { nodes, force } => turn.rebuild_asked(&nodes, force),
        Event::CancelRequested { job } => turn.cancel_requested(job),
        Event::Learned { job, learned } => turn.learned(job, &learned),
        Event::Releasing { job, plan } => turn.releasing(job, plan),
        Event::AttemptEnded {
            job,
            result,
            image_id,
            images,
            void,
            last,
        } => {
            let ended = turn.state.jobs.get(&job).filter(|job| job.is_running()).cloned();
            let results = images.clone();
            let recorded = Write::AttemptEnd {
                job,
                failure: result.clone().err(),
                image_id,
                images,
                void,
            };
            turn.attempt_ended(job, result, recorded, last);
            if let Some(ended) = ended {
                turn.results(&ended, &results);
            }
        }
        Event::BaseSeen {
            base,
            result,
            failed_tips,
        } => {
            turn.base_seen(&base, result);
            turn.rebuild(&Scope::Base(&base), &failed_tips);
        }
        Event::PackagesSeen { node, result } => {
            turn.packages_seen(&node, result);
            turn.rebuild(&Scope::Node(&node), &BTreeSet::new());
        }
        Event::ElsewhereSeen { node, result } => {
            turn.elsewhere_seen(&node, result);
            turn.rebuild(&Scope::Node(&node), &BTreeSet::new());
        }
        Event::ConfigChanged => {
            turn.state.graph = Memo::default();
            turn.reviewed();
        }
        Event::Poked { poke, result } => turn.poked(poke, result),
        Event::PokeAgain { pokes } => turn.poke_again(&pokes),
        Event::LookNow { bases } => turn.look_now(&bases),
        Event::Tick => {}
        Event::Drain => {
            if turn.state.mode == Mode::Normal {
                turn.state.mode = Mode::Draining;
            }
        }
        Event::Stop => turn.stop(),
    }
    turn.settle();
    turn.check();
    turn.poke();
    turn.start();
    turn.decision
}

/// A commit at the tip of a project's ref.
#[derive(Clone, Copy)]
pub(super) struct Tip<'a> {
    pub project: &'a ProjectName,
    pub reference: &'a RefName,
    pub commit: &'a CommitId,
}

/// Puts a value in the place of what is known by a key, or takes that away. Answers whether this changed anything, so that
/// nothing is recorded that is on record.
pub(super) fn replace<K: Ord + Clone, V: PartialEq + Clone>(
    all: &mut BTreeMap<K, V>,
    key: &K,
    value: Option<&V>,
) -> bool {
    let before = match value {
        Some(value) => all.insert(key.clone(), value.clone()),
        None => all.remove(key),
    };
    before.as_ref() != value
}

/// Why a job is made.
pub(super) struct Why {
    pub reason: Reason,
    pub cause: String,
    pub rebuild: Option<Rebuild>,
    /// The wave that it belongs to; none: it begins one.
    pub wave: Option<JobId>,
    /// The atomic wave that it is a part of.
    pub atomic: Option<JobId>,
}

impl Why {
    /// A job that builds the commit as it is.
    pub fn new(reason: Reason, cause: impl Into<String>) -> Self {
        Self {
            reason,
            cause: cause.into(),
            rebuild: None,
            wave: None,
            atomic: None,
        }
    }
}

pub(super) struct Turn<'a> {
    pub state: &'a mut State,
    pub config: &'a Config,
    pub now: Timestamp,
    pub decision: Decision,
    /// Jobs that have their outcome since this turn, each with how far its release had come.
    pub ended: Vec<(Job, Option<ReleaseStage>)>,
    /// Images that may not have to wait any more, for another reason than the end of a job.
    pub reconsider: BTreeSet<Node>,
}

impl Turn<'_> {
    /// Changes a live job and records it. What is done leaves the state.
    pub(super) fn put(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        self.put_with(id, true, change);
    }

    fn put_with(&mut self, id: JobId, lasting: bool, change: impl FnOnce(&mut Job)) {
        let Some(mut job) = self.state.jobs.get(&id).cloned() else {
            return;
        };
        change(&mut job);
        if job.is_live() {
            self.state.jobs.insert(id, job.clone());
        } else {
            self.state.jobs.remove(id);
            let plan = self.state.releasing.remove(&id);
            self.ended.push((job.clone(), plan.map(|plan| plan.stage)));
        }
        self.decision.writes.push(Write::Job { job, lasting });
    }

    pub(super) fn end(&mut self, id: JobId, outcome: Outcome, note: impl Into<String>) {
        self.put(id, |job| {
            job.state = JobState::Done(outcome);
            job.note = note.into();
        });
    }

    /// The ref went on to another commit before the job had its turn.
    pub(super) fn supersede(&mut self, id: JobId, by: &CommitId) {
        self.end(id, Outcome::Superseded, format!("the ref moved to {}", by.short()));
    }

    /// For a reason that may pass. The ref is forgotten, so that it is seen anew if it comes back.
    pub(super) fn skip(&mut self, job: &Job, why: &str) {
        self.set_ref(&job.project, &job.reference, None);
        self.put_with(job.id, false, |job| {
            job.state = JobState::Done(Outcome::Skipped);
            job.note = why.to_owned();
        });
    }

    pub(super) fn set_ref(&mut self, project: &ProjectName, reference: &RefName, commit: Option<&CommitId>) {
        let is_followed = |state: &State| {
            let seen = state.projects.get(project);
            seen.is_some_and(|seen| seen.refs.contains_key(reference))
        };
        if is_followed(self.state) != commit.is_some() {
            self.reconsider_below_ref(project, reference);
            self.reconsider_own_waves(project, reference);
            self.state.graph.forget();
        }
        let seen = self.state.projects.entry(project.clone()).or_default();
        if replace(&mut seen.refs, reference, commit) {
            self.state.jobs.touch_ref(project, reference);
            self.decision.writes.push(Write::Ref {
                project: project.clone(),
                reference: reference.clone(),
                commit: commit.cloned(),
            });
        }
    }

    pub(super) fn add(&mut self, tip: Tip<'_>, why: Why, place: Option<i64>, state: JobState) -> JobId {
        let id = JobId(self.state.next_id);
        self.state.next_id += 1;
        let skipped = matches!(state, JobState::Done(_));
        let seen = self.state.projects.entry(tip.project.clone()).or_default();
        if !skipped {
            seen.last_number += 1;
        }
        let job = Job {
            id,
            project: tip.project.clone(),
            reference: tip.reference.clone(),
            commit: tip.commit.clone(),
            number: if skipped { 0 } else { seen.last_number },
            reason: why.reason,
            cause: why.cause,
            place: place.unwrap_or(id.0),
            created: self.now,
            state,
            attempts: 0,
            note: String::new(),
            failure: None,
            rebuild: why.rebuild,
            wave: why.wave.unwrap_or(id),
            atomic: why.atomic,
        };
        self.state.jobs.insert(id, job);
        self.put(id, |_| {});
        id
    }

    /// What must not wait, or not any more, of the refs whose jobs have changed since this was looked at.
    fn review(&mut self) {
        self.digest();
        let refs = match self.state.graph.review.replace(BTreeSet::new()) {
            Some(refs) => refs,
            None => self.state.jobs.refs().collect(),
        };
        self.drop_unwatched(&refs);
        self.supersede_stale(&refs);
    }

    /// Nothing of a project that is not watched waits, but for the references of a wave, which all move; a job that comes
    /// back to the queue may find that its project went while it ran.
    fn drop_unwatched(&mut self, refs: &BTreeSet<RefKey>) {
        let config = self.config;
        let jobs = refs
            .iter()
            .flat_map(|(project, reference)| self.state.live(project, reference));
        let mut dropped: Vec<Job> = jobs
            .filter(|job| {
                let is_watched = config.projects.get(&job.project).is_some_and(|project| project.enabled);
                job.is_queued() && !is_watched && !self.state.is_moving_with_its_wave(job)
            })
            .cloned()
            .collect();
        dropped.sort_by_key(|job| job.id);
        for job in dropped {
            let why = if config.projects.contains_key(&job.project) {
                "the project was disabled"
            } else {
                "the project was removed from the config"
            };
            self.skip(&job, why);
        }
    }

    /// What follows from what has happened, and from that, until nothing does: each wave that ends may be what another one
    /// or a newer commit has waited for.
    fn settle(&mut self) {
        loop {
            let before = self.decision.writes.len();
            self.review();
            self.rebuild_where_jobs_ended();
            self.release_waves();
            if self.decision.writes.len() == before {
                return;
            }
        }
    }

    /// After the start, and with another config, everything is looked at anew.
    fn reviewed(&mut self) {
        self.prune_checks();
        self.check_at(self.now);
        self.rebuild(&Scope::All, &BTreeSet::new());
    }

    /// What was not built again because of a job may be now.
    fn rebuild_where_jobs_ended(&mut self) {
        loop {
            let ended = std::mem::take(&mut self.ended);
            let mut reconsider = std::mem::take(&mut self.reconsider);
            if ended.is_empty() && reconsider.is_empty() {
                return;
            }
            for (job, stage) in &ended {
                self.tried(job, *stage);
                self.note_failed(job);
                if job.state == JobState::Done(Outcome::Succeeded) {
                    self.thing(job);
                }
                self.reconsider_below_ref(&job.project, &job.reference);
                self.reconsider_failed_waves(job);
                reconsider.append(&mut self.reconsider);
            }
            if !ended.is_empty() {
                self.check_at(self.now);
            }
            self.fail_waves(&ended);
            self.skip_below_failed(&ended);
            let refs: BTreeSet<_> = ended.iter().map(|(job, _)| (&job.project, &job.reference)).collect();
            for (project, reference) in refs {
                self.rebuild(&Scope::Ref(project, reference), &BTreeSet::new());
            }
            self.rebuild(&Scope::Below(reconsider), &BTreeSet::new());
        }
    }

    fn stop(&mut self) {
        self.state.mode = Mode::Stopping;
        for job in self.state.jobs.running() {
            self.decision.effects.push(Effect::Interrupt(job.id));
        }
    }

    /// Of the queued jobs of a ref that polls made, only the newest is worth running: a retry or an interrupted job may
    /// find that a newer commit was queued while it ran.
    fn supersede_stale(&mut self, refs: &BTreeSet<RefKey>) {
        let mut stale = Vec::new();
        for (project, reference) in refs {
            let mut newest: Option<&Job> = None;
            for job in self.state.live(project, reference) {
                if !job.is_queued() || job.reason == Reason::Manual || self.state.releasing.contains_key(&job.id) {
                    continue;
                }
                if let Some(older) = newest.replace(job) {
                    stale.push((job.id, older.id, older.place, job.commit.clone()));
                }
            }
        }
        stale.sort_unstable_by_key(|(newer, ..)| *newer);
        for (newer, older, place, commit) in stale {
            self.supersede(older, &commit);
            self.put(newer, |job| job.place = job.place.min(place));
        }
    }
}
