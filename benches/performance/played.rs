//! A whole wave on the planner alone: every job starts, learns, announces its release and ends well.

use crate::forest::Forest;
use pipelined::model::{JobId, State};
use pipelined::reconcile::{Effect, handle};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a job tells the planner. A start is no event of its own: it is decided with the end of another job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Learned,
    Releasing,
    Ended,
}

/// A wave that was played, or as much of it as there was time for.
#[derive(Debug, Default)]
pub struct Played {
    pub jobs: usize,
    /// All that was left to be built was.
    pub is_whole: bool,
    /// By [`Told`].
    took: [Duration; 3],
    pub longest: Duration,
    /// Jobs that were queued at the same time, at most.
    pub queue: usize,
}

impl Played {
    /// For each job, on average.
    pub fn mean(&self, told: Told) -> Duration {
        self.took[told as usize] / u32::try_from(self.jobs.max(1)).unwrap()
    }

    /// All that a job tells, on average.
    pub fn each(&self) -> Duration {
        [Told::Learned, Told::Releasing, Told::Ended]
            .map(|told| self.mean(told))
            .into_iter()
            .sum()
    }

    /// How many jobs.
    pub fn title(&self) -> String {
        match self.is_whole {
            true => self.jobs.to_string(),
            false => format!("{} of them, no more in that time", self.jobs),
        }
    }
}

/// Has all roots built, and all that follows from it.
pub fn play(forest: &Forest, state: &mut State, longest: Duration) -> Played {
    let (mut played, begin) = (Played::default(), Instant::now());
    let mut running = VecDeque::new();
    let mut seconds = 10;
    for root in forest.roots() {
        seconds += 1;
        let decision = handle(state, &forest.config, forest.now(seconds), forest.asked_for(root));
        running.extend(started(&decision.effects));
    }
    while let Some(id) = running.pop_front() {
        if begin.elapsed() > longest {
            return played;
        }
        let job = state.jobs[&id].clone();
        played.queue = played.queue.max(state.jobs.len());
        for told in [Told::Learned, Told::Releasing, Told::Ended] {
            let event = match told {
                Told::Learned => forest.learned(&job),
                Told::Releasing => forest.releasing(&job, state),
                Told::Ended => forest.ended(&job, state),
            };
            seconds += 1;
            let now = forest.now(seconds);
            let at = Instant::now();
            let decision = handle(state, &forest.config, now, event);
            let took = at.elapsed();
            played.took[told as usize] += took;
            played.longest = played.longest.max(took);
            assert!(
                !decision
                    .effects
                    .iter()
                    .any(|effect| matches!(effect, Effect::Wait { .. } | Effect::Refuse { .. })),
                "{:?}",
                decision.effects
            );
            running.extend(started(&decision.effects));
        }
        assert!(!state.jobs.contains_key(&id));
        played.jobs += 1;
    }
    played.is_whole = true;
    assert!(state.jobs.is_empty(), "{:?}", state.jobs.values().next());
    played
}

fn started(effects: &[Effect]) -> impl Iterator<Item = JobId> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Start(job) => Some(*job),
        _ => None,
    })
}
