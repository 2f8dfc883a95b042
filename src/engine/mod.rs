//! podman and docker behind one small interface: build, run, pull, and clean up after what was cut off.
//!
//! An engine is a command, not a library: the user's own settings just work. It must never trust an exit code of 0
//! (the image id is the proof), never put a value into an argument that may be secret, and never remove what does not
//! carry our mark. Nothing here assumes that a build runs on this host where the engine says that it does not.

mod access;
mod archive;
mod build;
mod builder;
mod check;
mod cleanup;
mod command;
mod disk;
mod docker_config;
mod features;
mod find;
mod hold;
mod ignore;
mod inspect;
mod kaniko;
mod probe;
mod pull;
mod run;
mod scratch;
mod working;

pub use access::{PullAccess, RegistryAccess};
pub use build::BuildRequest;
pub use check::{CheckEnd, CheckRequest};
pub use cleanup::{Cleaned, Scope};
pub use command::{Engine, deciding};
pub use features::Features;
pub use find::{find_containerfile, find_context};
pub use hold::Held;
pub use inspect::ImageInfo;
pub use kaniko::{KanikoBuilt, KanikoRequest};
pub use probe::{EngineError, EngineInfo};
pub use pull::PulledBase;
pub use run::{RunRequest, TestRequest, container_name};
