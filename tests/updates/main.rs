//! Whether there is something new below an image: real registries, engines and repositories, of which some are down.

#![cfg(test)]

mod common;
mod cost;
mod elsewhere;
mod fleet;
mod made;
mod moves;
mod real;
mod released;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
