//! Whether what is about to be released has the content of what was released before: then what stands on it is not stale.
//!
//! It exists so that a new commit that changes nothing of an image stops there. It must never keep a release back: where it
//! cannot be told, the content is taken for different.
//!
//! From which commit it was built does not count here: what stands on it says that of itself.

use super::attempt::Attempt;
use super::build::Built;
use super::release::Releasable;
use crate::model::{Digest, Failure, ImageContent, ImageRef, Step};
use std::collections::BTreeSet;

/// Why there is nothing to compare with.
const GONE: &str = "that is not there any more";

impl Attempt<'_> {
    /// Whether this job releases also what has come out the same.
    pub(super) fn is_forced(&self) -> bool {
        self.work.job.rebuild.as_ref().is_some_and(|rebuild| rebuild.force)
    }

    /// Notes of each image that is about to be released whether its content is what was released before.
    pub(super) async fn compare_with_releases(&mut self, releasable: &mut Releasable) {
        for (built, targets) in releasable {
            let name = built.result.image.clone();
            let known = self.ground.released.get(&name).filter(|known| !known.is_empty());
            let Some(known) = known.cloned() else { continue };
            let note = match self.differs(built, targets, &known).await {
                Ok(None) => {
                    built.result.alike = known.clone();
                    "the content is that of what was released before: what stands on it is not built again".to_owned()
                }
                Ok(Some(why)) => format!("the content is not that of what was released before: {why}"),
                Err(failure) => {
                    format!("it cannot be compared with what was released before, and is taken for new: {failure}")
                }
            };
            self.runner.note(Step::Release, &format!("{name}: {note}"));
            if let Some(result) = self.results.iter_mut().find(|result| result.image == name) {
                result.alike.clone_from(&built.result.alike);
                // As far as that was learned meanwhile.
                result.digest.clone_from(&built.result.digest);
            }
        }
    }

    /// How what was built differs from what is known, which all has one content: the first that is there still decides.
    async fn differs(
        &self,
        built: &mut Built,
        targets: &BTreeSet<ImageRef>,
        known: &BTreeSet<Digest>,
    ) -> Result<Option<String>, Failure> {
        let Some(place) = targets.iter().find(|target| !target.is_local()) else {
            return self.differs_in_storage(built, known).await;
        };
        let ours = self.as_registries_have_it(built).await?;
        if built
            .result
            .digest
            .as_ref()
            .is_some_and(|digest| known.contains(digest))
        {
            return Ok(None);
        }
        // Ids are among them, by which no registry has a manifest, and some answer that with an error. What is released
        // there now is most likely one of them, and is asked for by its name.
        let there = self.released_there(place, known).await;
        let mut trouble = None;
        for digest in there.iter().chain(known) {
            match self.config_there(&place.with_digest(digest.clone())).await {
                Ok(Some(blob)) => {
                    if let Ok(there) = ImageContent::read(&blob) {
                        return Ok(ours.of_any_commit().difference(&there.of_any_commit()));
                    }
                }
                Ok(None) => {}
                Err(failure) => trouble = Some(failure),
            }
        }
        if let Some(failure) = trouble {
            return Err(failure);
        }
        Ok(Some(GONE.to_owned()))
    }

    /// Which of the known digests a reference is at.
    async fn released_there(&self, place: &ImageRef, known: &BTreeSet<Digest>) -> Option<Digest> {
        let manifest = self.work.registries.manifest(&self.runner, place).await.ok()?;
        known.get(&manifest.digest).cloned()
    }

    async fn differs_in_storage(&self, built: &Built, known: &BTreeSet<Digest>) -> Result<Option<String>, Failure> {
        let Some(ours) = &built.info else {
            return Ok(Some("what was built is not in the engine's storage".to_owned()));
        };
        for id in known {
            let there = self.work.engine.inspect_image(&self.runner, Step::Release, id.as_str());
            if let Some(there) = there.await? {
                return Ok(ours.content.of_any_commit().difference(&there.content.of_any_commit()));
            }
        }
        Ok(Some(GONE.to_owned()))
    }
}
