//! Committing a decision.

use super::attempts::{self, Attempt, FreeName, begin_attempt};
use super::images;
use super::open::{Store, StoreError, sql};
use super::pokes;
use super::rows::{self, failure_json};
use super::updates::{self, Kind};
use crate::model::{CommitId, Job, JobState, ProjectName, RefName, Write};
use jiff::Timestamp;
use rusqlite::{Transaction, TransactionBehavior, params};

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
                Write::AttemptEnd {
                    job,
                    failure,
                    image_id,
                    images,
                    void,
                } => {
                    let failure = failure_json(failure.as_ref());
                    execute(
                        &transaction,
                        // Earlier ones without an end were cut off by a crash, and stay so.
                        "UPDATE attempts SET ended = ?2, failure = ?3, image_id = ?4
                         WHERE job = ?1 AND ended IS NULL AND n = (SELECT max(n) FROM attempts WHERE job = ?1)",
                        params![job.0, now.as_millisecond(), failure, image_id],
                    )?;
                    images::put_results(&transaction, *job, images, now)?;
                    if *void {
                        images::forget_plan(&transaction, *job)?;
                    }
                }
                Write::AttemptWaits(job) => attempts::pause(&transaction, *job, now)?,
                Write::Links { node, links } => updates::put(&transaction, Kind::Links, node, links.as_ref())?,
                Write::Thing { node, thing } => updates::put(&transaction, Kind::Thing, node, thing.as_ref())?,
                Write::Releasing { job, plan } => images::put_plan(&transaction, *job, plan)?,
                Write::Ref {
                    project,
                    reference,
                    commit,
                } => put_ref(&transaction, project, reference, commit.as_ref())?,
                Write::Base { base, check } => updates::put_base(&transaction, base, check.as_ref())?,
                Write::Packages { node, check } => {
                    updates::put(&transaction, Kind::Packages, node, check.as_ref())?;
                }
                Write::Elsewhere { node, check } => {
                    updates::put(&transaction, Kind::Elsewhere, node, check.as_ref())?;
                }
                Write::Scheduled { node, heeded } => {
                    updates::put(&transaction, Kind::Scheduled, node, heeded.as_ref())?;
                }
                Write::Tried { node, tried } => updates::put(&transaction, Kind::Tried, node, tried.as_ref())?,
                Write::Poke(poke) => pokes::put(&transaction, poke)?,
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

pub(super) fn execute(
    transaction: &Transaction<'_>,
    text: &str,
    values: impl rusqlite::Params,
) -> Result<(), StoreError> {
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
                           lasting, finished, attempts, note, failure, cause, rebuild, wave, atomic)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
         ON CONFLICT (id) DO UPDATE SET
           reason = excluded.reason, place = excluded.place, state = excluded.state, not_before = excluded.not_before,
           outcome = excluded.outcome, lasting = excluded.lasting, finished = excluded.finished,
           attempts = excluded.attempts, note = excluded.note, failure = excluded.failure, rebuild = excluded.rebuild,
           wave = excluded.wave, atomic = excluded.atomic
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
            job.rebuild.as_ref().map(rows::json).transpose()?,
            job.wave.0,
            job.atomic.map(|root| root.0),
        ],
    )?;
    if outcome.is_some() {
        images::forget_plan(transaction, job.id)?;
    }
    execute(
        transaction,
        "INSERT INTO projects (name, last_number) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET last_number = max(last_number, excluded.last_number)",
        params![job.project.as_str(), job.number],
    )
}
