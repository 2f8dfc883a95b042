//! The directories that people look into. The truth about a job is the database; removing a finished directory is safe.
//!
//! Nothing here is ever read back to decide something.

mod layout;
mod place;
mod trash;

pub use layout::{Layout, encode_ref};
pub use place::{WorkdirError, job_directory, prepare, settle};
pub use trash::Trash;
