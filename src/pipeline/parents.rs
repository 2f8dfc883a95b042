//! Bases that are releases of our own: exactly these are built on, wherever their references are by now.
//!
//! It exists so that a push between a release and the builds that follow from it does not mix generations. It must never
//! fall back to what a reference is at.

use super::attempt::Attempt;
use super::bases::{Ready, known_by_digest, seen_by_kaniko};
use super::prepare::Prepared;
use crate::engine::ImageInfo;
use crate::model::{Digest, Failure, ImageRef, Parent, Step};

impl Attempt<'_> {
    /// The release that a base is to be, if it was settled that it is one, and its reference.
    pub(super) fn parent_of(&self, name: &str) -> Option<(ImageRef, &Parent)> {
        let reference = ImageRef::parse(name).ok()?;
        let parent = self.ground.parents.get(&reference)?;
        Some((reference, parent))
    }

    /// Makes such a base ready. It is recorded by the name that the Containerfile has, as if that had been looked up.
    pub(super) async fn released_base(
        &self,
        prepared: &Prepared<'_>,
        name: &str,
        reference: ImageRef,
        parent: &Parent,
    ) -> Result<Ready, Failure> {
        let digest = &parent.digest;
        if self.work.kaniko.is_some() {
            seen_by_kaniko(name, &reference)?;
            self.is_there_still(name, &reference, parent).await?;
            return Ok(known_by_digest(name, reference, digest.clone()));
        }
        let (work, runner) = (self.work, &self.runner);
        let access = self.pull_access(prepared).await?;
        let policy = self.pull_policy(prepared.image);
        let timeout = work.project.timeout;
        // What is to be the same on each machine goes by its digest, which the engine has only of what it has pulled.
        let id = parent.id.as_ref().filter(|_| !prepared.image.source_date_epoch);
        let base = work
            .engine
            .pull_exactly(runner, (name, &reference, digest), id, policy, &access, timeout)
            .await?;
        let pin = self.pin_release(prepared, name, &reference, digest, &base.info).await?;
        let mut used = base.used();
        if !reference.is_local() {
            used.digests.retain(|known| known != digest);
            used.digests.insert(0, digest.clone());
        }
        Ok(Ready { used, pin })
    }

    /// kaniko would only say that its build has failed.
    async fn is_there_still(&self, name: &str, reference: &ImageRef, parent: &Parent) -> Result<(), Failure> {
        let exact = reference.with_digest(parent.digest.clone());
        let head = self.work.registries.head(&self.runner, &exact).await;
        match head.map_err(|error| error.into_failure(Step::Pull))? {
            Some(_) => Ok(()),
            None => Err(Failure::errored(format!(
                "{}: {name} is {}, which job {} has released, and its registry does not have that any more",
                Step::Pull,
                parent.digest,
                parent.job
            ))),
        }
    }

    /// What stands for it in the Containerfile; none if the engine can only take it by its own name, which is at it now.
    async fn pin_release(
        &self,
        prepared: &Prepared<'_>,
        name: &str,
        reference: &ImageRef,
        digest: &Digest,
        info: &ImageInfo,
    ) -> Result<Option<String>, Failure> {
        let exact = (!reference.is_local()).then(|| reference.with_digest(digest.clone()).to_string());
        let (engine, runner) = (&self.work.engine, &self.runner);
        if prepared.image.source_date_epoch {
            // An id would bring whichever name it has into the history: by this one it is the same on each machine.
            if exact.is_some() {
                return Ok(exact);
            }
            let there = engine.inspect_image(runner, Step::Pull, name).await?;
            if there.is_some_and(|there| there.id == info.id) {
                return Ok(None);
            }
        }
        let newer = !prepared.image.secrets.is_empty() || prepared.image.source_date_epoch;
        let pin = engine.pin(runner, name, info, newer).await?;
        Ok(pin.or(exact))
    }
}
