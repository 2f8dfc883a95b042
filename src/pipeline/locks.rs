//! Whose turn it is to move a release reference.

use crate::model::{Failure, FailureKind, ImageRef, Step};
use crate::process::Cancel;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// A turn for each release reference: two jobs never move one at the same time. Shared by all jobs of a daemon.
#[derive(Debug, Clone, Default)]
pub struct ReleaseLocks(Arc<Mutex<HashMap<ImageRef, Arc<tokio::sync::Mutex<()>>>>>);

/// As long as it lives, nobody else moves the references.
#[derive(Debug)]
pub(super) struct Turn {
    _held: Vec<OwnedMutexGuard<()>>,
}

impl ReleaseLocks {
    /// Waits for the turn of all of them. Everybody takes them in the same order, so that nobody waits for each other.
    pub(super) async fn take(&self, references: BTreeSet<ImageRef>, cancel: &Cancel) -> Result<Turn, Failure> {
        let mut held = Vec::new();
        for reference in references {
            let lock = {
                let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                // Those that nobody holds or waits for are only in this map.
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
                locks.entry(reference).or_default().clone()
            };
            tokio::select! {
                guard = lock.lock_owned() => held.push(guard),
                () = cancel.asked() => {
                    return Err(Failure::new(FailureKind::Cancelled, format!("{}: cancelled", Step::Release)));
                }
            }
        }
        Ok(Turn { _held: held })
    }
}
