//! How long and how much: every bound on what a registry may do to us.

use std::time::Duration;

/// Bytes of a manifest (distribution-spec: at least 4 MiB must be taken).
pub const MANIFEST: u64 = 4 << 20;
/// Bytes of an image's config.
pub const CONFIG: u64 = 8 << 20;
/// Bytes of a token server's answer.
pub(super) const TOKEN: u64 = 1 << 20;
/// Bytes of an answer that is an error; the rest is not read.
pub(super) const ERROR: u64 = 64 << 10;
/// Bytes of a file with credentials.
pub(super) const AUTH_FILE: u64 = 1 << 20;
/// Manifests of one index.
pub(super) const CHILDREN: usize = 256;
/// Layers of one image.
pub(super) const LAYERS: usize = 1024;

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// A connection, TLS included.
    pub connect: Duration,
    /// From a request to the headers of its answer.
    pub headers: Duration,
    /// A body without a further byte.
    pub idle: Duration,
    /// From the last byte of a blob to the headers of the answer: the registry has to check and keep it.
    pub commit: Duration,
    /// A whole call that moves no layers.
    pub call: Duration,
    /// The longest wait that a registry may ask for; beyond it the call fails.
    pub pause: Duration,
    /// Before the first retry; doubled each time.
    pub retry: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            commit: Duration::from_secs(300),
            call: Duration::from_secs(60),
            pause: Duration::from_secs(30),
            retry: Duration::from_millis(500),
        }
    }
}
