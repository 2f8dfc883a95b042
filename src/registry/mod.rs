//! Registries: what a reference points at, and bringing content there.
//!
//! It exists because an engine's own commands cannot say why a registry refuses, push without moving a tag, or copy bytes
//! unchanged. It speaks the protocol of the distribution-spec. It must never move a tag before everything below it is
//! there, never take bytes for what their digest does not say, and never show a secret.
//!
//! What moves content ([`Registries::push`], [`Registries::copy`]) moves no tag; [`Registries::tag`] moves one and
//! nothing else.

mod archive;
mod authfile;
mod body;
mod challenge;
mod copy;
mod error;
mod limits;
mod login;
mod manifest;
mod platform;
mod push;
mod read;
mod secret;
mod session;
mod state;
mod tag;
mod tls;
mod token;
mod words;

pub use archive::Archive;
pub use error::RegistryError;
pub use limits::Deadlines;
pub use manifest::{Descriptor, Manifest, Parsed, Platform};
pub use platform::{for_platform, same_platform};
pub use read::Head;
pub use secret::{Credentials, Secret, auth_json};
pub use state::{Pause, Registries};
pub use words::LimitReading;

/// Told one line for each blob, manifest and tag: what became of it.
pub type Notes<'a> = &'a (dyn Fn(&str) + Send + Sync);
