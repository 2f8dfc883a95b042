//! What a checkout says of the edges between images, and whether it is built on now.
//!
//! It exists apart from the planning of the job's own images because it is told to others: they may wait for this job, or
//! this job for them. It must never look at an engine or a registry, and must never read a file that the checkout only
//! points at.

use super::attempt::Attempt;
use super::env::{JobEnv, WAVE_VARIABLE};
use super::images::Planned;
use super::prepare::aside;
use super::select::Choice;
use crate::model::{Failure, FailureKind, Ground, ImageName, Learned, Links, Step, remote_key};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where a repository names the projects that it relies on, one URL a line.
const DEPS: &str = ".gitlab-deps";

/// No list of projects is that long.
const LONGEST_DEPS: u64 = 64 << 10;
const MOST_LINES: usize = 1000;

impl<'a> Attempt<'a> {
    /// Reads all images, decides about each, and tells what was learned. The answer is what is built on, or that the
    /// attempt has to wait.
    pub(super) async fn read_and_learn(&mut self, env: &JobEnv) -> Result<Vec<Planned<'a>>, Failure> {
        let checkout = self.checkout_dir();
        let remotes = match aside(move || deps(&checkout)).await? {
            Deps::Of(remotes) => remotes,
            Deps::Odd(why) => {
                self.runner.note(Step::Pull, &format!("{DEPS} is not read: {why}"));
                BTreeSet::new()
            }
            Deps::TooLong(why) => return Err(Failure::failed(format!("{}: {DEPS} {why}", Step::Pull))),
        };
        let is_asked = self.needs_default_branch(&remotes);
        let default = match is_asked {
            true => self.ask_default_branch().await?,
            false => None,
        };
        let planned = self.plan_images(env, default.as_ref()).await?;
        let is_default = is_asked.then(|| default.as_ref() == Some(&self.work.job.reference));
        let learned = self.learned(&planned, &remotes, is_default);
        match self.work.desk.learned(self.work.job.id, learned).await {
            Ok(ground) => self.stand_on(ground),
            Err(failure) if failure.kind == FailureKind::Waiting => {
                return Err(self.waits(Step::Pull, &format!("waits: {failure}"), failure));
            }
            Err(failure) => return Err(failure),
        }
        Ok(planned)
    }

    fn stand_on(&mut self, ground: Ground) {
        if let Some(wave) = ground.wave {
            let of_wave = |(name, _): &&mut (OsString, OsString)| name == WAVE_VARIABLE;
            if let Some((_, value)) = self.runner.env.iter_mut().find(of_wave) {
                *value = wave.to_string().into();
            }
        }
        self.ground = ground;
    }

    /// Says that the attempt ends for now, unless somebody wants it to end for good.
    pub(super) fn waits(&self, step: Step, note: &str, failure: Failure) -> Failure {
        if self.work.cancel.is_asked() {
            return Failure::new(FailureKind::Cancelled, format!("{step}: cancelled"));
        }
        self.runner.note(step, note);
        failure
    }

    /// Whether anything depends on which branch the remote's HEAD points at. Others are told where all images are released,
    /// those too that this job does not build.
    fn needs_default_branch(&self, remotes: &BTreeSet<String>) -> bool {
        let (project, is_rebuild) = (&self.work.project, self.work.job.rebuild.is_some());
        if project.images.is_empty() {
            return self.work.is_needed || !remotes.is_empty() || !project.upstreams.is_empty();
        }
        project.images.iter().any(|image| {
            let releases = !image.release.is_empty() && image.release_refs.is_none();
            releases || !is_rebuild && !image.watch.is_empty()
        })
    }

    fn learned(&self, planned: &[Planned<'a>], remotes: &BTreeSet<String>, default: Option<bool>) -> Learned {
        let none = Links {
            commit: self.work.job.commit.clone(),
            bases: BTreeSet::new(),
            siblings: BTreeSet::new(),
            targets: BTreeSet::new(),
            remotes: remotes.clone(),
            default,
            failed: None,
            failed_waves: Vec::new(),
            needs: Vec::new(),
        };
        let name = |planned: &Planned<'a>| planned.prepared.image.name.clone();
        let links = planned.iter().map(|image| {
            let links = Links {
                bases: image.prepared.candidate().bases,
                siblings: image
                    .upstreams
                    .iter()
                    .filter_map(|up| planned.get(*up))
                    .map(name)
                    .collect(),
                targets: image.targets.clone(),
                ..none.clone()
            };
            (name(image), links)
        });
        let is_built = |planned: &&Planned<'a>| matches!(planned.choice, Choice::Build(_));
        let mut learned = Learned {
            links: links.collect(),
            builds: planned.iter().filter(is_built).map(name).collect(),
        };
        // What a project has for a name is one for an image too.
        let of_project = ImageName::new(self.work.project.name.as_str()).ok();
        if let Some(name) = of_project.filter(|_| planned.is_empty()) {
            learned.links = BTreeMap::from([(name.clone(), none)]);
            learned.builds = BTreeSet::from([name]);
        }
        learned
    }
}

/// What became of a look for `.gitlab-deps`.
#[derive(Debug, PartialEq, Eq)]
enum Deps {
    /// The keys of the remotes that it names; none if it is not there.
    Of(BTreeSet<String>),
    /// It is nothing that a repository would have. Why.
    Odd(String),
    /// It is longer than anybody would write.
    TooLong(String),
}

fn deps(checkout: &Path) -> Deps {
    let file = match inside(checkout, &checkout.join(DEPS)) {
        Ok(Some(file)) => file,
        Ok(None) => return Deps::Of(BTreeSet::new()),
        Err(why) => return Deps::Odd(why),
    };
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&file).and_then(|file| file.take(LONGEST_DEPS + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Deps::Odd(error.to_string());
    }
    let text = String::from_utf8_lossy(&bytes);
    if bytes.len() as u64 > LONGEST_DEPS || text.lines().count() > MOST_LINES {
        return Deps::TooLong(format!(
            "is longer than {LONGEST_DEPS} bytes or {MOST_LINES} lines: it is to have the URL of a project a line"
        ));
    }
    let lines = text.lines().map(str::trim);
    Deps::Of(
        lines
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .map(remote_key)
            .collect(),
    )
}

/// The file without links, if it is a regular one of the checkout.
fn inside(checkout: &Path, path: &Path) -> Result<Option<PathBuf>, String> {
    if let Err(error) = std::fs::symlink_metadata(path) {
        return match error.kind() {
            std::io::ErrorKind::NotFound => Ok(None),
            _ => Err(error.to_string()),
        };
    }
    let resolved = std::fs::canonicalize(path).and_then(|file| Ok((std::fs::canonicalize(checkout)?, file)));
    let (root, file) = resolved.map_err(|error| error.to_string())?;
    if !file.starts_with(&root) {
        return Err("it leads out of the checkout".to_owned());
    }
    // Asked first: opening a pipe would wait for ever.
    let metadata = std::fs::metadata(&file).map_err(|error| error.to_string())?;
    match metadata.is_file() {
        true => Ok(Some(file)),
        false => Err("it is not a regular file".to_owned()),
    }
}

#[cfg(test)]
mod tests;
