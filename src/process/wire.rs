//! What the daemon and a supervisor say to each other.
//!
//! Down, on the supervisor's stdin: first the patterns of secrets in one frame, since arguments and the environment can
//! be seen by others and by the command; then one byte a request. The end of the stream means that the daemon is gone:
//! where it ends within the frame, no command is started.
//! Up, on its stdout: one line of JSON (the report), then the captured bytes if any.

use super::masks::{MOST, MOST_BYTES};
use serde::{Deserialize, Serialize};
use std::io::{Error, ErrorKind, Read};

/// End everything: TERM, grace, KILL.
pub(super) const CANCEL: u8 = b'c';
/// End everything now.
pub(super) const KILL: u8 = b'k';

/// The frame: its length, then each pattern after its own length; lengths are 4 bytes, the lowest first.
pub(super) fn frame(patterns: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = vec![0; LENGTH];
    for pattern in patterns {
        frame.extend_from_slice(&length(pattern.len()));
        frame.extend_from_slice(pattern);
    }
    let body = length(frame.len() - LENGTH);
    frame[..LENGTH].copy_from_slice(&body);
    frame
}

/// Reads a frame, and not a byte of what follows it.
pub(super) fn read_frame(from: &mut impl Read) -> std::io::Result<Vec<Vec<u8>>> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidData,
            "the patterns of secrets are not as they should be",
        )
    };
    let mut prefix = [0; LENGTH];
    from.read_exact(&mut prefix)?;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MOST_BYTES + MOST * LENGTH {
        return Err(invalid());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let mut rest = body.as_slice();
    let mut patterns = Vec::new();
    while !rest.is_empty() {
        let (prefix, after) = rest.split_first_chunk().ok_or_else(invalid)?;
        let (pattern, after) = after
            .split_at_checked(u32::from_le_bytes(*prefix) as usize)
            .ok_or_else(invalid)?;
        patterns.push(pattern.to_vec());
        rest = after;
    }
    Ok(patterns)
}

const LENGTH: usize = 4;

/// The limits on patterns keep every length far below 4 GiB.
fn length(length: usize) -> [u8; LENGTH] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

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
