//! kaniko's executor: how it is called, and what the daemon makes of it.

#![cfg(test)]

mod daemon;
mod executor;
#[path = "../support/mod.rs"]
mod support;
