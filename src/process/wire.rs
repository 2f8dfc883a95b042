//! What the daemon and a supervisor say to each other.
//!
//! Down, on the supervisor's stdin: one byte a request. The end of the stream means that the daemon is gone.
//! Up, on its stdout: one line of JSON (the report), then the captured bytes if any.

use serde::{Deserialize, Serialize};

/// End everything: TERM, grace, KILL.
pub(super) const CANCEL: u8 = b'c';
/// End everything now.
pub(super) const KILL: u8 = b'k';

/// How a supervised command ended.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// The command's exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The command did not end by itself: its time was up.
    pub timed_out: bool,
    /// The command did not end by itself: the daemon said so, or is gone.
    pub cancelled: bool,
    /// It could not be started: errno and text.
    pub spawn_error: Option<(i32, String)>,
    /// Bytes of output left out because of the limit.
    pub dropped: u64,
    /// Writing the log failed.
    pub log_error: Option<String>,
    /// Processes that even KILL did not end.
    pub leftover: usize,
    /// How many bytes of captured stdout follow.
    pub stdout_len: usize,
    /// Captured stderr, its end if it was long.
    pub stderr: String,
}
