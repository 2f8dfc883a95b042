//! `pipelined` keeps container images built: one daemon, one TOML file, one work directory.
//!
//! The map, from the words upwards; arrows run down only, and `tests/architecture.rs` holds them:
//!
//! - [`model`]: the words (project, ref, commit, job, outcome) as types
//! - [`config`]: the file that users write
//! - [`process`]: the only place that starts a child
//! - [`reconcile`]: what to build and when, decided without any effect
//! - [`store`]: the record of it, in SQLite
//! - [`workdir`]: the directories that people look into
//! - [`git`]: what a remote has, and how a commit becomes a directory
//! - [`containerfile`]: what a Containerfile builds FROM
//! - [`engine`]: podman and docker
//! - [`tls`]: how TLS is spoken, to remotes and registries alike
//! - [`registry`]: what references point at, and bringing images there
//! - [`pipeline`]: the steps of a job
//! - [`poke`]: telling whoever builds elsewhere
//! - [`updates`]: whether there is something new below released images
//! - [`hooks`]: what the webhooks of others say
//! - [`api`]: what the command line and the daemon say to each other
//! - [`daemon`]: the loop that brings all of it together
//! - [`cli`]: one file a verb
#![warn(clippy::unwrap_used, clippy::expect_used)]

pub mod api;
pub mod cli;
pub mod config;
pub mod containerfile;
pub mod daemon;
pub mod engine;
pub mod git;
pub mod hooks;
pub mod model;
pub mod pipeline;
pub mod poke;
pub mod process;
pub mod reconcile;
pub mod registry;
pub mod store;
#[cfg(test)]
mod support;
pub mod tls;
pub mod updates;
pub mod workdir;
