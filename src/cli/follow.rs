//! Reading a `build.log` while it grows.
//!
//! Bytes go through unchanged, whatever they are. An open file stays readable when its directory loses the `.tmp`, and
//! a retry is followed into its new directory.

use crate::model::JobId;
use crate::store::{JobRecord, Lock, Store};
use crate::workdir::Layout;
use anyhow::{Context, bail};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Promised to be within 100 ms of the step's own writing.
const LOOK: Duration = Duration::from_millis(50);
/// The record is asked only every so many looks at the file.
const RECORD_EVERY: u32 = 4;

/// Prints a job's log until the job has its outcome.
pub(super) fn follow(store: &Store, layout: &Layout, id: JobId, out: &mut impl Write) -> anyhow::Result<JobRecord> {
    let mut reader: Option<(i64, Reader)> = None;
    let mut told_gone = false;
    for look in 0u32.. {
        if look % RECORD_EVERY == 0 {
            // The record first: what was written before the outcome is then read below.
            let record = must_be_there(store, id)?;
            let newest = record.attempts.last().map_or(0, |a| a.n);
            if reader.as_ref().is_none_or(|(n, _)| *n < newest) {
                if let Some((_, old)) = &mut reader {
                    old.copy(out)?;
                }
                reader = open_next(&record, layout, reader.as_ref().map(|(n, _)| *n))?.or(reader);
            }
            if !record.job.is_live() {
                match &mut reader {
                    Some((_, reader)) => reader.copy(out)?,
                    None if record.attempts.is_empty() => {}
                    None => return Err(missing(&record, layout)),
                }
                return Ok(record);
            }
            if !told_gone && !Lock::is_held(layout.root()) {
                told_gone = true;
                tell("no daemon works here now; the job goes on when one is started")?;
            }
        }
        if let Some((_, reader)) = &mut reader {
            reader.copy(out)?;
        }
        std::thread::sleep(LOOK);
    }
    bail!("followed for years")
}

/// Opens the log of the newest attempt if it is there yet.
fn open_next(record: &JobRecord, layout: &Layout, before: Option<i64>) -> anyhow::Result<Option<(i64, Reader)>> {
    let Some(attempt) = record.attempts.last() else {
        return Ok(None);
    };
    let job = &record.job;
    let dir = layout.existing(&job.project, &job.reference, &attempt.dir);
    match Reader::open(&dir)? {
        Some(reader) => {
            if before.is_some() {
                tell(&format!("attempt {} begins, in {}", attempt.n, dir.display()))?;
            }
            Ok(Some((attempt.n, reader)))
        }
        None => Ok(None),
    }
}

fn tell(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr().lock(), "pipelined: {text}")
}

/// Prints what there is of the newest attempt's log.
pub(super) fn print(record: &JobRecord, layout: &Layout, out: &mut impl Write) -> anyhow::Result<()> {
    let Some((_, mut reader)) = open_next(record, layout, None)? else {
        return Err(missing(record, layout));
    };
    reader.copy(out)
}

/// Why there is no log.
fn missing(record: &JobRecord, layout: &Layout) -> anyhow::Error {
    let job = &record.job;
    let Some(attempt) = record.attempts.last() else {
        return anyhow::anyhow!("job {} has no log, as it was never started: {}", job.id, job.note);
    };
    let dir = layout.existing(&job.project, &job.reference, &attempt.dir);
    if dir.is_dir() {
        anyhow::anyhow!("job {} has no log in {}: {}", job.id, dir.display(), job.note)
    } else {
        let dir = layout.finished(&job.project, &job.reference, &attempt.dir);
        anyhow::anyhow!(
            "the log of job {} is gone: its directory {} was removed; what is known of it: {}",
            job.id,
            dir.display(),
            job.note
        )
    }
}

/// The record of a job.
pub(super) fn must_be_there(store: &Store, id: JobId) -> anyhow::Result<JobRecord> {
    match store.job(id)? {
        Some(record) => Ok(record),
        None => bail!("there is no job {id}"),
    }
}

struct Reader {
    file: File,
    path: PathBuf,
}

impl Reader {
    fn open(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join("build.log");
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { file, path })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// All that is new.
    fn copy(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => break,
                // Without context, so that a reader that has gone is known as such.
                Ok(n) => out.write_all(&buffer[..n])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
            }
        }
        out.flush()?;
        Ok(())
    }
}
