//! The steps of a job, in order.
//!
//! A pipeline knows its job and nothing of the queue: whether it is tried again is told to it, and what becomes of its
//! result is not its business.

mod attempt;
mod env;
mod image;
mod report;
mod rsync;

pub use attempt::{Finished, Work, run};
pub use env::project_variables;
pub use image::scratch;
