//! Running the built image.

use super::attempt::Attempt;
use super::env::JobEnv;
use super::render::{fill_in, render_all};
use crate::config::Run;
use crate::engine::{RunRequest, container_name};
use crate::model::Failure;
use crate::process::Runner;
use std::ffi::OsString;

impl Attempt<'_> {
    pub(super) async fn run_image(&self, run: &Run, env: &JobEnv) -> Result<(), Failure> {
        // The run is due only if its image was built.
        let place = self.built.iter().position(|(_, built)| built.result.image == run.image);
        let Some(mut built) = place.map(|place| self.built[place].1.clone()) else {
            return Ok(());
        };
        let image = self.in_engine(&mut built).await?;
        let (work, runner) = (self.work, &self.runner);
        let job = &work.job;
        // The paths as the container sees them.
        let mut variables: Vec<(String, OsString)> = vec![
            ("BUILD_PATH".into(), "/build".into()),
            ("BUILD_DROP".into(), "/drop".into()),
        ];
        variables.extend(container_variables(runner, env));
        for (name, template) in &run.env {
            variables.push((name.clone(), fill_in(runner, template)?.into()));
        }
        let request = RunRequest {
            image: image.as_str(),
            project: job.project.as_str(),
            name: &container_name(job.project.as_str(), job.commit.short(), &runner.marker),
            command: run.command.as_deref(),
            build: &self.directory.join("build"),
            drop: &self.directory.join("drop"),
            read_only: run.read_only,
            tmpfs: run.tmpfs,
            network: run.network.as_deref(),
            labels: &render_all(runner, env, &run.labels)?,
            env: &variables,
            engine_socket: run.engine_socket,
            timeout: work.project.timeout,
        };
        work.engine.run(runner, &request).await
    }
}

/// What a container of the job sees of the job's variables.
pub(super) fn container_variables(runner: &Runner, env: &JobEnv) -> Vec<(String, OsString)> {
    variables_of(env, |name| runner.variable(name))
}

/// The same, with the values from elsewhere.
pub(super) fn variables_of(env: &JobEnv, value: impl Fn(&str) -> Option<OsString>) -> Vec<(String, OsString)> {
    let image = [
        "BUILD_IMAGE",
        "BUILD_IMAGE_NAME",
        "BUILD_IMAGE_ID",
        "BUILD_IMAGE_DIGEST",
    ]
    .map(str::to_owned);
    let names = env.run.iter().chain(&image);
    names.filter_map(|name| Some((name.clone(), value(name)?))).collect()
}
