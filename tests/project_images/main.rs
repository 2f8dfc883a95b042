//! Projects with images, from a commit to what a registry or an engine has: the promises of the section "Images" of the
//! README, each with tests that try to break it. Real git, real podman, a real registry, the real daemon.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod common;
mod labels;
mod order;
mod secrets;
mod templates;
mod told;
mod variables;
mod watch;
