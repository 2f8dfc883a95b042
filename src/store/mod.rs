//! The truth about jobs: SQLite in the workdir, one writer.
//!
//! The daemon commits a decision here before it acts on it. Nothing is ever replaced: a database that is damaged, newer
//! or not ours is refused. Only this module knows SQL.

mod attempts;
mod images;
mod lock;
mod open;
mod pokes;
mod read;
mod rows;
mod schema;
mod updates;
mod write;

pub use attempts::{Attempt, FreeName};
pub use images::ImageRecord;
pub use lock::{Lock, LockError};
pub use open::{Store, StoreError};
pub use read::{AttemptRecord, JobFilter, JobRecord, RemoteTrouble};

/// The database's name in the workdir.
pub const DATABASE: &str = "pipelined.db";
