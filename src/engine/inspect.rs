//! What the engine's storage knows of an image.
//!
//! An image is looked at after it was pulled or built, so that what is recorded is what was used. It must never take
//! an engine that does not work for an image that is not there.

use super::command::Engine;
use crate::config::EngineKind;
use crate::model::{Digest, Failure, ImageContent, ImageRef, Step, platform};
use crate::process::Runner;
use serde::Deserialize;
use std::collections::BTreeMap;

/// An image in the engine's storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Of its config. (docker with the containerd image store has the manifest's digest instead.)
    pub id: Digest,
    /// Where it came from, as `name@digest`. For podman the one that the image was first pulled by comes first.
    ///
    /// Seen with podman 4.3: when a tag is an index, there is an entry for the index and one for the manifest of this
    /// platform, and `.Digest` is the index; it stays what it was at the first pull, whatever comes later. The list is
    /// sorted, and made of all names of the image times all of its digests: `a@D` may be there for a digest that only
    /// `b` ever had. docker has one entry for each repository, and it is the index.
    pub repo_digests: Vec<ImageRef>,
    /// The digests of its layers, unpacked, from the bottom up.
    pub diff_ids: Vec<Digest>,
    /// By which it is compared with others.
    pub content: ImageContent,
}

impl ImageInfo {
    /// `linux/amd64`
    pub fn platform(&self) -> &str {
        self.content.platform()
    }
}

/// podman takes `{{json .}}` for the word `json`, and answers with a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    List([Inspected; 1]),
    One(Inspected),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    digest: Option<String>,
    repo_digests: Option<Vec<String>>,
    #[serde(rename = "RootFS")]
    root_fs: Option<RootFs>,
    os: String,
    architecture: String,
    variant: Option<String>,
    #[serde(default)]
    config: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    layers: Option<Vec<String>>,
}

/// How often an image is looked at that is there and cannot be read: podman reads one file after the other, while other
/// builds change them.
const TRIES: usize = 5;

enum Look {
    /// What was found, if it is there.
    Found(Option<ImageInfo>),
    /// It is there, and could not be read just then.
    Moving(String),
}

impl Engine {
    /// Looks for an image by a name or an id.
    pub async fn inspect_image(&self, runner: &Runner, step: Step, name: &str) -> Result<Option<ImageInfo>, Failure> {
        for _ in 1..TRIES {
            match self.look_at(runner, step, name).await? {
                Look::Found(info) => return Ok(info),
                Look::Moving(said) => tracing::debug!(name, said, "the storage changes while it is looked at"),
            }
        }
        match self.look_at(runner, step, name).await? {
            Look::Found(info) => Ok(info),
            Look::Moving(said) => Err(Failure::errored(format!(
                "{step}: cannot look for {name} in the storage: {said}"
            ))),
        }
    }

    async fn look_at(&self, runner: &Runner, step: Step, name: &str) -> Result<Look, Failure> {
        let args = ["image", "inspect", "--format", "{{json .}}", "--", name];
        let answer = self.ask(runner, step, &args).await?;
        if answer.success() {
            return match read(&answer.stdout) {
                Some(info) => Ok(Look::Found(Some(info))),
                None => Err(Failure::errored(format!(
                    "{step}: the answer of `{} image inspect` for {name} cannot be read",
                    self.program()
                ))),
            };
        }
        let missing = match self.kind {
            // 125 is "no" as well as "I do not work"; of the other question 1 is "no", and of both "my settings cannot
            // be read".
            EngineKind::Podman => {
                let exists = self.ask(runner, step, &["image", "exists", "--", name]).await?;
                if exists.success() {
                    return Ok(Look::Moving(answer.last_words().to_owned()));
                }
                answer.code == Some(125) && exists.code == Some(1)
            }
            EngineKind::Docker => answer.stderr.to_lowercase().contains("no such image"),
        };
        match missing {
            true => Ok(Look::Found(None)),
            false => Err(Failure::errored(format!(
                "{step}: cannot look for {name} in the storage: {}",
                answer.last_words()
            ))),
        }
    }

    /// All labels of an image that is there, those too that do not count when images are compared.
    pub async fn image_labels(
        &self,
        runner: &Runner,
        step: Step,
        id: &Digest,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let args = [
            "image",
            "inspect",
            "--format",
            "{{json .Config.Labels}}",
            "--",
            id.as_str(),
        ];
        let answer = self.ask(runner, step, &args).await?;
        let trouble = |why: &str| Failure::errored(format!("{step}: cannot read the labels of {id}: {why}"));
        if !answer.success() {
            return Err(trouble(answer.last_words()));
        }
        let labels: Option<BTreeMap<String, String>> =
            serde_json::from_slice(&answer.stdout).map_err(|error| trouble(&error.to_string()))?;
        Ok(labels.unwrap_or_default())
    }

    /// Removes an image that nothing else needs. What cannot be removed stays for the engine's own pruning.
    pub async fn remove_image(&self, runner: &Runner, id: &Digest) {
        let removed = self.ask(runner, Step::Build, &["image", "rm", "--", id.as_str()]).await;
        match removed {
            Ok(answer) if answer.success() => {}
            Ok(answer) => tracing::debug!(%id, said = answer.last_words(), "cannot remove an image"),
            Err(error) => tracing::debug!(%id, %error, "cannot remove an image"),
        }
    }
}

/// An id with or without its algorithm.
pub(super) fn digest(text: &str) -> Option<Digest> {
    let text = text.trim();
    Digest::new(text)
        .or_else(|_| Digest::new(format!("sha256:{text}")))
        .ok()
}

fn read(answer: &[u8]) -> Option<ImageInfo> {
    let (Answer::One(inspected) | Answer::List([inspected])) = serde_json::from_slice(answer).ok()?;
    let mut repo_digests: Vec<ImageRef> = inspected
        .repo_digests
        .iter()
        .flatten()
        // Some have `<none>` for a name.
        .filter_map(|text| ImageRef::parse(text).ok())
        .collect();
    let first = inspected.digest.and_then(|text| Digest::new(text).ok());
    // Stable: what is equal stays in the engine's order.
    repo_digests.sort_by_key(|reference| first.is_none() || reference.digest() != first.as_ref());
    let layers = inspected.root_fs.and_then(|r| r.layers).unwrap_or_default();
    let layers = layers.into_iter().map(|layer| Digest::new(layer).ok());
    let diff_ids: Vec<Digest> = layers.collect::<Option<_>>()?;
    let platform = platform(&inspected.os, &inspected.architecture, inspected.variant.as_deref());
    Some(ImageInfo {
        id: digest(&inspected.id)?,
        repo_digests,
        content: ImageContent::new(platform, diff_ids.clone(), inspected.config),
        diff_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    #[test]
    fn reads_what_both_engines_say() {
        let (a, b, c) = (hex("a"), hex("b"), hex("c"));
        let id = &c["sha256:".len()..];
        let podman = format!(
            r#"[{{"Id":"{id}","Digest":"{b}","RepoDigests":["r.io/x@{a}","r.io/x@{b}"],
                "RootFS":{{"Type":"layers","Layers":["{a}"]}},"Os":"linux","Architecture":"amd64","More":1}}]"#
        );
        let info = read(podman.as_bytes()).unwrap();
        assert_eq!(info.id.as_str(), c);
        let digests: Vec<_> = info.repo_digests.iter().map(|r| r.digest().unwrap().as_str()).collect();
        assert_eq!(digests, [&b, &a]);
        let docker = format!(
            r#"{{"Id":"{c}","RepoDigests":["debian@{a}","<none>@{b}"],"RootFS":{{"Layers":null}},"Os":"linux",
                "Architecture":"arm64"}}"#
        );
        let info = read(docker.as_bytes()).unwrap();
        assert_eq!(info.repo_digests.len(), 1);
        assert_eq!(info.repo_digests[0].name(), "docker.io/library/debian");
        assert!(info.diff_ids.is_empty());
        for bad in ["", "{}", "[]", r#"{"Id":"x","Os":"","Architecture":""}"#] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
