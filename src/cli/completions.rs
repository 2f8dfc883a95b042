//! `pipelined completions`: what the shell needs to complete our command line.

use super::common::Exit;
use std::io::Write;
use std::process::ExitCode;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined completions bash > /usr/share/bash-completion/completions/pipelined
  pipelined completions zsh > \"${fpath[1]}/_pipelined\"")]
pub(super) struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Prints.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "pipelined", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Fine.into())
}
