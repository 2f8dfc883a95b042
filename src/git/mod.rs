//! What the git binary does for us: telling which refs a remote has, and bringing one commit into a directory.
//!
//! It must never ask a person for anything, never take a server's silence for an empty repository, never let a
//! credential reach an argument, and never leave a process of git's in the background. It knows no job.

pub mod ask;
mod changed;
mod checkout;
mod direct;
mod environment;
mod file_at;
mod head;
mod list;
mod mirror;
mod mirrored;
mod refs;
mod remote;
mod submodules;
mod time;
pub mod wire;
mod world;

pub use ask::{Asker, Digest, Limits, Memory, Question, Reply};
pub use changed::{AtCommit, Changed, Since, changed_paths};
pub use checkout::{Checkout, checkout};
pub use environment::{environment, sharing};
pub use file_at::file_at;
pub use head::default_branch;
pub use list::{ListError, list_refs};
pub use mirror::Mirrors;
pub use refs::RefList;
pub use remote::host_of;
pub use time::commit_time;
pub use world::{Filled, Header, HttpSettings, Login, Proxy, Ssh, Tls, World, WorldError, Worlds, fill};
