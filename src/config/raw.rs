//! What is written at the top of the file, before defaults and before projects know of each other.
//!
//! It exists apart from the resolved config because "not written" and "written as the default" differ until `[defaults]`
//! is merged. It must never fill in a default.

use super::LogFormat;
use super::keys::{PROJECT, RETRY, TOP};
use super::notes::Notes;
use super::raw_engine::{RawEngine, RawKaniko, RawRegistry, engine, registries};
use super::raw_hooks::{Listen, RawHooks, listen};
use super::raw_project::RawProject;
use super::reader::{At, Node, Table, entries};
use super::text::{self, Mistake};
use super::values::{boolean, choice, duration, integer, parsed, positive, refuse, size};
use crate::model::ProjectName;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// The file, key by key.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    pub(super) limit: Option<usize>,
    pub(super) interval: Option<Duration>,
    pub(super) workdir: Option<PathBuf>,
    /// Whether `workdir` is there, right or wrong.
    pub(super) has_workdir: bool,
    pub(super) engine: Option<At<RawEngine>>,
    /// Whether `engine` is there, right or wrong.
    pub(super) has_engine: bool,
    pub(super) kaniko: Option<RawKaniko>,
    /// By host in normal form.
    pub(super) registries: Vec<(At<String>, RawRegistry)>,
    pub(super) listen: Option<At<Listen>>,
    pub(super) hooks: RawHooks,
    pub(super) grace: Option<Duration>,
    pub(super) poll_timeout: Option<Duration>,
    pub(super) poll_size_limit: Option<u64>,
    pub(super) polls_per_host: Option<usize>,
    pub(super) log_limit: Option<u64>,
    pub(super) retry: RawRetry,
    pub(super) log_level: Option<tracing::Level>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) log_dir: Option<At<PathBuf>>,
    pub(super) log_keep: Option<usize>,
    pub(super) watch_config: Option<bool>,
    pub(super) defaults: RawProject,
    pub(super) projects: Vec<(At<ProjectName>, RawProject)>,
}

/// `[retry]`
#[derive(Debug, Default)]
pub(super) struct RawRetry {
    pub(super) attempts: Option<u32>,
    pub(super) delay: Option<Duration>,
    pub(super) max_delay: Option<At<Duration>>,
}

impl RawConfig {
    /// Reads a whole file; relative paths are seen from `base`.
    pub(super) fn read<'a>(document: &'a DeTable<'a>, base: &Path, notes: &'a Notes<'a>) -> Self {
        let table = Table::new(document, TOP, notes);
        let path = |node, notes| parsed(node, notes, |t| text::path(t, base));
        Self {
            limit: table.read("limit", |n, notes| integer(n, notes, 1..=10_000)),
            interval: table.read("interval", positive),
            workdir: table.read("workdir", path),
            has_workdir: table.mentions("workdir"),
            engine: table.read_at("engine", engine),
            has_engine: table.mentions("engine"),
            kaniko: table
                .key("kaniko")
                .and_then(|key| table.read("kaniko", |n, notes| RawKaniko::read(n, key, notes))),
            registries: table
                .read("registries", |n, notes| registries(n, base, notes))
                .unwrap_or_default(),
            listen: table.read_at("listen", listen),
            hooks: table
                .read("hooks", |n, notes| RawHooks::read(n, base, notes))
                .unwrap_or_default(),
            grace: table.read("grace", duration),
            poll_timeout: table.read("poll_timeout", positive),
            poll_size_limit: table.read("poll_size_limit", size),
            polls_per_host: table.read("polls_per_host", |n, notes| integer(n, notes, 1..=1_000)),
            log_limit: table.read("log_limit", size),
            retry: table.read("retry", RawRetry::read).unwrap_or_default(),
            log_level: table.read("log_level", log_level),
            log_format: table.read("log_format", |n, notes| {
                choice(n, notes, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
            }),
            log_dir: table.read_at("log_dir", path),
            log_keep: table.read("log_keep", |n, notes| integer(n, notes, 1..=10_000)),
            watch_config: table.read("watch_config", boolean),
            defaults: table
                .read("defaults", |n, notes| RawProject::read_defaults(n, base, notes))
                .unwrap_or_default(),
            projects: table
                .read("projects", |n, notes| projects(n, base, notes))
                .unwrap_or_default(),
        }
    }
}

impl RawRetry {
    fn read<'a>(node: &'a Node<'a>, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, RETRY, notes)?;
        Some(Self {
            attempts: table
                .read("attempts", |n, notes| integer(n, notes, 1..=1000))
                .and_then(|n| u32::try_from(n).ok()),
            delay: table.read("delay", duration),
            max_delay: table.read_at("max_delay", duration),
        })
    }
}

fn log_level(node: &Node<'_>, notes: &Notes<'_>) -> Option<tracing::Level> {
    use tracing::Level;
    choice(
        node,
        notes,
        &[
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ],
    )
}

fn projects<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<Vec<(At<ProjectName>, RawProject)>> {
    let mut projects = Vec::new();
    for (key, node) in entries(node, notes)? {
        let name = ProjectName::new(key.get_ref().as_ref()).or_else(|_| {
            let mistake = Mistake::new("this cannot be the name of a project")
                .help("use 1 to 100 of A-Z a-z 0-9 _ - . and do not begin with . or -");
            refuse(key.span(), mistake, notes).ok_or(())
        });
        // Read even when its name is bad, to find the mistakes in it.
        let project = Table::open(node, PROJECT, notes).map(|t| RawProject::read(&t, base, key.span(), notes));
        if let (Ok(value), Some(project)) = (name, project) {
            projects.push((
                At {
                    value,
                    span: key.span(),
                },
                project,
            ));
        }
    }
    Some(projects)
}
