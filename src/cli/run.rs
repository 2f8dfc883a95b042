//! `pipelined run`: the daemon itself.

use super::common::{ConfigArgs, Exit};
use crate::config::Overrides;
use crate::daemon::{self, DaemonError};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

/// Watch the projects of the config and build what is new
///
/// HUP reloads the config. INT finishes what is queued and running, then ends. TERM interrupts what is running, to be
/// run again after the next start.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined run
  pipelined run -c ./pipelined.toml --workdir ./work --interval 1s")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Builds at once, in place of the config's
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// How often each remote is asked, in place of the config's: 90s, 5m
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    interval: Option<Duration>,
}

/// Runs until it is told to end.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = daemon::Options {
        config: std::path::absolute(&args.config.config)?,
        overrides: Overrides {
            workdir: args.config.workdir.clone(),
            limit: args.limit.map(NonZeroUsize::get),
            interval: args.interval,
        },
    };
    daemon::run(options).map_err(|error| match error {
        // By themselves, so that they get their exit codes.
        DaemonError::Config(error) => anyhow::Error::from(error),
        DaemonError::Lock(error) => error.into(),
        error => error.into(),
    })?;
    Ok(Exit::Fine.into())
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
        Ok(interval) => Ok(interval),
        Err(error) => Err(error.to_string()),
    }
}
