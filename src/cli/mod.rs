//! What a person types: one file a verb.
//!
//! A verb reads its arguments, asks the record or the daemon, and prints. None of them may decide what is built, and
//! none that only reads may write anything.

mod blocked;
mod build;
mod cancel;
pub mod check;
mod circles;
pub mod common;
mod completions;
pub mod config;
mod doctor;
mod explain;
mod failed_waves;
mod failure;
mod follow;
mod graph;
mod graph_drawn;
mod graph_tree;
mod graph_view;
mod image_view;
mod images;
pub mod init;
mod kept;
mod log;
mod man;
mod news;
mod patience;
mod place;
mod plan;
mod poke;
mod poke_view;
mod poll;
mod rebuild;
mod rebuild_plan;
mod refs;
mod reload;
mod run;
mod status;
mod style;
mod table;
mod time;
mod tree;
mod update_story;
mod update_summary;
mod updates;
mod view;
mod waiting;
mod wave;
mod wave_shown;
mod wave_wait;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Keeps container images built: one daemon, one TOML file, one work directory
#[derive(Debug, Parser)]
#[command(
    name = "pipelined",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "\
Begin with:
  pipelined init ./pipelined.toml          write a config, then edit it
  pipelined check -c ./pipelined.toml      is it fine?
  pipelined plan -c ./pipelined.toml       what would be built?
  pipelined run -c ./pipelined.toml        build it, and go on watching

Exit codes: 0 fine, 1 failed, 2 usage, 3 bad config, 4 no daemon there, 5 workdir in use,
100 there are updates (`pipelined updates`), 130 interrupted while waiting"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Status(status::Args),
    Images(images::Args),
    Log(log::Args),
    Explain(explain::Args),
    Graph(graph::Args),
    Build(build::Args),
    Rebuild(rebuild::Args),
    Cancel(cancel::Args),
    Poll(poll::Args),
    Poke(poke::Args),
    Updates(updates::Args),
    Reload(reload::Args),
    Plan(plan::Args),
    Check(check::Args),
    Config(config::Args),
    Init(init::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Verb {
    fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(args),
            Self::Status(args) => status::run(args),
            Self::Images(args) => images::run(args),
            Self::Log(args) => log::run(args),
            Self::Explain(args) => explain::run(args),
            Self::Graph(args) => graph::run(args),
            Self::Build(args) => build::run(args),
            Self::Rebuild(args) => rebuild::run(args),
            Self::Cancel(args) => cancel::run(args),
            Self::Poll(args) => poll::run(args),
            Self::Poke(args) => poke::run(args),
            Self::Updates(args) => updates::run(args),
            Self::Reload(args) => reload::run(args),
            Self::Plan(args) => plan::run(args),
            Self::Check(args) => check::run(args),
            Self::Config(args) => config::run(args),
            Self::Init(args) => init::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => man::run(args),
        }
    }
}

/// Reads the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    let result = match Cli::try_parse() {
        Ok(cli) => cli.verb.run(),
        Err(error) => {
            // A reader that has gone needs no help text.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(common::Exit::Usage as u8));
        }
    };
    result.unwrap_or_else(|error| failure::report(&error))
}

/// The whole command line, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
}
