//! References of images: where an image is, or should be.

use super::Digest;
use serde::{Deserialize, Serialize};

/// The registry of names that have none, as docker has it.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where names without a path are on that registry.
const DEFAULT_NAMESPACE: &str = "library";
/// The tag that is meant where none is written.
const DEFAULT_TAG: &str = "latest";
/// Names below it are in an engine's storage only.
const LOCAL: &str = "localhost";
/// The longest repository with its registry (distribution-spec, "Pulling manifests").
const LONGEST: usize = 255;

/// A reference in its normal form: registry, repository, and a tag or a digest or both. `debian` is
/// `docker.io/library/debian:latest`. Two references mean the same place exactly if they are equal.
///
/// The grammar is that of the distribution-spec (repository names and tags) and of docker's `reference` package
/// (registry, and what is left out).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    registry: Box<str>,
    repository: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image reference: {why}")]
pub struct ImageRefError {
    text: String,
    why: &'static str,
}

impl ImageRefError {
    /// What is wrong, without the text.
    pub fn why(&self) -> &'static str {
        self.why
    }
}

impl ImageRef {
    /// Reads a reference as people write it.
    pub fn parse(text: &str) -> Result<Self, ImageRefError> {
        let error = |why| ImageRefError {
            text: text.to_owned(),
            why,
        };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = Digest::new(digest)
                    .map_err(|_| error("after `@` comes a digest: sha256: and 64 lower-case hex digits"))?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        let (path, tag) = match name.rsplit_once(':') {
            // A port is followed by a path.
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error(
                "a tag has 1 to 128 of A-Z a-z 0-9 _ . - and does not begin with . or -",
            ));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == LOCAL || has_upper(host) => {
                (host, rest.to_owned())
            }
            Some(_) => (DEFAULT_REGISTRY, path.to_owned()),
            None => (DEFAULT_REGISTRY, format!("{DEFAULT_NAMESPACE}/{path}")),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
            other => other,
        };
        if !is_registry(registry) {
            return Err(error("the registry before the first `/` is no host or host:port"));
        }
        let repository = match repository.split_once('/') {
            None if registry == DEFAULT_REGISTRY => format!("{DEFAULT_NAMESPACE}/{repository}"),
            _ => repository,
        };
        if has_upper(&repository) {
            return Err(error("a repository is lower case; only a tag may have capitals"));
        }
        if !repository.split('/').all(is_component) {
            return Err(error(
                "between slashes are lower-case letters and digits, joined by `.`, `_`, `__` or dashes",
            ));
        }
        if registry.len() + 1 + repository.len() > LONGEST {
            return Err(error("registry and repository may have 255 characters at most"));
        }
        let tag = tag.or_else(|| digest.is_none().then_some(DEFAULT_TAG));
        Ok(Self {
            registry: registry.into(),
            repository: repository.into(),
            tag: tag.map(Into::into),
            digest,
        })
    }

    /// The registry's host, with its port if one is written. `localhost` alone stands for the engine's storage.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path on the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether it names something in the engine's storage, which no registry has: `localhost/…`.
    pub fn is_local(&self) -> bool {
        &*self.registry == LOCAL
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository by this digest, without a tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }
}

fn has_upper(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_uppercase())
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let port_fine = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fine = match ipv6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    port_fine && host_fine
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends_well = bytes.first().copied().is_some_and(inner) && bytes.last().copied().is_some_and(inner);
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends_well
        && separators
            .into_iter()
            .all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

impl std::fmt::Display for ImageRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ImageRef {
    type Error = ImageRefError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ImageRef> for String {
    fn from(reference: ImageRef) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("debian", "docker.io/library/debian:latest")]
    #[case("debian:12", "docker.io/library/debian:12")]
    #[case("user/app", "docker.io/user/app:latest")]
    #[case("docker.io/debian", "docker.io/library/debian:latest")]
    #[case("index.docker.io/library/debian", "docker.io/library/debian:latest")]
    #[case("localhost/ruby", "localhost/ruby:latest")]
    #[case("localhost:5000/ruby:V1", "localhost:5000/ruby:V1")]
    #[case("r.example.org/a/b-c/d__e:x.y", "r.example.org/a/b-c/d__e:x.y")]
    #[case("[::1]:5000/a:1", "[::1]:5000/a:1")]
    #[case("Registry/a:1", "Registry/a:1")]
    fn normalises(#[case] text: &str, #[case] normal: &str) {
        assert_eq!(ImageRef::parse(text).unwrap().to_string(), normal);
    }

    #[test]
    fn a_digest_stands_alone_or_beside_a_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let alone = ImageRef::parse(&format!("r.io/a@{digest}")).unwrap();
        assert_eq!((alone.tag(), alone.digest().unwrap().as_str()), (None, digest.as_str()));
        let both = ImageRef::parse(&format!("r.io/a:1@{digest}")).unwrap();
        assert_eq!(both.to_string(), format!("r.io/a:1@{digest}"));
        assert_eq!(both.with_digest(both.digest().unwrap().clone()), alone);
    }

    #[rstest]
    fn refuses(
        #[values(
            "",
            ":1",
            "a:",
            "a:-x",
            "a:.x",
            "a b",
            "a/B",
            "Debian",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a._b",
            "a___b",
            "a@sha256:1",
            "a@",
            "r.io:x/a",
            "r.io:0/a",
            "r.io:70000/a",
            "-r.io/a",
            "r..io/a",
            "a:b:c",
            "a\n",
            "[::g]/a",
            "ü"
        )]
        text: &str,
    ) {
        assert!(ImageRef::parse(text).is_err(), "{text:?}");
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(ImageRef::parse(&format!("a:{}", "x".repeat(128))).is_ok());
        assert!(ImageRef::parse(&format!("a:{}", "x".repeat(129))).is_err());
        assert!(ImageRef::parse(&format!("r.io/{}", "x".repeat(250))).is_ok());
        assert!(ImageRef::parse(&format!("r.io/{}", "x".repeat(251))).is_err());
    }

    proptest! {
        #[test]
        fn the_normal_form_is_a_fixed_point(text in "([a-zA-Z0-9._:/@\\-\\[\\]]|sha256:|localhost/){0,24}") {
            if let Ok(reference) = ImageRef::parse(&text) {
                prop_assert_eq!(ImageRef::parse(&reference.to_string()), Ok(reference));
            }
        }
    }
}
