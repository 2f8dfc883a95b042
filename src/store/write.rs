//! Committing a decision.

use super::open::{Store, StoreError, sql};
use super::rows::failure_json;
use crate::model::{CommitId, Job, JobId, JobState, ProjectName, RefName, Write};
use jiff::Timestamp;
use rusqlite::{Transaction, TransactionBehavior, params};

/// An attempt that was begun: where it runs is settled in the transaction that records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Whose.
    pub job: JobId,
    /// Counts the job's attempts from 1, interrupted ones included.
    pub n: i64,
    /// The directory's name below the ref's, without `.tmp`.
    pub dir: String,
}

/// Whether a directory of this name can be made for the ref.
pub type FreeName<'a> = &'a dyn Fn(&ProjectName, &RefName, &str) -> bool;

impl Store {
    /// Records all of a decision, or nothing. Answers with the attempts that begin.
    pub fn commit(&mut self, writes: &[Write], now: Timestamp, free: FreeName<'_>) -> Result<Vec<Attempt>, StoreError> {
        let mut begun = Vec::new();
        if writes.is_empty() {
            return Ok(begun);
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql("write to"))?;
        for write in writes {
            match write {
                Write::Job { job, lasting } => put_job(&transaction, job, *lasting, now)?,
                Write::Attempt(job) => begun.push(begin_attempt(&transaction, *job, now, free)?),
                Write::AttemptEnd { job, failure, image_id } => {
                    let failure = failure_json(failure.as_ref());
                    execute(
                        &transaction,
                        // Earlier ones without an end were cut off by a crash, and stay so.
                        "UPDATE attempts SET ended = ?2, failure = ?3, image_id = ?4
                         WHERE job = ?1 AND ended IS NULL AND n = (SELECT max(n) FROM attempts WHERE job = ?1)",
                        params![job.0, now.as_millisecond(), failure, image_id],
                    )?;
                }
                Write::Ref {
                    project,
                    reference,
                    commit,
                } => put_ref(&transaction, project, reference, commit.as_ref())?,
                Write::Selection { project, selection } => execute(
                    &transaction,
                    "INSERT INTO projects (name, selection) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET selection = excluded.selection",
                    params![project.as_str(), selection],
                )?,
            }
        }
        transaction.commit().map_err(sql("write to"))?;
        Ok(begun)
    }

    /// Notes that a remote cannot be asked, or can again.
    pub fn note_poll(&mut self, project: &ProjectName, error: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
        self.connection
            .execute(
                "INSERT INTO projects (name, failing_since, poll_error) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET
                   failing_since = CASE WHEN excluded.poll_error IS NULL THEN NULL
                                        ELSE coalesce(failing_since, excluded.failing_since) END,
                   poll_error = excluded.poll_error",
                params![project.as_str(), error.map(|_| now.as_millisecond()), error],
            )
            .map(|_| ())
            .map_err(sql("write to"))
    }
}

fn execute(transaction: &Transaction<'_>, text: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
    transaction
        .prepare_cached(text)
        .and_then(|mut statement| statement.execute(values))
        .map(|_| ())
        .map_err(sql("write to"))
}

fn put_ref(
    transaction: &Transaction<'_>,
    project: &ProjectName,
    reference: &RefName,
    commit: Option<&CommitId>,
) -> Result<(), StoreError> {
    match commit {
        Some(commit) => execute(
            transaction,
            "INSERT INTO refs VALUES (?1, ?2, ?3)
             ON CONFLICT (project, ref) DO UPDATE SET commit_id = excluded.commit_id",
            params![project.as_str(), reference.as_bytes(), commit.as_str()],
        ),
        None => execute(
            transaction,
            "DELETE FROM refs WHERE project = ?1 AND ref = ?2",
            params![project.as_str(), reference.as_bytes()],
        ),
    }
}

fn put_job(transaction: &Transaction<'_>, job: &Job, lasting: bool, now: Timestamp) -> Result<(), StoreError> {
    let (state, not_before, outcome) = match job.state {
        JobState::Queued { not_before } => ("queued", not_before, None),
        JobState::Running { cancelling: false } => ("running", None, None),
        JobState::Running { cancelling: true } => ("cancelling", None, None),
        JobState::Done(outcome) => ("done", None, Some(outcome)),
    };
    execute(
        transaction,
        "INSERT INTO jobs (id, project, ref, commit_id, number, reason, place, created, state, not_before, outcome,
                           lasting, finished, attempts, note, failure, cause)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (id) DO UPDATE SET
           reason = excluded.reason, place = excluded.place, state = excluded.state, not_before = excluded.not_before,
           outcome = excluded.outcome, lasting = excluded.lasting, finished = excluded.finished,
           attempts = excluded.attempts, note = excluded.note, failure = excluded.failure
         WHERE jobs.state <> 'done'",
        params![
            job.id.0,
            job.project.as_str(),
            job.reference.as_bytes(),
            job.commit.as_str(),
            job.number,
            job.reason.as_str(),
            job.place,
            job.created.as_millisecond(),
            state,
            not_before.map(|t| t.as_millisecond()),
            outcome.map(|o| o.as_str()),
            lasting,
            outcome.map(|_| now.as_millisecond()),
            job.attempts,
            job.note,
            failure_json(job.failure.as_ref()),
            job.cause,
        ],
    )?;
    execute(
        transaction,
        "INSERT INTO projects (name, last_number) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET last_number = max(last_number, excluded.last_number)",
        params![job.project.as_str(), job.number],
    )
}

/// The name of a new attempt's directory: the short commit, longer only where another commit of the ref has the same,
/// and `.2`, `.3`, … where the commit had attempts before.
fn begin_attempt(
    transaction: &Transaction<'_>,
    job: JobId,
    now: Timestamp,
    free: FreeName<'_>,
) -> Result<Attempt, StoreError> {
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
    Ok(Attempt { job, n, dir })
}
