//! What a config relies upon on this machine, looked at once so that a person hears of it before a job does.
//!
//! It only reads, and only warns: all of it may come or go while the daemon runs. It must never quote an env file or a secret.

use super::notes::Notes;
use super::reader::At;
use super::{Diagnostic, SecretFile};
use crate::model::parse_env_file;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Something on this machine that a config relies upon.
#[derive(Debug, Clone)]
pub(super) enum Doubt {
    /// Should be there, readable, and an env file.
    EnvFile(At<PathBuf>),
    /// Should be there and executable.
    Program(At<PathBuf>),
    /// Should be there.
    Directory(At<PathBuf>),
    /// Should be there, readable, and for nobody else.
    Secret(At<SecretFile>),
    /// Should be there and readable.
    Certificates(At<PathBuf>),
}

/// Notes a warning for each doubt that is justified.
pub(super) fn look(doubts: &[Doubt], notes: &Notes<'_>) {
    for doubt in doubts {
        let (at, trouble) = match doubt {
            Doubt::EnvFile(at) => (at, env_file(&at.value)),
            Doubt::Program(at) => (at, program(&at.value)),
            Doubt::Directory(at) => (at, directory(&at.value)),
            Doubt::Secret(at) => {
                secret(at, notes);
                continue;
            }
            Doubt::Certificates(at) => (at, readable(&at.value, "file").err()),
        };
        if let Some(trouble) = trouble {
            let message = format!("{}: {trouble}", at.value.display());
            notes.push(Diagnostic::warning(at.span.clone(), message));
        }
    }
}

fn secret(at: &At<SecretFile>, notes: &Notes<'_>) {
    // Where there are no credentials this is not the unit, which will have them.
    let Ok(path) = at.value.resolve() else { return };
    let shown = at.value.as_path().display();
    match readable(&path, "file") {
        Err(trouble) => notes.push(Diagnostic::warning(at.span.clone(), format!("{shown}: {trouble}"))),
        Ok(mode) if mode & 0o007 != 0 => notes.push(
            Diagnostic::warning(
                at.span.clone(),
                format!("{shown}: everyone on this machine can get at this secret"),
            )
            .help("take the rights of others away: chmod o= FILE"),
        ),
        Ok(_) => {}
    }
}

/// The mode of a file that can be read.
fn readable(path: &Path, what: &str) -> Result<u32, String> {
    let unreadable = |error| format!("this {what} cannot be read now: {error}");
    // Asked first, as opening a pipe would wait.
    let meta = fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err(format!("this {what} is not a file"));
    }
    fs::File::open(path).map_err(unreadable)?;
    Ok(meta.permissions().mode())
}

fn env_file(path: &Path) -> Option<String> {
    if let Err(trouble) = readable(path, "env file") {
        return Some(trouble);
    }
    match fs::read_to_string(path) {
        Err(error) => Some(format!("this env file cannot be read now: {error}")),
        Ok(text) => parse_env_file(&text)
            .err()
            .map(|e| format!("this env file has a mistake: {e}")),
    }
}

fn program(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(format!("this program cannot be found now: {error}")),
        Ok(meta) if !meta.is_file() => Some("this is not a program".to_owned()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some("this program is not executable".to_owned()),
        Ok(_) => None,
    }
}

fn directory(path: &Path) -> Option<String> {
    (!path.is_dir()).then(|| "this directory is not there now".to_owned())
}
