//! What these tests ask of a site.

use crate::support::daemon::Site;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use serde_json::Value;
use std::path::PathBuf;

pub const MAIN: &str = "refs/heads/main";

/// A project's table, with more lines.
pub fn project(name: &str, remote: &str, more: &str) -> String {
    format!("[projects.{name}]\nremote = {remote:?}\n{more}\n")
}

/// What the daemon says of its polls.
#[track_caller]
pub fn polls(site: &Site) -> Value {
    site.json(&["status", "--json"])["daemon"]["polls"].clone()
}

/// One of its counts.
#[track_caller]
pub fn count(site: &Site, what: &str) -> u64 {
    polls(site)[what].as_u64().unwrap()
}

/// Waits for so many more polls of any remotes.
#[track_caller]
pub fn wait_polls(site: &Site, more: u64) {
    let end = count(site, "asked") + more;
    wait_for_state("more polls", SOON, || {
        let asked = count(site, "asked");
        (asked >= end).then_some(()).ok_or_else(|| asked.to_string())
    });
}

/// A project in the status.
#[track_caller]
pub fn of(site: &Site, project: &str) -> Value {
    let status = site.json(&["status", project, "--json"]);
    status["projects"][0].clone()
}

/// Waits until a remote is in trouble of which this is said; the trouble.
#[track_caller]
pub fn wait_trouble(site: &Site, project: &str, word: &str) -> Value {
    wait_for_state(&format!("{project} to be {word:?}"), SOON, || {
        let trouble = of(site, project)["trouble"].clone();
        let error = trouble["error"].as_str().unwrap_or_default();
        error
            .contains(word)
            .then(|| trouble.clone())
            .ok_or_else(|| format!("{trouble}"))
    })
}

/// A directory for PATH with a script there that notes its calls, then becomes the real program; and the notes.
pub struct Calls {
    /// PATH with the scripts before all else.
    pub path: String,
    notes: PathBuf,
}

impl Calls {
    /// Of these programs.
    pub fn of(scratch: &Scratch, programs: &[&str]) -> Self {
        let path = std::env::var("PATH").unwrap();
        let notes = scratch.write("calls", "");
        for program in programs {
            let real = std::env::split_paths(&path)
                .map(|dir| dir.join(program))
                .find(|p| p.exists());
            let real = real.unwrap();
            let body = format!(
                "echo \"{program} $*\" >>'{}'\nexec '{}' \"$@\"",
                notes.display(),
                real.display()
            );
            scratch.script(format!("bin/{program}"), &body);
        }
        let path = format!("{}:{path}", scratch.join("bin").display());
        Self { path, notes }
    }

    /// Every call until now.
    pub fn all(&self) -> Vec<String> {
        let notes = std::fs::read_to_string(&self.notes).unwrap();
        notes.lines().map(str::to_owned).collect()
    }
}
