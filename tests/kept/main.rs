//! Released images are kept up to date: by the real daemon, with real podman and a real registry. What is below them moves
//! in all the ways that it can, and exactly those are built again that have something new.

#![cfg(test)]

#[allow(dead_code, reason = "what the tests of the release have, and a part of it")]
#[path = "../release/common.rs"]
mod common;
#[allow(dead_code, reason = "what the tests of single looks have, and a part of it")]
#[path = "../updates/made.rs"]
mod made;
mod scene;
#[path = "../support/mod.rs"]
mod support;

mod by_hand;
mod elsewhere;
mod held;
mod kills;
mod local;
mod moves;
mod packages;
mod reload;
mod schedule;
mod several;
mod trouble;
