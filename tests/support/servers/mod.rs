//! Real git servers and registries on loopback, and some that behave badly.

pub mod child;
pub mod faults;
pub mod git_daemon;
pub mod hostile;
pub mod http;
pub mod registry;
pub mod scripted;
pub mod ssh;
pub mod tokens;
