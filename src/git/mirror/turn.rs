//! Who may touch a mirror: one at a time.

use super::Mirrors;
use crate::model::{Failure, FailureKind, Step};
use crate::process::{Cancel, Runner};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Whoever waits longer for a mirror says so in the log.
const MOMENT: Duration = Duration::from_millis(500);

/// Of one mirror.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// Ends the upkeep that has the turn, or is about to try for it.
    tending: Mutex<Option<Cancel>>,
}

impl Turns {
    /// Upkeep may begin, and ends when the answer says so; none while there is another.
    pub fn begin_tending(&self) -> Option<Cancel> {
        let mut tending = self.tending();
        if tending.is_some() {
            return None;
        }
        Some(tending.insert(Cancel::new()).clone())
    }

    pub fn end_tending(&self) {
        *self.tending() = None;
    }

    fn make_way(&self) {
        if let Some(cancel) = &*self.tending() {
            cancel.insist();
        }
    }

    fn tending(&self) -> std::sync::MutexGuard<'_, Option<Cancel>> {
        self.tending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mirror that nobody else touches until this is dropped. It need not exist.
#[derive(Debug)]
pub(in crate::git) struct Held {
    pub(super) path: PathBuf,
    _turn: OwnedMutexGuard<()>,
}

impl Held {
    pub(super) fn new(path: PathBuf, turn: OwnedMutexGuard<()>) -> Self {
        Self { path, _turn: turn }
    }

    /// Of the bare repository.
    pub(in crate::git) fn path(&self) -> &Path {
        &self.path
    }
}

impl Mirrors {
    /// Waits for the turn, or for the runner's cancel. Upkeep makes way.
    pub(in crate::git) async fn hold(&self, runner: &Runner, path: PathBuf) -> Result<Held, Failure> {
        let turns = self.turns(&path);
        let turn = match turns.turn.clone().try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => {
                turns.make_way();
                tokio::select! {
                    turn = patiently(runner, &turns) => turn,
                    () = runner.cancel.asked() => {
                        let step = Step::Checkout;
                        return Err(Failure::new(FailureKind::Cancelled, format!("{step}: cancelled")));
                    }
                }
            }
        };
        Ok(Held::new(path, turn))
    }
}

async fn patiently(runner: &Runner, turns: &Turns) -> OwnedMutexGuard<()> {
    let mut turn = pin!(turns.turn.clone().lock_owned());
    if let Ok(turn) = tokio::time::timeout(MOMENT, &mut turn).await {
        return turn;
    }
    runner.note(
        Step::Checkout,
        "waiting for another job that fetches from the same remote",
    );
    turn.await
}
