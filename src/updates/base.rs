//! Whether a base is still what images have used.
//!
//! One HEAD tells where a reference is, for all images that stand on it. Only where that moved, and only for what was used
//! in another state, is more fetched: what is there now for the platform, and what was used, each once.

use super::Tools;
use super::compare::{Present, Verdict, by_content, by_digest, by_layers, here};
use super::trouble::Trouble;
use crate::engine::ImageInfo;
use crate::model::{BaseKey, CheckError, Compared, Digest, ImageContent, ImageRef, Look, Step, Used};
use crate::process::Runner;
use crate::registry::{Descriptor, Manifest, Parsed, RegistryError, for_platform, same_platform};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

/// Looks where a base is, and compares what is there with each state in which images have used it, unless the digest says
/// that this is the same. What `known` has of the same digest is not asked for again.
///
/// `engine_env` is what a project that uses it adds to the environment: it decides which storage, and which logins, are
/// looked into. A reference on a registry that no registry has is looked for in the engine's storage if it can only be
/// from there.
pub async fn look_at_base(
    tools: &Tools,
    base: &BaseKey,
    used: &[Used],
    known: Option<&Look>,
    engine_env: Vec<(OsString, OsString)>,
) -> Result<(Digest, Vec<Compared>), CheckError> {
    let runner = tools.runner.with_env(engine_env);
    let looking = Looking {
        tools,
        runner: &runner,
        reference: &base.reference,
        manifests: BTreeMap::new(),
        configs: BTreeMap::new(),
    };
    let looked = looking.look(base.project.is_some(), used, known).await;
    looked.map_err(|trouble| trouble.into_error(&runner))
}

/// One look, and what it has fetched so far.
struct Looking<'a> {
    tools: &'a Tools,
    runner: &'a Runner,
    reference: &'a ImageRef,
    manifests: BTreeMap<Digest, Manifest>,
    configs: BTreeMap<Digest, ImageContent>,
}

/// Where a base is.
enum Place {
    Registry(Digest),
    Storage(Box<ImageInfo>),
}

impl Looking<'_> {
    async fn look(
        mut self,
        stored: bool,
        used: &[Used],
        known: Option<&Look>,
    ) -> Result<(Digest, Vec<Compared>), Trouble> {
        let place = self.find(stored, used).await?;
        let head = match &place {
            Place::Registry(digest) => digest.clone(),
            Place::Storage(info) => info.id.clone(),
        };
        let known = known.filter(|look| look.head == head);
        let mut compared = Vec::new();
        let mut keys = BTreeSet::new();
        for used in used.iter().filter(|used| !used.is_at(&head)) {
            let key = used.key();
            if !keys.insert(key.clone()) {
                continue;
            }
            let before = known.and_then(|look| look.compared.iter().find(|compared| compared.used == key));
            compared.push(match (before, &place) {
                (Some(before), _) => before.clone(),
                (None, Place::Registry(head)) => self.on_registry(key, used, head).await?,
                (None, Place::Storage(info)) => self.in_storage(key, used, info).await?,
            });
        }
        Ok((head, compared))
    }

    async fn find(&self, stored: bool, used: &[Used]) -> Result<Place, Trouble> {
        let made_here = |used: &Used| used.base.digests.is_empty() && used.base.id.is_some();
        if !stored && !self.reference.is_local() {
            let registries = &self.tools.registries;
            if let Some(head) = registries.head(self.runner, self.reference).await? {
                return Ok(Place::Registry(head.digest));
            }
            if used.is_empty() || !used.iter().all(made_here) {
                return Err(Trouble::Found(format!(
                    "its registry has no {} (any more)",
                    self.reference
                )));
            }
        }
        // By the name that the Containerfile has: engines have ideas of their own of where a short one belongs.
        let normal = self.reference.to_string();
        let names: BTreeSet<&str> = used.iter().map(|used| used.base.name.as_str()).collect();
        for name in names.into_iter().chain([normal.as_str()]) {
            let engine = &self.tools.engine;
            if let Some(info) = engine.inspect_image(self.runner, Step::Pull, name).await? {
                return Ok(Place::Storage(Box::new(info)));
            }
        }
        let program = self.tools.engine.program();
        Err(Trouble::Found(format!(
            "{normal} is not in the storage of {program} (any more)"
        )))
    }

    async fn on_registry(&mut self, key: String, used: &Used, head: &Digest) -> Result<Compared, Trouble> {
        let platform = used.base.platform.clone().unwrap_or_else(here);
        let there = self.manifest(head).await?;
        let manifest = match &there.parsed {
            Parsed::Image { .. } => there,
            Parsed::Index { manifests } => {
                let listed = |digest: &Digest| manifests.iter().find(|entry| entry.digest == *digest);
                // Digests of what was used say more than a platform, of which engines do not tell all.
                let same = used.base.digests.iter().find_map(listed);
                if same.is_some() && used.layers.is_none() {
                    return Ok(Compared {
                        used: key,
                        present: used.base.id.clone(),
                        same: true,
                        absent: false,
                        how: format!("its index moved: the manifest of {platform} is the same"),
                    });
                }
                match for_platform(manifests, &platform).map(|entry| entry.digest.clone()) {
                    Some(digest) => self.manifest(&digest).await?,
                    None => return Ok(gone(key, &platform)),
                }
            }
        };
        let Parsed::Image { config, .. } = &manifest.parsed else {
            return Err(Trouble::Found(format!(
                "{}: {platform} is an index within an index, which is not supported",
                self.reference
            )));
        };
        let present = Present {
            manifest: Some(manifest.digest),
            id: config.digest.clone(),
        };
        if let Some(verdict) = by_digest(used, &present) {
            return Ok(compared(key, &present, verdict));
        }
        let now = self.config(config).await?;
        if !same_platform(now.platform(), &platform) {
            return Ok(gone(key, &platform));
        }
        let verdict = match by_layers(used, &now) {
            Some(verdict) => verdict,
            None => by_content(used, self.old(used, &platform).await?.as_ref(), &now),
        };
        Ok(compared(key, &present, verdict))
    }

    async fn in_storage(&self, key: String, used: &Used, info: &ImageInfo) -> Result<Compared, Trouble> {
        let present = Present {
            manifest: None,
            id: info.id.clone(),
        };
        let verdict = match by_layers(used, &info.content) {
            Some(verdict) => verdict,
            None => by_content(used, self.stored(used).await?.as_ref(), &info.content),
        };
        Ok(compared(key, &present, verdict))
    }

    /// What was used, if anybody has it still: its registry, or the engine.
    async fn old(&mut self, used: &Used, platform: &str) -> Result<Option<ImageContent>, Trouble> {
        for digest in &used.base.digests {
            let reference = self.reference.with_digest(digest.clone());
            let registries = &self.tools.registries;
            let manifest = match registries.manifest_for(self.runner, &reference, platform).await {
                Ok(Some(manifest)) => manifest,
                Ok(None) | Err(RegistryError::Missing { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let Parsed::Image { config, .. } = &manifest.parsed else {
                continue;
            };
            match self.config(config).await {
                Ok(content) => return Ok(Some(content)),
                Err(Trouble::Registry(RegistryError::Missing { .. })) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        self.stored(used).await
    }

    /// What was used, as the engine has it still.
    async fn stored(&self, used: &Used) -> Result<Option<ImageContent>, Trouble> {
        let id = used.base.id.iter().map(ToString::to_string);
        let by_digest = |digest: &Digest| self.reference.with_digest(digest.clone()).to_string();
        let names = id.chain(used.base.digests.iter().map(by_digest));
        for name in names.collect::<Vec<_>>() {
            let engine = &self.tools.engine;
            if let Some(info) = engine.inspect_image(self.runner, Step::Pull, &name).await? {
                return Ok(Some(info.content));
            }
        }
        Ok(None)
    }

    async fn manifest(&mut self, digest: &Digest) -> Result<Manifest, Trouble> {
        if let Some(manifest) = self.manifests.get(digest) {
            return Ok(manifest.clone());
        }
        // By its digest: the reference may move on.
        let reference = self.reference.with_digest(digest.clone());
        let manifest = self.tools.registries.manifest(self.runner, &reference).await?;
        self.manifests.insert(digest.clone(), manifest.clone());
        Ok(manifest)
    }

    async fn config(&mut self, config: &Descriptor) -> Result<ImageContent, Trouble> {
        if let Some(content) = self.configs.get(&config.digest) {
            return Ok(content.clone());
        }
        let registries = &self.tools.registries;
        let blob = registries.config_blob(self.runner, self.reference, config).await?;
        let content = ImageContent::read(&blob)
            .map_err(|error| Trouble::Found(format!("{}: its config cannot be read: {error}", self.reference)))?;
        self.configs.insert(config.digest.clone(), content.clone());
        Ok(content)
    }
}

/// An index is often pushed one architecture at a time: what is not there cannot be built on, and is no update. What comes
/// later has another digest, and is looked at.
fn gone(key: String, platform: &str) -> Compared {
    Compared {
        used: key,
        present: None,
        same: true,
        absent: true,
        how: format!("it has nothing for {platform} now, so that nothing can be built on it"),
    }
}

fn compared(key: String, present: &Present, verdict: Verdict) -> Compared {
    let (same, how) = match verdict {
        Verdict::Same(how) => (true, how),
        Verdict::Changed(how) => (false, how),
    };
    Compared {
        used: key,
        present: Some(present.id.clone()),
        same,
        absent: false,
        how,
    }
}
