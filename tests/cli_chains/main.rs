#![cfg(test)]
//! Chains on the command line: what `graph`, `rebuild --dry-run`, `explain`, `status` and `images` say of a record.

mod drawn;
mod scene;
#[path = "../support/mod.rs"]
mod support;
mod told;
mod waves;
mod wished;
