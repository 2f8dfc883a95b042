//! Waiting for what a person has asked for, with progress, for every verb that does.
//!
//! Whoever stops waiting stops nothing else.

use super::common::Exit;
use super::patience::Patience;
use super::wave::Look;
use super::wave_shown::Shown;
use crate::store::{Store, StoreError};
use anyhow::Context;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the record is asked how it goes.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until nothing more is to come, also over a restart of the daemon. `what` is what goes on if nobody waits for it
/// any more: then there is no last look. Whoever is `quiet` reads JSON: there is no progress then.
pub(super) fn wait(
    what: &str,
    workdir: &Path,
    quiet: bool,
    look: impl Fn(&Store) -> Result<Look, StoreError>,
) -> anyhow::Result<(Option<Look>, Exit)> {
    let store = Store::open_read(workdir)?;
    let mut patience = Patience::new(workdir);
    let mut shown = (!quiet).then(Shown::new);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
        loop {
            let look = look(&store)?;
            if let Some(shown) = &mut shown {
                shown.show(&look)?;
            }
            if look.is_over {
                let exit = if look.is_good() { Exit::Fine } else { Exit::Failed };
                drop(shown);
                return Ok((Some(look), exit));
            }
            patience.look()?;
            tokio::select! {
                _ = interrupts.recv() => {
                    drop(shown);
                    leave(what, &look)?;
                    return Ok((None, Exit::Interrupted));
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    })
}

/// Says what goes on, to whoever does not want to wait for it.
fn leave(what: &str, look: &Look) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    writeln!(
        err,
        "pipelined: the {what} goes on; follow it with: pipelined status, pipelined graph"
    )?;
    let running = look.images.iter().find(|(_, stands)| stands.state == "running");
    if let Some((node, job)) = running.and_then(|(node, stands)| Some((node, stands.job?))) {
        writeln!(err, "  what runs now: pipelined log {} --job {job} -f", node.project)?;
    }
    let jobs: Vec<String> = look.live().iter().map(|job| format!("--job {job}")).collect();
    if !jobs.is_empty() {
        writeln!(err, "  cancel it with: pipelined cancel {}", jobs.join(" "))?;
    }
    Ok(())
}
