//! Moving release references to what was built and found good: all of them, or none.
//!
//! The plan is on record before anything is pushed, all content is in all of its places before the first reference
//! moves, and from then on nothing but the end of the daemon stops it. That first move may have to wait for other jobs,
//! with which it is made or not at all. Whatever cuts it off, the next attempt finishes it
//! to the same digests. It must never move a reference that a newer job has moved, or is about to.

use super::attempt::Attempt;
use super::build::{Built, WAITING};
use super::images::Planned;
use super::leaving::release_variables;
use super::stage::lender;
use crate::model::{
    Content, Failure, FailureKind, ImageName, ImageRef, ImageResult, ImageStatus, PlannedRelease, ReleasePlan,
    ReleaseStage, Step,
};
use crate::process::Runner;
use crate::registry::{Archive, Manifest, RegistryError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Images, and where they are to be released.
type Wanted = Vec<(ImageName, Vec<ImageRef>)>;

/// Archives that were read and checked already.
type Opened = BTreeMap<ImageName, Arc<Archive>>;

/// What was found good, and where it is to be released.
pub(super) type Releasable = Vec<(Built, BTreeSet<ImageRef>)>;

impl<'a> Attempt<'a> {
    /// Releases what was built and is to be released on this ref.
    pub(super) async fn release(&mut self, planned: &[Planned<'a>]) -> Result<(), (Step, Failure)> {
        let releasable = self.releasable(planned);
        if releasable.is_empty() {
            return Ok(());
        }
        self.begin(Step::Release)?;
        let wanted: Wanted = releasable
            .iter()
            .map(|(built, targets)| (built.result.image.clone(), targets.iter().cloned().collect()))
            .collect();
        let released = self.release_what_is_new(releasable).await;
        self.not_released(&wanted, &released);
        self.end(Step::Release, released)
    }

    /// Goes on with what an earlier attempt has begun.
    pub(super) async fn finish_release(&mut self, plan: ReleasePlan) -> Result<(), (Step, Failure)> {
        self.begin(Step::Release)?;
        let images: Vec<&str> = plan.images.iter().map(|image| image.result.image.as_str()).collect();
        let images = images.join(", ");
        self.runner.note(
            Step::Release,
            &format!(
                "an earlier attempt has built and tested {images}, and has begun to release: this is finished now"
            ),
        );
        self.results = plan.others.clone();
        self.results
            .extend(plan.images.iter().map(|image| image.result.clone()));
        self.failed = plan.failure.clone();
        let planned = plan.images.iter();
        let wanted: Wanted = planned
            .map(|image| (image.result.image.clone(), image.targets.clone()))
            .collect();
        let may_move = plan.stage == ReleaseStage::Moving;
        let released = self.carry_out(plan, may_move, Opened::new()).await;
        self.not_released(&wanted, &released);
        self.end(Step::Release, released)
    }

    /// Ends without a release, of which the images that wait for one are told.
    pub(super) fn give_up(&mut self, why: &str) -> Result<(), (Step, Failure)> {
        self.begin(Step::Release)?;
        let given_up = Err(Failure::failed(why));
        if let Some(plan) = &self.work.resume {
            let planned = plan.images.iter();
            self.results = plan.others.clone();
            self.results.extend(planned.clone().map(|image| image.result.clone()));
            let wanted: Wanted = planned
                .map(|image| (image.result.image.clone(), image.targets.clone()))
                .collect();
            self.not_released(&wanted, &given_up);
        }
        self.end(Step::Release, given_up)
    }

    /// What was to be released and is not, or not everywhere, must not pass for good.
    fn not_released(&mut self, wanted: &Wanted, released: &Result<(), Failure>) {
        let Err(failure) = released else { return };
        if failure.kind == FailureKind::Waiting {
            return;
        }
        for (image, targets) in wanted {
            let Some(result) = self.results.iter_mut().find(|r| r.image == *image) else {
                continue;
            };
            let missing: Vec<String> = targets
                .iter()
                .filter(|target| !result.released.contains(target))
                .map(ToString::to_string)
                .collect();
            if result.status == ImageStatus::Built && !missing.is_empty() {
                result.status = ImageStatus::Failed;
                result.note = format!("not released as {}: {failure}", missing.join(", "));
            }
        }
    }

    /// The images that were found good, with where they are to be released.
    fn releasable(&self, planned: &[Planned<'a>]) -> Releasable {
        let run = self.work.project.run.as_ref();
        // A run that was due and did not take place has not found its image good.
        let kept_back = run.filter(|_| !self.has_run()).map(|run| &run.image);
        let targets_of = |built: &Built| {
            let name = &built.result.image;
            let planned = planned.iter().find(|planned| planned.prepared.image.name == *name);
            planned.map(|planned| planned.targets.clone()).unwrap_or_default()
        };
        let good = self.built.iter().map(|(_, built)| built);
        good.filter(|built| Some(&built.result.image) != kept_back)
            .map(|built| (built.clone(), targets_of(built)))
            .filter(|(_, targets)| !targets.is_empty())
            .collect()
    }

    /// Of a rebuild only what it has changed: what is not moved makes nothing stale.
    async fn release_what_is_new(&mut self, mut releasable: Releasable) -> Result<(), Failure> {
        if self.work.job.rebuild.is_some() && !self.is_forced() {
            releasable = self.changed(releasable).await?;
        }
        self.compare_with_releases(&mut releasable).await;
        match releasable.is_empty() {
            true => Ok(()),
            false => self.release_now(releasable).await,
        }
    }

    async fn release_now(&mut self, releasable: Releasable) -> Result<(), Failure> {
        let mut images = Vec::new();
        let mut opened = Opened::new();
        for (mut built, targets) in releasable {
            if targets.iter().any(|target| !target.is_local()) && matches!(built.content, Content::Engine(_)) {
                self.archive(&mut built, Step::Release).await?;
                // By which registries will know it.
                if let Some(result) = self.results.iter_mut().find(|r| r.image == built.result.image) {
                    result.digest.clone_from(&built.result.digest);
                }
            }
            opened.extend(built.archive.map(|archive| (built.result.image.clone(), archive)));
            images.push(PlannedRelease {
                result: built.result,
                content: built.content,
                targets: targets.into_iter().collect(),
            });
        }
        let is_released = |result: &&ImageResult| images.iter().any(|image| image.result.image == result.image);
        let others = self
            .results
            .iter()
            .filter(|result| !is_released(result))
            .cloned()
            .collect();
        let plan = ReleasePlan {
            images,
            others,
            failure: self.failed.clone(),
            stage: ReleaseStage::Moving,
            env: release_variables(&self.runner.env),
        };
        self.carry_out(plan, false, opened).await
    }

    /// `may_move` tells that it was settled before that references move now.
    async fn carry_out(&mut self, plan: ReleasePlan, may_move: bool, mut opened: Opened) -> Result<(), Failure> {
        let targets: BTreeSet<ImageRef> = plan.images.iter().flat_map(|image| image.targets.clone()).collect();
        let _turn = self.work.locks.take(targets, &self.runner.cancel).await?;
        let permit = self.work.desk.announce(self.work.job.id, plan.clone()).await?;
        self.announced = true;
        if permit.stage != ReleaseStage::Moving && !may_move {
            return self.gather(&plan, opened).await;
        }
        let mut ready: Vec<(PlannedRelease, Option<Manifest>)> = Vec::new();
        for mut image in plan.images {
            image.targets.retain(|target| {
                let newer = permit.overtaken.contains(target);
                if newer {
                    let why = format!("{target} stays as it is: a newer job releases there");
                    self.runner.note(Step::Release, &why);
                }
                !newer
            });
            let archive = opened.remove(&image.result.image);
            let manifest = self.distribute(&image, archive).await?;
            ready.push((image, manifest));
        }
        // From here on only the daemon's own end stops it: half of the references would be a mix of two releases.
        let runner = Runner {
            cancel: self.work.stop.clone(),
            ..self.runner.clone()
        };
        for (image, manifest) in ready {
            self.move_references(&runner, image, manifest.as_ref()).await?;
        }
        Ok(())
    }

    /// Brings all content to all of its places, where it waits for the rest of the wave.
    async fn gather(&mut self, plan: &ReleasePlan, mut opened: Opened) -> Result<(), Failure> {
        for image in &plan.images {
            let archive = opened.remove(&image.result.image);
            self.distribute(image, archive).await?;
        }
        let why = Failure::new(FailureKind::Waiting, "waits for its wave");
        let note = "waits for its wave: what is to be released is in all of its places, and no reference moves";
        Err(self.waits(Step::Release, note, why))
    }

    /// Brings the content of an image to every repository that it is released in. No reference moves.
    async fn distribute(
        &mut self,
        image: &PlannedRelease,
        opened: Option<Arc<Archive>>,
    ) -> Result<Option<Manifest>, Failure> {
        let mut repositories: BTreeMap<String, &ImageRef> = BTreeMap::new();
        for target in image.targets.iter().filter(|target| !target.is_local()) {
            repositories.insert(target.name(), target);
        }
        if repositories.is_empty() {
            return Ok(None);
        }
        let (step_runner, registries) = (self.runner.clone(), &self.work.registries);
        let runner = &step_runner;
        let note = |text: &str| runner.note(Step::Release, text);
        let mut manifest = None;
        match &image.content {
            Content::Engine(id) => {
                // A plan for registries has an archive; nobody but us writes plans.
                self.void = true;
                return Err(Failure::errored(format!(
                    "{}: there is no archive of {id}",
                    Step::Release
                )));
            }
            Content::Archive(path) => {
                let archive = match opened {
                    Some(archive) => archive,
                    None => self.reopen(path).await?,
                };
                for repository in repositories.values() {
                    let lender = lender(&image.result.bases, repository);
                    let pushed = registries.push(runner, &archive, repository, lender, &note).await;
                    manifest = Some(pushed.map_err(|error| error.into_failure(Step::Release))?);
                }
            }
            Content::Registry(from) => {
                for repository in repositories.values() {
                    match registries.copy(runner, from, repository, &note).await {
                        Ok(copied) => manifest = Some(copied),
                        Err(error) => {
                            self.void = matches!(error, RegistryError::Missing { .. });
                            return Err(error.into_failure(Step::Release));
                        }
                    }
                }
            }
        }
        if let (Some(manifest), Some(expected)) = (&manifest, &image.result.digest)
            && manifest.digest != *expected
        {
            self.void = true;
            return Err(Failure::errored(format!(
                "{}: {} was {expected}, and is {} now: it is built again",
                Step::Release,
                image.result.image,
                manifest.digest
            )));
        }
        Ok(manifest)
    }

    /// What an earlier attempt has left.
    async fn reopen(&mut self, path: &str) -> Result<Arc<Archive>, Failure> {
        let (file, scratch) = (self.directory.join(path), self.directory.join(WAITING));
        match Archive::open(&self.runner, &file, &scratch).await {
            Ok(archive) => Ok(Arc::new(archive)),
            Err(RegistryError::Cancelled) => Err(RegistryError::Cancelled.into_failure(Step::Release)),
            Err(error) => {
                self.void = true;
                Err(Failure::errored(format!(
                    "{}: what was built cannot be read any more, and is built again: {error}",
                    Step::Release
                )))
            }
        }
    }

    /// Moves one reference after the other. Each that the registry has confirmed stands in the results of the attempt.
    async fn move_references(
        &mut self,
        runner: &Runner,
        image: PlannedRelease,
        manifest: Option<&Manifest>,
    ) -> Result<(), Failure> {
        for target in &image.targets {
            match (manifest, target.is_local()) {
                (Some(manifest), false) => {
                    let note = |text: &str| runner.note(Step::Release, text);
                    let moved = self.work.registries.tag(runner, manifest, target, &note).await;
                    moved.map_err(|error| error.into_failure(Step::Release))?;
                }
                (_, true) => {
                    let Some(id) = &image.result.id else { continue };
                    let engine = &self.work.engine;
                    engine
                        .tag(runner, Step::Release, id.as_str(), &target.to_string())
                        .await?;
                    self.runner.note(Step::Release, &format!("{target} is {id}"));
                }
                (None, false) => continue,
            }
            if let Some(result) = self.results.iter_mut().find(|r| r.image == image.result.image) {
                result.released.push(target.clone());
            }
        }
        let moved_any = !image.targets.is_empty();
        if let Some(result) = self.results.iter_mut().find(|r| r.image == image.result.image) {
            match moved_any {
                true => result.status = ImageStatus::Released,
                false => {
                    result.note = "not released: its references are a newer job's by now".to_owned();
                    // An older commit again: later ones are not compared with it.
                    if self.work.job.rebuild.is_some() {
                        result.status = ImageStatus::Skipped;
                    }
                }
            }
        }
        Ok(())
    }
}
