//! `pipelined reload`: read the config again, and hear what came of it, which HUP does not tell.

use super::common::{ConfigArgs, Exit};
use super::place::{call, workdir};
use crate::api::{Refused, Reloaded};
use std::io::Write;
use std::process::ExitCode;

/// Have the daemon read its config again
///
/// A bad config changes nothing: its mistakes are printed, and the exit code is 3. To find the daemon of a config that
/// is bad now, name its workdir.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined reload
  pipelined reload --workdir /var/lib/pipelined")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Asks the daemon; ends with 3 if the config is bad.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let answer = call::<Reloaded>(&workdir(&args.config)?, "/reload", &serde_json::json!({}));
    match answer {
        Ok(Reloaded { summary }) => {
            writeln!(std::io::stdout().lock(), "{}", summary.trim_end())?;
            Ok(Exit::Fine.into())
        }
        Err(error) => match error.downcast_ref::<crate::api::ClientError>() {
            Some(crate::api::ClientError::Refused(Refused(why))) => {
                writeln!(std::io::stderr().lock(), "{}", why.trim_end())?;
                Ok(Exit::BadConfig.into())
            }
            _ => Err(error),
        },
    }
}
