//! Looks into released images: real containers, real registries, and the real apt, dnf and pacman with repositories of their
//! own.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod apt;
mod commands;
mod common;
mod dnf;
mod docker;
mod ends;
mod pacman;
mod recorded;
mod rootfs;
