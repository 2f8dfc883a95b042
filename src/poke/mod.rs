//! Telling whoever builds elsewhere that an image was released.
//!
//! It exists so that builds that are not ours follow ours. It decides nothing: whether and when something is told is the
//! planner's. It must never show a secret, in an error neither, and never send one to where a redirect leads.

mod answer;
mod gitlab;
mod secret;
mod send;
mod webhook;

pub use send::Sender;
