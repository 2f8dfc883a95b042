//! For tests in this crate: the scratch directories, repositories and servers of the integration tests.

#![expect(dead_code, reason = "the integration tests use the rest")]

#[path = "../tests/support/repo.rs"]
pub mod repo;
#[path = "../tests/support/scratch.rs"]
pub mod scratch;
#[path = "../tests/support/servers/mod.rs"]
pub mod servers;
