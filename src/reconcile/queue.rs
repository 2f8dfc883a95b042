//! Which queued jobs start now: at most `limit` in all, one of a ref, first come first served.

use super::retry::is_due;
use crate::config::Config;
use crate::model::{Job, JobId, JobState, Mode, ProjectName, RefName, State};
use jiff::Timestamp;
use std::collections::HashSet;

/// The jobs to start, in order.
pub(super) fn startable(state: &State, config: &Config, now: Timestamp) -> Vec<JobId> {
    if state.mode == Mode::Stopping {
        return Vec::new();
    }
    let mut busy: HashSet<(&ProjectName, &RefName)> = HashSet::new();
    let mut running = 0;
    for job in state.jobs.values().filter(|job| job.is_running()) {
        running += 1;
        busy.insert((&job.project, &job.reference));
    }
    let mut queued: Vec<&Job> = state
        .jobs
        .values()
        .filter(|job| match job.state {
            JobState::Queued { not_before } => is_due(not_before, now, &config.retry),
            JobState::Running { .. } | JobState::Done(_) => false,
        })
        .filter(|job| config.projects.get(&job.project).is_some_and(|project| project.enabled))
        .collect();
    queued.sort_by_key(|job| (job.place, job.id));
    let mut start = Vec::new();
    for job in queued {
        if running + start.len() >= config.limit {
            break;
        }
        if busy.insert((&job.project, &job.reference)) {
            start.push(job.id);
        }
    }
    start
}

/// When to look again although nothing happens: the end of the next backoff, or the next check. What is due already waits for a slot, and
/// the end of another job is an event.
pub fn next_wake(state: &State, now: Timestamp) -> Option<Timestamp> {
    let checks = state.checking.next.filter(|_| state.mode == Mode::Normal);
    state
        .jobs
        .values()
        .filter_map(|job| match job.state {
            JobState::Queued { not_before } => not_before,
            JobState::Running { .. } | JobState::Done(_) => None,
        })
        .filter(|at| *at > now)
        .chain(checks.map(|at| at.max(now)))
        .min()
}
