//! Real git servers on loopback, and one that behaves badly.

pub mod child;
pub mod git_daemon;
pub mod hostile;
pub mod http;
pub mod scripted;
pub mod ssh;
