//! Which queued jobs start now: at most `limit` in all, one of a ref, first come first served; of the jobs of a wave the
//! one with the longest way below it takes the first of their places.

use super::above::{Sight, is_held};
use super::event::Effect;
use super::handle::Turn;
use super::ours::Ours;
use super::retry::is_due;
use super::waves::node_of;
use crate::model::{Head, Job, JobId, JobState, Lineup, Mode, Reason, RefKey, ReleaseStage, State, Write};
use jiff::Timestamp;

impl Turn<'_> {
    pub(super) fn start(&mut self) {
        for id in self.startable() {
            let job = self.state.jobs.get(&id);
            let is_moving = job.is_some_and(|job| self.state.is_moving_with_its_wave(job));
            let stage = self.state.releasing.get(&id).map(|plan| plan.stage);
            self.begins(id);
            self.put(id, |job| {
                job.state = JobState::Running { cancelling: false };
                // Of what is abandoned it is all that there is to tell.
                if !is_moving && stage != Some(ReleaseStage::Abandoned) {
                    job.note.clear();
                }
            });
            self.decision.writes.push(Write::Attempt(id));
            self.decision.effects.push(Effect::Start(id));
        }
    }

    /// The jobs to start, in order.
    fn startable(&mut self) -> Vec<JobId> {
        let free = self.config.limit.saturating_sub(self.state.jobs.count_running());
        if self.state.mode == Mode::Stopping || free == 0 || self.state.jobs.is_empty() {
            return Vec::new();
        }
        let ours = self.ours();
        let mut lineup = self.lined_up(&ours);
        if lineup.all_wait() {
            self.state.graph.lineup = Some(lineup);
            return Vec::new();
        }
        let known = self.known();
        let sight = Sight::remembering(self.state, self.config, &ours, known);
        let mut start = Vec::new();
        // In order, with those that may only wait for each other.
        let mut visited: Vec<(JobId, bool)> = Vec::new();
        let mut waiting = Vec::new();
        for id in lineup.in_order() {
            let Some(job) = self.state.jobs.get(&id) else { continue };
            match sight.obstacle(job) {
                None => {
                    start.push(id);
                    visited.push((id, false));
                }
                Some(_) if sight.is_entangled(job) => visited.push((id, true)),
                Some((on, other)) => waiting.push((id, on, other)),
            }
            if start.len() == free {
                break;
            }
        }
        if start.len() < free && visited.iter().any(|(_, waits)| *waits) {
            // That is dearer to find out.
            let waits = sight.waits_among(self.state.jobs.values().filter(|job| sight.is_entangled(job)));
            let is_free = |(id, may_wait): &(JobId, bool)| !may_wait || !waits.contains_key(id);
            let free_of_others = visited.iter().filter(|job| is_free(job));
            start = free_of_others.map(|(id, _)| *id).take(free).collect();
        }
        self.state.graph.sighted = sight.into_known();
        for (id, on, other) in waiting {
            lineup.park(id, on, other);
        }
        self.state.graph.lineup = Some(lineup);
        start
    }

    /// Whose turn it is on each ref by now. It is taken out of the state.
    fn lined_up(&mut self, ours: &Ours) -> Lineup {
        self.digest();
        let mut lineup = match self.state.graph.lineup.take() {
            Some(lineup) => lineup,
            None => Lineup::new(self.state.jobs.refs().collect()),
        };
        let mut dirty = std::mem::take(&mut lineup.dirty);
        let later = self.state.jobs.later();
        dirty.extend(later.map(|(job, _)| (job.project.clone(), job.reference.clone())));
        for of in &dirty {
            lineup.put(of, self.head(of, ours));
            let releases = |id: JobId| self.state.jobs.contains_key(&id) && !is_held(self.state, id);
            lineup.release(of, releases);
        }
        lineup
    }

    /// The job whose turn it is on a ref, if none runs. If it waits, the others wait behind it: each would make forgotten
    /// what the other one has learned, and both would be tried in turn for ever.
    fn head(&self, of: &RefKey, ours: &Ours) -> Option<Head> {
        let live = || self.state.live(&of.0, &of.1);
        if live().any(Job::is_running) {
            return None;
        }
        let ready = live().filter(|job| self.is_ready(job) && !is_held(self.state, job.id));
        let job = ready.min_by_key(|job| (self.turn(job), job.place, job.id))?;
        Some(Head {
            place: job.place,
            job: job.id,
            // A job that nothing stands on may come last.
            wave: job.rebuild.as_ref().map(|_| job.wave),
            height: height(job, ours),
        })
    }

    /// Of the jobs of a ref what is to be finished comes first, then what a person wants: that is never blocked.
    fn turn(&self, job: &Job) -> u8 {
        match (self.state.releasing.contains_key(&job.id), job.reason) {
            (true, _) => 0,
            (false, Reason::Manual) => 1,
            (false, _) => 2,
        }
    }

    /// Whether it is queued, and need not wait for a time.
    fn is_ready(&self, job: &Job) -> bool {
        let is_due = match job.state {
            JobState::Queued { not_before } => is_due(not_before, self.now, &self.config.retry),
            JobState::Running { .. } | JobState::Done(_) => false,
        };
        let project = self.config.projects.get(&job.project);
        is_due && (project.is_some_and(|project| project.enabled) || self.state.is_moving_with_its_wave(job))
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
    let later = state.jobs.later().map(|(_, at)| at);
    later
        .filter(|at| *at > now)
        .chain(checks.into_iter().chain(pokes).map(|at| at.max(now)))
        .min()
}
