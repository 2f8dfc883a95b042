//! One project with `[defaults]` merged into it.
//!
//! Pure. A project's own value wins; tables (env, labels, build_args, image, run, rsync) merge key by key. `[defaults]`
//! must never give a project an image, a run or an rsync that it does not ask for.

use super::notes::Notes;
use super::raw_project::{RawImage, RawProject, RawRsync, RawRun, Templates};
use super::reader::At;
use super::variables::{is_known, nearest};
use super::{Diagnostic, EnvLayer, Image, Initial, Pattern, Project, Pull, Rsync, Run, Tmpfs};
use crate::model::{CALLBACK_VARIABLES, ImageName, ProjectName, Template};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// Something on this machine that a config relies upon.
#[derive(Debug, Clone)]
pub(super) enum Doubt {
    /// Should be there, readable, and an env file.
    EnvFile(At<PathBuf>),
    /// Should be there and executable.
    Program(At<PathBuf>),
    /// Should be there.
    Directory(At<PathBuf>),
}

/// What a project is read against.
pub(super) struct Scope<'a> {
    pub(super) defaults: &'a RawProject,
    /// At the top of the file.
    pub(super) interval: Duration,
    pub(super) inherited: &'a dyn Fn(&str) -> bool,
    pub(super) notes: &'a Notes<'a>,
}

/// Resolves a project.
pub(super) fn project(
    name: ProjectName,
    span: Range<usize>,
    own: RawProject,
    scope: &Scope<'_>,
    doubts: &mut Vec<Doubt>,
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
        doubts.extend(
            defaults
                .env_file
                .iter()
                .chain(&own.env_file)
                .cloned()
                .map(Doubt::EnvFile),
        );
        doubts.extend([&prepare, &success, &error].into_iter().flatten().filter_map(program));
    }
    Project {
        enabled,
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
        images: own
            .image
            .map(|i| image(&name, i, defaults.image.as_ref(), &templates))
            .into_iter()
            .collect(),
        run: own
            .run
            .map(|r| Box::new(run(&name, r.value, defaults.run.as_ref().map(|d| &d.value), &templates))),
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

fn only_image(project: &ProjectName) -> ImageName {
    // Every name of a project can be the name of an image: it is shorter, of the same characters.
    ImageName::new(project.as_str()).unwrap_or_else(|_| unreachable!())
}

fn image(project: &ProjectName, own: RawImage, defaults: Option<&RawImage>, templates: &TemplateScope<'_>) -> Image {
    let none = RawImage::default();
    let defaults = defaults.unwrap_or(&none);
    Image {
        name: only_image(project),
        watch: Vec::new(),
        depends_on: Vec::new(),
        secrets: BTreeMap::new(),
        source_date_epoch: false,
        test: None,
        test_network: "none".to_owned(),
        staging: None,
        release: Vec::new(),
        release_refs: None,
        file: own.file.or_else(|| defaults.file.clone()),
        context: own
            .context
            .or_else(|| defaults.context.clone())
            .unwrap_or_else(|| PathBuf::from(".")),
        target: own.target.or_else(|| defaults.target.clone()),
        pull: own.pull.or(defaults.pull).unwrap_or(Pull::Newer),
        cache: own.cache.or(defaults.cache).unwrap_or(true),
        build_args: templates.merge(own.build_args, &defaults.build_args),
        labels: templates.merge(own.labels, &defaults.labels),
        tags: own
            .tags
            .or_else(|| defaults.tags.clone())
            .unwrap_or_default()
            .into_iter()
            .map(|t| templates.check(t))
            .collect(),
    }
}

fn run(project: &ProjectName, own: RawRun, defaults: Option<&RawRun>, templates: &TemplateScope<'_>) -> Run {
    let none = RawRun::default();
    let defaults = defaults.unwrap_or(&none);
    let socket = own.engine_socket.or_else(|| defaults.engine_socket.clone());
    if let Some(at) = socket.as_ref().filter(|s| s.value) {
        let warning = Diagnostic::warning(at.span.clone(), "whoever is in this container owns the engine");
        let help = "with the engine's socket it can start any container, also one that mounts all of this machine";
        templates.scope.notes.push(warning.help(help));
    }
    Run {
        image: only_image(project),
        command: own.command.or_else(|| defaults.command.clone()),
        read_only: own.read_only.or(defaults.read_only).unwrap_or(true),
        tmpfs: own.tmpfs.or(defaults.tmpfs).unwrap_or(Tmpfs::Percent(50)),
        network: own.network.or_else(|| defaults.network.clone()),
        labels: templates.merge(own.labels, &defaults.labels),
        env: templates.merge(own.env, &defaults.env),
        engine_socket: socket.is_some_and(|s| s.value),
    }
}

fn rsync(
    own: At<RawRsync>,
    defaults: Option<&RawRsync>,
    project: Range<usize>,
    templates: &TemplateScope<'_>,
) -> Option<Rsync> {
    let none = RawRsync::default();
    let defaults = defaults.unwrap_or(&none);
    let (span, own) = (own.span, own.value);
    if !own.has_destination && !defaults.has_destination {
        // The table of `rsync.delete = true` has no place of its own.
        let span = if span.is_empty() { project } else { span };
        let missing = Diagnostic::error(span, "this rsync has no `destination`");
        templates.scope.notes.push_missing(
            "destination",
            missing.help("add the directory, or `host:path`, to copy to"),
        );
    }
    let destination = own.destination.or_else(|| defaults.destination.clone())?;
    Some(Rsync {
        destination: templates.check(destination),
        delete: own.delete.or(defaults.delete).unwrap_or(false),
        checksum: own.checksum.or(defaults.checksum).unwrap_or(false),
        preserve: own.preserve.or(defaults.preserve).unwrap_or(false),
        include: own.include.or_else(|| defaults.include.clone()).unwrap_or_default(),
    })
}

/// Where a template's variables are looked for.
struct TemplateScope<'a> {
    layers: &'a [EnvLayer],
    scope: &'a Scope<'a>,
}

impl TemplateScope<'_> {
    /// The project's own and, where it has none of that name, the default's.
    fn merge(&self, own: Templates, defaults: &Templates) -> BTreeMap<String, Template> {
        let mut all = defaults.clone();
        all.extend(own);
        all.into_iter()
            .map(|(name, template)| (name, self.check(template)))
            .collect()
    }

    /// Notes each variable that will not be there when the template is filled in.
    fn check(&self, template: At<Template>) -> Template {
        for name in template.value.variables() {
            if is_known(name, self.layers, self.scope.inherited) {
                continue;
            }
            let error = Diagnostic::error(template.span.clone(), format!("there is no variable `{name}`"));
            self.scope.notes.push(if CALLBACK_VARIABLES.contains(&name) {
                error.help("only callbacks see it")
            } else if let Some(meant) = nearest(name, self.layers) {
                error.help(format!("did you mean `{meant}`?"))
            } else {
                error.help("set it in `env` or in an `env_file`; write $$ for a dollar")
            });
        }
        template.value
    }
}
