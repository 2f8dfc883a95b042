//! A site with an engine, and what became of its jobs and images.

use crate::support::daemon::{Site, build_json, build_log};
use crate::support::jobs::jobs;
use crate::support::podman::Podman;
use crate::support::repo::{Repo, short};
use crate::support::scratch::{Scratch, wait_for_state};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// A job with several builds on a busy machine.
const LONG: Duration = Duration::from_secs(120);

pub const MAIN: &str = "refs/heads/main";

/// Where tests put what they make. The fields are dropped in this order.
pub struct World {
    pub podman: Podman,
    pub scratch: Scratch,
}

impl World {
    /// With busybox in the engine's storage.
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        podman.load_busybox();
        Self { podman, scratch }
    }

    /// A site whose config begins with what all of these tests need.
    pub fn site(&self, toml: &str) -> Site {
        Site::new(&self.scratch, &config(toml)).with_env(self.podman.env())
    }

    /// A repository with these files, and its commit.
    pub fn repo(&self, name: &str, files: &[(&str, &str)]) -> (Repo, String) {
        let repo = Repo::new(self.scratch.join(name));
        let commit = repo.commit(files);
        (repo, commit)
    }

    /// Where [`World::repo`] puts it.
    pub fn remote(&self, name: &str) -> String {
        self.scratch.join(name).display().to_string()
    }
}

/// Four jobs at once. Where jobs share a storage, podman may come upon an image that another one has half written: an
/// error of our side, which is tried again.
pub fn config(toml: &str) -> String {
    format!("limit = 4\ninterval = '1h'\nretry = {{ attempts = 3, delay = '200ms', max_delay = '200ms' }}\n{toml}")
}

/// A job that is over.
#[derive(Debug)]
pub struct Done {
    pub id: i64,
    pub outcome: String,
    pub dir: PathBuf,
    pub report: Value,
    pub log: String,
}

impl Done {
    /// What became of an image.
    #[track_caller]
    pub fn image(&self, name: &str) -> &Value {
        let images = self.report["images"].as_array().unwrap();
        let found = images.iter().find(|image| image["image"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#}\n{}", self.report, self.log))
    }

    /// `NAME STATUS` of each image, in the order in which they were built.
    pub fn images(&self) -> Vec<String> {
        let images = self.report["images"].as_array().unwrap();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        images
            .iter()
            .map(|i| word(&i["image"]) + " " + &word(&i["status"]))
            .collect()
    }

    /// Why it was skipped, blocked or failed.
    pub fn note(&self, image: &str) -> &str {
        self.image(image)["note"].as_str().unwrap()
    }

    pub fn error(&self) -> &str {
        self.report["error"].as_str().unwrap_or_default()
    }

    /// The steps that were begun, with their images.
    pub fn steps(&self) -> Vec<String> {
        let steps = self.report["steps"].as_array().unwrap();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let step = |s: &Value| format!("{} {}", word(&s["step"]), word(&s["image"]));
        steps.iter().map(|s| step(s).trim().to_owned()).collect()
    }
}

/// Waits until `count` jobs of a commit on a ref are over; the newest.
#[track_caller]
pub fn done_again(site: &Site, project: &str, reference: &str, commit: &str, count: usize) -> Done {
    let row = wait_for_state(&format!("{project} {reference} {}", short(commit)), LONG, || {
        let mut rows = jobs(&site.workdir);
        rows.retain(|row| row.project == project && row.reference == reference && row.commit == commit);
        let over = rows.iter().filter(|row| row.state == "done").count();
        match rows.pop() {
            Some(last) if over >= count => Ok(last),
            last => Err(format!(
                "{last:?}\n{}",
                std::fs::read_to_string(&site.log).unwrap_or_default()
            )),
        }
    });
    let name = row.attempts.last().unwrap_or_else(|| panic!("never begun: {row:?}"));
    let suffix = if row.outcome() == "succeeded" { "" } else { ".tmp" };
    let dir = site.job_dir(project, reference, &format!("{name}{suffix}"));
    // The directory is renamed after the record is made.
    wait_for_state("the directory", LONG, || {
        dir.is_dir().then_some(()).ok_or_else(|| format!("{dir:?}"))
    });
    Done {
        id: row.id,
        outcome: row.outcome().to_owned(),
        report: build_json(&dir),
        log: build_log(&dir),
        dir,
    }
}

/// Waits until the job of a commit on `main` is over.
#[track_caller]
pub fn done(site: &Site, project: &str, commit: &str) -> Done {
    done_again(site, project, MAIN, commit, 1)
}

/// The same, and it must have ended so.
#[track_caller]
pub fn done_as(site: &Site, project: &str, commit: &str, outcome: &str) -> Done {
    let done = done(site, project, commit);
    assert_eq!(done.outcome, outcome, "{project}: {}\n{}", done.error(), done.log);
    done
}

/// A project's row of `images --json`, by the image's name, on `main` or on no ref.
#[track_caller]
pub fn image_row(site: &Site, project: &str, image: &str) -> Value {
    let rows = site.json(&["images", project, "--json"]);
    let is = |row: &&Value| row["image"] == image && (row["ref"] == MAIN || row["ref"].is_null());
    let found = rows.as_array().unwrap().iter().find(is);
    found.unwrap_or_else(|| panic!("no {image} in {rows:#}")).clone()
}

/// Runs a command of the CLI, which must end with this code; what it said on both streams.
#[track_caller]
pub fn says(site: &Site, args: &[&str], code: i32) -> String {
    let output = site.cli(args);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}
