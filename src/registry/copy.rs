//! Bringing an image from one repository to another, without a change of a byte.

use super::body::Content;
use super::challenge::scope;
use super::manifest::{Descriptor, Manifest, Parsed};
use super::push::line;
use super::session::Session;
use super::{Notes, Registries, RegistryError};
use crate::model::ImageRef;
use crate::process::Runner;

impl Registries {
    /// Brings what a reference points at to a repository, an index with all that it lists. No tag moves. On the same
    /// registry blobs are mounted, and not sent.
    pub async fn copy(
        &self,
        runner: &Runner,
        from: &ImageRef,
        to: &ImageRef,
        notes: Notes<'_>,
    ) -> Result<Manifest, RegistryError> {
        let source = Session::new(&self.0, runner, from, "pull");
        let mut target = Session::new(&self.0, runner, to, "pull,push");
        let mountable = from.registry() == to.registry();
        if mountable && from.repository() != to.repository() {
            target.scopes.push(scope(from.repository(), "pull"));
        }
        let copying = Copying {
            source,
            target,
            mount: mountable.then_some(from),
            notes,
        };
        self.until_cancelled(runner, copying.all(from)).await
    }
}

struct Copying<'a> {
    source: Session<'a>,
    target: Session<'a>,
    mount: Option<&'a ImageRef>,
    notes: Notes<'a>,
}

impl Copying<'_> {
    async fn all(&self, from: &ImageRef) -> Result<Manifest, RegistryError> {
        let top = self.source.in_time(self.source.manifest(from)).await?;
        if let Parsed::Index { manifests } = &top.parsed {
            for child in manifests.iter().filter(|child| !child.is_foreign()) {
                self.child(from, child).await?;
            }
        }
        self.one(&top).await?;
        Ok(top)
    }

    async fn child(&self, from: &ImageRef, child: &Descriptor) -> Result<(), RegistryError> {
        let child = from.with_digest(child.digest.clone());
        let manifest = self.source.in_time(self.source.manifest(&child)).await?;
        if matches!(manifest.parsed, Parsed::Index { .. }) {
            return Err(self
                .source
                .protocol(format!("{child} is an index within an index, which is not supported")));
        }
        self.one(&manifest).await
    }

    /// A manifest, after all the blobs that it names.
    async fn one(&self, manifest: &Manifest) -> Result<(), RegistryError> {
        let to = self.target.image;
        if let Parsed::Image { config, layers } = &manifest.parsed {
            for blob in layers.iter().chain([config]) {
                if blob.is_foreign() {
                    (self.notes)(&format!("{} is not the registry's to have: left out", blob.digest));
                    continue;
                }
                let content = Content::Remote(&self.source, blob);
                let came = self.target.upload(blob, &content, self.mount).await?;
                (self.notes)(&line(to, blob, came));
            }
        }
        let digest = &manifest.digest;
        let at = to.with_digest(digest.clone());
        if self.target.in_time(self.target.head_of(&at)).await?.is_some() {
            (self.notes)(&format!("{at}: manifest already there"));
            return Ok(());
        }
        self.target.put_manifest(manifest, digest.as_str()).await?;
        (self.notes)(&format!("{at}: manifest written"));
        Ok(())
    }
}
