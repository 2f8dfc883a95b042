//! Webhooks in, on a running daemon: who is heard, what follows, and what all that do harm get out of it.

#![cfg(test)]

mod common;
mod images;
mod limits;
mod reload;
mod remotes;
#[path = "../support/mod.rs"]
mod support;
