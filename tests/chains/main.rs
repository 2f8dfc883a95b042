//! What stands on a rebuilt image is rebuilt, in order and once: by the real daemon, across repositories, with real podman
//! and a real registry.

#![cfg(test)]

#[allow(dead_code, reason = "what the tests of the release have, and a part of it")]
#[path = "../release/common.rs"]
mod common;
mod scene;
#[path = "../support/mod.rs"]
mod support;

mod atomic;
mod cutoff;
mod failures;
mod late;
mod local;
mod needs;
mod order;
mod pinned;
