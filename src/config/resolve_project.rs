//! One project with `[defaults]` merged into it.
//!
//! Pure. A project's own value wins; tables (env, labels, build_args, image, run, rsync) merge key by key. `[defaults]`
//! must never give a project an image, a run or an rsync that it does not ask for.

use super::claims::Claim;
use super::known::Known;
use super::notes::Notes;
use super::raw_engine::RawEngine;
use super::raw_project::RawProject;
use super::reader::At;
use super::resolve_image::images;
use super::resolve_needs::of_project;
use super::resolve_steps::{rsync, run};
use super::surroundings::Doubt;
use super::templates::TemplateScope;
use super::{Diagnostic, EnvLayer, Initial, Pattern, Project};
use crate::model::ProjectName;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// What resolving a project finds beside its mistakes.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What should be looked at on this machine.
    pub(super) doubts: Vec<Doubt>,
    /// Where images go, to be compared over all projects.
    pub(super) claims: Vec<Claim>,
}

/// What a project is read against.
pub(super) struct Scope<'a> {
    pub(super) defaults: &'a RawProject,
    /// At the top of the file.
    pub(super) interval: Duration,
    /// At the top of the file.
    pub(super) engine: RawEngine,
    /// What `depends_on` may name.
    pub(super) known: &'a Known,
    pub(super) inherited: &'a dyn Fn(&str) -> bool,
    pub(super) notes: &'a Notes<'a>,
}

/// Resolves a project.
pub(super) fn project(
    name: ProjectName,
    span: Range<usize>,
    own: RawProject,
    scope: &Scope<'_>,
    found: &mut Found,
) -> Project {
    let defaults = scope.defaults;
    let layers = layers(&own, defaults);
    let templates = TemplateScope { layers: &layers, scope };
    if let Some(run) = own.run.as_ref().filter(|_| !own.has_image) {
        let error = Diagnostic::error(run.span.clone(), "run needs an image");
        scope
            .notes
            .push(error.help(format!("add [projects.{name}.image], which may be empty")));
    }
    let callback = |own: Option<At<Vec<String>>>, default: &Option<At<Vec<String>>>| own.or_else(|| default.clone());
    let prepare = callback(own.prepare_callback, &defaults.prepare_callback);
    let success = callback(own.success_callback, &defaults.success_callback);
    let error = callback(own.error_callback, &defaults.error_callback);
    let enabled = own.enabled.or(defaults.enabled).unwrap_or(true);
    if enabled {
        found.doubts.extend(
            defaults
                .env_file
                .iter()
                .chain(&own.env_file)
                .cloned()
                .map(Doubt::EnvFile),
        );
        found
            .doubts
            .extend([&prepare, &success, &error].into_iter().flatten().filter_map(program));
    }
    let mut images_found = Found::default();
    let images = images(&name, own.image, own.images, &templates, &mut images_found);
    if enabled {
        found.doubts.append(&mut images_found.doubts);
        found.claims.append(&mut images_found.claims);
    }
    let run = own.run.map(|r| {
        let defaults = defaults.run.as_ref().map(|d| &d.value);
        Box::new(run(&name, &images, r, defaults, &templates))
    });
    Project {
        enabled,
        upstreams: of_project(
            &name,
            own.depends_on
                .as_ref()
                .or(defaults.depends_on.as_ref())
                .map_or(&[], Vec::as_slice),
            scope,
        ),
        interval: own.interval.or(defaults.interval).unwrap_or(scope.interval),
        remote: own.remote.unwrap_or_default(),
        branches: own
            .branches
            .or_else(|| defaults.branches.clone())
            .unwrap_or_else(|| Pattern::new("**").into_iter().collect()),
        tags: own.tags.or_else(|| defaults.tags.clone()).unwrap_or_default(),
        initial: own.initial.or(defaults.initial).unwrap_or(Initial::Heads),
        shallow: own.shallow.or(defaults.shallow).unwrap_or(true),
        submodules: own.submodules.or(defaults.submodules).unwrap_or(true),
        timeout: own.timeout.or(defaults.timeout).unwrap_or(Duration::from_secs(60 * 60)),
        callback_timeout: own
            .callback_timeout
            .or(defaults.callback_timeout)
            .unwrap_or(Duration::from_secs(10 * 60)),
        prepare_callback: prepare.map(|c| c.value),
        success_callback: success.map(|c| c.value),
        error_callback: error.map(|c| c.value),
        images,
        run,
        rsync: own
            .rsync
            .and_then(|r| rsync(r, defaults.rsync.as_ref().map(|d| &d.value), span, &templates))
            .map(Box::new),
        name,
        env: layers,
    }
}

fn layers(own: &RawProject, defaults: &RawProject) -> Vec<EnvLayer> {
    let mut layers = Vec::new();
    for source in [defaults, own] {
        layers.extend(source.env_file.iter().map(|f| EnvLayer::File(f.value.clone())));
        if !source.env.is_empty() {
            layers.push(EnvLayer::Table(source.env.clone()));
        }
    }
    layers
}

/// A callback's program, where its path says all about it: others are looked up in the checkout or in PATH.
fn program(callback: &At<Vec<String>>) -> Option<Doubt> {
    let program = callback.value.first().filter(|p| p.starts_with('/'))?;
    Some(Doubt::Program(At {
        value: PathBuf::from(program),
        span: callback.span.clone(),
    }))
}
