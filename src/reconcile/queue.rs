//! Which queued jobs start now: at most `limit` in all, one of a ref, first come first served; of the jobs of a wave the
//! one with the longest way below it takes the first of their places.

use super::above::{Sight, is_held};
use super::event::Effect;
use super::handle::Turn;
use super::ours::Ours;
use super::retry::is_due;
use super::waves::node_of;
use crate::model::{Job, JobId, JobState, Mode, ProjectName, Reason, RefName, ReleaseStage, State, Write};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

impl Turn<'_> {
    pub(super) fn start(&mut self) {
        for id in self.startable() {
            let is_abandoned = self
                .state
                .releasing
                .get(&id)
                .is_some_and(|plan| plan.stage == ReleaseStage::Abandoned);
            self.begins(id);
            self.put(id, |job| {
                job.state = JobState::Running { cancelling: false };
                // Of what is abandoned it is all that there is to tell.
                if !is_abandoned {
                    job.note.clear();
                }
            });
            self.decision.writes.push(Write::Attempt(id));
            self.decision.effects.push(Effect::Start(id));
        }
    }

    /// The jobs to start, in order.
    fn startable(&mut self) -> Vec<JobId> {
        let running = self.state.jobs.values().filter(|job| job.is_running()).count();
        let free = self.config.limit.saturating_sub(running);
        if self.state.mode == Mode::Stopping || free == 0 || self.due().is_empty() {
            return Vec::new();
        }
        let ours = self.ours();
        let sight = Sight::new(self.state, self.config, &ours);
        let mut ready: Vec<&Job> = self.due();
        let running = self.state.jobs.values().filter(|job| job.is_running());
        let mut busy: HashSet<(&ProjectName, &RefName)> = running.map(|job| (&job.project, &job.reference)).collect();
        // A ref has one turn. If its first job waits, the others wait behind it: each would make forgotten what the other
        // one has learned, and both would be tried in turn for ever.
        ready.sort_by_key(|job| (self.turn(job), job.place, job.id));
        ready.retain(|job| !is_held(self.state, job.id) && busy.insert((&job.project, &job.reference)));
        ready.sort_by_key(|job| (job.place, job.id));
        longest_first(&mut ready, &ours);
        let nothing_above = ready.iter().filter(|job| sight.has_nothing_above(job));
        let mut start: Vec<JobId> = nothing_above.map(|job| job.id).take(free).collect();
        if start.len() < free && start.len() < ready.len() {
            // Some of them may wait for each other only: that is dearer to find out.
            let waits = sight.waits();
            let free_of_others = ready.iter().filter(|job| !waits.contains_key(&job.id));
            start = free_of_others.map(|job| job.id).take(free).collect();
        }
        start
    }

    /// Of the jobs of a ref what is to be finished comes first, then what a person wants: that is never blocked.
    fn turn(&self, job: &Job) -> u8 {
        match (self.state.releasing.contains_key(&job.id), job.reason) {
            (true, _) => 0,
            (false, Reason::Manual) => 1,
            (false, _) => 2,
        }
    }

    /// Queued jobs that need not wait for a time, the first one first.
    fn due(&self) -> Vec<&Job> {
        let is_due = |job: &&Job| match job.state {
            JobState::Queued { not_before } => is_due(not_before, self.now, &self.config.retry),
            JobState::Running { .. } | JobState::Done(_) => false,
        };
        let is_enabled = |job: &&Job| {
            let project = self.config.projects.get(&job.project);
            project.is_some_and(|project| project.enabled) || self.is_moving_with_its_wave(job)
        };
        let mut due: Vec<&Job> = self.state.jobs.values().filter(is_due).filter(is_enabled).collect();
        due.sort_by_key(|job| (job.place, job.id));
        due
    }
}

/// Lets the jobs of each wave exchange their places: a job that nothing stands on may come last, and who is not of the
/// wave keeps his place.
fn longest_first(ready: &mut [&Job], ours: &Ours) {
    let mut waves: BTreeMap<JobId, Vec<usize>> = BTreeMap::new();
    for (at, job) in ready.iter().enumerate().filter(|(_, job)| job.rebuild.is_some()) {
        waves.entry(job.wave).or_default().push(at);
    }
    for places in waves.into_values().filter(|places| places.len() > 1) {
        let mut jobs: Vec<&Job> = places.iter().map(|at| ready[*at]).collect();
        jobs.sort_by_cached_key(|job| (Reverse(height(job, ours)), job.place, job.id));
        for (at, job) in places.into_iter().zip(jobs) {
            ready[at] = job;
        }
    }
}

fn height(job: &Job, ours: &Ours) -> usize {
    let images = job.rebuild.iter().flat_map(|rebuild| rebuild.images.keys());
    let places = images.filter_map(|image| ours.graph.place(&node_of(job, image)));
    places.map(|place| ours.graph.height(place)).max().unwrap_or(0)
}

/// When to look again although nothing happens: the end of the next backoff, or the next check or poke. What is due already waits for a slot, and
/// the end of another job is an event.
pub fn next_wake(state: &State, now: Timestamp) -> Option<Timestamp> {
    let checks = state.checking.next.filter(|_| state.mode == Mode::Normal);
    let pokes = state.checking.poke_at.filter(|_| state.mode == Mode::Normal);
    state
        .jobs
        .values()
        .filter_map(|job| match job.state {
            JobState::Queued { not_before } => not_before,
            JobState::Running { .. } | JobState::Done(_) => None,
        })
        .filter(|at| *at > now)
        .chain(checks.into_iter().chain(pokes).map(|at| at.max(now)))
        .min()
}
