//! From what is written to what is meant: `[defaults]` merged, code's defaults filled in, keys seen together.
//!
//! Pure but for the question whether a variable is inherited, which the caller answers. It must never fail: what is
//! wrong is noted, and the caller throws the result away.

use super::claims;
use super::known::Known;
use super::notes::Notes;
use super::raw::{RawConfig, RawRetry};
use super::raw_engine::RawEngine;
use super::resolve_engine::{engine, registries};
use super::resolve_hooks::hooks;
use super::resolve_project::{Found, Scope, project};
use super::surroundings::Doubt;
use super::{Config, Diagnostic, EngineKind, LogConfig, LogFormat, Overrides, Retry};
use crate::model::ProjectName;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What the resolved config says, and what about the machine should be looked at before it is trusted.
pub(super) fn resolve(
    raw: RawConfig,
    overrides: &Overrides,
    inherited: &dyn Fn(&str) -> bool,
    notes: &Notes<'_>,
) -> (Config, Vec<Doubt>) {
    if overrides.workdir.is_none() && !raw.has_workdir {
        let missing = Diagnostic::error(0..0, "`workdir` is missing");
        notes.push_missing(
            "workdir",
            missing.help("add the directory of builds, as in workdir = \"/var/lib/pipelined\""),
        );
    }
    let (engine, kaniko) = engine(raw.engine.as_ref(), raw.has_engine, raw.kaniko, notes);
    let mut found = Found::default();
    if let Some(dir) = &raw.log_dir {
        found.doubts.push(Doubt::Directory(dir.clone()));
    }
    let registries = registries(raw.registries, notes, &mut found.doubts);
    let (listen, hooks) = hooks(raw.listen, raw.hooks, notes, &mut found.doubts);
    let interval = overrides.interval.or(raw.interval).unwrap_or(Duration::from_secs(60));
    let known = Known::of(&raw.projects);
    let mut projects = BTreeMap::new();
    for (name, written) in raw.projects {
        let scope = Scope {
            defaults: &raw.defaults,
            interval,
            engine: raw
                .engine
                .as_ref()
                .map_or(RawEngine::Of(EngineKind::Podman), |at| at.value),
            known: &known,
            inherited,
            notes,
        };
        let project = project(name.value.clone(), name.span, written, &scope, &mut found);
        projects.insert(name.value, project);
    }
    claims::judge(&found.claims, notes);
    warn_if_idle(&projects, notes);
    let config = Config {
        limit: overrides.limit.or(raw.limit).unwrap_or(1),
        interval,
        workdir: workdir(overrides, raw.workdir),
        engine,
        kaniko,
        registries,
        listen,
        hooks,
        grace: raw.grace.unwrap_or(Duration::from_secs(10)),
        poll_timeout: raw.poll_timeout.unwrap_or(Duration::from_secs(60)),
        poll_size_limit: raw.poll_size_limit.unwrap_or(256 << 20),
        polls_per_host: raw.polls_per_host.unwrap_or(4),
        log_limit: raw.log_limit.unwrap_or(1 << 30),
        retry: retry(raw.retry, notes),
        log: LogConfig {
            level: raw.log_level.unwrap_or(tracing::Level::INFO),
            format: raw.log_format.unwrap_or(LogFormat::Text),
            dir: raw.log_dir.map(|d| d.value),
            keep: raw.log_keep.unwrap_or(14),
        },
        watch_config: raw.watch_config.unwrap_or(false),
        projects,
    };
    (config, found.doubts)
}

/// A workdir that is given on the command line is seen from the current directory, as every such path.
fn workdir(overrides: &Overrides, written: Option<PathBuf>) -> PathBuf {
    match &overrides.workdir {
        Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| dir.clone()),
        None => written.unwrap_or_default(),
    }
}

fn retry(raw: RawRetry, notes: &Notes<'_>) -> Retry {
    let delay = raw.delay.unwrap_or(Duration::from_secs(30));
    if let Some(max) = raw.max_delay.as_ref().filter(|max| max.value < delay) {
        let delay = humantime::format_duration(delay);
        notes.push(Diagnostic::error(
            max.span.clone(),
            format!("`max_delay` is shorter than `delay`, which is {delay}"),
        ));
    }
    Retry {
        attempts: raw.attempts.unwrap_or(5),
        delay,
        // A long `delay` alone is no mistake: the longest wait grows with it.
        max_delay: raw
            .max_delay
            .map_or(Duration::from_secs(30 * 60).max(delay), |d| d.value),
    }
}

fn warn_if_idle(projects: &BTreeMap<ProjectName, super::Project>, notes: &Notes<'_>) {
    // A project may be missing because of a mistake: then that is what should be told.
    if !notes.has_errors() && !projects.values().any(|p| p.enabled) {
        let warning = Diagnostic::warning(0..0, "no project is enabled: there is nothing to do");
        notes.push(warning.help("add a table [projects.NAME] with a `remote`"));
    }
}
