//! The images of a project, with `[defaults.image]` merged into each, in the order in which they are built.
//!
//! Pure. An image's own value wins; build_args, labels, secrets and update merge key by key. It must never give a project an
//! image that it does not ask for.

use super::claims::Claim;
use super::notes::Notes;
use super::raw_engine::RawEngine;
use super::raw_image::{RawImage, RawImages};
use super::raw_poke::judge_pokes;
use super::reader::At;
use super::resolve_needs::{ImageNeeds, build_order, of_images};
use super::resolve_project::Found;
use super::resolve_update::{judge_update, update};
use super::surroundings::Doubt;
use super::templates::TemplateScope;
use super::{Chain, Diagnostic, EngineKind, Image, Pull, reference};
use crate::model::{ImageName, ProjectName, Template};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The name of an image that is the only one of its project.
pub(super) fn only_image(project: &ProjectName) -> ImageName {
    // Every name of a project can be the name of an image: it is shorter, of the same characters.
    ImageName::new(project.as_str()).unwrap_or_else(|_| unreachable!())
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
    let mut needs = of_images(project, &written, defaults.depends_on.as_ref(), templates.scope);
    let sorted = build_order(project, &needs, templates.scope);
    sorted
        .into_iter()
        .filter_map(|name| Some((written.remove(&name)?, needs.remove(&name)?, name)))
        .map(|(own, needs, name)| image(project, name, own.value, needs, defaults, templates, found))
        .collect()
}

fn image(
    project: &ProjectName,
    name: ImageName,
    own: RawImage,
    needs: ImageNeeds,
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
        judge_chain(own.chain.as_ref(), templates.scope.notes);
        judge_pokes(own.poke.as_ref(), templates.scope.notes);
    }
    let poke = own
        .poke
        .or_else(|| defaults.poke.clone())
        .map_or_else(Vec::new, |at| at.value);
    let of_pokes = poke.iter().filter_map(|poke| poke.secret.clone());
    found.doubts.extend(of_pokes.map(Doubt::Secret));
    found.claims.push(Claim {
        project: project.clone(),
        image: name.clone(),
        staging: staging.clone(),
        release: release.clone(),
    });
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
        depends_on: needs.depends_on(),
        upstreams: needs.upstreams,
        chain: own
            .chain
            .or_else(|| defaults.chain.clone())
            .map_or(Chain::Rolling, |chain| chain.value),
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
        poke: poke.into_iter().map(|poke| poke.target).collect(),
    }
}

/// What an image that is not released asks for in vain. Of `[defaults]` nothing is said: they are for others too.
fn judge_chain(own: Option<&At<Chain>>, notes: &Notes<'_>) {
    if let Some(chain) = own.filter(|chain| chain.value == Chain::Atomic) {
        let warning = Diagnostic::warning(
            chain.span.clone(),
            "`chain` has no effect: nothing is released together with an image that is not released",
        );
        notes.push(warning.help("add `release`, or leave this key out"));
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
