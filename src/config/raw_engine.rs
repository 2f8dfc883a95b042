//! What is written in `engine`, `[kaniko]` and `[registries]`.
//!
//! It must never fill in a default, nor take a password: only the names of files that hold one.

use super::keys::{KANIKO, REGISTRY};
use super::notes::Notes;
use super::reader::{At, Node, Table, entries};
use super::text::{self, Mistake};
use super::values::{boolean, choice, list, parsed, refuse};
use super::{EngineKind, SecretFile, SnapshotMode, kaniko_flags};
use crate::model::ImageRef;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// `engine`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RawEngine {
    Of(EngineKind),
    Kaniko,
}

/// `[kaniko]`
#[derive(Debug)]
pub(super) struct RawKaniko {
    /// Of its name in the file.
    pub(super) key: Range<usize>,
    pub(super) image: Option<String>,
    /// Whether `image` is there, right or wrong.
    pub(super) has_image: bool,
    pub(super) engine: Option<EngineKind>,
    pub(super) cache_repo: Option<ImageRef>,
    pub(super) snapshot_mode: Option<SnapshotMode>,
    pub(super) flags: Vec<String>,
}

/// `[registries."HOST"]`
#[derive(Debug)]
pub(super) struct RawRegistry {
    pub(super) authfile: Option<At<SecretFile>>,
    pub(super) username: Option<At<String>>,
    /// Whether `username` is there, right or wrong.
    pub(super) has_username: bool,
    pub(super) password_file: Option<At<SecretFile>>,
    /// Whether `password_file` is there, right or wrong.
    pub(super) has_password_file: bool,
    pub(super) insecure: Option<At<bool>>,
    pub(super) ca_file: Option<At<PathBuf>>,
}

const KINDS: [(&str, EngineKind); 2] = [("podman", EngineKind::Podman), ("docker", EngineKind::Docker)];

pub(super) fn engine(node: &Node<'_>, notes: &Notes<'_>) -> Option<RawEngine> {
    let [podman, docker] = KINDS.map(|(word, kind)| (word, RawEngine::Of(kind)));
    choice(node, notes, &[podman, docker, ("kaniko", RawEngine::Kaniko)])
}

impl RawKaniko {
    pub(super) fn read<'a>(node: &'a Node<'a>, key: Range<usize>, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, KANIKO, notes)?;
        Some(Self {
            key,
            image: table.read("image", |n, notes| parsed(n, notes, executor)),
            has_image: table.mentions("image"),
            engine: table.read("engine", |n, notes| choice(n, notes, &KINDS)),
            cache_repo: table.read("cache_repo", |n, notes| parsed(n, notes, repository)),
            snapshot_mode: table.read("snapshot_mode", |n, notes| {
                let modes = [SnapshotMode::Full, SnapshotMode::Redo, SnapshotMode::Time];
                choice(n, notes, &modes.map(|mode| (mode.as_str(), mode)))
            }),
            flags: table
                .read("flags", |n, notes| list(n, notes, kaniko_flags::flag))
                .unwrap_or_default()
                .into_iter()
                .map(|f| f.value)
                .collect(),
        })
    }
}

/// The executor's image; it may be pinned by a digest.
fn executor(text: &str) -> Result<String, Mistake> {
    ImageRef::parse(text)
        .map(|_| text.to_owned())
        .map_err(|error| Mistake::new(format!("this is not an image reference: {}", error.why())))
}

/// A repository on a registry, without a tag.
fn repository(text: &str) -> Result<ImageRef, Mistake> {
    let reference = ImageRef::parse(text)
        .map_err(|error| Mistake::new(format!("this is not an image reference: {}", error.why())))?;
    // What can still take a tag has none.
    if ImageRef::parse(&format!("{text}:x")).is_err() {
        return Err(Mistake::new("the cache is a repository: it has no tag and no digest").help("leave them out"));
    }
    if reference.is_local() {
        return Err(Mistake::new("kaniko cannot keep layers in the engine's storage")
            .help("name a repository on a registry, as in \"registry.example.org/cache\""));
    }
    Ok(reference)
}

impl RawRegistry {
    fn read<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, REGISTRY, notes)?;
        let secret = |node, notes| parsed(node, notes, |t| text::secret_file(t, base));
        Some(Self {
            authfile: table.read_at("authfile", secret),
            username: table.read_at("username", |n, notes| parsed(n, notes, username)),
            has_username: table.mentions("username"),
            password_file: table.read_at("password_file", secret),
            has_password_file: table.mentions("password_file"),
            insecure: table.read_at("insecure", boolean),
            ca_file: table.read_at("ca_file", |n, notes| parsed(n, notes, |t| certificates(t, base))),
        })
    }
}

/// `[registries]`: each that could be read, with its name as it is written in references in normal form.
pub(super) fn registries<'a>(
    node: &'a Node<'a>,
    base: &Path,
    notes: &'a Notes<'a>,
) -> Option<Vec<(At<String>, RawRegistry)>> {
    let mut registries = Vec::new();
    for (key, node) in entries(node, notes)? {
        let host = match host(key.get_ref()) {
            Ok(host) => Some(host),
            Err(mistake) => refuse(key.span(), mistake, notes),
        };
        // Read even when its name is bad, to find the mistakes in it.
        let registry = RawRegistry::read(node, base, notes);
        if let (Some(value), Some(registry)) = (host, registry) {
            let span = key.span();
            registries.push((At { value, span }, registry));
        }
    }
    Some(registries)
}

/// A registry as references name it.
fn host(text: &str) -> Result<String, Mistake> {
    let help = "write it as in [registries.\"registry.example.org:5000\"]";
    if text.contains("://") {
        return Err(Mistake::new("a registry is named by its host, without a scheme").help(help));
    }
    if text.contains('/') {
        return Err(Mistake::new("a registry is named by its host, without a path").help(help));
    }
    if text == "localhost" {
        return Err(Mistake::new("`localhost` without a port is the engine's storage, not a registry").help(help));
    }
    let normal = ImageRef::parse(&format!("{text}/a/b")).ok();
    normal
        .filter(|reference| reference.repository() == "a/b")
        .map(|reference| reference.registry().to_owned())
        .ok_or_else(|| {
            Mistake::new("this is not the host of a registry: it has a dot or a port, and its name in lower case")
                .help(help)
        })
}

/// A login name as HTTP's basic authentication takes it.
fn username(text: &str) -> Result<String, Mistake> {
    if text.is_empty() {
        return Err(Mistake::new("the login name is empty"));
    }
    if text.contains(|c: char| c == ':' || c.is_control()) {
        return Err(Mistake::new("a login name cannot hold `:` or a control character")
            .help("put the password into a file and name that with `password_file`"));
    }
    Ok(text.to_owned())
}

fn certificates(text: &str, base: &Path) -> Result<PathBuf, Mistake> {
    if text.starts_with('$') {
        return Err(
            Mistake::new("variables are not known in this path").help("certificates are no secret: name the file")
        );
    }
    text::path(text, base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_normal_form() {
        for (text, normal) in [
            ("registry.example.org", "registry.example.org"),
            ("registry.example.org:5000", "registry.example.org:5000"),
            ("localhost:5000", "localhost:5000"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]:5000", "[::1]:5000"),
            ("docker.io", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
        ] {
            assert_eq!(host(text), Ok(normal.to_owned()));
        }
        for bad in [
            "",
            "registry",
            "localhost",
            "https://r.io",
            "r.io/x",
            "r.io/",
            "r.io:x",
            "r.io:",
            "r.io@x",
            "a b",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cache_has_no_tag() {
        assert_eq!(repository("r.io/cache").unwrap().name(), "r.io/cache");
        assert_eq!(repository("r.io:5000/cache").unwrap().name(), "r.io:5000/cache");
        let digest = format!("r.io/a@sha256:{}", "a".repeat(64));
        for bad in ["r.io/cache:1", &digest, "localhost/cache", "", "R/C"] {
            assert!(repository(bad).is_err(), "{bad}");
        }
        assert!(executor(&digest).is_ok() && executor("a b").is_err());
    }
}
