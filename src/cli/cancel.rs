//! `pipelined cancel`: a person wants jobs to end.

use super::common::{ConfigArgs, Exit};
use super::place::{call, must_be_known, must_run, workdir};
use super::refs;
use crate::api::{CancelAsked, Cancelled};
use crate::model::{JobId, ProjectName};
use crate::store::{JobFilter, JobRecord, Store};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Cancel what is queued or running
///
/// All that a job started is ended, and its containers are removed. A cancelled commit is not built again until someone
/// asks for it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "\
Examples:
  pipelined cancel ruby            all jobs of a project
  pipelined cancel ruby main       those of a ref
  pipelined cancel --job 12",
    group = clap::ArgGroup::new("which").args(["project", "job"]).required(true)
)]
pub(super) struct Args {
    /// The project
    project: Option<ProjectName>,
    /// Only of this ref: main, v1.0, refs/heads/main
    #[arg(value_name = "REF")]
    reference: Option<OsString>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Only this job; may be given more than once
    #[arg(long, value_name = "N", conflicts_with = "reference")]
    job: Vec<i64>,
    /// Print the numbers of the cancelled jobs as JSON
    #[arg(long)]
    json: bool,
}

/// Asks the daemon; ends with 1 if there was nothing to cancel.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let workdir = workdir(&args.config)?;
    // First, as that there is no daemon matters more than that there is no job.
    must_run(&workdir)?;
    let jobs = match &args.project {
        Some(project) => live(&workdir, project, args)?,
        None => args.job.iter().copied().map(JobId).collect(),
    };
    let answer: Cancelled = call(&workdir, "/cancel", &CancelAsked { jobs })?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
    } else if answer.jobs.is_empty() && answer.finishing.is_empty() {
        writeln!(out, "nothing to cancel")?;
    }
    let store = Store::open_read(&workdir)?;
    if !args.json {
        for id in &answer.jobs {
            writeln!(out, "cancelled {}", name(&store, *id)?)?;
        }
        for id in &answer.finishing {
            let name = name(&store, *id)?;
            writeln!(
                out,
                "not cancelled: {name}: its wave is being released, and that is finished"
            )?;
        }
    }
    let none = answer.jobs.is_empty();
    Ok(if none { Exit::Failed } else { Exit::Fine }.into())
}

/// `job 12 (ruby main 5bf417f5)`
fn name(store: &Store, id: JobId) -> anyhow::Result<String> {
    let Some(JobRecord { job, .. }) = store.job(id)? else {
        return Ok(format!("job {id}"));
    };
    let (name, commit) = (job.reference.short(), job.commit.short());
    Ok(format!("job {id} ({} {name} {commit})", job.project))
}

fn live(workdir: &Path, project: &ProjectName, args: &Args) -> anyhow::Result<Vec<JobId>> {
    let store = Store::open_read(workdir)?;
    must_be_known(project, &store.project_names()?)?;
    let reference = match &args.reference {
        Some(text) => Some(refs::must_find(text, project, &refs::known(&store, project)?)?),
        None => None,
    };
    let records = store.jobs(&JobFilter {
        project: Some(project.clone()),
        reference,
        live: true,
        newest: None,
    })?;
    Ok(records.into_iter().map(|record| record.job.id).collect())
}
