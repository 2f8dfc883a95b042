//! `pipelined config`: what the config means, with every default filled in.
//!
//! It must never print a credential: what is masked is settled in `config::show`.

use super::common::{ConfigArgs, Exit, report_load_error, report_warnings};
use crate::config::{to_json, to_toml};
use std::io::Write;
use std::process::ExitCode;

/// Print the config with every default filled in, and secrets masked
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Prints; ends with 3 if the config cannot be used.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = match args.config.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            report_load_error(&error)?;
            return Ok(Exit::BadConfig.into());
        }
    };
    report_warnings(&loaded)?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{:#}", to_json(&loaded.config)?)?;
    } else {
        write!(stdout, "{}", to_toml(&loaded.config)?)?;
    }
    Ok(Exit::Fine.into())
}
