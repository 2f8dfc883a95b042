//! An image of the config that is on no record of ours: whether it is where it would be released, and what it stands on.
//!
//! What it says itself is believed first; an image that says nothing is compared by its layers with the base that its
//! Containerfile names. It must never take an image that cannot be read for one that is not there.

use super::Tools;
use super::compare::here;
use super::origin::{Origin, Texts, base, origin};
use super::trouble::Trouble;
use crate::config::{Image, Project};
use crate::git::{AtCommit, Question, default_branch, file_at};
use crate::model::{BaseUsed, CheckError, CommitId, Digest, Evidence, ImageContent, ImageRef, Node, Standing, Step};
use crate::pipeline::{Foresight, project_variables, releases_on};
use crate::process::Runner;
use crate::registry::Parsed;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Looks for an image where it would be released on the node's ref, from the commit; none if it is not released there, or
/// is not there.
pub async fn look_elsewhere(
    tools: &Tools,
    project: &Project,
    image: &Image,
    node: &Node,
    commit: &CommitId,
) -> Result<Option<Standing>, CheckError> {
    let dir = tools.layout.of_ref(&project.name, &node.reference);
    let foresight = Foresight::new(&tools.runner, project, image, &node.reference, commit, &dir);
    let foresight = foresight.map_err(|failure| Trouble::from(failure).into_error(&tools.runner))?;
    let looking = Looking {
        tools,
        project,
        image,
        node,
        commit,
        runner: foresight.runner(),
        foresight: &foresight,
    };
    let looked = looking.look().await;
    looked.map_err(|trouble| trouble.into_error(foresight.runner()))
}

struct Looking<'a> {
    tools: &'a Tools,
    project: &'a Project,
    image: &'a Image,
    node: &'a Node,
    commit: &'a CommitId,
    runner: &'a Runner,
    foresight: &'a Foresight<'a>,
}

/// An image that is there.
struct Found {
    digest: Digest,
    id: Digest,
    content: ImageContent,
    annotations: Texts,
    labels: Texts,
}

impl Looking<'_> {
    async fn look(&self) -> Result<Option<Standing>, Trouble> {
        if self.image.release.is_empty() || !self.is_released().await? {
            return Ok(None);
        }
        let released = self.foresight.released()?;
        let first = released.iter().find(|reference| !reference.is_local());
        let Some(first) = first.or(released.first()) else {
            return Err(Trouble::Found(
                "it cannot be told where it is released: its release references are others in each job".to_owned(),
            ));
        };
        let found = match first.is_local() {
            true => self.in_storage(first).await?,
            false => self.on_registry(first).await?,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let (evidence, bases) = self.bases(&found).await?;
        Ok(Some(Standing {
            job: None,
            commit: self.commit.clone(),
            id: Some(found.id),
            digest: Some(found.digest),
            released,
            bases,
            verified: Timestamp::now(),
            evidence,
            layers: match evidence {
                Evidence::Layers => found.content.diff_ids().to_vec(),
                _ => Vec::new(),
            },
            since: Timestamp::now(),
            wave: None,
            alike: BTreeSet::new(),
        }))
    }

    async fn is_released(&self) -> Result<bool, Trouble> {
        let patterns = self.image.release_refs.as_deref();
        let default = match patterns {
            Some(_) => None,
            None => {
                let (remote, dir) = (&self.project.remote, self.tools.layout.root());
                let socket = self.ssh_socket().await;
                let timeout = self.project.timeout;
                default_branch(self.runner, remote, socket.as_deref(), dir, timeout).await?
            }
        };
        Ok(releases_on(patterns, &self.node.reference, default.as_ref()))
    }

    /// The connection over ssh that polls and checkouts use too.
    async fn ssh_socket(&self) -> Option<PathBuf> {
        let question = Question::new(&self.project.remote, project_variables(self.project));
        self.tools.asker.ssh_socket(self.runner, &question).await
    }

    async fn on_registry(&self, reference: &ImageRef) -> Result<Option<Found>, Trouble> {
        let registries = &self.tools.registries;
        let Some(head) = registries.head(self.runner, reference).await? else {
            return Ok(None);
        };
        let platform = here();
        let at = reference.with_digest(head.digest.clone());
        let manifest = registries.manifest_for(self.runner, &at, &platform).await?;
        let manifest = manifest.ok_or_else(|| {
            Trouble::Found(format!(
                "{reference} has nothing for {platform}, for which it is built here"
            ))
        })?;
        let Parsed::Image { config, .. } = &manifest.parsed else {
            return Err(Trouble::Found(format!("{at} is no image")));
        };
        let blob = registries.config_blob(self.runner, reference, config).await?;
        let unreadable =
            |error: serde_json::Error| Trouble::Found(format!("{reference}: its config cannot be read: {error}"));
        Ok(Some(Found {
            digest: head.digest,
            id: config.digest.clone(),
            content: ImageContent::read(&blob).map_err(unreadable)?,
            annotations: manifest.annotations(),
            labels: labels(&blob),
        }))
    }

    async fn in_storage(&self, reference: &ImageRef) -> Result<Option<Found>, Trouble> {
        let (engine, name) = (&self.tools.engine, reference.to_string());
        let Some(info) = engine.inspect_image(self.runner, Step::Release, &name).await? else {
            return Ok(None);
        };
        Ok(Some(Found {
            // By what is in the engine's storage only, it is released under its id.
            digest: info.id.clone(),
            labels: engine.image_labels(self.runner, Step::Release, &info.id).await?,
            id: info.id,
            content: info.content,
            annotations: Texts::new(),
        }))
    }

    async fn bases(&self, found: &Found) -> Result<(Evidence, Vec<BaseUsed>), Trouble> {
        let platform = found.content.platform();
        let by_name = |name: String| (Evidence::Layers, vec![base(name, None, platform)]);
        Ok(
            match origin(&self.project.name, &found.annotations, &found.labels, platform) {
                Origin::Ours(bases) => (Evidence::OurLabels, bases),
                Origin::Base(base) => (Evidence::BaseLabels, vec![*base]),
                Origin::Name(name) => by_name(name),
                Origin::Nothing => match self.final_base().await? {
                    Some(name) => by_name(name),
                    None => (Evidence::Layers, Vec::new()),
                },
            },
        )
    }

    /// What its Containerfile stands on, at the commit; none if that is `scratch`.
    async fn final_base(&self) -> Result<Option<String>, Trouble> {
        let says_nothing = |why: String| {
            Trouble::Found(format!(
                "it was built elsewhere and does not say what it stands on, and {why}"
            ))
        };
        let socket = self.ssh_socket().await;
        let at = AtCommit {
            remote: &self.project.remote,
            commit: self.commit,
            mirrors: &self.tools.mirrors,
            ssh_socket: socket.as_deref(),
            dir: self.tools.layout.root(),
            timeout: self.project.timeout,
        };
        let usual = [Path::new("Containerfile"), Path::new("Dockerfile")];
        let given = self.image.file.as_deref().map(|file| [file]);
        let names = given.as_ref().map_or(usual.as_slice(), |file| file.as_slice());
        let text = file_at(self.runner, &at, self.project.shallow, names)
            .await?
            .ok_or_else(|| {
                let commit = self.commit.short();
                says_nothing(format!("its commit {commit} has no Containerfile to tell"))
            })?;
        let stands_on = self.foresight.stands_on(text).await?;
        match (stands_on.base, stands_on.unresolved) {
            (None, Some(text)) => Err(says_nothing(format!(
                "its Containerfile has {text}, which has no value here"
            ))),
            (base, _) => Ok(base),
        }
    }
}

/// Those of a config blob: all of them, as they do not count when images are compared.
fn labels(blob: &[u8]) -> Texts {
    let config: serde_json::Value = serde_json::from_slice(blob).unwrap_or_default();
    let labels = config.pointer("/config/Labels").and_then(serde_json::Value::as_object);
    let text = |(name, value): (&String, &serde_json::Value)| Some((name.clone(), value.as_str()?.to_owned()));
    labels.into_iter().flatten().filter_map(text).collect()
}
