//! Registries as they are and as they should not be: a real one, one behind a proxy that makes faults, a token server.
//! skopeo is the judge of what is there.

#![cfg(test)]

mod archives;
mod common;
mod copies;
mod faults;
mod logins;
mod pushes;
#[path = "../support/mod.rs"]
mod support;
mod trust;
