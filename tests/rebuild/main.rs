//! A job that rebuilds: it builds what was chosen, and releases only what came out as something new. With the real daemon,
//! podman and registry.

#![cfg(test)]

#[allow(dead_code, reason = "what the tests of the release have, and a part of it")]
#[path = "../release/common.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

mod chosen;
mod content;
mod copied;
mod docker;
mod given_way;
mod job;
mod kaniko;
mod places;
