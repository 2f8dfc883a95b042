//! Whether a rebuild came to something new: what it has built is compared with what is released.
//!
//! It exists so that a rebuild that comes to the same content moves no reference, and so makes nothing stale. It must
//! never guess: where a registry does not say what it has, nothing is taken for equal, and nothing is released.

use super::attempt::Attempt;
use super::build::Built;
use super::release::Releasable;
use super::stage::archive_path;
use crate::model::{BaseUsed, Content, Digest, Failure, ImageContent, ImageRef, ImageStatus, Step};
use crate::registry::{Parsed, RegistryError};
use std::collections::BTreeSet;

/// What a release reference is at.
enum There {
    /// This very content, by this digest; in the engine's storage by the image's id.
    Same(Digest),
    /// Something else, or nothing: in which way.
    Different(String),
}

/// What a rebuild has come to.
enum Verdict {
    /// Nothing new: each of the references, and what it is at.
    Stays(Vec<(ImageRef, Digest)>),
    /// Something new: the first difference.
    New(String),
}

fn different<T: Into<String>>(why: T) -> Result<There, Failure> {
    Ok(There::Different(why.into()))
}

impl Attempt<'_> {
    /// Of what a rebuild is about to release, that which is not there already. An image is unchanged only if all of its
    /// references are at its content.
    pub(super) async fn changed(&mut self, releasable: Releasable) -> Result<Releasable, Failure> {
        let mut changed = Vec::new();
        for (mut built, targets) in releasable {
            self.known_by_what_stays(&mut built.result.bases);
            let verdict = self.judge(&mut built, &targets).await;
            if let Some(result) = self.results.iter_mut().find(|r| r.image == built.result.image) {
                // As far as that was learned meanwhile.
                result.digest.clone_from(&built.result.digest);
                result.bases.clone_from(&built.result.bases);
            }
            let name = &built.result.image;
            match verdict? {
                Verdict::Stays(stays) => {
                    let places: Vec<String> = targets.iter().map(ToString::to_string).collect();
                    let places = places.join(", ");
                    let note = format!("the content is that of what is released as {places}: nothing is released");
                    self.runner.note(Step::Release, &format!("{name}: {note}"));
                    if let Some(result) = self.results.iter_mut().find(|r| r.image == *name) {
                        result.status = ImageStatus::Unchanged;
                        result.note = note;
                    }
                    // Nothing needs it any more.
                    let _ = std::fs::remove_file(self.directory.join(archive_path(name)));
                    self.stays.insert(name.clone(), stays);
                }
                Verdict::New(why) => {
                    self.runner
                        .note(Step::Release, &format!("{name} is not what is released: {why}"));
                    changed.push((built, targets));
                }
            }
        }
        Ok(changed)
    }

    async fn judge(&self, built: &mut Built, targets: &BTreeSet<ImageRef>) -> Result<Verdict, Failure> {
        let mut stays: Vec<(ImageRef, Digest)> = Vec::new();
        let ours = match targets.iter().all(ImageRef::is_local) {
            true => None,
            false => Some(self.as_registries_have_it(built).await?),
        };
        for target in targets {
            let there = match &ours {
                Some(ours) if !target.is_local() => self.on_registry(built, ours, target, &stays).await?,
                _ => self.in_storage(built, target).await?,
            };
            match there {
                There::Same(digest) => stays.push((target.clone(), digest)),
                There::Different(why) => return Ok(Verdict::New(format!("{target}: {why}"))),
            }
        }
        Ok(Verdict::Stays(stays))
    }

    async fn in_storage(&self, built: &Built, target: &ImageRef) -> Result<There, Failure> {
        let name = target.to_string();
        let there = self.work.engine.inspect_image(&self.runner, Step::Release, &name);
        let Some(there) = there.await? else {
            return different("it is not there");
        };
        let Some(ours) = &built.info else {
            return different("what was built is not in the engine's storage");
        };
        Ok(match ours.content.difference(&there.content) {
            None => There::Same(there.id),
            Some(why) => There::Different(why),
        })
    }

    /// What was built, in the form that registries get: an engine may show the same image in another one.
    pub(super) async fn as_registries_have_it(&self, built: &mut Built) -> Result<ImageContent, Failure> {
        if matches!(built.content, Content::Engine(_)) {
            self.archive(built, Step::Release).await?;
        }
        let blob = match (&built.config, &built.content) {
            (Some(config), _) => Some(config.clone()),
            (None, Content::Registry(staged)) => self.config_there(staged).await?,
            (None, _) => None,
        };
        let name = &built.result.image;
        let trouble = |why: &str| Failure::errored(format!("{}: the config of {name}: {why}", Step::Release));
        let blob = blob.ok_or_else(|| trouble("it is nowhere"))?;
        ImageContent::read(&blob).map_err(|error| trouble(&error.to_string()))
    }

    async fn on_registry(
        &self,
        built: &Built,
        ours: &ImageContent,
        target: &ImageRef,
        known: &[(ImageRef, Digest)],
    ) -> Result<There, Failure> {
        let head = self.work.registries.head(&self.runner, target).await;
        let Some(head) = head.map_err(|error| error.into_failure(Step::Release))? else {
            return different("it is not there");
        };
        let same = |digest: &Digest| *digest == head.digest;
        if built.result.digest.as_ref().is_some_and(same) || known.iter().any(|(_, digest)| same(digest)) {
            return Ok(There::Same(head.digest));
        }
        let Some(blob) = self.config_there(&target.with_digest(head.digest.clone())).await? else {
            return different("what is there is no single image, or not all of it is there");
        };
        let Ok(there) = ImageContent::read(&blob) else {
            return different("what is there has no config of an image");
        };
        Ok(match ours.difference(&there) {
            None => There::Same(head.digest),
            Some(why) => There::Different(why),
        })
    }

    /// The config of an image on a registry; none of an index, and if it is not there.
    pub(super) async fn config_there(&self, image: &ImageRef) -> Result<Option<Vec<u8>>, Failure> {
        let (registries, runner) = (&self.work.registries, &self.runner);
        let found = async {
            let manifest = registries.manifest(runner, image).await?;
            match &manifest.parsed {
                Parsed::Image { config, .. } => registries.config_blob(runner, image, config).await.map(Some),
                Parsed::Index { .. } => Ok(None),
            }
        };
        match found.await {
            Err(RegistryError::Missing { .. }) => Ok(None),
            found => found.map_err(|error| error.into_failure(Step::Release)),
        }
    }

    /// An image of this job that was built on an unchanged one stands on what is released too: it is the same content.
    /// Only that can be found again later.
    fn known_by_what_stays(&self, bases: &mut [BaseUsed]) {
        for base in bases {
            let stays = base.sibling.as_ref().and_then(|sibling| self.stays.get(sibling));
            let at = stays.and_then(|stays| stays.iter().find(|(at, _)| Some(at) == base.reference.as_ref()));
            if let Some((_, digest)) = at {
                base.digests.retain(|known| known != digest);
                base.digests.insert(0, digest.clone());
            }
        }
    }
}
