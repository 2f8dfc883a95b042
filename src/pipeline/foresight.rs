//! What a job would make of an image's config and Containerfile, told without a job.
//!
//! It exists for images that were built elsewhere: where they would be released, and what they stand on, is said by the
//! same templates and the same variables as if they were built here. It must never guess what only a job can know.

use super::env::{JobEnv, job_env};
use super::prepare::{argument, arguments, aside};
use super::render::render;
use crate::config::{Image, Project};
use crate::containerfile::{Base, bases, final_base};
use crate::model::{CommitId, Failure, ImageRef, Job, JobId, JobState, Reason, RefName};
use crate::process::Runner;
use jiff::Timestamp;
use std::path::Path;

/// What is another in each job.
const EACH_JOBS_OWN: [&str; 7] = [
    "BUILD_NUMBER",
    "BUILD_REASON",
    "BUILD_WAVE",
    "BUILD_DIR",
    "BUILD_PATH",
    "BUILD_DROP",
    "BUILD_LOG",
];

/// An image at a commit, with the variables that a job of a ref would have.
#[derive(Debug)]
pub struct Foresight<'a> {
    image: &'a Image,
    env: JobEnv,
    runner: Runner,
}

/// What an image would be built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandsOn {
    /// What the last stage stands on; none if that is `scratch`, or cannot be told.
    pub base: Option<String>,
    /// What cannot be told, as it is written.
    pub unresolved: Option<String>,
}

impl<'a> Foresight<'a> {
    /// Reads the env files as a job would, and fails if that would. `dir` stands for the job's directory.
    pub fn new(
        runner: &Runner,
        project: &Project,
        image: &'a Image,
        reference: &RefName,
        commit: &CommitId,
        dir: &Path,
    ) -> Result<Self, Failure> {
        let job = Job {
            id: JobId(0),
            project: project.name.clone(),
            reference: reference.clone(),
            commit: commit.clone(),
            number: 0,
            reason: Reason::NewCommit,
            cause: String::new(),
            place: 0,
            created: Timestamp::UNIX_EPOCH,
            state: JobState::Queued { not_before: None },
            attempts: 0,
            note: String::new(),
            failure: None,
            rebuild: None,
            wave: JobId(0),
            atomic: None,
        };
        let (env, read) = job_env(project, &job, dir);
        read?;
        let name = ("BUILD_IMAGE_NAME".into(), image.name.as_str().into());
        let mut runner = runner.with_env(env.all.iter().cloned().chain([name]));
        runner.masks = env.masks()?;
        Ok(Self { image, env, runner })
    }

    /// Runs commands as the job's, with its secrets masked.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Where the image would be released on a ref that releases it, as far as that is the same for each job.
    pub fn released(&self) -> Result<Vec<ImageRef>, Failure> {
        let lasting = self
            .image
            .release
            .iter()
            .filter(|template| !template.variables().any(|name| EACH_JOBS_OWN.contains(&name)));
        let read = |text: String| {
            ImageRef::parse(&text).map_err(|error| Failure::failed(format!("{}: release: {error}", self.image.name)))
        };
        lasting
            .map(|template| render(&self.runner, &self.env, template).and_then(read))
            .collect()
    }

    /// What stands in a Containerfile.
    pub async fn stands_on(&self, file: Vec<u8>) -> Result<StandsOn, Failure> {
        let arguments = arguments(&self.runner, &self.env, self.image)?;
        let target = self.image.target.clone();
        aside(move || {
            let text = String::from_utf8_lossy(&file);
            let (argument, target) = (argument(&arguments), target.as_deref());
            let unresolved = bases(&text, &argument, target).into_iter().find_map(|base| match base {
                Base::Unresolved(text) => Some(text),
                Base::Image(_) => None,
            });
            StandsOn {
                base: final_base(&text, &argument, target),
                unresolved,
            }
        })
        .await
    }
}
