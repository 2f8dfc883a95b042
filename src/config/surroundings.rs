//! What a config relies upon on this machine, looked at once so that a person hears of it before a job does.
//!
//! It only reads, and only warns: all of it may come or go while the daemon runs. It must never quote an env file.

use super::Diagnostic;
use super::notes::Notes;
use super::resolve_project::Doubt;
use crate::model::parse_env_file;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Notes a warning for each doubt that is justified.
pub(super) fn look(doubts: &[Doubt], notes: &Notes<'_>) {
    for doubt in doubts {
        let (at, trouble) = match doubt {
            Doubt::EnvFile(at) => (at, env_file(&at.value)),
            Doubt::Program(at) => (at, program(&at.value)),
            Doubt::Directory(at) => (at, directory(&at.value)),
        };
        if let Some(trouble) = trouble {
            let message = format!("{}: {trouble}", at.value.display());
            notes.push(Diagnostic::warning(at.span.clone(), message));
        }
    }
}

fn env_file(path: &Path) -> Option<String> {
    // Asked first, as reading a pipe would wait.
    match fs::metadata(path) {
        Err(error) => return Some(format!("this env file cannot be read now: {error}")),
        Ok(meta) if !meta.is_file() => return Some("this env file is not a file".to_owned()),
        Ok(_) => {}
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
