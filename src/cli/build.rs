//! `pipelined build`: a person wants a commit built, again if need be.

use super::common::{ConfigArgs, Exit};
use super::follow::must_be_there;
use super::patience::Patience;
use super::place::{call, workdir};
use super::view::JobView;
use crate::api::{BuildAsked, Queued};
use crate::model::JobState;
use crate::model::{JobId, Outcome, ProjectName};
use crate::store::{JobRecord, Store};
use crate::workdir::Layout;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How often the record is asked for an outcome.
const LOOK: Duration = Duration::from_millis(100);

/// Build the tip of a ref now, also if it was built before
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined build ruby             of the only branch that is followed
  pipelined build ruby v1.0
  pipelined build ruby main --wait && echo released")]
pub(super) struct Args {
    /// The project
    project: ProjectName,
    /// Which ref: main, v1.0, refs/heads/main
    #[arg(value_name = "REF")]
    reference: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Wait for the outcome; ends with 0 only if it succeeded
    #[arg(long)]
    wait: bool,
    /// Print the job as JSON
    #[arg(long)]
    json: bool,
}

/// Asks the daemon.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let workdir = workdir(&args.config)?;
    let asked = BuildAsked {
        project: args.project.clone(),
        reference: args.reference.clone(),
    };
    let queued: Queued = call(&workdir, "/build", &asked)?;
    let job = queued.job;
    if !args.json {
        let project = &args.project;
        writeln!(
            std::io::stdout().lock(),
            "job {job} is queued; follow it with: pipelined log {project} --job {job} -f"
        )?;
    }
    if args.wait {
        let record = wait(&workdir, job)?;
        return end(record, &workdir, args.json);
    }
    if args.json {
        writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&queued)?)?;
    }
    Ok(Exit::Fine.into())
}

fn end(record: JobRecord, workdir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let succeeded = record.job.state == JobState::Done(Outcome::Succeeded);
    let view = JobView::new(record, &Layout::new(workdir));
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&view)?)?;
    } else {
        writeln!(out, "{} {}: {}", view.title(), view.word(), view.why())?;
    }
    Ok(if succeeded { Exit::Fine } else { Exit::Failed }.into())
}

/// Waits until the job has its outcome, also over a restart of the daemon.
fn wait(workdir: &Path, id: JobId) -> anyhow::Result<JobRecord> {
    let store = Store::open_read(workdir)?;
    let mut patience = Patience::new(workdir);
    loop {
        let record = must_be_there(&store, id)?;
        if !record.job.is_live() {
            return Ok(record);
        }
        patience.look()?;
        std::thread::sleep(LOOK);
    }
}
