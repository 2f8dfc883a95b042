//! Moving a tag.

use super::manifest::Manifest;
use super::read::same;
use super::session::Session;
use super::{Notes, Registries, RegistryError};
use crate::model::ImageRef;
use crate::process::Runner;

impl Registries {
    /// Points a tag at a manifest whose content its repository has, and reads it back. The registry's word for it is not
    /// enough: what the tag points at afterwards is.
    pub async fn tag(
        &self,
        runner: &Runner,
        manifest: &Manifest,
        target: &ImageRef,
        notes: Notes<'_>,
    ) -> Result<(), RegistryError> {
        let Some(tag) = target.tag() else {
            return Err(RegistryError::Settings(format!(
                "{target} has no tag that could be moved"
            )));
        };
        let target = &ImageRef::parse(&format!("{}:{tag}", target.name()))
            .map_err(|e| RegistryError::Settings(e.to_string()))?;
        let session = Session::new(&self.0, runner, target, "pull,push");
        let call = async {
            let before = session.in_time(session.head_of(target)).await?;
            if before.is_some_and(|head| head.digest == manifest.digest) {
                notes(&format!("{target} is {} already", manifest.digest));
                return Ok(());
            }
            session.put_manifest(manifest, tag).await?;
            let after = session.in_time(session.head_of(target)).await?;
            same(&target.to_string(), manifest, after.as_ref().map(|head| &head.digest))?;
            notes(&format!("{target} is {} now", manifest.digest));
            Ok(())
        };
        self.until_cancelled(runner, call).await
    }
}
