//! Where a supervisor puts what a command writes.
//!
//! It must not allocate by the size of the output, and what it writes to a log is in the file when it returns, but for
//! what could still become a secret.

use super::masker::Masker;
use super::masks::Masks;
use super::wire::Report;
use std::fs::File;
use std::io::Write;

/// How much of a captured stderr is kept.
const STDERR_TAIL: usize = 64 * 1024;
/// Pieces between masks that are shorter are gathered, up to so much, before they are written.
const GATHERED: usize = 64 * 1024;

/// Where one stream of the command goes.
enum Place {
    /// The end of the log file, up to `room` bytes more.
    Log { file: File, room: u64 },
    /// Memory, up to a limit; what is over it is counted.
    Head { bytes: Vec<u8>, limit: usize },
    /// Memory, the last bytes.
    Tail(Vec<u8>),
}

/// A place, and what must not get there.
pub(super) struct Sink {
    place: Place,
    masker: Option<Masker>,
    gathered: Vec<u8>,
}

/// What is left of a stream.
pub(super) enum Left {
    Log(File),
    Head(Vec<u8>),
    Tail(Vec<u8>),
}

impl Sink {
    /// The end of a log, until it has `limit` bytes.
    pub(super) fn log(file: File, limit: u64, masks: &Masks) -> std::io::Result<Self> {
        let room = limit.saturating_sub(file.metadata()?.len());
        Ok(Self::new(Place::Log { file, room }, Masker::new(masks)))
    }

    /// The first bytes. They are data, and as they were written.
    pub(super) fn head(limit: usize) -> Self {
        let bytes = Vec::new();
        Self::new(Place::Head { bytes, limit }, None)
    }

    /// The last bytes.
    pub(super) fn tail(masks: &Masks) -> Self {
        Self::new(Place::Tail(Vec::new()), Masker::new(masks))
    }

    fn new(place: Place, masker: Option<Masker>) -> Self {
        let gathered = Vec::new();
        Self {
            place,
            masker,
            gathered,
        }
    }

    pub(super) fn take(&mut self, chunk: &[u8], report: &mut Report) {
        match &mut self.masker {
            None => self.place.take(chunk, report),
            Some(masker) => {
                masker.take(chunk, &mut |piece| {
                    gather(&mut self.place, &mut self.gathered, piece, report);
                });
                flush(&mut self.place, &mut self.gathered, report);
            }
        }
    }

    /// The stream is over: nothing is held back any more.
    pub(super) fn end(&mut self, report: &mut Report) {
        if let Some(masker) = &mut self.masker {
            masker.end(&mut |piece| gather(&mut self.place, &mut self.gathered, piece, report));
            flush(&mut self.place, &mut self.gathered, report);
        }
    }

    pub(super) fn into_left(self) -> Left {
        match self.place {
            Place::Log { file, .. } => Left::Log(file),
            Place::Head { bytes, .. } => Left::Head(bytes),
            Place::Tail(mut bytes) => {
                bytes.drain(..bytes.len().saturating_sub(STDERR_TAIL));
                Left::Tail(bytes)
            }
        }
    }
}

fn gather(place: &mut Place, gathered: &mut Vec<u8>, piece: &[u8], report: &mut Report) {
    if gathered.len() + piece.len() > GATHERED {
        flush(place, gathered, report);
    }
    // A chunk without a secret is one piece, and need not be copied.
    match piece.len() > GATHERED / 8 {
        true => {
            flush(place, gathered, report);
            place.take(piece, report);
        }
        false => gathered.extend_from_slice(piece),
    }
}

fn flush(place: &mut Place, gathered: &mut Vec<u8>, report: &mut Report) {
    if !gathered.is_empty() {
        place.take(gathered, report);
        gathered.clear();
    }
}

impl Place {
    fn take(&mut self, chunk: &[u8], report: &mut Report) {
        match self {
            Self::Log { file, room } => {
                let fits = usize::try_from(*room).unwrap_or(usize::MAX).min(chunk.len());
                if report.log_error.is_none()
                    && let Err(error) = file.write_all(&chunk[..fits])
                {
                    report.log_error = Some(error.to_string());
                }
                *room -= fits as u64;
                report.dropped += (chunk.len() - fits) as u64;
            }
            Self::Head { bytes, limit } => {
                let fits = (*limit - bytes.len()).min(chunk.len());
                bytes.extend_from_slice(&chunk[..fits]);
                report.dropped += (chunk.len() - fits) as u64;
            }
            Self::Tail(bytes) => {
                bytes.extend_from_slice(chunk);
                if bytes.len() > 2 * STDERR_TAIL {
                    bytes.drain(..bytes.len() - STDERR_TAIL);
                }
            }
        }
    }
}
