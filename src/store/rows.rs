//! Rows to words and back.

use super::open::StoreError;
use crate::model::{CommitId, Failure, Job, JobId, JobState, Outcome, ProjectName, Reason, RefName, Step};
use jiff::Timestamp;
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The columns that [`job`] reads, in its order.
pub(super) const JOB: &str = "id, project, ref, commit_id, number, reason, place, created, state, not_before, outcome, \
                              attempts, note, failure, finished, cause, rebuild, wave, atomic";

/// One job from [`JOB`]'s columns, with the time of its end.
pub(super) fn job(row: &Row<'_>) -> Result<(Job, Option<Timestamp>), StoreError> {
    let id: i64 = get(row, 0)?;
    let state: String = get(row, 8)?;
    let not_before: Option<i64> = get(row, 9)?;
    let outcome: Option<String> = get(row, 10)?;
    let state = match (state.as_str(), outcome) {
        ("queued", None) => JobState::Queued {
            not_before: not_before.map(time).transpose()?,
        },
        ("running", None) => JobState::Running { cancelling: false },
        ("cancelling", None) => JobState::Running { cancelling: true },
        ("done", Some(word)) => {
            let outcome = Outcome::parse(&word);
            JobState::Done(outcome.ok_or_else(|| StoreError::Row(format!("the outcome {word:?} in job {id}")))?)
        }
        (state, outcome) => {
            return Err(StoreError::Row(format!(
                "state {state:?} with outcome {outcome:?} in job {id}"
            )));
        }
    };
    let reason: String = get(row, 5)?;
    let job = Job {
        id: JobId(id),
        project: project(get(row, 1)?)?,
        reference: reference(get(row, 2)?)?,
        commit: commit(get(row, 3)?)?,
        number: get(row, 4)?,
        reason: Reason::parse(&reason).ok_or_else(|| StoreError::Row(format!("the reason {reason:?} in job {id}")))?,
        cause: get(row, 15)?,
        place: get(row, 6)?,
        created: time(get(row, 7)?)?,
        state,
        attempts: get(row, 11)?,
        note: get(row, 12)?,
        failure: failure(get(row, 13)?)?,
        rebuild: optional_json("rebuild", get(row, 16)?)?,
        wave: JobId(get::<Option<i64>>(row, 17)?.unwrap_or(id)),
        atomic: get::<Option<i64>>(row, 18)?.map(JobId),
    };
    Ok((job, get::<Option<i64>>(row, 14)?.map(time).transpose()?))
}

pub(super) fn get<T: rusqlite::types::FromSql>(row: &Row<'_>, index: usize) -> Result<T, StoreError> {
    row.get(index).map_err(super::open::sql("read"))
}

pub(super) fn project(name: String) -> Result<ProjectName, StoreError> {
    ProjectName::new(name).map_err(|e| StoreError::Row(e.to_string()))
}

pub(super) fn reference(name: Vec<u8>) -> Result<RefName, StoreError> {
    RefName::new(name).map_err(|e| StoreError::Row(e.to_string()))
}

pub(super) fn commit(hex: String) -> Result<CommitId, StoreError> {
    CommitId::new(hex).map_err(|e| StoreError::Row(e.to_string()))
}

pub(super) fn time(millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|e| StoreError::Row(format!("the time {millis}: {e}")))
}

pub(super) fn failure(json: Option<String>) -> Result<Option<(Step, Failure)>, StoreError> {
    optional_json("failure", json)
}

/// What a column holds as JSON.
pub(super) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Row(format!("a {what} that cannot be read: {e}")))
}

fn optional_json<T: DeserializeOwned>(what: &str, text: Option<String>) -> Result<Option<T>, StoreError> {
    text.map(|text| from_json(what, &text)).transpose()
}

/// What a column is to hold as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Row(format!("what JSON cannot hold: {e}")))
}

pub(super) fn failure_json(failure: Option<&(Step, Failure)>) -> Option<String> {
    // Two enums and a string: there is nothing in them that JSON cannot hold.
    failure.and_then(|f| serde_json::to_string(f).ok())
}
