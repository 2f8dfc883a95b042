//! What a container of a released image sees of its project, when it is looked into outside of a job: the same as a test of
//! the image had.
//!
//! It must never give a value away that could not be masked.

use super::env::{image_variables, job_env, project_env};
use super::run::variables_of;
use crate::config::Project;
use crate::model::{Failure, ImageResult, Job};
use crate::process::Masks;
use std::ffi::OsString;
use std::path::Path;

/// The variables of a look into an image.
#[derive(Debug)]
pub struct Inside {
    /// For the engine and whatever else is run here.
    pub all: Vec<(OsString, OsString)>,
    /// For the container; the values of env files are among them.
    pub container: Vec<(String, OsString)>,
    /// What must be in no log.
    pub masks: Masks,
}

/// The variables for a look into a released image: those of the job that released it, as far as that is known, with the env
/// files as they are now. An env file that cannot be read, or whose values cannot be masked, is an error.
pub fn inside(project: &Project, job: Option<&Job>, dir: &Path, image: &ImageResult) -> Result<Inside, Failure> {
    let (mut env, result) = match job {
        Some(job) => job_env(project, job, dir),
        None => project_env(project),
    };
    result?;
    let masks = env.masks()?;
    env.all.extend(image_variables(image, None));
    let value = |name: &str| {
        let last = env.all.iter().rev().find(|(known, _)| known == name);
        last.map(|(_, value)| value.clone())
    };
    let container = variables_of(&env, value);
    Ok(Inside {
        container,
        all: env.all,
        masks,
    })
}
