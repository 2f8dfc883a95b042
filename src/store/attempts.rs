//! Where a new attempt runs.

use super::images;
use super::open::{StoreError, sql};
use super::write::execute;
use crate::model::{CommitId, JobId, ProjectName, RefName, ReleasePlan};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

/// An attempt that was begun: where it runs is settled in the transaction that records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Whose.
    pub job: JobId,
    /// Counts the job's attempts from 1, interrupted ones included.
    pub n: i64,
    /// The directory's name below the ref's, without `.tmp`.
    pub dir: String,
    /// A release that the job began in this directory: it is finished, and nothing built again.
    pub resume: Option<ReleasePlan>,
    /// It has waited for something since its checkout, and goes on in its directory.
    pub goes_on: bool,
}

/// Whether a directory of this name can be made for the ref.
pub type FreeName<'a> = &'a dyn Fn(&ProjectName, &RefName, &str) -> bool;

/// The name of a new attempt's directory: the short commit, longer only where another commit of the ref has the same,
/// and `.2`, `.3`, … where the commit had attempts before.
pub(super) fn begin_attempt(
    transaction: &Transaction<'_>,
    job: JobId,
    now: Timestamp,
    free: FreeName<'_>,
) -> Result<Attempt, StoreError> {
    if let Some(attempt) = gone_on(transaction, job, now, free)? {
        return Ok(attempt);
    }
    let read = sql("read");
    let (project, reference, commit): (String, Vec<u8>, String) = transaction
        .query_row(
            "SELECT project, ref, commit_id FROM jobs WHERE id = ?1",
            [job.0],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(&read)?;
    let n: i64 = transaction
        .query_row(
            "SELECT coalesce(max(n), 0) + 1 FROM attempts WHERE job = ?1",
            [job.0],
            |row| row.get(0),
        )
        .map_err(&read)?;
    if let Some(begun) = resumed(transaction, job, n, now, free)? {
        return Ok(begun);
    }
    let mut run: i64 = transaction
        .query_row(
            "SELECT coalesce(max(run), 0) + 1 FROM attempts JOIN jobs ON jobs.id = attempts.job
             WHERE project = ?1 AND ref = ?2 AND commit_id = ?3",
            params![project, reference, commit],
            |row| row.get(0),
        )
        .map_err(&read)?;
    let mut digits = CommitId::SHORT;
    while digits < commit.len() && {
        let others: i64 = transaction
            .query_row(
                "SELECT count(*) FROM attempts JOIN jobs ON jobs.id = attempts.job
                 WHERE project = ?1 AND ref = ?2 AND commit_id <> ?3 AND substr(commit_id, 1, ?4) = ?5",
                params![project, reference, commit, digits as i64, &commit[..digits]],
                |row| row.get(0),
            )
            .map_err(&read)?;
        others > 0
    } {
        digits += 4;
    }
    let short = &commit[..digits.min(commit.len())];
    let project = super::rows::project(project)?;
    let reference = super::rows::reference(reference)?;
    let dir = loop {
        let name = match run {
            1 => short.to_owned(),
            run => format!("{short}.{run}"),
        };
        if free(&project, &reference, &name) {
            break name;
        }
        run += 1;
    };
    execute(
        transaction,
        "INSERT INTO attempts (job, n, dir, run, started) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![job.0, n, dir, run, now.as_millisecond()],
    )?;
    Ok(Attempt {
        job,
        n,
        dir,
        resume: None,
        goes_on: false,
    })
}

/// The running attempt ends for now.
pub(super) fn pause(transaction: &Transaction<'_>, job: JobId, now: Timestamp) -> Result<(), StoreError> {
    execute(
        transaction,
        "UPDATE attempts SET waits_since = ?2
         WHERE job = ?1 AND ended IS NULL AND waits_since IS NULL AND n = (SELECT max(n) FROM attempts WHERE job = ?1)",
        params![job.0, now.as_millisecond()],
    )
}

/// The attempt that has waited, if its directory is there still. It is the same one: what it did before it waited is done.
fn gone_on(
    transaction: &Transaction<'_>,
    job: JobId,
    now: Timestamp,
    free: FreeName<'_>,
) -> Result<Option<Attempt>, StoreError> {
    let found = transaction
        .query_row(
            "SELECT project, ref, dir, n FROM attempts JOIN jobs ON jobs.id = attempts.job
             WHERE job = ?1 AND waits_since IS NOT NULL AND n = (SELECT max(n) FROM attempts WHERE job = ?1)",
            [job.0],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .optional();
    let Some((project, reference, dir, n)): Option<(String, Vec<u8>, String, i64)> = found.map_err(sql("read"))? else {
        return Ok(None);
    };
    let (project, reference) = (super::rows::project(project)?, super::rows::reference(reference)?);
    execute(
        transaction,
        "UPDATE attempts SET waited = waited + max(0, ?2 - waits_since), waits_since = NULL
         WHERE job = ?1 AND waits_since IS NOT NULL",
        params![job.0, now.as_millisecond()],
    )?;
    if free(&project, &reference, &dir) {
        return Ok(None);
    }
    // What an earlier attempt was about to release elsewhere is not its own.
    let resume = match images::plan(transaction, job)? {
        Some((of, plan)) => (directory(transaction, job, of)? == dir).then_some(plan),
        None => None,
    };
    Ok(Some(Attempt {
        job,
        n,
        dir,
        resume,
        goes_on: true,
    }))
}

fn directory(transaction: &Transaction<'_>, job: JobId, n: i64) -> Result<String, StoreError> {
    let text = "SELECT dir FROM attempts WHERE job = ?1 AND n = ?2";
    transaction
        .query_row(text, [job.0, n], |row| row.get(0))
        .map_err(sql("read"))
}

/// The attempt that goes on in the directory of one that had begun to release, if that is there still.
fn resumed(
    transaction: &Transaction<'_>,
    job: JobId,
    n: i64,
    now: Timestamp,
    free: FreeName<'_>,
) -> Result<Option<Attempt>, StoreError> {
    let Some((attempt, plan)) = images::plan(transaction, job)? else {
        return Ok(None);
    };
    let read = sql("read");
    let (project, reference, dir, run): (String, Vec<u8>, String, i64) = transaction
        .query_row(
            "SELECT project, ref, dir, run FROM attempts JOIN jobs ON jobs.id = attempts.job WHERE job = ?1 AND n = ?2",
            [job.0, attempt],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .map_err(&read)?;
    if free(
        &super::rows::project(project)?,
        &super::rows::reference(reference)?,
        &dir,
    ) {
        return Ok(None);
    }
    execute(
        transaction,
        "INSERT INTO attempts (job, n, dir, run, started) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![job.0, n, dir, run, now.as_millisecond()],
    )?;
    Ok(Some(Attempt {
        job,
        n,
        dir,
        resume: Some(plan),
        goes_on: false,
    }))
}
