//! Docker's own form, as `docker save`, `podman save` and kaniko's `--tar-path` write it.
//!
//! It has no manifest that a registry would take: we make one. Layers that are compressed stay as they are, others are
//! compressed the same way each time, so that the same image has the same digest.

use super::super::limits;
use super::super::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_LAYER_ZSTD, sha256};
use super::region::{Hashing, Region};
use super::{Archive, Blob, Source, Unfit, unfit};
use crate::model::Digest;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Bytes of a layer, unpacked: more than any disk of a container has.
const LARGEST: u64 = 1 << 40;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

pub(super) fn read(source: &Source, scratch: &Path) -> Result<Archive, Unfit> {
    let items = source.small("manifest.json", limits::MANIFEST)?;
    let items: Vec<Item> = parse("manifest.json", &items)?;
    let [Item { config: name, layers }] = &items[..] else {
        return unfit(format!("it holds {} images; one is expected", items.len()));
    };
    let text = source.small(name, limits::CONFIG)?;
    let digest = sha256(&text);
    if hex_in(name).is_some_and(|hex| hex != digest.hex()) {
        return unfit(format!("what it has as {name} is something else"));
    }
    let Config { rootfs } = parse(name, &text)?;
    if rootfs.diff_ids.len() != layers.len() || layers.len() > limits::LAYERS {
        return unfit("its config and its list of layers do not fit");
    }
    let descriptor = Descriptor {
        media_type: OCI_CONFIG.to_owned(),
        digest,
        size: text.len() as u64,
        platform: None,
        urls: Vec::new(),
    };
    let config = source.blob(descriptor, &source.region(name)?);
    let scratch = tempfile::Builder::new().prefix("layers-").tempdir_in(scratch)?;
    let mut done = BTreeMap::new();
    let mut blobs = Vec::new();
    for (layer, diff_id) in layers.iter().zip(&rootfs.diff_ids) {
        let blob = match done.get(diff_id) {
            // The same once more; it must be there all the same.
            Some(blob) => source.region(layer).map(|_| Blob::clone(blob))?,
            None => read_layer(source, layer, diff_id, &scratch)?,
        };
        done.insert(diff_id, blob.clone());
        blobs.push(blob);
    }
    let descriptors = blobs.iter().map(|blob| blob.descriptor.clone()).collect();
    let top = Manifest::of_image(config.descriptor.clone(), descriptors);
    blobs.push(config);
    Ok(Archive {
        top,
        children: Vec::new(),
        blobs,
        _scratch: Some(scratch),
    })
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Unfit> {
    serde_json::from_slice(bytes).map_err(|e| Unfit::Said(format!("{name:?} in it cannot be read ({e})")))
}

/// The SHA-256 that a name holds, if it does: `sha256:HEX`, `HEX.json`, `blobs/sha256/HEX`.
fn hex_in(name: &str) -> Option<&str> {
    let last = name.rsplit(['/', ':']).next()?;
    let hex = last.split('.').next()?;
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hex)
}

fn read_layer(source: &Source, name: &str, diff_id: &Digest, scratch: &TempDir) -> Result<Blob, Unfit> {
    let region = source.region(name)?;
    match region.peek()? {
        [0x1f, 0x8b, ..] => {
            let (unpacked, digest) = inflate(source.region(name)?)?;
            fits(name, diff_id, &unpacked)?;
            Ok(source.blob(descriptor(OCI_LAYER, digest, region.len()), &region))
        }
        // Nothing here unpacks it; whoever pulls it compares it with the config.
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut hashing = Hashing::new(source.region(name)?);
            std::io::copy(&mut hashing, &mut std::io::sink())?;
            let digest = hashing.hash.finish();
            Ok(source.blob(descriptor(OCI_LAYER_ZSTD, digest, region.len()), &region))
        }
        _ => {
            let path = scratch.path().join(diff_id.hex());
            let out = File::create_new(&path)?;
            // Without a name and a time: the same bytes each time.
            let mut encoder = GzEncoder::new(Hashing::new(out), Compression::default());
            let mut hashing = Hashing::new(region);
            let mut buffer = vec![0; super::CHUNK];
            loop {
                match hashing.read(&mut buffer)? {
                    0 => break,
                    n => std::io::Write::write_all(&mut encoder, &buffer[..n])?,
                }
            }
            fits(name, diff_id, &hashing.hash.finish())?;
            let written = encoder.finish()?;
            Ok(Blob {
                descriptor: descriptor(OCI_LAYER, written.hash.finish(), written.count),
                file: Arc::new(File::open(&path)?),
                path,
                offset: 0,
            })
        }
    }
}

fn descriptor(kind: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: kind.to_owned(),
        digest,
        size,
        platform: None,
        urls: Vec::new(),
    }
}

fn fits(name: &str, expected: &Digest, got: &Digest) -> Result<(), Unfit> {
    if expected == got {
        return Ok(());
    }
    unfit(format!("the layer {name} in it is not what its config says"))
}

/// The digests of what is in a compressed layer, and of the layer.
fn inflate(region: Region) -> Result<(Digest, Digest), Unfit> {
    let packed = BufReader::with_capacity(super::CHUNK, Hashing::new(region));
    let mut decoder = Hashing::new(MultiGzDecoder::new(packed));
    let mut buffer = vec![0; super::CHUNK];
    while decoder.read(&mut buffer)? > 0 {
        if decoder.count > LARGEST {
            return unfit("a layer in it is too large");
        }
    }
    let unpacked = decoder.hash.finish();
    let mut packed = decoder.inner.into_inner().into_inner();
    std::io::copy(&mut packed, &mut std::io::sink())?;
    Ok((unpacked, packed.hash.finish()))
}
