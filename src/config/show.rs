//! A config printed back, with every default filled in.
//!
//! It exists so that a person sees what the daemon sees. What is printed can be read again as a config, but for what is
//! masked: it must never print a credential, wherever in the config it hides.

use super::secret::{is_secret_name, mask_text};
use super::show_engine::{self, ShownEngine, ShownKaniko, ShownRegistry};
use super::show_image::{ShownImage, image};
use super::{Config, EnvLayer, Initial, LogFormat, Project, Rsync, Run, Tmpfs};
use crate::model::{Template, mask_url};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MASK: &str = "***";

/// As TOML, as a user would write it.
pub fn to_toml(config: &Config) -> Result<String, toml::ser::Error> {
    toml::to_string(&shown(config))
}

/// The same as JSON.
pub fn to_json(config: &Config) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(shown(config))
}

// In TOML values come before tables, and so do the fields here.

#[derive(Serialize)]
struct Shown<'a> {
    limit: usize,
    interval: String,
    workdir: &'a Path,
    engine: ShownEngine,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    grace: String,
    poll_timeout: String,
    poll_size_limit: u64,
    polls_per_host: usize,
    log_limit: u64,
    log_level: String,
    log_format: LogFormat,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_dir: Option<&'a Path>,
    log_keep: usize,
    watch_config: bool,
    retry: ShownRetry,
    #[serde(skip_serializing_if = "Option::is_none")]
    kaniko: Option<ShownKaniko<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    registries: BTreeMap<&'a str, ShownRegistry<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hooks: BTreeMap<&'static str, &'a Path>,
    projects: BTreeMap<&'a str, ShownProject<'a>>,
}

#[derive(Serialize)]
struct ShownRetry {
    attempts: u32,
    delay: String,
    max_delay: String,
}

#[derive(Serialize)]
struct ShownProject<'a> {
    enabled: bool,
    interval: String,
    remote: String,
    branches: Vec<&'a str>,
    tags: Vec<&'a str>,
    initial: Initial,
    shallow: bool,
    submodules: bool,
    timeout: String,
    callback_timeout: String,
    env_file: Vec<&'a PathBuf>,
    depends_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prepare_callback: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success_callback: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_callback: Option<Vec<String>>,
    env: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<ShownImage<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    images: BTreeMap<&'a str, ShownImage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<ShownRun<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rsync: Option<ShownRsync<'a>>,
}

#[derive(Serialize)]
struct ShownRun<'a> {
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    read_only: bool,
    tmpfs: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    engine_socket: bool,
    labels: BTreeMap<&'a str, String>,
    env: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct ShownRsync<'a> {
    destination: String,
    delete: bool,
    checksum: bool,
    preserve: bool,
    include: &'a [String],
}

fn shown(config: &Config) -> Shown<'_> {
    Shown {
        limit: config.limit,
        interval: duration(config.interval),
        workdir: &config.workdir,
        engine: show_engine::engine(config),
        listen: config.listen,
        grace: duration(config.grace),
        poll_timeout: duration(config.poll_timeout),
        poll_size_limit: config.poll_size_limit,
        polls_per_host: config.polls_per_host,
        log_limit: config.log_limit,
        log_level: config.log.level.to_string().to_lowercase(),
        log_format: config.log.format,
        log_dir: config.log.dir.as_deref(),
        log_keep: config.log.keep,
        watch_config: config.watch_config,
        retry: ShownRetry {
            attempts: config.retry.attempts,
            delay: duration(config.retry.delay),
            max_delay: duration(config.retry.max_delay),
        },
        kaniko: config.kaniko.as_ref().map(|k| show_engine::kaniko(k, config.engine)),
        registries: show_engine::registries(&config.registries),
        hooks: config
            .hooks
            .iter()
            .map(|(sender, file)| (sender.as_str(), file.as_path()))
            .collect(),
        projects: config
            .projects
            .iter()
            .map(|(name, p)| (name.as_str(), project(p)))
            .collect(),
    }
}

fn project(project: &Project) -> ShownProject<'_> {
    let mut env = BTreeMap::new();
    let mut env_file = Vec::new();
    for layer in &project.env {
        match layer {
            EnvLayer::File(path) => env_file.push(path),
            EnvLayer::Table(table) => env.extend(table.iter().map(|(n, v)| (n.as_str(), value(n, v)))),
        }
    }
    let only = match project.images.as_slice() {
        [only] if only.name.as_str() == project.name.as_str() => Some(image(only)),
        _ => None,
    };
    let images = match only {
        Some(_) => BTreeMap::new(),
        None => project.images.iter().map(|i| (i.name.as_str(), image(i))).collect(),
    };
    ShownProject {
        enabled: project.enabled,
        interval: duration(project.interval),
        remote: mask_url(&project.remote),
        branches: project.branches.iter().map(super::Pattern::as_str).collect(),
        tags: project.tags.iter().map(super::Pattern::as_str).collect(),
        initial: project.initial,
        shallow: project.shallow,
        submodules: project.submodules,
        timeout: duration(project.timeout),
        callback_timeout: duration(project.callback_timeout),
        env_file,
        depends_on: project.upstreams.iter().map(ToString::to_string).collect(),
        prepare_callback: project.prepare_callback.as_deref().map(command),
        success_callback: project.success_callback.as_deref().map(command),
        error_callback: project.error_callback.as_deref().map(command),
        env,
        image: only,
        images,
        run: project.run.as_deref().map(run),
        rsync: project.rsync.as_deref().map(rsync),
    }
}

fn run(run: &Run) -> ShownRun<'_> {
    ShownRun {
        image: run.image.as_str(),
        command: run.command.as_deref().map(command),
        read_only: run.read_only,
        tmpfs: match run.tmpfs {
            Tmpfs::Percent(percent) => format!("{percent}%"),
            Tmpfs::Bytes(bytes) => bytes.to_string(),
        },
        network: run.network.as_deref(),
        engine_socket: run.engine_socket,
        labels: templates(&run.labels),
        env: templates(&run.env),
    }
}

fn rsync(rsync: &Rsync) -> ShownRsync<'_> {
    ShownRsync {
        destination: mask_text(rsync.destination.as_str()),
        delete: rsync.delete,
        checksum: rsync.checksum,
        preserve: rsync.preserve,
        include: &rsync.include,
    }
}

pub(super) fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

pub(super) fn command(argv: &[String]) -> Vec<String> {
    argv.iter().map(|argument| mask_text(argument)).collect()
}

pub(super) fn templates(table: &BTreeMap<String, Template>) -> BTreeMap<&str, String> {
    table
        .iter()
        .map(|(name, t)| (name.as_str(), value(name, t.as_str())))
        .collect()
}

fn value(name: &str, value: &str) -> String {
    if is_secret_name(name) {
        MASK.to_owned()
    } else {
        mask_text(value)
    }
}
