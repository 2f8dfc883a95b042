//! The file that users write: raw (what is written) -> resolved (what is meant) -> diff.
//!
//! Reading a config never has an effect beyond reading, and a bad one yields every mistake in it at once. The way of a
//! file: `load` (bytes) -> `raw`, `raw_project` (`reader`, `values`, `text`: what is written) -> `resolve`,
//! `resolve_project` (what is meant) -> `surroundings` (what is there), with every mistake in `notes` on the way.

mod diagnostic;
mod diff;
mod keys;
mod load;
mod notes;
mod pattern;
mod raw;
mod raw_project;
mod reader;
mod reference;
mod remote;
mod resolve;
mod resolve_project;
mod resolved;
mod secret;
mod secret_file;
mod show;
mod source;
mod surroundings;
mod text;
mod values;
mod variables;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use diff::{Diff, diff};
pub use load::{LoadError, Loaded, Overrides, load};
pub use pattern::{Pattern, PatternError};
pub use resolved::{
    Config, EngineKind, EnvLayer, Image, Initial, Kaniko, LogConfig, LogFormat, Project, Pull, RegistryLogin,
    RegistrySettings, Retry, Rsync, Run, SnapshotMode, Tmpfs,
};
pub use secret_file::{NoCredentials, SecretFile};
pub use show::{to_json, to_toml};
pub use source::Source;
