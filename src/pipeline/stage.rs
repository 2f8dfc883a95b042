//! From the engine's storage to where a registry, or a later attempt, can have it.

use super::access::pull_access;
use super::attempt::Attempt;
use super::build::{Built, WAITING};
use super::kaniko::OUT;
use super::prepare::Prepared;
use crate::engine::PullAccess;
use crate::model::{BaseUsed, Content, Digest, Failure, ImageName, ImageRef, Step};
use crate::registry::Archive;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

impl Attempt<'_> {
    /// Pushes an image to its staging reference. What is released later is copied from there, byte for byte.
    pub(super) async fn stage(&self, built: &mut Built, staging: &ImageRef) -> Result<(), Failure> {
        if self.work.kaniko.is_none() {
            let archive = self.archive(built, Step::Stage).await?;
            let (runner, registries) = (&self.runner, &self.work.registries);
            let note = |text: &str| runner.note(Step::Stage, text);
            let lender = lender(&built.result.bases, staging);
            let pushed = registries.push(runner, &archive, staging, lender, &note).await;
            let manifest = pushed.map_err(|error| error.into_failure(Step::Stage))?;
            let tagged = registries.tag(runner, &manifest, staging, &note).await;
            tagged.map_err(|error| error.into_failure(Step::Stage))?;
            // The registry has it now.
            let _ = std::fs::remove_file(self.directory.join(archive_path(&built.result.image)));
            built.staged = Some(staging.with_digest(manifest.digest));
        }
        if let Some(staged) = &built.staged {
            built.content = Content::Registry(staged.clone());
            built.archive = None;
        }
        Ok(())
    }

    /// Writes an image of the engine's storage to a file, in which it waits for its release, and learns its digest.
    pub(super) async fn archive(&self, built: &mut Built, step: Step) -> Result<Arc<Archive>, Failure> {
        let path = archive_path(&built.result.image);
        let file = self.directory.join(&path);
        self.make_waiting(step)?;
        if let Some(id) = &built.result.id {
            let timeout = self.work.project.timeout;
            self.work.engine.save(&self.runner, step, id, &file, timeout).await?;
        }
        let archive = Arc::new(self.open_archive(&file, step).await?);
        built.result.digest = Some(archive.manifest().digest.clone());
        built.content = Content::Archive(path);
        built.config = self.config_of(&archive, step).await?;
        built.archive = Some(Arc::clone(&archive));
        Ok(archive)
    }

    pub(super) fn make_waiting(&self, step: Step) -> Result<(), Failure> {
        let waiting = self.directory.join(WAITING);
        std::fs::create_dir_all(&waiting)
            .map_err(|e| Failure::errored(format!("{step}: cannot make {}: {e}", waiting.display())))
    }

    pub(super) async fn open_archive(&self, file: &Path, step: Step) -> Result<Archive, Failure> {
        let opened = Archive::open(&self.runner, file, &self.directory.join(WAITING)).await;
        opened.map_err(|error| error.into_failure(step))
    }

    pub(super) async fn config_of(&self, archive: &Archive, step: Step) -> Result<Option<Vec<u8>>, Failure> {
        archive.config_blob().await.map_err(|error| error.into_failure(step))
    }

    /// The image's name for the engine: where kaniko built it, the engine gets it first.
    pub(super) async fn in_engine(&self, built: &mut Built) -> Result<Digest, Failure> {
        if let Some(info) = &built.info {
            return Ok(info.id.clone());
        }
        let (work, runner) = (self.work, &self.runner);
        let info = match (&built.staged, &built.content) {
            (Some(staged), _) => {
                let access = self.access([staged.clone()].into(), Step::Test).await?;
                let timeout = work.project.timeout;
                work.engine
                    .pull_ref(runner, Step::Test, staged, &access, timeout)
                    .await?
            }
            (None, Content::Archive(path)) => {
                let file = self.directory.join(path);
                let id = work
                    .engine
                    .load(runner, Step::Test, &file, work.project.timeout)
                    .await?;
                let info = work.engine.inspect_image(runner, Step::Test, id.as_str()).await?;
                info.ok_or_else(|| Failure::errored(format!("{}: the image {id} is gone already", Step::Test)))?
            }
            (None, _) => return Err(Failure::errored(format!("{}: the image is nowhere", Step::Test))),
        };
        let id = info.id.clone();
        built.result.id = Some(id.clone());
        built.info = Some(info);
        Ok(id)
    }

    /// The engine's own settings only.
    pub(super) fn no_access(&self) -> PullAccess {
        PullAccess::new(self.directory.join(PULLING))
    }

    /// What the engine must be told to reach the registries of these references, where the config says something of them.
    pub(super) async fn access(&self, references: BTreeSet<ImageRef>, step: Step) -> Result<PullAccess, Failure> {
        let places = (self.directory.join(PULLING), self.directory.join(SECRETS));
        pull_access(&self.work.registries, &self.runner, &references, step, places).await
    }
}

/// The base whose repository may have most of an image's layers, so that its registry need not be sent them.
pub(super) fn lender<'a>(bases: &'a [BaseUsed], to: &ImageRef) -> Option<&'a ImageRef> {
    let there = bases.iter().filter_map(|base| {
        let reference = base.reference.as_ref()?;
        (base.needed.is_none() && reference.registry() == to.registry()).then_some((base.diff_ids.len(), reference))
    });
    there.max_by_key(|(layers, _)| *layers).map(|(_, reference)| reference)
}

/// Takes away what only an attempt in this directory needed. What waits for a release stays as long as a later attempt may
/// need it.
pub fn tidy(directory: &Path, with_waiting: bool) {
    let mut places = vec![SECRETS, PINNED, PULLING, OUT];
    places.extend(with_waiting.then_some(WAITING));
    for place in places {
        let path = directory.join(place);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot remove what an attempt needed");
            }
            _ => {}
        }
    }
}

/// Credentials of the registries that this attempt's engine commands speak to.
const SECRETS: &str = ".auth";

/// What the engine needs while it pulls; made and removed by it.
const PULLING: &str = ".pull";

/// Containerfiles with their bases replaced, and with labels.
pub(super) const PINNED: &str = ".pinned";

/// Below the job's directory.
pub(super) fn archive_path(image: &ImageName) -> String {
    format!("{WAITING}/{image}.tar")
}

impl Prepared<'_> {
    /// Of the registries that its bases are on, and of its own staging.
    pub fn registries(&self) -> BTreeSet<ImageRef> {
        let bases = self.bases.iter().filter_map(|name| ImageRef::parse(name).ok());
        let all = bases.chain(self.staging.clone());
        all.filter(|reference| !reference.is_local()).collect()
    }
}
