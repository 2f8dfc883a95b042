//! Templates with the variables of a job.

use super::env::JobEnv;
use crate::config::Project;
use crate::model::{Failure, Template};
use crate::process::Runner;
use std::collections::BTreeMap;

/// Fills a template in with the variables that a command of the job would see, but with nothing of an env file: what is
/// made of it can be seen in arguments, labels, or the image's history.
pub(super) fn render(runner: &Runner, env: &JobEnv, template: &Template) -> Result<String, Failure> {
    if let Some(secret) = template.variables().find(|name| env.is_secret(name)) {
        return Err(Failure::failed(format!(
            "{:?}: {secret} comes from an env_file, and what that sets is secret: only `env` of [run] may use it",
            template.as_str()
        )));
    }
    fill_in(runner, template)
}

/// The same with the variables of env files too: only for what is as secret as they are.
pub(super) fn fill_in(runner: &Runner, template: &Template) -> Result<String, Failure> {
    template
        .render(|name| runner.variable(name).map(|value| value.to_string_lossy().into_owned()))
        .map_err(|error| Failure::failed(error.to_string()))
}

/// Fails if what is filled in after hours of building would find a variable missing. Only those of the image come later.
pub(super) fn known_later(runner: &Runner, project: &Project) -> Result<(), Failure> {
    let run = project
        .run
        .iter()
        .flat_map(|run| run.labels.values().chain(run.env.values()));
    let all = run.chain(project.rsync.iter().map(|rsync| &rsync.destination));
    let value = |name: &str| match name.starts_with("BUILD_IMAGE") {
        true => Some(String::new()),
        false => runner.variable(name).map(|value| value.to_string_lossy().into_owned()),
    };
    for template in all {
        template
            .render(value)
            .map_err(|error| Failure::failed(error.to_string()))?;
    }
    Ok(())
}

/// Fills in the values of a table.
pub(super) fn render_all(
    runner: &Runner,
    env: &JobEnv,
    templates: &BTreeMap<String, Template>,
) -> Result<BTreeMap<String, String>, Failure> {
    templates
        .iter()
        .map(|(name, template)| Ok((name.clone(), render(runner, env, template)?)))
        .collect()
}
