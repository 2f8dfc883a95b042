//! What an image is built FROM, made ready in a step of its own: each base is known by its digest before the build
//! begins, and the build can use no other.

use super::attempt::Attempt;
use super::build::Built;
use super::prepare::Prepared;
use crate::config::{Image, Pull, SecretFile};
use crate::engine::{ImageInfo, PullAccess};
use crate::model::{BaseUsed, Digest, Failure, ImageRef, Reason, Step};
use std::path::PathBuf;

/// A base that is ready, and what stands in its place in the Containerfile.
pub(super) struct Ready {
    pub used: BaseUsed,
    pub pin: Option<String>,
}

impl Attempt<'_> {
    /// Makes the bases of an image ready: those that this job has built, and those of elsewhere.
    pub(super) async fn bases(&self, prepared: &Prepared<'_>) -> Result<Vec<Ready>, Failure> {
        let mut ready = Vec::new();
        let mut elsewhere = Vec::new();
        for name in &prepared.bases {
            match (self.built_here(name), self.parent_of(name)) {
                (Some(built), _) => ready.push(self.base_of_this_job(prepared, name, built).await?),
                (None, Some((reference, parent))) => {
                    ready.push(self.released_base(prepared, name, reference, parent).await?);
                }
                (None, None) => elsewhere.push(name.clone()),
            }
        }
        ready.extend(match self.work.kaniko {
            Some(_) => self.look_up(&elsewhere).await?,
            None => self.pull(prepared, &elsewhere).await?,
        });
        for base in &ready {
            let BaseUsed { name, digests, id, .. } = &base.used;
            let Some(digest) = digests.first().or(id.as_ref()) else {
                continue;
            };
            let job = self.parent_of(name).filter(|_| base.used.sibling.is_none());
            let by = job.map_or_else(String::new, |(_, parent)| format!(": released by job {}", parent.job));
            self.runner.note(Step::Pull, &format!("base {name} is {digest}{by}"));
        }
        Ok(ready)
    }

    /// The image of this job that is known by this name: it is built on, and not what a registry still has.
    fn built_here(&self, name: &str) -> Option<&Built> {
        let reference = ImageRef::parse(name).ok()?;
        let mut built = self.built.iter();
        built
            .find(|(names, _)| names.contains(&reference))
            .map(|(_, built)| built)
    }

    async fn base_of_this_job(&self, prepared: &Prepared<'_>, name: &str, built: &Built) -> Result<Ready, Failure> {
        let used = BaseUsed {
            name: name.to_owned(),
            reference: ImageRef::parse(name).ok(),
            // What is only in the engine's storage goes by its id.
            digests: built
                .result
                .digest
                .iter()
                .filter(|digest| built.result.id.as_ref() != Some(*digest))
                .cloned()
                .collect(),
            id: built.result.id.clone(),
            diff_ids: built
                .info
                .as_ref()
                .map(|info| info.diff_ids.clone())
                .unwrap_or_default(),
            platform: built.info.as_ref().map(|info| info.platform().to_owned()),
            sibling: Some(built.result.image.clone()),
            needed: None,
        };
        let pin = match (&built.info, &built.staged) {
            (Some(info), _) if self.work.kaniko.is_none() => self.pin(prepared, name, info).await?,
            (_, Some(staged)) => Some(staged.to_string()),
            _ => {
                return Err(Failure::failed(format!(
                    "{}: {name} was built by this job, and kaniko can only find it on a registry: give {} a `staging`",
                    Step::Pull,
                    built.result.image
                )));
            }
        };
        Ok(Ready { used, pin })
    }

    async fn pull(&self, prepared: &Prepared<'_>, names: &[String]) -> Result<Vec<Ready>, Failure> {
        let (work, runner) = (self.work, &self.runner);
        let access = self.pull_access(prepared).await?;
        let policy = self.pull_policy(prepared.image);
        let pulled = work
            .engine
            .pull_bases(runner, names, policy, &access, work.project.timeout)
            .await?;
        let mut ready = Vec::new();
        for base in pulled {
            if let Some(failure) = &base.only_here {
                self.may_use_what_is_here(&base.name, failure).await?;
            }
            let pin = self.pin(prepared, &base.name, &base.info).await?;
            let mut used = base.used();
            self.tag_first(&mut used).await;
            ready.push(Ready { used, pin });
        }
        Ok(ready)
    }

    /// What is missing only may stay as it is here, unless this job is for what is newer than that.
    pub(super) fn pull_policy(&self, image: &Image) -> Pull {
        let is_for_newer = matches!(
            self.work.job.reason,
            Reason::BaseUpdated | Reason::PackagesUpdated | Reason::UpstreamRebuilt
        );
        match image.pull {
            Pull::Missing if is_for_newer => Pull::Newer,
            pull => pull,
        }
    }

    /// With `pull = "newer"`, what is here may stand in for what could not be pulled only if no registry has it: it was made
    /// here. A registry that does not answer, or refuses, could have a newer one: that is an error, and tried again.
    async fn may_use_what_is_here(&self, name: &str, failure: &Failure) -> Result<(), Failure> {
        let Ok(reference) = ImageRef::parse(name) else {
            return Ok(());
        };
        match self.work.registries.head(&self.runner, &reference).await {
            Ok(None) => {
                let why = format!("{name}: its registry does not have it, so the image that is here is used");
                self.runner.note(Step::Pull, &why);
                Ok(())
            }
            Ok(Some(_)) => Err(failure.clone()),
            Err(error) => {
                let asked = error.into_failure(Step::Pull);
                let hint = "an older one is here, which pull = \"missing\" would use";
                Err(Failure::new(asked.kind, format!("{} ({hint})", asked.message)))
            }
        }
    }

    /// An engine may know the same image by several digests: of an index and of its manifest, or of what it has built
    /// itself and what a registry has made of that. Only the registry can say which of them the tag is at. If it does not,
    /// the engine's own order stays.
    async fn tag_first(&self, used: &mut BaseUsed) {
        let reference = used.reference.as_ref().filter(|reference| !reference.is_local());
        let Some(reference) = reference.filter(|_| used.digests.len() > 1) else {
            return;
        };
        match self.work.registries.head(&self.runner, reference).await {
            // One that is not among them has moved since the pull: what is used is what was pulled.
            Ok(head) => used
                .digests
                .sort_by_key(|digest| head.as_ref().is_none_or(|head| head.digest != *digest)),
            Err(error) => tracing::debug!(base = used.name, %error, "cannot ask for the digest of a base"),
        }
    }

    /// What stands for a base so that exactly this one is used; none if the engine has no way to say it.
    async fn pin(&self, prepared: &Prepared<'_>, name: &str, info: &ImageInfo) -> Result<Option<String>, Failure> {
        if prepared.image.source_date_epoch && self.built_here(name).is_none() {
            // podman writes a name of the id into the history, whichever comes first: that differs from machine to
            // machine. By its own name the base is the same each time; whether it was this one is seen after the build.
            return Ok(None);
        }
        // What only docker's newer builder can do decides which of the two it will be.
        let newer = !prepared.image.secrets.is_empty() || prepared.image.source_date_epoch;
        self.work.engine.pin(&self.runner, name, info, newer).await
    }

    /// kaniko fetches bases by itself: what their registries have now is what it is told to use.
    async fn look_up(&self, names: &[String]) -> Result<Vec<Ready>, Failure> {
        let mut ready = Vec::new();
        for name in names {
            let trouble = |why: String| Failure::failed(format!("{}: {why}", Step::Pull));
            let reference = ImageRef::parse(name).map_err(|error| trouble(error.to_string()))?;
            seen_by_kaniko(name, &reference)?;
            let digest = match reference.digest() {
                Some(digest) => digest.clone(),
                None => {
                    let head = self.work.registries.head(&self.runner, &reference).await;
                    let head = head.map_err(|error| error.into_failure(Step::Pull))?;
                    let none = || Failure::errored(format!("{}: no registry has {reference}", Step::Pull));
                    head.ok_or_else(none)?.digest
                }
            };
            ready.push(known_by_digest(name, reference, digest));
        }
        Ok(ready)
    }

    /// What the engine must be told of registries that have settings of their own; of others its own files say it.
    pub(super) async fn pull_access(&self, prepared: &Prepared<'_>) -> Result<PullAccess, Failure> {
        if prepared.image.pull == Pull::Never {
            return Ok(self.no_access());
        }
        self.access(prepared.registries(), Step::Pull).await
    }

    /// The files that a build may read by RUN --mount=type=secret.
    pub(super) fn secrets(&self, image: &Image) -> Result<Vec<(String, PathBuf)>, Failure> {
        let place = |(name, file): (&String, &SecretFile)| {
            let path = file
                .resolve()
                .map_err(|error| Failure::errored(format!("{}: the secret {name}: {error}", Step::Build)))?;
            Ok((name.clone(), path))
        };
        image.secrets.iter().map(place).collect()
    }
}

/// kaniko has no storage: what a local reference names it cannot have.
pub(super) fn seen_by_kaniko(name: &str, reference: &ImageRef) -> Result<(), Failure> {
    match reference.is_local() {
        true => Err(Failure::failed(format!(
            "{}: {name} is in an engine's storage, into which kaniko cannot see: use one of a registry",
            Step::Pull
        ))),
        false => Ok(()),
    }
}

/// A base that whoever builds fetches by itself, by this digest.
pub(super) fn known_by_digest(name: &str, reference: ImageRef, digest: Digest) -> Ready {
    Ready {
        pin: Some(reference.with_digest(digest.clone()).to_string()),
        used: BaseUsed {
            name: name.to_owned(),
            reference: Some(reference),
            digests: vec![digest],
            id: None,
            diff_ids: Vec::new(),
            platform: None,
            sibling: None,
            needed: None,
        },
    }
}
