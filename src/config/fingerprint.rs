//! What decides what becomes of an image, in a few characters.
//!
//! It exists so that an image is built again when its config changed, and only then. It must never change from one
//! release of pipelined to the next for the same config: every image would be built again. So what is not written is not
//! counted, and a new key only where it is used.

use super::{EnvLayer, Image};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

/// 128 bits: no two configs of an image meet by chance.
const BYTES: usize = 16;

/// Words with their lengths, so that no two lists of them look alike.
struct Count(Sha256);

impl Count {
    fn add(&mut self, words: &[&[u8]]) {
        self.0.update((words.len() as u64).to_le_bytes());
        for word in words {
            self.0.update((word.len() as u64).to_le_bytes());
            self.0.update(word);
        }
    }

    fn hex(self) -> String {
        self.0.finalize()[..BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The same for two lists of words exactly if they are the same: 32 hex digits.
pub(super) fn of_words(words: &[&[u8]]) -> String {
    let mut count = Count(Sha256::new());
    count.add(words);
    count.hex()
}

impl Image {
    /// The same for two configs exactly if they build, test and release the same, as far as it is decided here: 32 hex
    /// digits. The files that secrets are in, when bases are fetched, the cache, `watch`, `update`,
    /// `schedule` and `poke` do not count.
    pub fn fingerprint(&self, env: &[EnvLayer]) -> String {
        let mut count = Count(Sha256::new());
        if let Some(file) = &self.file {
            count.add(&[b"file", file.as_os_str().as_bytes()]);
        }
        count.add(&[b"context", self.context.as_os_str().as_bytes()]);
        if let Some(target) = &self.target {
            count.add(&[b"target", target.as_bytes()]);
        }
        for (name, value) in &self.build_args {
            count.add(&[b"build_args", name.as_bytes(), value.as_str().as_bytes()]);
        }
        for (name, value) in &self.labels {
            count.add(&[b"labels", name.as_bytes(), value.as_str().as_bytes()]);
        }
        for name in self.secrets.keys() {
            count.add(&[b"secrets", name.as_bytes()]);
        }
        if self.source_date_epoch {
            count.add(&[b"source_date_epoch", b"commit"]);
        }
        for name in &self.depends_on {
            count.add(&[b"depends_on", name.as_str().as_bytes()]);
        }
        for upstream in &self.upstreams {
            count.add(&[b"upstreams", upstream.to_string().as_bytes()]);
        }
        if let Some(test) = &self.test {
            let words = std::iter::once("test").chain(test.iter().map(String::as_str));
            let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
            count.add(&words);
            count.add(&[b"test_network", self.test_network.as_bytes()]);
        }
        let references = [("tags", &self.tags), ("release", &self.release)];
        for (key, list) in references {
            for reference in list {
                count.add(&[key.as_bytes(), reference.as_str().as_bytes()]);
            }
        }
        if let Some(staging) = &self.staging {
            count.add(&[b"staging", staging.as_str().as_bytes()]);
        }
        for pattern in self.release_refs.iter().flatten() {
            count.add(&[b"release_refs", pattern.as_str().as_bytes()]);
        }
        let mut variables = BTreeMap::new();
        for layer in env {
            match layer {
                EnvLayer::Table(table) => variables.extend(table),
                // Never an ARG.
                EnvLayer::File(_) => {}
            }
        }
        for (name, value) in variables {
            count.add(&[b"env", name.as_bytes(), value.as_bytes()]);
        }
        count.hex()
    }
}
