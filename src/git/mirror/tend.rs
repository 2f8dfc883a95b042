//! Upkeep: a mirror that has grown is packed anew, without what nobody asked for lately.
//!
//! Git's own upkeep is turned off, as it would begin in the middle of a job.

use super::turn::Held;
use super::{Mirrors, fetch};
use crate::git::checkout::succeed;
use crate::model::{Failure, Step};
use crate::process::Runner;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Each fetch makes a pack. Looking an object up in many packs costs time, as does copying them.
const MANY_PACKS: usize = 32;

/// A mirror of more packs than that was never left in peace long enough.
const TOO_MANY_PACKS: usize = 10 * MANY_PACKS;

/// Bytes that may be outside of the largest pack, which is what the last upkeep made, if they are more than it.
const SMALL: u64 = 64 << 20;

/// How many commits stay. By those the next fetch tells the server what is here.
const KEPT: usize = 8;

/// As for the longest clone that anyone waits for: nobody waits for this.
const TIMEOUT: Duration = Duration::from_secs(3600);

impl Mirrors {
    /// Packs the mirror of a remote anew if it is due and nobody uses it; answers whether it did. A job that comes
    /// meanwhile ends it, and does not wait. A mirror that cannot be packed is thrown away. To be called when the job that has used the mirror is over.
    pub async fn tend(&self, runner: &Runner, remote: &str, shallow: bool) -> Result<bool, Failure> {
        let path = self.path(remote, shallow);
        if !packs(&path).is_ok_and(|packs| is_due(&packs)) {
            return Ok(false);
        }
        let turns = self.turns(&path);
        let Some(cancel) = turns.begin_tending() else {
            return Ok(false);
        };
        let quiet = Runner {
            cancel: cancel.clone(),
            ..runner.clone()
        };
        let repacked = async {
            let Ok(turn) = turns.turn.clone().try_lock_owned() else {
                return Ok(false);
            };
            let held = Held::new(path, turn);
            let repacked = repack(&quiet, &held).await;
            if repacked.is_err() && !quiet.cancel.is_asked() {
                // One that cannot be packed is damaged, or there is no room for it.
                self.discard(&held.path)
                    .map_err(|e| Failure::errored(format!("cannot throw {} away: {e}", held.path.display())))?;
            }
            repacked
        };
        let mut repacked = std::pin::pin!(repacked);
        let result = tokio::select! {
            result = &mut repacked => result,
            () = runner.cancel.asked() => {
                cancel.insist();
                repacked.await
            }
        };
        turns.end_tending();
        match result {
            Err(_) if cancel.is_asked() => Ok(false),
            result => result,
        }
    }
}

async fn repack(runner: &Runner, held: &Held) -> Result<bool, Failure> {
    forget(&held.path).map_err(|e| Failure::errored(format!("{}: {e}", held.path.display())))?;
    // Without --all: only tags. Refs of ours stay loose.
    for args in [&["pack-refs"][..], &["repack", "-a", "-d", "--quiet"]] {
        let argv: Vec<OsString> = std::iter::once("git".into())
            .chain(fetch::git_dir(&held.path))
            .chain(args.iter().map(OsString::from))
            .collect();
        succeed(runner, &argv, &held.path, TIMEOUT).await?;
    }
    runner.note(Step::Checkout, "the mirror was packed anew");
    Ok(true)
}

/// Drops the refs of all commits but those that were asked for last.
fn forget(mirror: &Path) -> io::Result<()> {
    let mut refs: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(mirror.join(fetch::REFS))? {
        let entry = entry?;
        refs.push((entry.metadata()?.modified()?, entry.path()));
    }
    refs.sort();
    refs.truncate(refs.len().saturating_sub(KEPT));
    refs.iter().try_for_each(|(_, path)| fs::remove_file(path))
}

/// The sizes of a mirror's packs, in bytes.
fn packs(mirror: &Path) -> io::Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for entry in fs::read_dir(mirror.join("objects/pack"))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|e| e == "pack") {
            sizes.push(entry.metadata()?.len());
        }
    }
    Ok(sizes)
}

fn is_due(packs: &[u64]) -> bool {
    let largest = packs.iter().copied().max().unwrap_or_default();
    let rest = packs.iter().sum::<u64>() - largest;
    packs.len() >= MANY_PACKS || rest > largest.max(SMALL)
}

/// Whether a mirror has grown beyond what upkeep could ever put right in time.
pub(super) fn is_overgrown(mirror: &Path) -> bool {
    packs(mirror).is_ok_and(|packs| packs.len() > TOO_MANY_PACKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_when_there_are_many_packs_or_much_beside_the_largest() {
        for (packs, due) in [
            (vec![], false),
            (vec![1 << 40], false),
            (vec![1; MANY_PACKS - 1], false),
            (vec![1; MANY_PACKS], true),
            (vec![10, SMALL], false),
            (vec![SMALL, SMALL], false),
            (vec![SMALL, SMALL, 1], true),
            (vec![4 * SMALL, 3 * SMALL], false),
            (vec![4 * SMALL, 3 * SMALL, 2 * SMALL], true),
        ] {
            assert_eq!(is_due(&packs), due, "{packs:?}");
        }
    }
}
