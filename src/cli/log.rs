//! `pipelined log`: the `build.log` of a job, finished or growing.

use super::common::{ConfigArgs, Exit};
use super::follow::{follow, must_be_there, print};
use super::place::{must_be_known, workdir};
use super::refs;
use crate::model::{JobId, ProjectName, RefName};
use crate::store::{JobFilter, Store};
use crate::workdir::Layout;
use anyhow::bail;
use std::ffi::OsString;
use std::process::ExitCode;

/// Print the log of the newest build of a project
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined log ruby               the newest attempt, of whichever ref
  pipelined log ruby main -f       follow it until it is done, through retries
  pipelined log ruby --job 12")]
pub(super) struct Args {
    /// The project
    project: ProjectName,
    /// Only of this ref: main, v1.0, refs/heads/main
    #[arg(value_name = "REF")]
    reference: Option<OsString>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print what is added until the job is done
    #[arg(short, long)]
    follow: bool,
    /// This job's
    #[arg(long, value_name = "N", conflicts_with = "reference")]
    job: Option<i64>,
}

/// Prints.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let workdir = workdir(&args.config)?;
    let layout = Layout::new(&workdir);
    let store = Store::open_read(&workdir)?;
    let project = &args.project;
    let id = match args.job {
        Some(n) => {
            let job = must_be_there(&store, JobId(n))?.job;
            if job.project != *project {
                bail!("job {n} is one of {}, not of {project}", job.project);
            }
            job.id
        }
        None => {
            must_be_known(project, &store.project_names()?)?;
            let reference = match &args.reference {
                Some(text) => Some(refs::must_find(text, project, &refs::known(&store, project)?)?),
                None => None,
            };
            newest(&store, project, reference.as_ref(), args.follow)?
        }
    };
    let mut out = std::io::stdout().lock();
    if args.follow {
        follow(&store, &layout, id, &mut out)?;
    } else {
        print(&must_be_there(&store, id)?, &layout, &mut out)?;
    }
    Ok(Exit::Fine.into())
}

/// The job that was started last. One that waits for its first start only if that is worth waiting for.
fn newest(store: &Store, project: &ProjectName, reference: Option<&RefName>, wait: bool) -> anyhow::Result<JobId> {
    let started = store.newest_attempt(project, reference)?;
    let live = store.jobs(&JobFilter {
        project: Some(project.clone()),
        reference: reference.cloned(),
        live: true,
        newest: Some(1),
    })?;
    let waiting = live.last().map(|record| record.job.id);
    let ended = match started {
        Some(id) => !must_be_there(store, id)?.job.is_live(),
        None => true,
    };
    let whose = || reference.map_or_else(|| project.to_string(), |r| format!("{project} {r}"));
    match (started, waiting) {
        (_, Some(id)) if wait && ended => Ok(id),
        (Some(id), _) => Ok(id),
        (None, Some(id)) => bail!(
            "{}: job {id} is queued, and nothing was started yet: wait for it with -f, or ask `pipelined explain`",
            whose()
        ),
        (None, None) => bail!("{}: nothing was ever built: ask `pipelined explain` why", whose()),
    }
}
