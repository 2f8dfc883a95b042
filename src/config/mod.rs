//! The file that users write: raw (what is written) -> resolved (what is meant) -> diff.
//!
//! Reading a config never has an effect beyond reading, and a bad one yields every mistake in it at once. The way of a
//! file: `load` (bytes) -> `raw`, `raw_*` (`reader`, `values`, `text`: what is written) -> `resolve`, `resolve_*` (what is
//! meant) -> `surroundings` (what is there), with every mistake in `notes` on the way.

mod claims;
mod could_release;
mod cron;
mod diagnostic;
mod diff;
mod fingerprint;
mod kaniko_flags;
mod keys;
mod known;
mod load;
mod notes;
mod order;
mod pattern;
mod poke;
mod raw;
mod raw_engine;
mod raw_hooks;
mod raw_image;
mod raw_need;
mod raw_poke;
mod raw_project;
mod raw_steps;
mod raw_update;
mod reader;
mod reference;
mod remote;
mod resolve;
mod resolve_engine;
mod resolve_hooks;
mod resolve_image;
mod resolve_needs;
mod resolve_project;
mod resolve_steps;
mod resolve_update;
mod resolved;
mod secret;
mod secret_file;
mod show;
mod show_engine;
mod show_image;
mod source;
mod surroundings;
mod templates;
mod text;
mod values;
mod variables;
mod watch;

pub use could_release::Expected;
pub use cron::{Cron, CronError};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use diff::{Diff, diff};
pub use load::{LoadError, Loaded, Overrides, load};
pub use pattern::{Pattern, PatternError};
pub use poke::{POKE_VARIABLES, PokeTarget, is_loopback};
pub use resolved::{
    Chain, Config, EngineKind, EnvLayer, Image, Initial, Kaniko, LogConfig, LogFormat, PackageCheck, Project, Pull,
    RegistryLogin, RegistrySettings, Retry, Rsync, Run, SnapshotMode, Tmpfs, Update, Upstream,
};
pub use secret_file::{NoCredentials, SecretFile};
pub use show::{to_json, to_toml};
pub use source::Source;
