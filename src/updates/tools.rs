//! What checks are made with.

use crate::engine::Engine;
use crate::git::{Asker, Mirrors};
use crate::process::Runner;
use crate::registry::Registries;
use crate::workdir::Layout;
use std::sync::Arc;

/// Everything that a check needs.
#[derive(Debug, Clone)]
pub struct Tools {
    /// What registries have.
    pub registries: Registries,
    /// What its storage has, and what runs containers.
    pub engine: Arc<Engine>,
    /// Where released commits have their directories.
    pub layout: Layout,
    /// Where Containerfiles of commits can be had without a checkout.
    pub mirrors: Mirrors,
    /// Has connections over ssh.
    pub asker: Asker,
    /// Starts commands; ends them when the daemon stops.
    pub runner: Runner,
    /// Bytes of one `update-check.log`.
    pub log_limit: u64,
}
