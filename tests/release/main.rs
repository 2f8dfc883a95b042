//! The way of an image to its release, with the real daemon, podman and registry, and skopeo as the judge.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod cancels;
mod common;
mod halves;
mod kills;
mod logins;
mod races;
mod trouble;
mod way;
