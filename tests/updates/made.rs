//! Images made by hand, and a registry's protocol in a few lines: what is there is what a test says, byte for byte.

use flate2::Compression;
use flate2::write::GzEncoder;
use pipelined::model::{BaseUsed, Digest, ImageRef, Used};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub fn sha256(bytes: &[u8]) -> Digest {
    let hex: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    Digest::new(format!("sha256:{hex}")).unwrap()
}

/// As Go, and so registries, name it.
pub fn this_machine() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}

/// An image, as it would be written.
#[derive(Clone)]
pub struct Made {
    /// One file for each layer.
    pub layers: Vec<String>,
    /// How hard the layers are packed.
    pub level: u32,
    /// As in `linux/amd64`.
    pub platform: String,
    /// The part of the config that a container gets.
    pub config: Value,
    /// In the config, and in its history.
    pub created: String,
    pub annotations: BTreeMap<String, String>,
}

impl Made {
    pub fn new(layers: &[&str]) -> Self {
        Self {
            layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
            level: 1,
            platform: this_machine(),
            config: json!({ "Env": ["A=1"], "Cmd": ["sh"] }),
            created: "2026-01-01T00:00:00Z".to_owned(),
            annotations: BTreeMap::new(),
        }
    }

    pub fn on(platform: &str, layers: &[&str]) -> Self {
        Self {
            platform: platform.to_owned(),
            ..Self::new(layers)
        }
    }

    fn tar(content: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, format!("file-{content}"), content.as_bytes())
            .unwrap();
        builder.into_inner().unwrap()
    }

    fn packed(&self, content: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(self.level));
        encoder.write_all(&Self::tar(content)).unwrap();
        encoder.finish().unwrap()
    }

    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| sha256(&Self::tar(layer))).collect()
    }

    pub fn config_bytes(&self) -> Vec<u8> {
        let mut parts = self.platform.split('/');
        // One for each layer: builders insist on it.
        let history: Vec<_> = self
            .layers
            .iter()
            .map(|layer| json!({ "created": self.created, "created_by": format!("a test of {layer}") }))
            .collect();
        let mut config = json!({
            "os": parts.next(), "architecture": parts.next(),
            "created": self.created, "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": self.diff_ids() },
            "history": history,
        });
        if let Some(variant) = parts.next() {
            config["variant"] = json!(variant);
        }
        config.to_string().into_bytes()
    }

    pub fn id(&self) -> Digest {
        sha256(&self.config_bytes())
    }

    pub fn manifest(&self) -> Vec<u8> {
        let descriptor =
            |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| descriptor(LAYER, &self.packed(layer)))
            .collect();
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &self.config_bytes()), "layers": layers,
            "annotations": self.annotations,
        })
        .to_string()
        .into_bytes()
    }

    pub fn digest(&self) -> Digest {
        sha256(&self.manifest())
    }

    /// As podman records it: by these digests, its id and its layers.
    pub fn used(&self, reference: &ImageRef, digests: &[&Digest]) -> Used {
        Used {
            base: BaseUsed {
                name: reference.to_string(),
                reference: Some(reference.clone()),
                digests: digests.iter().map(|digest| (*digest).clone()).collect(),
                id: Some(self.id()),
                diff_ids: self.diff_ids(),
                platform: Some(self.platform.clone()),
                sibling: None,
                needed: None,
            },
            layers: None,
        }
    }

    /// As kaniko records it: by its digest alone.
    pub fn used_by_kaniko(&self, reference: &ImageRef, digest: &Digest) -> Used {
        let mut used = self.used(reference, &[digest]);
        used.base.id = None;
        used.base.diff_ids.clear();
        used.base.platform = None;
        used
    }
}

/// One repository of a registry.
pub struct Repository {
    pub port: u16,
    pub name: String,
}

impl Repository {
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer[9..12].parse().unwrap(), answer)
    }

    fn blob(&self, bytes: &[u8]) {
        let (status, answer) = self.ask("POST", &format!("/v2/{}/blobs/uploads/", self.name), "x", b"");
        assert_eq!(status, 202, "{answer}");
        let place = answer.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        let path = &place[place.find("/v2/").unwrap()..];
        let to = format!("{path}&digest={}", sha256(bytes));
        let (status, answer) = self.ask("PUT", &to, "application/octet-stream", bytes);
        assert_eq!(status, 201, "{answer}");
    }

    fn write(&self, name: &str, kind: &str, bytes: &[u8]) -> Digest {
        let (status, answer) = self.ask("PUT", &format!("/v2/{}/manifests/{name}", self.name), kind, bytes);
        assert_eq!(status, 201, "{answer}");
        sha256(bytes)
    }

    /// Pushes all of an image, and a name for it: a tag or its digest.
    pub fn push_as(&self, name: &str, image: &Made) -> Digest {
        for layer in &image.layers {
            self.blob(&image.packed(layer));
        }
        self.blob(&image.config_bytes());
        self.write(name, MANIFEST, &image.manifest())
    }

    /// Moves the tag `1` to an image.
    pub fn push(&self, image: &Made) -> Digest {
        self.push_as("1", image)
    }

    /// Moves the tag `1` to an index of these.
    pub fn push_index(&self, images: &[&Made]) -> Digest {
        self.push_index_with(images, &[])
    }

    /// The same with further entries, for what is no image of a platform.
    pub fn push_index_with(&self, images: &[&Made], more: &[Value]) -> Digest {
        let mut entries: Vec<Value> = more.to_vec();
        for image in images {
            self.push_as(image.digest().as_str(), image);
            let mut parts = image.platform.split('/');
            let mut platform = json!({ "os": parts.next(), "architecture": parts.next() });
            if let Some(variant) = parts.next() {
                platform["variant"] = json!(variant);
            }
            entries.push(json!({
                "mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest().len(), "platform": platform,
            }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        self.write("1", INDEX, index.to_string().as_bytes())
    }

    /// Removes a manifest, and every tag that is at it.
    pub fn delete(&self, digest: &Digest) {
        let (status, answer) = self.ask("DELETE", &format!("/v2/{}/manifests/{digest}", self.name), "x", b"");
        assert_eq!(status, 202, "{answer}");
    }
}
