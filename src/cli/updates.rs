//! `pipelined updates`: is there something new below the released images?
//!
//! The daemon checks. Without `--rebuild` this must never start anything, and a check that failed must never end as "no
//! updates".

use super::common::{ConfigArgs, Exit};
use super::news::{FailedCheck, Told, failed_checks, failed_looks, follows, is_news, moved, title};
use super::place::{call, get, workdir};
use super::style::{Style, plain};
use super::table::Table;
use crate::api::{ClientError, ImageUpdates, UpdatesAsked, UpdatesRound, UpdatesStarted};
use crate::model::JobId;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The daemon is asked first after this time how its checks go, then less and less often.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// But at least this often.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// Check now for updates of released images: bases that moved, newer packages
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Checks the images that are released and kept up to date (`update` in the config).
Without --rebuild nothing is started. With it, what has updates is built again: also
where a base moved only just now, and where the same was tried before.

Exit codes:
  100  there are updates, also if they do not count yet, or some check failed
  1    a check failed, and no other found any
  0    there are none
  2    there is no such image
  4    no daemon there

Examples:
  pipelined updates
  pipelined updates ruby registry.example.org/tools:latest
  pipelined updates --rebuild
  pipelined updates --json | jq -r '.[] | select(.updates) | .name'")]
pub(super) struct Args {
    /// Only these: project, project/image, or a release reference
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Queue what has updates
    #[arg(long)]
    rebuild: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Asks the daemon, waits, and prints.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let workdir = workdir(&args.config)?;
    let asked = UpdatesAsked {
        images: args.images.clone(),
        rebuild: args.rebuild,
    };
    let started: UpdatesStarted = match call(&workdir, "/updates", &asked) {
        // It is the names that it does not know: 1 is for checks.
        Err(error) if matches!(error.downcast_ref(), Some(ClientError::Refused(_))) => {
            writeln!(std::io::stderr().lock(), "pipelined: {error:#}")?;
            return Ok(Exit::Usage.into());
        }
        answer => answer?,
    };
    let UpdatesRound { images, failed, .. } = wait(&workdir, started.round)?;
    let looks: Vec<FailedCheck> = failed_looks(&failed).collect();
    let mut failed = failed_checks(&images);
    failed.extend(looks.iter().cloned());
    let mut out = BufWriter::new(std::io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &images)?;
        writeln!(out)?;
        // These have no image that could tell.
        for look in &looks {
            writeln!(std::io::stderr().lock(), "pipelined: {}", plain(&look.line()))?;
        }
    } else {
        print(&mut out, &images, &failed, args.rebuild, Timestamp::now())?;
    }
    out.flush()?;
    Ok(exit(&images, &failed).into())
}

fn exit(images: &[ImageUpdates], failed: &[FailedCheck]) -> Exit {
    if images.iter().any(is_news) {
        Exit::Updates
    } else if !failed.is_empty() {
        Exit::Failed
    } else {
        Exit::Fine
    }
}

/// Waits for the checks, however long they take.
fn wait(workdir: &Path, round: u64) -> anyhow::Result<UpdatesRound> {
    let mut progress = Progress::new();
    let mut pause = FIRST_LOOK;
    loop {
        let answer: UpdatesRound = get(workdir, &format!("/updates/{round}"))?;
        if answer.is_finished() {
            return Ok(answer);
        }
        progress.show(answer.done, answer.of)?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(LAST_LOOK);
    }
}

/// One line on a terminal, which is gone in the end. For nobody else.
struct Progress {
    on: bool,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            on: std::io::stderr().is_terminal(),
            shown: false,
        }
    }

    fn show(&mut self, done: usize, of: usize) -> std::io::Result<()> {
        if self.on {
            self.shown = true;
            write!(std::io::stderr().lock(), "\rchecking {done} of {of}\x1b[K")?;
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // A terminal that has gone needs no clean line.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn print(
    out: &mut impl Write,
    images: &[ImageUpdates],
    failed: &[FailedCheck],
    rebuild: bool,
    now: Timestamp,
) -> std::io::Result<()> {
    let news: Vec<&ImageUpdates> = images.iter().filter(|image| is_news(image)).collect();
    let mut table = Table::new(["IMAGE", "REF", "KIND", "WHAT MOVED"]);
    for image in &news {
        for moved in moved(image) {
            let reference = image.reference.short().to_string();
            table.row([image.name.clone(), reference, moved.kind.to_owned(), moved.what]);
        }
    }
    if !table.is_empty() {
        table.print(out, Style::stdout())?;
        writeln!(out)?;
    }
    print_what_follows(out, &news, now)?;
    for failed in failed {
        writeln!(out, "{}", plain(&failed.line()))?;
    }
    let is_fine = |image: &&ImageUpdates| !is_news(image) && failed_checks(std::slice::from_ref(*image)).is_empty();
    match images.iter().filter(is_fine).count() {
        0 if images.is_empty() && failed.is_empty() => writeln!(out, "no released image is kept up to date")?,
        0 => {}
        1 => writeln!(out, "1 image has no updates")?,
        n => writeln!(out, "{n} images have no updates")?,
    }
    if !rebuild && news.iter().any(|image| image.rebuild.is_none()) {
        writeln!(out, "nothing was started: `pipelined updates --rebuild` queues them")?;
    }
    Ok(())
}

/// A line for each job, and one for each image that no job builds.
fn print_what_follows(out: &mut impl Write, news: &[&ImageUpdates], now: Timestamp) -> std::io::Result<()> {
    let mut jobs: BTreeMap<JobId, Vec<&ImageUpdates>> = BTreeMap::new();
    for image in news {
        match (image.rebuild, follows(image, Told::ByHand, now)) {
            (Some(job), _) if image.refused.is_none() => jobs.entry(job).or_default().push(image),
            (_, Some(then)) => writeln!(out, "{}", plain(&format!("{}: {then}", title(image))))?,
            (_, None) => {}
        }
    }
    for (job, images) in jobs {
        let names: Vec<String> = images.iter().map(|image| title(image)).collect();
        let (names, project) = (plain(&names.join(", ")), &images[0].project);
        writeln!(
            out,
            "job {job} builds {names} again; follow it with: pipelined log {project} --job {job} -f"
        )?;
    }
    Ok(())
}
