//! What makes two images the same.

use super::Digest;
use serde::Deserialize;
use serde_json::Value;

/// The content of an image: its layers and its config, without what only tells of the run that made it. Two images with
/// equal content need no rebuild of what stands on them, and no release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageContent {
    platform: String,
    diff_ids: Vec<Digest>,
    config: Value,
}

/// Labels that differ from run to run although the image is the same. The digests of bases are among them: a base that
/// was compressed again has another one, and what it brings into the image shows in layers and config.
const RUN_LABELS: &[&str] = &[
    "org.opencontainers.image.created",
    "org.opencontainers.image.base.digest",
    "pipelined.bases",
    "pipelined.job",
    "pipelined.reason",
    "pipelined.wave",
];

/// Says from which commit an image was built. What is built on it says so itself.
const COMMIT_LABEL: &str = "org.opencontainers.image.revision";

/// What docker's builder writes into a config of the container that it built in.
const BUILD_LEFTOVERS: &[&str] = &[
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "Domainname",
    "Hostname",
    "Image",
    "MacAddress",
    "NetworkDisabled",
    "OpenStdin",
    "StdinOnce",
    "Tty",
];

/// The part of the image-spec's config ("OCI Image Configuration") that counts.
#[derive(Deserialize)]
struct Written {
    architecture: String,
    os: String,
    variant: Option<String>,
    #[serde(default)]
    config: Value,
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

impl ImageContent {
    /// Of what is known of an image; `config` has the keys of the image-spec (`Env`, `Cmd`, `Labels`, …).
    pub fn new(platform: String, diff_ids: Vec<Digest>, mut config: Value) -> Self {
        if let Some(config) = config.as_object_mut() {
            config.retain(|key, _| !BUILD_LEFTOVERS.contains(&key.as_str()));
            if let Some(labels) = config.get_mut("Labels").and_then(Value::as_object_mut) {
                labels.retain(|label, _| !RUN_LABELS.contains(&label.as_str()));
            }
            // Whether nothing is written as nothing or as an empty list is up to who writes.
            config.retain(|_, value| !is_empty(value));
        }
        if is_empty(&config) {
            config = Value::Null;
        }
        Self {
            platform,
            diff_ids,
            config,
        }
    }

    /// Of a config blob as it is on registries.
    pub fn read(blob: &[u8]) -> Result<Self, serde_json::Error> {
        let written: Written = serde_json::from_slice(blob)?;
        let platform = platform(&written.os, &written.architecture, written.variant.as_deref());
        Ok(Self::new(platform, written.rootfs.diff_ids, written.config))
    }

    /// `linux/amd64`
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// Its layers, unpacked, from the bottom up.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// The same whatever commit it was built from: as what stands on it sees it.
    pub fn of_any_commit(&self) -> Self {
        let mut config = self.config.clone();
        if let Some(labels) = config.get_mut("Labels").and_then(Value::as_object_mut) {
            labels.remove(COMMIT_LABEL);
        }
        Self::new(self.platform.clone(), self.diff_ids.clone(), config)
    }

    /// What the first difference is, for people; none if there is none.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.platform != other.platform {
            return Some(format!("it is for {}, and was for {}", self.platform, other.platform));
        }
        if self.diff_ids != other.diff_ids {
            return Some("its layers differ".to_owned());
        }
        self.config_difference(other)
    }

    /// The same of the config alone: engines do not tell all of a platform.
    pub fn config_difference(&self, other: &Self) -> Option<String> {
        if self.config == other.config {
            return None;
        }
        let keys = |value: &Value| -> Vec<String> {
            let object = value.as_object();
            object.map(|o| o.keys().cloned().collect()).unwrap_or_default()
        };
        let mut names = keys(&self.config);
        names.extend(keys(&other.config));
        names.retain(|name| self.config.get(name) != other.config.get(name));
        names.sort();
        names.dedup();
        Some(format!("its config differs: {}", names.join(", ")))
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A platform as people write it.
pub fn platform(os: &str, architecture: &str, variant: Option<&str>) -> String {
    match variant.filter(|variant| !variant.is_empty()) {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(digit: char) -> Digest {
        Digest::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
    }

    fn blob(change: impl FnOnce(&mut Value)) -> ImageContent {
        let mut blob = json!({
            "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": { "Env": ["A=1"], "Cmd": ["sh"], "Labels": { "a": "b", "pipelined.job": "1" } },
            "rootfs": { "type": "layers", "diff_ids": [digest('1'), digest('2')] },
            "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "x" }],
        });
        change(&mut blob);
        ImageContent::read(blob.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_run_does_not_count() {
        let same = blob(|b| {
            b["created"] = json!("2027-01-01T00:00:00Z");
            b["history"] = json!([]);
            b["container_config"] = json!({ "Env": ["B=2"] });
            b["config"]["Hostname"] = json!("b2c7");
            b["config"]["Image"] = json!("sha256:aaaa");
            b["config"]["Volumes"] = Value::Null;
            b["config"]["Entrypoint"] = json!([]);
            for label in RUN_LABELS {
                b["config"]["Labels"][*label] = json!("other");
            }
        });
        assert_eq!(blob(|_| {}), same);
        assert_eq!(blob(|_| {}).difference(&same), None);
    }

    #[test]
    fn the_commit_counts_only_if_it_is_asked_for() {
        let of = |commit: &str| blob(|b| b["config"]["Labels"][COMMIT_LABEL] = json!(commit));
        assert_eq!(of("1").difference(&of("2")).unwrap(), "its config differs: Labels");
        assert_eq!(of("1").of_any_commit(), of("2").of_any_commit());
        assert_eq!(of("1").of_any_commit(), blob(|_| {}));
        let other = blob(|b| b["config"]["Labels"] = json!({ "a": "c", COMMIT_LABEL: "1" }));
        assert!(other.of_any_commit().difference(&of("1").of_any_commit()).is_some());
        let nothing_else = blob(|b| b["config"] = json!({ "Labels": { COMMIT_LABEL: "1" } }));
        assert_eq!(nothing_else.of_any_commit(), blob(|b| b["config"] = Value::Null));
    }

    #[test]
    fn all_else_counts() {
        let here = blob(|_| {});
        let differs = |change: fn(&mut Value)| here.difference(&blob(change)).unwrap_or_default();
        assert_eq!(
            differs(|b| b["config"]["Env"] = json!(["A=2"])),
            "its config differs: Env"
        );
        assert_eq!(
            differs(|b| b["config"]["Labels"]["a"] = json!("c")),
            "its config differs: Labels"
        );
        assert_eq!(
            differs(|b| b["config"]["Healthcheck"] = json!({ "Test": ["NONE"] })),
            "its config differs: Healthcheck"
        );
        assert_eq!(
            differs(|b| b["rootfs"]["diff_ids"] = json!([digest('2'), digest('1')])),
            "its layers differ"
        );
        assert_eq!(
            differs(|b| b["variant"] = json!("v2")),
            "it is for linux/amd64, and was for linux/amd64/v2"
        );
    }

    #[test]
    fn a_config_of_nothing_is_none_at_all() {
        let with = blob(|b| b["config"] = json!({ "Env": null, "Labels": { "pipelined.job": "1" } }));
        let without = blob(|b| b["config"] = Value::Null);
        assert_eq!(with, without);
    }
}
