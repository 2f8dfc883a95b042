#![cfg(test)]
//! Updates on the command line: what `updates` says of the daemon's answers and how it ends, and what the record tells
//! of them.

mod asked;
mod scene;
#[path = "../support/mod.rs"]
mod support;
mod told;

use assert_cmd::Command;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

/// Runs the built binary to its end.
pub fn pipelined(args: &[&str], config: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipelined"));
    command.env_remove("PIPELINED_CONFIG").timeout(Duration::from_secs(30));
    command.args(args).arg("-c").arg(config).output().unwrap()
}

/// What a command has written.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A digest of one digit.
pub fn sha(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}
