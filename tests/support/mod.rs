//! What the tests stand on: scratch directories, real git repositories and servers, a private podman, the daemon.
//!
//! A test file that uses it begins with `#![cfg(test)]`: by that clippy knows that `unwrap` is fine in all of it.
//! Nothing here writes outside of its scratch directory, listens beyond loopback, or ends a process it did not start.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

pub mod answering;
pub mod daemon;
pub mod docker;
pub mod executor;
pub mod jobs;
pub mod podman;
pub mod repo;
pub mod scratch;
pub mod servers;
pub mod spy;
pub mod witness;
