//! Polling as people and servers see it: the whole daemon, against real servers and some that no one would run.

#![cfg(test)]

mod common;
mod hangs;
mod in_process;
mod kind;
mod shapes;
#[path = "../support/mod.rs"]
mod support;
mod unchanged;
mod user;
