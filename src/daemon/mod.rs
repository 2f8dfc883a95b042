//! The loop that brings all of it together: events in, one decision at a time, committed, then acted on.
//!
//! The loop itself never waits for a remote, an engine, a callback or a build: those are tasks, and they report.

mod act;
mod asking;
mod core;
mod door;
mod happening;
mod hooks;
mod listening;
mod logging;
mod mirrors;
mod notify;
mod pokes;
mod polls;
mod rebuild;
mod recover;
mod reload;
mod request;
mod start;
mod update_view;
mod updates;
mod watch;

pub use door::{DaemonError, Options};
pub use listening::ListenError;
pub use rebuild::wish;
pub use start::run;
pub use update_view::{check_state, image_updates};
