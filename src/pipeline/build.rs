//! One image: its bases, its build, its staging and its test.

use super::attempt::Attempt;
use super::bases::Ready;
use super::env::{JobEnv, image_variables};
use super::images::Planned;
use super::labels::Origin;
use super::prepare::{Prepared, argument, aside};
use super::run::container_variables;
use super::stage::PINNED;
use crate::config::Image;
use crate::containerfile::{label, pin};
use crate::engine::{BuildRequest, ImageInfo, TestRequest, container_name};
use crate::model::{BaseUsed, Content, Digest, Failure, ImageRef, ImageResult, ImageStatus, Step};
use crate::registry::Archive;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the engine keeps the temporary files of a job's build.
pub fn scratch(directory: &Path) -> PathBuf {
    directory.join(".engine")
}

/// Where contents wait for their release, below the job's directory.
pub(super) const WAITING: &str = ".release";

/// An image that was built, staged and tested.
#[derive(Debug, Clone)]
pub(super) struct Built {
    pub result: ImageResult,
    /// Where what is to be released can be had.
    pub content: Content,
    /// Names in the engine's storage.
    pub tags: Vec<String>,
    /// Its Containerfile, seen from the checkout.
    pub containerfile: PathBuf,
    /// Where it was staged, by digest.
    pub staged: Option<ImageRef>,
    /// As the engine's storage has it; none if it is not there.
    pub info: Option<ImageInfo>,
    /// Its config as registries will have it; none while it was not written for one, and where only the registry has it.
    pub config: Option<Vec<u8>>,
    /// What `content` says, if that is an archive that was read and checked already.
    pub archive: Option<Arc<Archive>>,
}

impl Built {
    /// What it is called as long as it is not released.
    pub fn name(&self) -> Option<String> {
        let staged = self.staged.as_ref().map(ToString::to_string);
        self.tags.first().cloned().or(staged)
    }
}

impl<'a> Attempt<'a> {
    /// The way of an image, up to where it could be released. What it stands on is known also of one that fails: its
    /// failure holds for these bases.
    pub(super) async fn one(
        &mut self,
        env: &JobEnv,
        planned: &Planned<'a>,
        bases: &mut Vec<BaseUsed>,
    ) -> Result<Built, (Step, Failure)> {
        let prepared = &planned.prepared;
        self.begin(Step::Pull)?;
        let ready = self.bases(prepared).await;
        let ready = self.end(Step::Pull, ready)?;
        bases.extend(ready.iter().map(|base| base.used.clone()));
        let needs = self.ground.needs.get(&prepared.image.name).cloned().unwrap_or_default();
        bases.extend(needs.iter().cloned());
        self.begin(Step::Build)?;
        let built = self.build_for(planned, ready).await;
        let mut built = self.end(Step::Build, built)?;
        built.result.bases.extend(needs);
        if let Some(staging) = &prepared.staging {
            self.begin(Step::Stage)?;
            let staged = self.stage(&mut built, staging).await;
            self.end(Step::Stage, staged)?;
        }
        if let Some(command) = &prepared.image.test {
            self.begin(Step::Test)?;
            let tested = self.test(env, prepared, &mut built, command).await;
            self.end(Step::Test, tested)?;
        }
        Ok(built)
    }

    /// Builds an image, and learns the digest that registries will know it by if others of the project are to say what they
    /// stand on. What is staged is known by then anyway.
    async fn build_for(&self, planned: &Planned<'a>, ready: Vec<Ready>) -> Result<Built, Failure> {
        let prepared = &planned.prepared;
        let mut built = self.build(prepared, ready).await?;
        let to_registry = planned.targets.iter().any(|target| !target.is_local());
        let unknown = prepared.staging.is_none() && matches!(built.content, Content::Engine(_));
        if planned.stood_on && to_registry && unknown {
            self.archive(&mut built, Step::Build).await?;
        }
        Ok(built)
    }

    async fn build(&self, prepared: &Prepared<'_>, ready: Vec<Ready>) -> Result<Built, Failure> {
        prepared.places_can_be_had(self.work.kaniko.is_some())?;
        let source_date = match prepared.image.source_date_epoch {
            true => Some(self.commit_time().await?),
            false => None,
        };
        let bases: Vec<_> = ready.iter().map(|base| base.used.clone()).collect();
        let origin = Origin {
            job: &self.work.job,
            wave: self.ground.wave.unwrap_or(self.work.job.wave),
            remote: &self.work.project.remote,
            bases: &bases,
            final_base: prepared.final_base.as_deref(),
            source_date,
        };
        let annotations = origin.labels();
        let mut labels = annotations.clone();
        labels.extend(prepared.labels.clone());
        let (file, labels) = self.rewritten(prepared, &ready, labels).await?;
        let recipe = Recipe {
            file,
            labels,
            annotations,
            source_date,
            bases,
        };
        match &self.work.kaniko {
            Some(kaniko) => self.build_with_kaniko(kaniko, prepared, recipe).await,
            None => self.build_with_engine(prepared, recipe).await,
        }
    }

    /// The Containerfile with each base replaced by exactly that one which was found in the step before, so that what is
    /// recorded is what was used, and with the labels that need no option. It lies outside of the checkout, which stays as
    /// git has it. Answers with the other labels too.
    async fn rewritten(
        &self,
        prepared: &Prepared<'_>,
        ready: &[Ready],
        labels: BTreeMap<String, String>,
    ) -> Result<(PathBuf, BTreeMap<String, String>), Failure> {
        let pinned = self.pinned(prepared, ready).await?;
        let by_instruction = self.work.kaniko.is_none() && self.work.engine.labels_by_instruction();
        let labelled = match by_instruction && prepared.takes_labels {
            true => {
                let text = pinned.clone().unwrap_or_else(|| Arc::clone(&prepared.text));
                let (target, wanted) = (prepared.image.target.clone(), labels.clone());
                aside(move || label(&text, target.as_deref(), &wanted)).await?
            }
            false => None,
        };
        let (text, labels) = match labelled {
            Some(labelled) => (Some(labelled.text.into()), labelled.left),
            None => (pinned, labels),
        };
        let Some(text) = text.filter(|text| *text != prepared.text) else {
            return Ok((prepared.file.clone(), labels));
        };
        let dir = self.directory.join(PINNED).join(prepared.image.name.as_str());
        let file = dir.join("Containerfile");
        let written = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&file, text.as_bytes()));
        written.map_err(|e| Failure::errored(format!("{}: cannot write {}: {e}", Step::Build, file.display())))?;
        Ok((file, labels))
    }

    /// The text with its bases replaced; none if none is.
    async fn pinned(&self, prepared: &Prepared<'_>, ready: &[Ready]) -> Result<Option<Arc<str>>, Failure> {
        let pins: BTreeMap<String, String> = ready
            .iter()
            .filter_map(|base| Some((base.used.name.clone(), base.pin.clone()?)))
            .collect();
        if let Some(why) = prepared.unpinned {
            let shown = prepared.shown.display();
            let note = format!("{shown}: {why}: its bases are not replaced, the engine looks for them by itself");
            self.runner.note(Step::Build, &note);
        }
        if pins.is_empty() || prepared.unpinned.is_some() {
            return Ok(None);
        }
        let (text, known) = (Arc::clone(&prepared.text), Arc::clone(&prepared.arguments));
        let target = prepared.image.target.clone();
        let pinned = aside(move || pin(&text, &argument(&known), target.as_deref(), &pins)).await?;
        for left in &pinned.left {
            self.runner.note(
                Step::Build,
                &format!("{left} stands where it cannot be replaced: the engine looks for it by itself"),
            );
        }
        Ok(Some(pinned.text.into()))
    }

    async fn build_with_engine(&self, prepared: &Prepared<'_>, recipe: Recipe) -> Result<Built, Failure> {
        let (work, runner, image) = (self.work, &self.runner, prepared.image);
        let access = self.pull_access(prepared).await?;
        let request = BuildRequest {
            file: &recipe.file,
            original: Some(&prepared.file),
            context: &prepared.context,
            target: image.target.as_deref(),
            pull: image.pull,
            cache: self.uses_cache(image),
            build_args: &prepared.declared(),
            secrets: &self.secrets(image)?,
            labels: &recipe.labels,
            annotations: &recipe.annotations,
            timestamp: recipe.source_date.map(Timestamp::as_second),
            authfile: access.authfile.as_deref(),
            tags: &prepared.tags,
            scratch: &scratch(&self.directory),
            timeout: work.project.timeout,
        };
        let id = work.engine.build(runner, &request).await?;
        let info = work
            .engine
            .inspect_image(runner, Step::Build, id.as_str())
            .await?
            .ok_or_else(|| Failure::errored(format!("{}: the image {id} is gone already", Step::Build)))?;
        let base = prepared.final_base.as_deref();
        let is_release = base.is_some_and(|base| self.parent_of(base).is_some());
        if (image.source_date_epoch || is_release) && prepared.unpinned.is_none() {
            stands_on_its_base(prepared, &recipe.bases, &info)?;
        }
        Ok(Built {
            content: Content::Engine(info.id.clone()),
            result: prepared.result(Some(info.id.clone()), Some(info.id.clone()), recipe.bases),
            tags: prepared.tags.clone(),
            containerfile: prepared.shown.clone(),
            staged: None,
            info: Some(info),
            config: None,
            archive: None,
        })
    }

    /// Whether layers that were built before may be used again.
    pub(super) fn uses_cache(&self, image: &Image) -> bool {
        let reason = self.work.job.reason;
        let is_forced = self.is_forced();
        if image.cache && (reason.needs_no_cache() || is_forced) {
            let why = if is_forced { "forced" } else { reason.as_str() };
            let why = format!("{why}: without the layer cache, in which what a RUN fetches is as old as it was");
            self.runner.note(Step::Build, &why);
        }
        image.cache && !reason.needs_no_cache() && !is_forced
    }

    async fn test(
        &self,
        env: &JobEnv,
        prepared: &Prepared<'_>,
        built: &mut Built,
        command: &[String],
    ) -> Result<(), Failure> {
        let work = self.work;
        let job = &work.job;
        let image = self.in_engine(built).await?;
        let runner = &self.runner.with_env(image_variables(&built.result, built.name()));
        let request = TestRequest {
            image: image.as_str(),
            project: job.project.as_str(),
            name: &container_name(job.project.as_str(), job.commit.short(), &runner.marker),
            command,
            network: &prepared.image.test_network,
            env: &container_variables(runner, env),
            timeout: work.project.timeout,
        };
        work.engine.test(runner, &request).await
    }
}

/// A base that was used by its name could have been another one by then.
fn stands_on_its_base(prepared: &Prepared<'_>, bases: &[BaseUsed], info: &ImageInfo) -> Result<(), Failure> {
    let base = bases
        .iter()
        .find(|base| Some(&base.name) == prepared.final_base.as_ref());
    match base {
        Some(base) if !info.diff_ids.starts_with(&base.diff_ids) => Err(Failure::errored(format!(
            "{}: {} was replaced in the engine's storage while the build began",
            Step::Build,
            base.name
        ))),
        _ => Ok(()),
    }
}

/// What a build is made of, whoever builds.
pub(super) struct Recipe {
    pub file: PathBuf,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub source_date: Option<Timestamp>,
    pub bases: Vec<BaseUsed>,
}

impl Prepared<'_> {
    /// Whether the image can get to where its templates have led by now: the config is only judged by what it says.
    fn places_can_be_had(&self, by_kaniko: bool) -> Result<(), Failure> {
        let local = |reference: &&ImageRef| reference.is_local();
        let trouble = |reference: &ImageRef, why: &str| Err(Failure::failed(format!("build: {reference}: {why}")));
        if let Some(staging) = self.staging.as_ref().filter(local) {
            return trouble(staging, "it is the engine's storage, and no registry to be staged on");
        }
        match self.release.iter().find(local) {
            Some(release) if by_kaniko => trouble(release, "kaniko cannot release into the engine's storage"),
            _ => Ok(()),
        }
    }

    /// What is known of it once it was built.
    pub fn result(&self, id: Option<Digest>, digest: Option<Digest>, bases: Vec<BaseUsed>) -> ImageResult {
        ImageResult {
            image: self.image.name.clone(),
            status: ImageStatus::Built,
            note: String::new(),
            fingerprint: self.fingerprint.clone(),
            id,
            digest,
            bases,
            released: Vec::new(),
            alike: BTreeSet::new(),
        }
    }
}
