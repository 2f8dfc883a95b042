//! `pipelined man`: manual pages out of the same words as `--help`.

use super::common::Exit;
use anyhow::Context;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write manual pages: pipelined.1 and one for each verb
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pipelined man /usr/local/share/man/man1")]
pub(super) struct Args {
    /// Where to write them
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    clap_mangen::generate_to(super::command(), &args.dir)
        .with_context(|| format!("cannot write manual pages to {}", args.dir.display()))?;
    Ok(Exit::Fine.into())
}
