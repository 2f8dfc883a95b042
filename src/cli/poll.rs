//! `pipelined poll`: look now.

use super::common::{ConfigArgs, Exit};
use super::place::{call, workdir};
use crate::api::{PollAsked, Polled};
use crate::model::ProjectName;
use std::io::Write;
use std::process::ExitCode;

/// Have the daemon ask the remotes now, without waiting for the interval
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined poll          all projects
  pipelined poll ruby     one: what a hook on the git server would call")]
pub(super) struct Args {
    /// Only this project's remote
    project: Option<ProjectName>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Asks the daemon.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let asked = PollAsked {
        project: args.project.clone(),
    };
    let Polled { remotes } = call(&workdir(&args.config)?, "/poll", &asked)?;
    let s = if remotes == 1 { "" } else { "s" };
    writeln!(std::io::stdout().lock(), "asking {remotes} remote{s}")?;
    Ok(Exit::Fine.into())
}
