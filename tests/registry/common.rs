//! Images made by hand, runners that see no login of whoever runs the tests, and skopeo.

use crate::support::scratch::Scratch;
use flate2::Compression;
use flate2::write::GzEncoder;
use pipelined::config::RegistrySettings;
use pipelined::model::{ImageRef, JobId};
use pipelined::process::{Cancel, Marker, Runner, Supervisor};
use pipelined::registry::{Archive, Deadlines, Manifest, Registries, RegistryError};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub fn reference(text: &str) -> ImageRef {
    ImageRef::parse(text).unwrap()
}

/// With a home of its own.
pub fn runner(scratch: &Scratch) -> Runner {
    let env = [
        ("HOME", "home"),
        ("XDG_RUNTIME_DIR", "runtime"),
        ("XDG_CONFIG_HOME", "config"),
        ("DOCKER_CONFIG", "docker"),
    ];
    let mut env: Vec<_> = env.map(|(name, dir)| (name.into(), scratch.join(dir).into())).into();
    env.push(("REGISTRY_AUTH_FILE".into(), "".into()));
    Runner {
        masks: pipelined::process::Masks::default(),
        supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
        marker: Marker::job("registry-test", JobId(1), 1),
        env,
        cancel: Cancel::new(),
        grace: Duration::from_millis(300),
        log: None,
    }
}

pub fn insecure() -> RegistrySettings {
    RegistrySettings {
        insecure: true,
        ..RegistrySettings::default()
    }
}

/// Patient with a busy machine, and quick to try again.
pub fn deadlines() -> Deadlines {
    Deadlines {
        pause: Duration::from_secs(2),
        retry: Duration::from_millis(10),
        ..Deadlines::default()
    }
}

/// Quick to give up.
pub fn short_deadlines() -> Deadlines {
    Deadlines {
        connect: Duration::from_secs(2),
        headers: Duration::from_millis(500),
        idle: Duration::from_millis(500),
        commit: Duration::from_secs(1),
        call: Duration::from_secs(4),
        ..deadlines()
    }
}

/// All of these hosts are insecure.
pub fn open(hosts: &[String]) -> Registries {
    open_with(hosts, deadlines())
}

pub fn open_with(hosts: &[String], deadlines: Deadlines) -> Registries {
    let settings = hosts.iter().map(|host| (host.clone(), insecure())).collect();
    Registries::with_deadlines(settings, deadlines)
}

pub fn quiet(_: &str) {}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar file of files and links (what begins with `->`).
pub fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some(to) = content.strip_prefix(b"->") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder
                .append_link(&mut header, name, str::from_utf8(to).unwrap())
                .unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// An image of some layers.
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    pub config: Vec<u8>,
}

impl Image {
    /// With a small layer, a larger one whose bytes do not compress, and one that is there twice.
    pub fn new(seed: &str) -> Self {
        let mut noise = Vec::new();
        let mut block = seed.as_bytes().to_vec();
        while noise.len() < 600 << 10 {
            block = Sha256::digest(&block).to_vec();
            noise.extend_from_slice(&block);
        }
        let small = tar(&[("etc/hello", seed.as_bytes())]);
        let large = tar(&[("noise", &noise)]);
        let layers = vec![small.clone(), large, small];
        let ids: Vec<_> = layers.iter().map(|l| format!("sha256:{}", sha256(l))).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": { "Labels": { "seed": seed } },
            "rootfs": { "type": "layers", "diff_ids": ids },
        });
        let config = config.to_string().into_bytes();
        Self { layers, config }
    }

    fn items(config: &str, layers: &[String]) -> Vec<u8> {
        serde_json::json!([{ "Config": config, "RepoTags": ["a:1"], "Layers": layers }])
            .to_string()
            .into_bytes()
    }

    /// As docker 20.10 saves it: a layer that is there already is a link.
    pub fn docker_20(&self) -> Vec<u8> {
        let config = format!("{}.json", sha256(&self.config));
        let names: Vec<_> = (0..self.layers.len()).map(|n| format!("layer{n}/layer.tar")).collect();
        let items = Self::items(&config, &names);
        tar(&[
            (&config, &self.config),
            ("layer0/VERSION", b"1.0"),
            (&names[0], &self.layers[0]),
            (&names[1], &self.layers[1]),
            (&names[2], b"->../layer0/layer.tar"),
            ("manifest.json", &items),
            ("repositories", b"{}"),
        ])
    }

    /// As docker 25 and later save it: blobs of a layout, and both kinds of lists.
    pub fn docker_25(&self) -> Vec<u8> {
        let blob = |bytes: &[u8]| format!("blobs/sha256/{}", sha256(bytes));
        let config = blob(&self.config);
        let names: Vec<_> = self.layers.iter().map(|l| blob(l)).collect();
        let items = Self::items(&config, &names);
        tar(&[
            (&names[0], &self.layers[0]),
            (&names[1], &self.layers[1]),
            (&config, &self.config),
            ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
            ("manifest.json", &items),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ])
    }

    /// As kaniko writes it.
    pub fn kaniko(&self) -> Vec<u8> {
        let packed: Vec<_> = self.layers.iter().map(|l| gzip(l)).collect();
        let config = format!("sha256:{}", sha256(&self.config));
        let names: Vec<_> = packed.iter().map(|l| format!("{}.tar.gz", sha256(l))).collect();
        let items = Self::items(&config, &names);
        tar(&[
            (&config, &self.config),
            (&names[0], &packed[0]),
            (&names[1], &packed[1]),
            ("manifest.json", &items),
        ])
    }

    pub fn write(&self, scratch: &Scratch, name: &str) -> PathBuf {
        scratch.write(name, self.docker_20())
    }
}

/// Opens an archive that must be fine.
pub async fn archive(scratch: &Scratch, path: &Path) -> Archive {
    opened(scratch, path).await.unwrap()
}

pub async fn opened(scratch: &Scratch, path: &Path) -> Result<Archive, RegistryError> {
    Archive::open(&runner(scratch), path, &scratch.mkdir("layers")).await
}

fn skopeo(args: &[&str]) -> Command {
    let mut command = Command::new("skopeo");
    command.args(args).env("REGISTRY_AUTH_FILE", "/nonexistent");
    command
}

/// The digest that skopeo sees; none if there is nothing.
pub fn seen(place: &str, more: &[&str]) -> Option<String> {
    let output = skopeo(&["inspect", "--raw"])
        .args(more)
        .arg(format!("docker://{place}"))
        .output()
        .unwrap();
    output
        .status
        .success()
        .then(|| format!("sha256:{}", sha256(&output.stdout)))
}

pub fn seen_plain(place: &str) -> Option<String> {
    seen(place, &["--tls-verify=false", "--no-creds"])
}

/// Skopeo brings all of it home, and finds each digest right; the manifest, and how many files there are.
#[track_caller]
pub fn brought_home(scratch: &Scratch, place: &str) -> (Vec<u8>, usize) {
    let dir = scratch.mkdir(format!("home-{}", sha256(place.as_bytes())));
    let output = skopeo(&["copy", "--all", "--src-tls-verify=false", "--src-no-creds"])
        .arg(format!("docker://{place}"))
        .arg(format!("dir:{}", dir.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = std::fs::read_dir(&dir).unwrap().count();
    (std::fs::read(dir.join("manifest.json")).unwrap(), files)
}

/// Pushes, and moves a tag if that went well.
pub async fn release(
    registries: &Registries,
    runner: &Runner,
    archive: &Archive,
    target: &ImageRef,
) -> Result<Manifest, RegistryError> {
    let manifest = registries.push(runner, archive, target, None, &quiet).await?;
    registries.tag(runner, &manifest, target, &quiet).await?;
    Ok(manifest)
}
