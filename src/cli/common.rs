//! What verbs share: where the config is, and how they end.
//!
//! It exists so that every verb takes the same options and ends with the same codes. A verb must never make up a code.

use crate::config::{LoadError, Loaded, Overrides, load};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Fine = 0,
    /// It did not work.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The config has mistakes.
    BadConfig = 3,
    /// No daemon answers.
    NoDaemon = 4,
    /// Another daemon has the workdir.
    InUse = 5,
    /// There are updates: what apt-check and dnf say it with.
    Updates = 100,
    /// A person does not want to wait any longer: what a shell makes of INT.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Where the config is.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The config file
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "PIPELINED_CONFIG",
        default_value = "/etc/pipelined/pipelined.toml"
    )]
    pub config: PathBuf,
    /// The work directory, in place of the config's
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the config.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let overrides = Overrides {
            workdir: self.workdir.clone(),
            ..Overrides::default()
        };
        load(&self.config, &overrides)
    }
}

/// Tells stderr why there is no config, every mistake with its place.
pub fn report_load_error(error: &LoadError) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    match error {
        LoadError::Invalid(diagnostics) => {
            write!(stderr, "{}", diagnostics.render(color()))?;
            writeln!(stderr, "\n{}", mistakes(diagnostics.errors().count()))
        }
        LoadError::Read { source, .. } => writeln!(stderr, "error: {error}: {source}"),
        LoadError::TooBig { .. } => writeln!(stderr, "error: {error}"),
    }
}

/// Tells stderr what someone should look at.
pub fn report_warnings(loaded: &Loaded) -> std::io::Result<()> {
    let rendered = loaded.source.render(&loaded.warnings, color());
    write!(std::io::stderr().lock(), "{rendered}")
}

/// Whether a person with a terminal reads stderr, and wants colours (<https://no-color.org>).
fn color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

fn mistakes(count: usize) -> String {
    match count {
        1 => "1 mistake: this config cannot be used".to_owned(),
        _ => format!("{count} mistakes: this config cannot be used"),
    }
}
