//! `pipelined poke`: a person wants those told again who have not taken a release.

use super::common::{ConfigArgs, Exit};
use super::place::{call, workdir};
use super::style::plain;
use crate::api::{PokesAsked, PokesSent};
use std::io::Write;
use std::process::ExitCode;

/// Tell those again who have not taken a release (`poke` in the config)
///
/// Sends what was refused, or given up, once more, with the delivery number that it had; what waits for its next try is
/// tried now. What was taken is not sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0    what was not taken is on its way again, or there is nothing of the kind
  1    no image is called that
  4    no daemon there

Examples:
  pipelined poke                all that was not taken, as `pipelined status` lists it
  pipelined poke ruby           of all images of ruby
  pipelined explain ruby        how it went")]
pub(super) struct Args {
    /// Only of these: project, project/image, or a release reference
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Asks the daemon.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let asked = PokesAsked {
        images: args.images.clone(),
    };
    let sent: PokesSent = call(&workdir(&args.config)?, "/pokes", &asked)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &sent)?;
        writeln!(out)?;
        return Ok(Exit::Fine.into());
    }
    for poke in &sent.pokes {
        let (name, reference, job) = (&poke.name, poke.reference.short(), poke.job);
        let line = format!("{name} {reference}: {} is told of job {job} again", poke.place);
        writeln!(out, "{}", plain(&line))?;
    }
    match sent.pokes.is_empty() {
        true => writeln!(out, "everybody has taken what they were told")?,
        false => writeln!(out, "how it goes: pipelined status")?,
    }
    Ok(Exit::Fine.into())
}
