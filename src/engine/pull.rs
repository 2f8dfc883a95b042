//! Bringing bases into the engine's storage, in a step of its own: a registry that does not answer is our side's
//! trouble, and what fails after this is the build's.

use super::access::PullAccess;
use super::builder::Builder;
use super::command::Engine;
use super::inspect::ImageInfo;
use crate::config::{EngineKind, Pull};
use crate::model::{BaseUsed, Digest, Failure, FailureKind, ImageRef, Step};
use crate::process::Runner;
use std::path::Path;
use std::time::Duration;

/// Names under this host are made here; no registry has them.
const LOCAL: &str = "localhost/";

/// A base as it is in the storage when the build begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledBase {
    /// As the Containerfile has it.
    pub name: String,
    /// What was found under that name.
    pub info: ImageInfo,
    /// Why it could not be pulled, so that this is only what was here already.
    pub only_here: Option<Failure>,
}

impl PulledBase {
    /// As it is recorded: digests are those of its own repository.
    pub fn used(&self) -> BaseUsed {
        let reference = ImageRef::parse(&self.name).ok();
        let name = reference.as_ref().map(ImageRef::name);
        let mut digests: Vec<Digest> = Vec::new();
        for known in &self.info.repo_digests {
            let of_it = name.as_ref().is_none_or(|name| known.name() == *name);
            if let Some(digest) = known.digest().filter(|d| of_it && !digests.contains(d)) {
                digests.push(digest.clone());
            }
        }
        BaseUsed {
            name: self.name.clone(),
            // What was made here has digests by accident only: no registry knows them.
            digests: match &reference {
                Some(reference) if reference.is_local() => Vec::new(),
                _ if self.only_here.is_some() => Vec::new(),
                _ => digests,
            },
            reference,
            id: Some(self.info.id.clone()),
            diff_ids: self.info.diff_ids.clone(),
            platform: Some(self.info.platform().to_owned()),
            sibling: None,
            needed: None,
        }
    }
}

impl Engine {
    /// What stands for an image in a FROM, so that exactly this one is used: its id, or for docker's newer builder, which
    /// knows no ids, its name with a digest. None if there is no way to say it. `newer` tells whether the build has
    /// something that only docker's newer builder can do.
    pub async fn pin(
        &self,
        runner: &Runner,
        name: &str,
        info: &ImageInfo,
        newer: bool,
    ) -> Result<Option<String>, Failure> {
        if self.kind == EngineKind::Docker && self.builder(runner, newer).await? == Builder::BuildKit {
            let wanted = ImageRef::parse(name).ok().map(|reference| reference.name());
            let known = info.repo_digests.iter().find(|known| Some(known.name()) == wanted);
            return Ok(known.map(ToString::to_string));
        }
        Ok(Some(info.id.to_string()))
    }

    /// Brings a base into the storage that is to be exactly this, whatever its reference is at: `base` as the Containerfile
    /// has it, the same in normal form, and the digest of its manifest, for a local reference the image's id. What is
    /// here by that is not pulled, whatever the policy. `id` is the image's own, if that is known: what was built here is
    /// often here by that alone, and no registry has to be asked.
    pub async fn pull_exactly(
        &self,
        runner: &Runner,
        (base, reference, digest): (&str, &ImageRef, &Digest),
        id: Option<&Digest>,
        policy: Pull,
        access: &PullAccess,
        timeout: Duration,
    ) -> Result<PulledBase, Failure> {
        let exact = reference.with_digest(digest.clone());
        let wanted = match reference.is_local() {
            true => digest.to_string(),
            false => exact.to_string(),
        };
        let pulled = |info| PulledBase {
            name: base.to_owned(),
            info,
            only_here: None,
        };
        // docker's newer builder knows no ids: for that it has to have a digest.
        if let Some(id) = id.filter(|id| self.kind == EngineKind::Podman && id.as_str() != wanted)
            && let Some(here) = self.inspect_image(runner, Step::Pull, id.as_str()).await?
        {
            return Ok(pulled(here));
        }
        let trouble = |why: &str| format!("pull: {base} is to be {digest}, which is {why}");
        let info = match self.inspect_image(runner, Step::Pull, &wanted).await? {
            Some(here) => here,
            None if reference.is_local() => {
                let program = self.program();
                let why = format!("not in the storage of {program} any more, and no registry has {LOCAL} names");
                return Err(match policy {
                    Pull::Never => Failure::failed(trouble(&why)),
                    _ => Failure::errored(trouble(&why)),
                });
            }
            None if policy == Pull::Never => {
                let why = format!("not in the storage of {}, and pull = \"never\" is set", self.program());
                return Err(Failure::failed(trouble(&why)));
            }
            None => self.pull_ref(runner, Step::Pull, &exact, access, timeout).await?,
        };
        Ok(pulled(info))
    }

    /// Pulls what the policy asks for, and says what is there now.
    pub async fn pull_bases(
        &self,
        runner: &Runner,
        bases: &[String],
        policy: Pull,
        access: &PullAccess,
        timeout: Duration,
    ) -> Result<Vec<PulledBase>, Failure> {
        let mut pulled = Vec::new();
        for base in bases {
            let (info, only_here) = self.pull_base(runner, base, policy, access, timeout).await?;
            pulled.push(PulledBase {
                name: base.clone(),
                info,
                only_here,
            });
        }
        Ok(pulled)
    }

    async fn pull_base(
        &self,
        runner: &Runner,
        base: &str,
        policy: Pull,
        access: &PullAccess,
        timeout: Duration,
    ) -> Result<(ImageInfo, Option<Failure>), Failure> {
        let here = self.inspect_image(runner, Step::Pull, base).await?;
        if policy == Pull::Never || base.starts_with(LOCAL) {
            let program = self.program();
            return here.map(|here| (here, None)).ok_or_else(|| match policy {
                // Nothing will bring it: somebody has to change something.
                Pull::Never => Failure::failed(format!(
                    "pull: {base} is not in the storage of {program}, and pull = \"never\" is set: build it first"
                )),
                _ => Failure::errored(format!(
                    "pull: {base} is not in the storage of {program}, and no registry has {LOCAL} names: build it first"
                )),
            });
        }
        if policy == Pull::Missing
            && let Some(here) = here
        {
            return Ok((here, None));
        }
        match self.pull_one(runner, Step::Pull, base, access, timeout).await {
            Ok(()) => {}
            Err(failure) if failure.kind == FailureKind::Cancelled => return Err(failure),
            Err(failure) => match here {
                Some(here) if policy == Pull::Newer => return Ok((here, Some(failure))),
                _ => return Err(failure),
            },
        }
        let mut info = self
            .inspect_image(runner, Step::Pull, base)
            .await?
            .ok_or_else(|| Failure::errored(format!("pull: {base} was pulled, and is gone again")))?;
        newest_first(here.as_ref(), &mut info);
        Ok((info, None))
    }

    /// Brings an image into the storage, whatever is there. By digest only the registry decides what it is.
    pub async fn pull_ref(
        &self,
        runner: &Runner,
        step: Step,
        reference: &ImageRef,
        access: &PullAccess,
        timeout: Duration,
    ) -> Result<ImageInfo, Failure> {
        let name = reference.to_string();
        self.pull_one(runner, step, &name, access, timeout).await?;
        self.inspect_image(runner, step, &name)
            .await?
            .ok_or_else(|| Failure::errored(format!("{step}: {name} was pulled, and is gone again")))
    }

    pub(super) async fn pull_one(
        &self,
        runner: &Runner,
        step: Step,
        name: &str,
        access: &PullAccess,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let reference = ImageRef::parse(name).ok();
        let registry = reference.as_ref().map(ImageRef::registry);
        let prepared = self.prepare_pull(runner, step, registry, access).await?;
        let mut argv = self.argv(["pull"]);
        argv.extend(prepared.options.iter().cloned());
        argv.extend(["--".into(), name.into()]);
        let client = runner.with_env(prepared.env.iter().cloned());
        let trouble = match client.logged(step, &argv, Path::new("/"), timeout).await {
            Ok(0) => return Ok(()),
            Ok(code) => format!("`{} pull` exited with {code}", self.program()),
            Err(failure) if failure.kind == FailureKind::Cancelled => return Err(failure),
            Err(failure) => failure.message,
        };
        Err(Failure::errored(format!(
            "{step}: cannot pull {name} ({trouble}): see {}",
            runner.log_name()
        )))
    }
}

/// When the tag moved to another index that has the same image for this platform, podman only adds the new digest to
/// those that it knows. What the pull has brought is what the tag has now.
fn newest_first(before: Option<&ImageInfo>, after: &mut ImageInfo) {
    if let Some(before) = before.filter(|before| before.id == after.id) {
        // Stable: the rest stays as it was.
        after
            .repo_digests
            .sort_by_key(|reference| before.repo_digests.contains(reference));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ImageContent;

    fn digest(digit: char) -> Digest {
        Digest::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
    }

    fn info(id: char, digests: &[(&str, char)]) -> ImageInfo {
        ImageInfo {
            id: digest(id),
            repo_digests: digests
                .iter()
                .map(|(name, d)| ImageRef::parse(name).unwrap().with_digest(digest(*d)))
                .collect(),
            diff_ids: Vec::new(),
            content: ImageContent::new("linux/amd64".to_owned(), Vec::new(), serde_json::Value::Null),
        }
    }

    #[test]
    fn what_a_pull_has_brought_comes_first() {
        let before = info('1', &[("r.io/a", 'a'), ("r.io/a", 'c')]);
        let mut after = info('1', &[("r.io/a", 'a'), ("r.io/a", 'b'), ("r.io/a", 'c')]);
        newest_first(Some(&before), &mut after);
        assert_eq!(after, info('1', &[("r.io/a", 'b'), ("r.io/a", 'a'), ("r.io/a", 'c')]));
        let mut other = info('2', &[("r.io/a", 'a'), ("r.io/a", 'b')]);
        let same = other.clone();
        newest_first(Some(&before), &mut other);
        newest_first(None, &mut other);
        assert_eq!(other, same);
    }

    #[test]
    fn digests_are_those_of_the_repository() {
        let used = |name: &str, digests: &[(&str, char)]| {
            let base = PulledBase {
                name: name.to_owned(),
                only_here: None,
                info: info('1', digests),
            };
            base.used().digests
        };
        let known = [("r.io/a", 'a'), ("r.io/b", 'b'), ("r.io/a", 'a'), ("r.io/a", 'c')];
        assert_eq!(used("r.io/a:1", &known), [digest('a'), digest('c')]);
        assert_eq!(used("r.io/b", &known), [digest('b')]);
        assert_eq!(used("debian", &[("debian", 'd')]), [digest('d')]);
        assert_eq!(used("localhost/a", &[("localhost/a", 'a')]), []);
    }
}
