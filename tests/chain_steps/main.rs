//! An attempt as a link of a chain: what it learns and tells, how it waits and goes on, on what exactly it builds, and how
//! its release keeps to the wave. With the pipeline itself, a desk of the test, podman and a real registry.

#![cfg(test)]

#[allow(dead_code, reason = "what the tests of the release have, and a part of it")]
#[path = "../release/common.rs"]
mod common;
mod scene;
#[path = "../support/mod.rs"]
mod support;

mod alike;
mod docker;
mod force;
mod kaniko;
mod learned;
mod parents;
mod waits;
mod wave;
