//! The images of a project, with `[defaults.image]` merged into each, in the order in which they are built.
//!
//! Pure. An image's own value wins; build_args, labels, secrets and update merge key by key. It must never give a project an
//! image that it does not ask for.

use super::claims::Claim;
use super::order::{Needs, order};
use super::raw_engine::RawEngine;
use super::raw_image::{RawImage, RawImages};
use super::reader::At;
use super::resolve_project::Found;
use super::resolve_update::{judge_update, update};
use super::surroundings::Doubt;
use super::templates::TemplateScope;
use super::{Chain, Diagnostic, EngineKind, Image, Pull, reference};
use crate::model::{ImageName, ProjectName, Template};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The name of an image that is the only one of its project.
pub(super) fn only_image(project: &ProjectName) -> ImageName {
    // Every name of a project can be the name of an image: it is shorter, of the same characters.
    ImageName::new(project.as_str()).unwrap_or_else(|_| unreachable!())
}

/// More names than these do not help.
const MOST_LISTED: usize = 20;

/// Names of images for a help text.
pub(super) fn listed_images<'a>(names: impl Iterator<Item = &'a ImageName>) -> String {
    let mut names: Vec<_> = names.take(MOST_LISTED + 1).map(|name| format!("`{name}`")).collect();
    if let Some(last) = names.get_mut(MOST_LISTED) {
        "…".clone_into(last);
    }
    format!("its images: {}", names.join(", "))
}

/// Every image of a project.
pub(super) fn images(
    project: &ProjectName,
    only: Option<At<RawImage>>,
    several: RawImages,
    templates: &TemplateScope<'_>,
    found: &mut Found,
) -> Vec<Image> {
    let mut written = several;
    if let Some(only) = only {
        written.entry(only_image(project)).or_insert(only);
    }
    let none = RawImage::default();
    let defaults = templates.scope.defaults.image.as_ref().map_or(&none, |d| &d.value);
    for image in written.values_mut() {
        if image.value.depends_on.is_none() {
            image.value.depends_on.clone_from(&defaults.depends_on);
        }
    }
    let sorted = build_order(project, &written, templates);
    sorted
        .into_iter()
        .filter_map(|name| Some((written.remove(&name)?, name)))
        .map(|(own, name)| image(project, name, own.value, defaults, templates, found))
        .collect()
}

/// The names of the images, ordered; what is wrong with `depends_on` is noted.
fn build_order(project: &ProjectName, written: &RawImages, templates: &TemplateScope<'_>) -> Vec<ImageName> {
    let notes = templates.scope.notes;
    for (name, image) in written {
        for needed in image.value.depends_on.iter().flatten() {
            if needed.value == *name {
                let message = format!("image `{name}` of project {project} depends on itself");
                notes.push(Diagnostic::error(needed.span.clone(), message).help("leave the name out"));
            } else if !written.contains_key(&needed.value) {
                let message = format!("`{}` is no image of project {project}", needed.value);
                notes.push(Diagnostic::error(needed.span.clone(), message).help(listed_images(written.keys())));
            }
        }
    }
    let needs: Needs = written
        .iter()
        .map(|(name, image)| {
            let needed = image.value.depends_on.iter().flatten();
            (name.clone(), needed.map(|n| n.value.clone()).collect())
        })
        .collect();
    let order = order(&needs);
    for cycle in &order.cycles {
        let [first, second, ..] = cycle.as_slice() else {
            continue;
        };
        let names: Vec<_> = cycle.iter().chain([first]).map(ImageName::as_str).collect();
        let message = format!(
            "images of project {project} depend on each other: {}",
            names.join(" -> ")
        );
        let place = written.get(first).and_then(|image| {
            let needed = image.value.depends_on.iter().flatten();
            needed.into_iter().find(|n| n.value == *second)
        });
        if let Some(place) = place {
            notes.push(Diagnostic::error(place.span.clone(), message).help("take one of these dependencies out"));
        }
    }
    order.images
}

fn image(
    project: &ProjectName,
    name: ImageName,
    own: RawImage,
    defaults: &RawImage,
    templates: &TemplateScope<'_>,
    found: &mut Found,
) -> Image {
    let mut secrets = defaults.secrets.clone();
    secrets.extend(own.secrets);
    found.doubts.extend(secrets.values().cloned().map(Doubt::Secret));
    let tags = own.tags.or_else(|| defaults.tags.clone()).unwrap_or_default();
    let staging = own.staging.or_else(|| defaults.staging.clone());
    let release = own.release.or_else(|| defaults.release.clone()).unwrap_or_default();
    let source_date_epoch = own.source_date_epoch.or_else(|| defaults.source_date_epoch.clone());
    let test = own.test.or_else(|| defaults.test.clone());
    let judged = Judged {
        tags: &tags,
        staging: staging.as_ref(),
        release: &release,
        first_secret: secrets.values().min_by_key(|s| s.span.start).map(|s| At {
            value: (),
            span: s.span.clone(),
        }),
        source_date_epoch: source_date_epoch.as_ref().filter(|at| at.value),
        is_tested: test.is_some(),
    };
    judged.judge(templates);
    if release.is_empty() {
        judge_update(&own.update, templates.scope.notes);
    }
    found.claims.push(Claim {
        project: project.clone(),
        image: name.clone(),
        staging: staging.clone(),
        release: release.clone(),
    });
    let mut depends_on: Vec<_> = own
        .depends_on
        .unwrap_or_default()
        .into_iter()
        .map(|n| n.value)
        .collect();
    depends_on.sort();
    depends_on.dedup();
    let checked = |list: Vec<At<Template>>| list.into_iter().map(|t| templates.check(t)).collect();
    Image {
        name,
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
        tags: checked(tags),
        watch: own.watch.or_else(|| defaults.watch.clone()).unwrap_or_default(),
        depends_on,
        upstreams: BTreeSet::new(),
        chain: Chain::Rolling,
        secrets: secrets
            .into_iter()
            .map(|(name, file)| (name, file.value))
            .collect::<BTreeMap<_, _>>(),
        source_date_epoch: source_date_epoch.is_some_and(|at| at.value),
        test,
        test_network: own
            .test_network
            .or_else(|| defaults.test_network.clone())
            .unwrap_or_else(|| "none".to_owned()),
        staging: staging.map(|t| templates.check(t)),
        release: checked(release),
        release_refs: own.release_refs.or_else(|| defaults.release_refs.clone()),
        update: update(own.update, &defaults.update),
        schedule: own.schedule.or_else(|| defaults.schedule.clone()).flatten(),
    }
}

/// What of an image is judged together, and with the engine.
struct Judged<'a> {
    tags: &'a [At<Template>],
    staging: Option<&'a At<Template>>,
    release: &'a [At<Template>],
    first_secret: Option<At<()>>,
    source_date_epoch: Option<&'a At<bool>>,
    is_tested: bool,
}

impl Judged<'_> {
    fn judge(&self, templates: &TemplateScope<'_>) {
        let notes = templates.scope.notes;
        let engine = templates.scope.engine;
        if let Some(staging) = self.staging.filter(|s| reference::is_local(&s.value)) {
            let error = Diagnostic::error(
                staging.span.clone(),
                "`localhost/` is the engine's storage, not a registry",
            );
            notes.push(
                error.help("an image is staged on a registry; leave `staging` out to test it where it was built"),
            );
        }
        if let Some(release) = self.release.first().filter(|_| !self.is_tested) {
            let warning = Diagnostic::warning(release.span.clone(), "this image is released without a test");
            notes.push(warning.help("add `test`, a command that runs in the built image before it is released"));
        }
        if let Some(at) = self.source_date_epoch
            && engine != RawEngine::Of(EngineKind::Podman)
        {
            let why = match engine {
                RawEngine::Kaniko => "kaniko cannot set times to those of the commit",
                RawEngine::Of(_) => "docker's builder cannot set the times of layers",
            };
            let warning = Diagnostic::warning(
                at.span.clone(),
                format!("{why}: digests of the same commit will differ"),
            );
            notes.push(warning.help("build with podman for the same digest, or leave `source_date_epoch` out"));
        }
        if engine == RawEngine::Kaniko {
            self.judge_for_kaniko(templates);
        }
    }

    fn judge_for_kaniko(&self, templates: &TemplateScope<'_>) {
        let notes = templates.scope.notes;
        if let Some(tag) = self.tags.first() {
            let error = Diagnostic::error(
                tag.span.clone(),
                "kaniko leaves nothing in the engine's storage to be tagged",
            );
            notes.push(error.help("name a place on a registry with `release`"));
        }
        for release in self.release.iter().filter(|r| reference::is_local(&r.value)) {
            let message = "kaniko cannot release into the engine's storage";
            notes.push(Diagnostic::error(release.span.clone(), message).help("name a place on a registry"));
        }
        if let Some(secret) = &self.first_secret {
            let message = "only newer executors of kaniko know secrets: with an older one the build fails";
            notes.push(Diagnostic::warning(secret.span.clone(), message));
        }
    }
}
