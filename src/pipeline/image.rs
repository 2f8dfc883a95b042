//! From a checkout to an image, and from an image to results.

use super::env::JobEnv;
use super::report::ImageReport;
use crate::config::{Image, Project, Run};
use crate::containerfile::{Base, bases, declared_args};
use crate::engine::{BuildRequest, Engine, PullAccess, RunRequest, container_name, find_containerfile, find_context};
use crate::model::{Failure, Job, Step, Template, mask_url};
use crate::process::Runner;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No Containerfile is that long.
const LONGEST_CONTAINERFILE: u64 = 16 << 20;

/// A Containerfile that was found and read.
#[derive(Debug)]
pub(super) struct Source {
    file: PathBuf,
    text: String,
    /// The images that it builds FROM.
    bases: Vec<String>,
}

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

fn fill_in(runner: &Runner, template: &Template) -> Result<String, Failure> {
    template
        .render(|name| runner.variable(name).map(|value| value.to_string_lossy().into_owned()))
        .map_err(|error| Failure::failed(error.to_string()))
}

fn render_all(
    runner: &Runner,
    env: &JobEnv,
    templates: &BTreeMap<String, Template>,
) -> Result<BTreeMap<String, String>, Failure> {
    templates
        .iter()
        .map(|(name, template)| Ok((name.clone(), render(runner, env, template)?)))
        .collect()
}

/// Reads the Containerfile and brings its bases into the engine's storage: a step of its own, so that a registry that
/// cannot be reached is not taken for a build that failed.
pub(super) async fn pull(
    runner: &Runner,
    engine: &Engine,
    image: &Image,
    env: &JobEnv,
    directory: &Path,
    timeout: Duration,
) -> Result<Source, Failure> {
    let checkout = &directory.join("build");
    let file = find_containerfile(checkout, image)?;
    let shown = file.strip_prefix(checkout).unwrap_or(&file).display().to_string();
    let length = std::fs::metadata(&file).map_or(0, |m| m.len());
    if length > LONGEST_CONTAINERFILE {
        return Err(Failure::failed(format!(
            "{shown} has {length} bytes: that is no Containerfile"
        )));
    }
    let bytes = std::fs::read(&file).map_err(|e| Failure::errored(format!("cannot read {shown}: {e}")))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let build_args = render_all(runner, env, &image.build_args)?;
    let argument = |name: &str| {
        let variable = || runner.variable(name).map(|v| v.to_string_lossy().into_owned());
        let public = || env.public.contains(name).then(variable).flatten();
        build_args.get(name).cloned().or_else(public)
    };
    let mut named = Vec::new();
    for base in bases(&text, &argument, image.target.as_deref()) {
        match base {
            Base::Image(name) => named.push(name),
            Base::Unresolved(text) => runner.note(
                Step::Pull,
                &format!("cannot tell which image {text} is: left to the engine"),
            ),
        }
    }
    named.sort();
    named.dedup();
    let access = PullAccess::new(scratch(directory));
    engine.pull_bases(runner, &named, image.pull, &access, timeout).await?;
    Ok(Source {
        file,
        text,
        bases: named,
    })
}

/// Where the engine keeps the temporary files of a job's build.
pub fn scratch(directory: &Path) -> PathBuf {
    directory.join(".engine")
}

/// Everything that a build needs.
pub(super) struct Build<'a> {
    pub engine: &'a Engine,
    pub project: &'a Project,
    pub image: &'a Image,
    pub job: &'a Job,
    pub env: &'a JobEnv,
    /// Of the job.
    pub directory: &'a Path,
    pub source: &'a Source,
}

impl Build<'_> {
    pub async fn run(&self, runner: &Runner) -> Result<ImageReport, Failure> {
        let checkout = self.directory.join("build");
        let mut labels = self.labels();
        labels.extend(render_all(runner, self.env, &self.image.labels)?);
        let tags = self
            .image
            .tags
            .iter()
            .map(|tag| render(runner, self.env, tag))
            .collect::<Result<Vec<String>, Failure>>()?;
        let id = self
            .engine
            .build(
                runner,
                &BuildRequest {
                    file: &self.source.file,
                    original: None,
                    context: &find_context(&checkout, self.image)?,
                    target: self.image.target.as_deref(),
                    pull: self.image.pull,
                    cache: self.image.cache,
                    build_args: &self.arguments(runner)?,
                    secrets: &[],
                    labels: &labels,
                    annotations: &BTreeMap::new(),
                    timestamp: None,
                    authfile: None,
                    tags: &tags,
                    scratch: &scratch(self.directory),
                    timeout: self.project.timeout,
                },
            )
            .await?;
        Ok(ImageReport {
            id: id.to_string(),
            tags,
            containerfile: self
                .source
                .file
                .strip_prefix(&checkout)
                .unwrap_or(&self.source.file)
                .to_owned(),
            bases: self.source.bases.clone(),
        })
    }

    /// Of what may be an ARG, what the Containerfile declares. `build_args` win.
    fn arguments(&self, runner: &Runner) -> Result<Vec<(String, OsString)>, Failure> {
        let given = render_all(runner, self.env, &self.image.build_args)?;
        Ok(declared_args(&self.source.text)
            .into_iter()
            .filter_map(|name| {
                let value = match given.get(&name) {
                    Some(value) => value.into(),
                    None if self.env.public.contains(&name) => runner.variable(&name)?,
                    None => return None,
                };
                Some((name, value))
            })
            .collect())
    }

    /// See the image-spec's annotations for the first group. A parent's values are overwritten, never trusted.
    fn labels(&self) -> BTreeMap<String, String> {
        let job = self.job;
        [
            ("org.opencontainers.image.created", format!("{:.0}", Timestamp::now())),
            ("org.opencontainers.image.source", mask_url(&self.project.remote)),
            ("org.opencontainers.image.revision", job.commit.to_string()),
            ("org.opencontainers.image.ref.name", job.reference.short().to_string()),
            ("pipelined.project", job.project.to_string()),
            ("pipelined.job", job.number.to_string()),
            ("pipelined.reason", job.reason.as_str().to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// What a run needs beside the engine.
pub(super) struct RunStep<'a> {
    pub engine: &'a Engine,
    pub project: &'a Project,
    pub run: &'a Run,
    pub job: &'a Job,
    pub env: &'a JobEnv,
    /// Of the job.
    pub directory: &'a Path,
    pub image_id: &'a str,
}

impl RunStep<'_> {
    pub async fn run(&self, runner: &Runner) -> Result<(), Failure> {
        let job = self.job;
        // The paths as the container sees them.
        let mut env: Vec<(String, OsString)> = vec![
            ("BUILD_PATH".into(), "/build".into()),
            ("BUILD_DROP".into(), "/drop".into()),
        ];
        let image = ["BUILD_IMAGE", "BUILD_IMAGE_ID", "BUILD_IMAGE_DIGEST"].map(str::to_owned);
        let names = self.env.run.iter().chain(&image);
        env.extend(names.filter_map(|name| Some((name.clone(), runner.variable(name)?))));
        for (name, template) in &self.run.env {
            env.push((name.clone(), fill_in(runner, template)?.into()));
        }
        let request = RunRequest {
            image: self.image_id,
            project: job.project.as_str(),
            name: &container_name(job.project.as_str(), job.commit.short(), &runner.marker),
            command: self.run.command.as_deref(),
            build: &self.directory.join("build"),
            drop: &self.directory.join("drop"),
            read_only: self.run.read_only,
            tmpfs: self.run.tmpfs,
            network: self.run.network.as_deref(),
            labels: &render_all(runner, self.env, &self.run.labels)?,
            env: &env,
            engine_socket: self.run.engine_socket,
            timeout: self.project.timeout,
        };
        self.engine.run(runner, &request).await
    }
}
