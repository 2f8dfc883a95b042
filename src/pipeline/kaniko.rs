//! Building an image with kaniko's executor.

use super::attempt::Attempt;
use super::build::{Built, Recipe, scratch};
use super::prepare::Prepared;
use super::stage::archive_path;
use crate::config::Kaniko;
use crate::engine::{KanikoBuilt, KanikoRequest, container_name};
use crate::model::{Content, Digest, Failure, ImageRef, Step};
use crate::registry::{Credentials, auth_json};
use std::sync::Arc;

impl Attempt<'_> {
    /// The executor pushes to the staging reference by itself; without one it writes an archive.
    pub(super) async fn build_with_kaniko(
        &self,
        kaniko: &Kaniko,
        prepared: &Prepared<'_>,
        recipe: Recipe,
    ) -> Result<Built, Failure> {
        let (work, runner, image) = (self.work, &self.runner, prepared.image);
        let job = &work.job;
        let mut references = prepared.registries();
        references.extend(kaniko.cache_repo.iter().cloned());
        let logins = self.all_logins(&references).await?;
        let access = self.access(references, Step::Build).await?;
        let destination = match (&prepared.staging, prepared.release.first()) {
            (Some(staging), _) => staging.clone(),
            (None, Some(release)) => release.clone(),
            // Only the name in the archive.
            (None, None) => ImageRef::parse(&format!("localhost/{}", image.name.as_str().to_lowercase()))
                .or_else(|_| ImageRef::parse("localhost/image"))
                .map_err(|error| Failure::failed(format!("{}: {error}", Step::Build)))?,
        };
        let auth = (!logins.is_empty()).then(|| auth_json(&logins));
        let out = self.directory.join(OUT);
        let cached = self.uses_cache(image);
        let request = KanikoRequest {
            executor: &kaniko.image,
            project: job.project.as_str(),
            name: &container_name(job.project.as_str(), job.commit.short(), &runner.marker),
            file: &recipe.file,
            original: Some(&prepared.file),
            context: &prepared.context,
            target: image.target.as_deref(),
            cache_repo: kaniko.cache_repo.as_ref().filter(|_| cached),
            snapshot_mode: kaniko.snapshot_mode,
            build_args: &prepared.declared(),
            labels: &recipe.labels,
            secrets: &self.secrets(image)?,
            destination: &destination,
            push: prepared.staging.is_some(),
            auth_json: auth.as_deref(),
            registries: &access.registries,
            flags: &kaniko.flags,
            out: &out,
            scratch: &scratch(&self.directory),
            timeout: work.project.timeout,
        };
        let built = work.engine.build_kaniko(runner, &request).await;
        let result = match built {
            Ok(built) => self.kaniko_built(prepared, recipe, built).await,
            Err(failure) => Err(failure),
        };
        if let Err(error) = std::fs::remove_dir_all(&out) {
            tracing::debug!(dir = %out.display(), %error, "cannot remove what kaniko wrote");
        }
        result
    }

    async fn kaniko_built(
        &self,
        prepared: &Prepared<'_>,
        recipe: Recipe,
        built: KanikoBuilt,
    ) -> Result<Built, Failure> {
        let name = &prepared.image.name;
        let mut result = Built {
            result: prepared.result(None, None, recipe.bases),
            content: Content::Archive(archive_path(name)),
            tags: Vec::new(),
            containerfile: prepared.shown.clone(),
            staged: None,
            info: None,
            config: None,
            archive: None,
        };
        match (built, &prepared.staging) {
            (KanikoBuilt::Pushed(digest), Some(staging)) => {
                self.landed(staging, &digest).await?;
                let staged = staging.with_digest(digest.clone());
                result.result.digest = Some(digest);
                result.content = Content::Registry(staged.clone());
                result.staged = Some(staged);
            }
            (KanikoBuilt::Pushed(_), None) => {
                return Err(Failure::errored(format!("{}: kaniko has pushed unasked", Step::Build)));
            }
            (KanikoBuilt::Archive(made), _) => {
                let file = self.directory.join(archive_path(name));
                self.make_waiting(Step::Build)?;
                std::fs::rename(&made, &file)
                    .map_err(|e| Failure::errored(format!("{}: cannot move {}: {e}", Step::Build, made.display())))?;
                let archive = self.open_archive(&file, Step::Build).await?;
                let manifest = archive.manifest();
                result.result.id = manifest.config_digest().cloned();
                result.result.digest = Some(manifest.digest.clone());
                result.config = self.config_of(&archive, Step::Build).await?;
                result.archive = Some(Arc::new(archive));
            }
        }
        Ok(result)
    }

    /// What the executor says that it pushed must be what the registry has.
    async fn landed(&self, staging: &ImageRef, digest: &Digest) -> Result<(), Failure> {
        let by_digest = staging.with_digest(digest.clone());
        let head = self.work.registries.head(&self.runner, &by_digest).await;
        match head.map_err(|error| error.into_failure(Step::Build))? {
            Some(head) if head.digest == *digest => Ok(()),
            Some(head) => Err(Failure::errored(format!(
                "{}: kaniko has pushed {digest}, and {staging} has {}",
                Step::Build,
                head.digest
            ))),
            None => Err(Failure::errored(format!(
                "{}: kaniko has pushed {digest} to {staging}, and the registry does not have it",
                Step::Build
            ))),
        }
    }

    /// The credentials for these registries, wherever they come from: the executor sees no file of the host.
    async fn all_logins(
        &self,
        references: &std::collections::BTreeSet<ImageRef>,
    ) -> Result<Vec<(String, Credentials)>, Failure> {
        let mut logins: Vec<(String, Credentials)> = Vec::new();
        for reference in references {
            let registry = reference.registry();
            if logins.iter().any(|(known, _)| known == registry) {
                continue;
            }
            let found = self.work.registries.credentials(&self.runner, reference).await;
            let found = found.map_err(|error| error.into_failure(Step::Build))?;
            logins.extend(found.map(|login| (registry.to_owned(), login)));
        }
        Ok(logins)
    }
}

/// Where the executor writes to, below the job's directory.
pub(super) const OUT: &str = ".kaniko";
