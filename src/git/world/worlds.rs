//! One [`World`] for all who share an environment, read seldom: ten thousand remotes must not start ten thousand gits.

use super::variables::relevant;
use super::{World, WorldError};
use crate::process::Runner;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was read counts, if nobody asks for a refresh.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// How long it counts at least, an error too: a thousand failing remotes must not read it a thousand times.
const AT_LEAST: Duration = Duration::from_secs(10);

/// Different environments. A daemon has about as many as it has projects with settings of their own for git.
const MOST: usize = 256;

/// Secrets may be among the values: it is never shown.
type Environment = Vec<(OsString, OsString)>;

/// The worlds that were read, by environment.
pub struct Worlds {
    cwd: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<Environment, Slot>,
    /// When somebody last had reason to believe that the world has changed.
    doubted: Option<Instant>,
}

struct Slot {
    used: Instant,
    /// Held while reading, so that only one reads.
    reading: Arc<tokio::sync::Mutex<Option<Reading>>>,
}

#[derive(Clone)]
struct Reading {
    at: Instant,
    result: Result<Arc<World>, WorldError>,
}

/// A derived one would print secrets.
impl std::fmt::Debug for Worlds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worlds(***)")
    }
}

impl Worlds {
    /// Reads as git would in `cwd`, which must not lie in a repository of somebody else's.
    pub fn new(cwd: impl Into<PathBuf>) -> Self {
        Self {
            cwd: cwd.into(),
            state: Mutex::default(),
        }
    }

    /// The world of a project, whose own environment is `env`, on top of the runner's. Who asks while it is being read
    /// waits for that, and gets the same: the same `Arc` as long as nothing was read again.
    pub async fn of(&self, runner: &Runner, env: &[(OsString, OsString)]) -> Result<Arc<World>, WorldError> {
        let key: Environment = env.iter().filter(|(name, _)| relevant(name)).cloned().collect();
        let reading = self.slot(key);
        let mut last = reading.lock().await;
        if let Some(last) = &*last
            && counts(last.at, Instant::now(), self.state().doubted)
        {
            return last.result.clone();
        }
        let at = Instant::now();
        let runner = runner.with_env(env.iter().cloned());
        let result = World::read(&runner, &self.cwd).await.map(Arc::new);
        // That one asker was called off says nothing to the others.
        if !matches!(result, Err(WorldError::Cancelled)) {
            *last = Some(Reading {
                at,
                result: result.clone(),
            });
        }
        result
    }

    /// Lets the next question read again, though not more often than every ten seconds: a remote could not be asked,
    /// or the user said so.
    pub fn refresh(&self) {
        self.state().doubted = Some(Instant::now());
    }

    fn slot(&self, key: Environment) -> Arc<tokio::sync::Mutex<Option<Reading>>> {
        let mut state = self.state();
        if state.slots.len() >= MOST && !state.slots.contains_key(&key) {
            let oldest = state.slots.iter().min_by_key(|(_, slot)| slot.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                state.slots.remove(&oldest);
            }
        }
        let used = Instant::now();
        let slot = state.slots.entry(key).or_insert_with(|| Slot {
            used,
            reading: Arc::default(),
        });
        slot.used = used;
        slot.reading.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // No step between lock and release leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what was read `at` that time still counts.
fn counts(at: Instant, now: Instant, doubted: Option<Instant>) -> bool {
    let age = now.saturating_duration_since(at);
    age < AT_LEAST || (age < FRESH && doubted.is_none_or(|doubted| doubted < at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_reading_counts() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        for (now, doubted, still) in [
            (0, None, true),
            (299, None, true),
            (300, None, false),
            (9, Some(1), true),
            // A doubt that came too early is not forgotten.
            (10, Some(1), false),
            (10, Some(0), false),
            (400, Some(1), false),
        ] {
            assert_eq!(
                counts(start, after(now), doubted.map(after)),
                still,
                "{now} {doubted:?}"
            );
        }
        assert!(
            counts(after(20), after(100), Some(after(19))),
            "what was read since is believed"
        );
    }

    #[test]
    fn it_is_bounded() {
        let worlds = Worlds::new("/");
        let key = |n: usize| vec![(OsString::from("HOME"), OsString::from(n.to_string()))];
        let first = worlds.slot(key(0));
        for n in 1..MOST {
            worlds.slot(key(n));
        }
        // Used again, so another is the oldest.
        assert!(Arc::ptr_eq(&first, &worlds.slot(key(0))));
        worlds.slot(key(MOST));
        let state = worlds.state();
        assert_eq!(state.slots.len(), MOST);
        assert!(state.slots.contains_key(&key(0)) && !state.slots.contains_key(&key(1)));
    }
}
