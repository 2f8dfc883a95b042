//! Asking a remote for its refs inside this process, over connections that are kept.
//!
//! Whatever cannot be done here is left to `git ls-remote`. Nothing here may hang: each question has deadlines and a
//! size limit, and whatever is odd in an answer is an error or a reason to ask again from the start, never "no refs".

mod address;
mod asked;
mod asker;
pub mod daemon;
mod file;
mod http;
mod local;
mod logins;
mod reply;
mod resolve;
pub mod ssh;
pub mod stream;
mod transport;

pub use asker::{Asker, Memory, Question};
pub use reply::{Digest, Limits, Missed, Reply};
