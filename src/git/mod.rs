//! What the git binary does for us: telling which refs a remote has, and bringing one commit into a directory.
//!
//! It must never ask a person for anything, never take a server's silence for an empty repository, never let a
//! credential reach an argument, and never leave a process of git's in the background. It knows no job.

mod checkout;
mod environment;
mod list;
mod refs;
mod remote;
mod submodules;

pub use checkout::{Checkout, checkout};
pub use environment::environment;
pub use list::{ListError, list_refs};
pub use refs::RefList;
