//! A path in, a config or every mistake out.
//!
//! It exists as the only way to a `Config`. It must never have an effect beyond reading, and never yield a config of a
//! file that has a mistake in it.

use super::notes::Notes;
use super::raw::RawConfig;
use super::resolve::resolve;
use super::surroundings::{Doubt, look};
use super::{Config, Diagnostic, Diagnostics, Source};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// No config is that long: something else was named by mistake.
const MAX_BYTES: u64 = 16 << 20;

/// What the command line says, which wins over the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In place of `workdir`; seen from the current directory.
    pub workdir: Option<PathBuf>,
    /// In place of `limit`; the caller sees to it that it is not 0.
    pub limit: Option<usize>,
    /// In place of `interval`; the caller sees to it that it is not zero.
    pub interval: Option<Duration>,
}

/// A config that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What someone should look at.
    pub warnings: Vec<Diagnostic>,
    /// Shows the warnings.
    pub source: Source,
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read the config {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is too long to be a config.
    #[error("{}: a config may have 16 MiB at most", path.display())]
    TooBig {
        /// The file.
        path: PathBuf,
    },
    /// The file has mistakes.
    #[error("bad config: {0}")]
    Invalid(Diagnostics),
}

/// Reads and checks a config, and looks at the files that it names.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, LoadError> {
    let read_error = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(read_error)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read_error)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(LoadError::TooBig { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|e| LoadError::Invalid(not_utf8(path, &e)))?;
    let absolute = std::path::absolute(path).map_err(read_error)?;
    let base = absolute.parent().unwrap_or(&absolute);
    let source = Source::new(path, text);
    check(source, base, overrides, &|name| std::env::var_os(name).is_some(), look)
}

/// Everything between the text and the result; `look` is told what the config relies upon.
fn check(
    source: Source,
    base: &Path,
    overrides: &Overrides,
    inherited: &dyn Fn(&str) -> bool,
    look: impl FnOnce(&[Doubt], &Notes<'_>),
) -> Result<Loaded, LoadError> {
    let (config, list) = {
        let (document, errors) = DeTable::parse_recoverable(source.text());
        let notes = Notes::new(source.text(), &errors);
        let raw = RawConfig::read(document.get_ref(), base, &notes);
        let (config, doubts) = resolve(raw, overrides, inherited, &notes);
        look(&doubts, &notes);
        (config, notes.into_sorted())
    };
    if list.iter().any(Diagnostic::is_error) {
        return Err(LoadError::Invalid(Diagnostics { source, list }));
    }
    Ok(Loaded {
        config,
        warnings: list,
        source,
    })
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Diagnostics {
    let valid = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
    let diagnostic = Diagnostic::error(valid..valid, "the file is not UTF-8 text from here on")
        .help("save it as UTF-8, as TOML demands");
    Diagnostics {
        source: Source::new(path, text),
        list: vec![diagnostic],
    }
}

#[cfg(test)]
mod chains;
#[cfg(test)]
mod engines;
#[cfg(test)]
mod fingerprints;
#[cfg(test)]
mod images;
#[cfg(test)]
mod pokes;
#[cfg(test)]
mod survival;
#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod updates;
