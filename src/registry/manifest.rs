//! Manifests: what a registry says an image is made of. Pure.
//!
//! A manifest is its bytes: they are kept and sent as they came, and what is read of them here is for finding blobs only.

use super::{RegistryError, limits};
use crate::model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use std::collections::BTreeMap;

/// An image, as OCI has it.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Images for several platforms, as OCI has it.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image's config, as OCI has it.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A gzipped layer, as OCI has it.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The same by zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// All that we read: registries answer 404 to who does not take what they have.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A pointer to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// How many these are.
    pub size: u64,
    /// Which machine it is for; only in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Where else it is: such content is not on the registry itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

impl Descriptor {
    /// Whether registries need not have it (layers that may not be distributed).
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty() || self.media_type.contains("nondistributable") || self.media_type.contains(".foreign.")
    }
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, say.
    #[serde(default)]
    pub architecture: String,
    /// `linux`, say.
    #[serde(default)]
    pub os: String,
    /// `v7`, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// One image.
    Image {
        /// Its config.
        config: Descriptor,
        /// Its layers, from the bottom up.
        layers: Vec<Descriptor>,
    },
    /// Images for several platforms.
    Index {
        /// Each of them.
        manifests: Vec<Descriptor>,
    },
}

/// A manifest as it is on a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of the bytes.
    pub digest: Digest,
    /// What kind it is.
    pub media_type: String,
    /// What is signed, pushed and hashed.
    pub bytes: Vec<u8>,
    /// What they say.
    pub parsed: Parsed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// Of the image's config: what engines call the image's id. None for an index.
    pub fn config_digest(&self) -> Option<&Digest> {
        match &self.parsed {
            Parsed::Image { config, .. } => Some(&config.digest),
            Parsed::Index { .. } => None,
        }
    }

    /// What it says of itself beside its content. Nobody inherits these, as labels are inherited.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        #[derive(Deserialize)]
        struct Annotated {
            annotations: Option<BTreeMap<String, String>>,
        }
        let read = serde_json::from_slice::<Annotated>(&self.bytes);
        read.ok().and_then(|read| read.annotations).unwrap_or_default()
    }

    /// Reads bytes that were announced as a media type, which may be empty. The error says what is wrong with them.
    pub fn read(bytes: Vec<u8>, announced: &str) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(&bytes).map_err(|e| format!("a manifest that cannot be read ({e})"))?;
        if raw.schema_version != 2 {
            return Err("a manifest of schema 1, which is not supported".to_owned());
        }
        let announced = announced.split(';').next().unwrap_or_default().trim();
        let announced = (announced.contains("manifest") || announced.contains("index")).then(|| announced.to_owned());
        if let (Some(said), Some(has)) = (&announced, &raw.media_type)
            && said != has
        {
            return Err(format!("a manifest that says it is {has} and is announced as {said}"));
        }
        let parsed = match (raw.config, raw.layers, raw.manifests) {
            (Some(config), Some(layers), None) if layers.len() <= limits::LAYERS => Parsed::Image { config, layers },
            (None, None, Some(manifests)) if manifests.len() <= limits::CHILDREN => Parsed::Index { manifests },
            // Both at once would be one thing to us and another to the next reader.
            _ => return Err("a manifest that is neither one image nor an index, or is too long".to_owned()),
        };
        let media_type = announced.or(raw.media_type).unwrap_or_else(|| match parsed {
            Parsed::Image { .. } => OCI_MANIFEST.to_owned(),
            Parsed::Index { .. } => OCI_INDEX.to_owned(),
        });
        let fits = match parsed {
            Parsed::Image { .. } => !matches!(media_type.as_str(), OCI_INDEX | DOCKER_LIST),
            Parsed::Index { .. } => !matches!(media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST),
        };
        if !fits {
            return Err(format!("a manifest that is no {media_type}"));
        }
        Ok(Self {
            digest: sha256(&bytes),
            media_type,
            bytes,
            parsed,
        })
    }

    /// The manifest of one image of OCI's kind.
    pub(super) fn of_image(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let json = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": layers,
        });
        let bytes = json.to_string().into_bytes();
        Self {
            digest: sha256(&bytes),
            media_type: OCI_MANIFEST.to_owned(),
            bytes,
            parsed: Parsed::Image { config, layers },
        }
    }

    /// Its own pointer.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.bytes.len() as u64,
            platform: None,
            urls: Vec::new(),
        }
    }
}

/// Of these bytes.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Hash::sha256();
    hash.update(bytes);
    hash.finish()
}

/// Hashes content as it passes.
pub(super) enum Hash {
    /// What everybody uses.
    Sha256(Sha256),
    /// What OCI has too.
    Sha512(Sha512),
}

impl Hash {
    pub fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    /// By the algorithm of a digest.
    pub fn like(digest: &Digest) -> Self {
        match digest.algorithm() {
            "sha512" => Self::Sha512(Sha512::new()),
            _ => Self::sha256(),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let text = match self {
            Self::Sha256(hash) => format!("sha256:{}", hex(&hash.finalize())),
            Self::Sha512(hash) => format!("sha512:{}", hex(&hash.finalize())),
        };
        #[expect(clippy::expect_used, reason = "an algorithm's name and as many hex digits as it has")]
        Digest::new(text).expect("a digest")
    }
}

/// That these bytes are what a digest names.
pub(super) fn verify(what: &str, expected: &Digest, bytes: &[u8]) -> Result<(), RegistryError> {
    let mut hash = Hash::like(expected);
    hash.update(bytes);
    let got = hash.finish();
    if got == *expected {
        Ok(())
    } else {
        Err(RegistryError::lied(what, expected, got))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn digest() -> Digest {
        sha256(b"x")
    }

    #[rstest]
    #[case("{}", "")]
    #[case(
        r#"{"schemaVersion":1,"fsLayers":[]}"#,
        "application/vnd.docker.distribution.manifest.v1+prettyjws"
    )]
    #[case(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "")]
    #[case(r#"{"schemaVersion":2,"manifests":[]}"#, OCI_MANIFEST)]
    #[case(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        DOCKER_LIST
    )]
    #[case(r#"{"schemaVersion":2,"layers":[]}"#, OCI_MANIFEST)]
    #[case("[", OCI_MANIFEST)]
    fn refuses(#[case] text: &str, #[case] announced: &str) {
        assert!(Manifest::read(text.as_bytes().to_vec(), announced).is_err());
    }

    #[test]
    fn what_we_make_is_read_again() {
        let descriptor = |kind: &str| Descriptor {
            media_type: kind.to_owned(),
            digest: digest(),
            size: 1,
            platform: None,
            urls: Vec::new(),
        };
        let made = Manifest::of_image(descriptor(OCI_CONFIG), vec![descriptor(OCI_LAYER)]);
        let read = Manifest::read(made.bytes.clone(), &format!("{OCI_MANIFEST}; charset=utf-8")).unwrap();
        assert_eq!(read, made);
        assert_eq!(
            Manifest::read(made.bytes.clone(), "application/octet-stream").unwrap(),
            made
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Manifest::read(bytes, OCI_MANIFEST);
        }
    }
}
