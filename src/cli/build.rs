//! `pipelined build`: a person wants a commit built, again if need be.

use super::common::{ConfigArgs, Exit};
use super::follow::must_be_there;
use super::place::{call, workdir};
use super::view::JobView;
use super::wave::Look;
use super::wave_wait::wait;
use crate::api::{BuildAsked, Queued};
use crate::model::{JobState, Outcome, ProjectName};
use crate::store::Store;
use crate::workdir::Layout;
use std::io::Write;
use std::process::ExitCode;

/// Build the tip of a ref now, also if it was built before
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0    queued; with --wait: it succeeded
  1    with --wait: it did not succeed; there is no such ref
  4    no daemon there
  130  interrupted while waiting: the build goes on

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
    /// Wait for the outcome, and show how it goes; ends with 0 only if it succeeded
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
        let (end, exit) = wait("build", &workdir, args.json, |store| Look::at(store, job))?;
        if end.is_none() {
            return Ok(exit.into());
        }
        // A job has more to it than its images.
        let record = must_be_there(&Store::open_read(&workdir)?, job)?;
        let succeeded = record.job.state == JobState::Done(Outcome::Succeeded);
        if args.json {
            let view = JobView::new(record, &Layout::new(&workdir));
            writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&view)?)?;
        }
        return Ok(if succeeded { Exit::Fine } else { Exit::Failed }.into());
    }
    if args.json {
        writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&queued)?)?;
    }
    Ok(Exit::Fine.into())
}
