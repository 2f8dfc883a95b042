//! Questions to the record.

use super::open::{Store, StoreError, sql};
use super::rows::{self, get};
use crate::model::{
    CommitId, Failure, Job, JobId, JobState, Outcome, ProjectName, RefName, Seen, State, Step, settles,
};
use jiff::Timestamp;
use rusqlite::params;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A job with its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// The job.
    pub job: Job,
    /// When it got its outcome.
    pub finished: Option<Timestamp>,
    /// Its attempts, the first one first.
    pub attempts: Vec<AttemptRecord>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Counted from 1.
    pub n: i64,
    /// The directory's name below the ref's, without `.tmp`.
    pub dir: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; none while it runs, or if the daemon died.
    pub ended: Option<Timestamp>,
    /// Why it did not end well.
    pub failure: Option<(Step, Failure)>,
    /// What it built.
    pub image_id: Option<String>,
    /// It has ended for now, and goes on later.
    pub waits: bool,
    /// How long it has waited in all, up to when it last went on or its job ended.
    pub waited: Duration,
}

/// Why a project's remote cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTrouble {
    /// When it began.
    pub since: Timestamp,
    /// The last error.
    pub error: String,
}

/// Which jobs to read.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only this project's.
    pub project: Option<ProjectName>,
    /// Only this ref's.
    pub reference: Option<RefName>,
    /// Only those without an outcome.
    pub live: bool,
    /// At most so many, the newest; none: all.
    pub newest: Option<usize>,
}

impl Store {
    /// What the planner starts from.
    pub fn load_state(&self) -> Result<State, StoreError> {
        let mut state = State::default();
        for (name, selection, last_number) in
            self.rows("SELECT name, selection, last_number FROM projects", [], |row| {
                Ok((rows::project(get(row, 0)?)?, get(row, 1)?, get(row, 2)?))
            })?
        {
            let seen = Seen {
                refs: self.refs(&name)?,
                selection,
                last_number,
            };
            state.projects.insert(name, seen);
        }
        for record in self.jobs(&JobFilter {
            live: true,
            ..JobFilter::default()
        })? {
            state.jobs.insert(record.job.id, record.job);
        }
        state.releasing = self.release_plans()?;
        state.updates = self.updates()?;
        let newest: i64 = self
            .connection
            .query_row("SELECT coalesce(max(id), 0) FROM jobs", [], |row| row.get(0))
            .map_err(sql("read"))?;
        state.next_id = newest + 1;
        (state.pokes, state.next_poke) = self.waiting_pokes()?;
        Ok(state)
    }

    /// The selected refs of a project and their tips, as the last look saw them.
    pub fn refs(&self, project: &ProjectName) -> Result<BTreeMap<RefName, CommitId>, StoreError> {
        let rows = self.rows(
            "SELECT ref, commit_id FROM refs WHERE project = ?1",
            [project.as_str()],
            |row| Ok((rows::reference(get(row, 0)?)?, rows::commit(get(row, 1)?)?)),
        )?;
        Ok(rows.into_iter().collect())
    }

    /// Of these refs, those whose commit has an outcome that settles it.
    pub fn settled<'a>(
        &self,
        project: &ProjectName,
        tips: impl Iterator<Item = (&'a RefName, &'a CommitId)>,
    ) -> Result<BTreeSet<RefName>, StoreError> {
        let mut settled = BTreeSet::new();
        for (reference, commit) in tips {
            let outcomes = self.outcomes(project, reference, commit)?;
            if outcomes.into_iter().any(|(outcome, lasting)| settles(outcome, lasting)) {
                settled.insert(reference.clone());
            }
        }
        Ok(settled)
    }

    /// Jobs, the oldest first.
    pub fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, StoreError> {
        let text = format!(
            "SELECT {} FROM jobs WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR ref = ?2)
             AND (NOT ?3 OR state <> 'done') ORDER BY id DESC LIMIT ?4",
            rows::JOB
        );
        let limit = filter.newest.map_or(-1, |n| n as i64);
        let values = params![
            filter.project.as_ref().map(ProjectName::as_str),
            filter.reference.as_ref().map(RefName::as_bytes),
            filter.live,
            limit
        ];
        let mut records = Vec::new();
        for (job, finished) in self.rows(&text, values, rows::job)? {
            let attempts = self.attempts(job.id, finished)?;
            records.push(JobRecord {
                job,
                finished,
                attempts,
            });
        }
        records.reverse();
        Ok(records)
    }

    /// The jobs of a wave, the oldest first.
    pub fn wave(&self, wave: JobId) -> Result<Vec<JobRecord>, StoreError> {
        let text = format!("SELECT {} FROM jobs WHERE wave = ?1 ORDER BY id", rows::JOB);
        let mut records = Vec::new();
        for (job, finished) in self.rows(&text, [wave.0], rows::job)? {
            let attempts = self.attempts(job.id, finished)?;
            records.push(JobRecord {
                job,
                finished,
                attempts,
            });
        }
        Ok(records)
    }

    /// One job.
    pub fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        let text = format!("SELECT {} FROM jobs WHERE id = ?1", rows::JOB);
        let found = self.rows(&text, [id.0], rows::job)?.pop();
        found
            .map(|(job, finished)| {
                Ok(JobRecord {
                    attempts: self.attempts(job.id, finished)?,
                    job,
                    finished,
                })
            })
            .transpose()
    }

    /// Whether a commit was built on a ref and failed, and never succeeded there.
    pub fn has_failed(
        &self,
        project: &ProjectName,
        reference: &RefName,
        commit: &CommitId,
    ) -> Result<bool, StoreError> {
        let outcomes = self.outcomes(project, reference, commit)?;
        let any = |of: &[Outcome]| outcomes.iter().any(|(outcome, _)| of.contains(outcome));
        Ok(any(&[Outcome::Failed, Outcome::TimedOut]) && !any(&[Outcome::Succeeded]))
    }

    /// The newest job of a commit on a ref, if it ended neither well nor by a decision to leave it alone.
    pub fn failed_job(
        &self,
        project: &ProjectName,
        reference: &RefName,
        commit: &CommitId,
    ) -> Result<Option<JobRecord>, StoreError> {
        let newest = self.rows(
            "SELECT max(id) FROM jobs WHERE project = ?1 AND ref = ?2 AND commit_id = ?3",
            params![project.as_str(), reference.as_bytes(), commit.as_str()],
            |row| get::<Option<i64>>(row, 0),
        )?;
        let Some(id) = newest.into_iter().flatten().next() else {
            return Ok(None);
        };
        let is_bad = |record: &JobRecord| {
            let JobState::Done(outcome) = record.job.state else {
                return false;
            };
            !matches!(outcome, Outcome::Succeeded | Outcome::Skipped | Outcome::Superseded)
        };
        Ok(self.job(JobId(id))?.filter(is_bad))
    }

    /// How the jobs of a commit on a ref have ended, each with whether a skip was for good.
    fn outcomes(
        &self,
        project: &ProjectName,
        reference: &RefName,
        commit: &CommitId,
    ) -> Result<Vec<(Outcome, bool)>, StoreError> {
        let rows = self.rows(
            "SELECT outcome, lasting FROM jobs WHERE project = ?1 AND ref = ?2 AND commit_id = ?3 AND state = 'done'",
            params![project.as_str(), reference.as_bytes(), commit.as_str()],
            |row| Ok((get::<String>(row, 0)?, get::<bool>(row, 1)?)),
        )?;
        let known = rows.into_iter();
        Ok(known
            .filter_map(|(word, lasting)| Some((Outcome::parse(&word)?, lasting)))
            .collect())
    }

    /// The newest job of each ref that ever had one: of one project, or of all.
    pub fn newest_jobs(&self, project: Option<&ProjectName>) -> Result<Vec<JobRecord>, StoreError> {
        let ids = self.rows(
            "SELECT max(id) FROM jobs WHERE ?1 IS NULL OR project = ?1 GROUP BY project, ref",
            [project.map(ProjectName::as_str)],
            |row| Ok(JobId(get(row, 0)?)),
        )?;
        let mut records = Vec::new();
        for id in ids {
            records.extend(self.job(id)?);
        }
        Ok(records)
    }

    /// The job whose attempt began last: of a project, or of one of its refs.
    pub fn newest_attempt(
        &self,
        project: &ProjectName,
        reference: Option<&RefName>,
    ) -> Result<Option<JobId>, StoreError> {
        let found = self.rows(
            "SELECT jobs.id FROM attempts JOIN jobs ON jobs.id = attempts.job
             WHERE project = ?1 AND (?2 IS NULL OR ref = ?2) ORDER BY started DESC, jobs.id DESC LIMIT 1",
            params![project.as_str(), reference.map(RefName::as_bytes)],
            |row| Ok(JobId(get(row, 0)?)),
        )?;
        Ok(found.into_iter().next())
    }

    /// Every project that was ever looked at.
    pub fn project_names(&self) -> Result<BTreeSet<ProjectName>, StoreError> {
        let names = self.rows("SELECT name FROM projects", [], |row| rows::project(get(row, 0)?))?;
        Ok(names.into_iter().collect())
    }

    /// Whether a job is the newest one of its ref that succeeded, counted with itself.
    pub fn is_newest_success(&self, job: &Job) -> Result<bool, StoreError> {
        let newer: i64 = self
            .connection
            .query_row(
                "SELECT count(*) FROM jobs WHERE project = ?1 AND ref = ?2 AND id > ?3 AND outcome = 'succeeded'",
                params![job.project.as_str(), job.reference.as_bytes(), job.id.0],
                |row| row.get(0),
            )
            .map_err(sql("read"))?;
        Ok(newer == 0)
    }

    fn attempts(&self, job: JobId, finished: Option<Timestamp>) -> Result<Vec<AttemptRecord>, StoreError> {
        self.rows(
            "SELECT n, dir, started, ended, failure, image_id, waits_since, waited FROM attempts WHERE job = ?1 ORDER BY n",
            [job.0],
            |row| {
                let (since, waited): (Option<i64>, i64) = (get(row, 6)?, get(row, 7)?);
                let last = since.zip(finished).map(|(since, end)| end.as_millisecond() - since);
                let waited = waited + last.unwrap_or(0).max(0);
                Ok(AttemptRecord {
                    n: get(row, 0)?,
                    dir: get(row, 1)?,
                    started: rows::time(get(row, 2)?)?,
                    ended: get::<Option<i64>>(row, 3)?.map(rows::time).transpose()?,
                    failure: rows::failure(get(row, 4)?)?,
                    image_id: get(row, 5)?,
                    waits: since.is_some(),
                    waited: Duration::from_millis(u64::try_from(waited).unwrap_or(0)),
                })
            },
        )
    }

    /// Which projects' remotes cannot be asked.
    pub fn remote_troubles(&self) -> Result<BTreeMap<ProjectName, RemoteTrouble>, StoreError> {
        let rows = self.rows(
            "SELECT name, failing_since, poll_error FROM projects WHERE poll_error IS NOT NULL",
            [],
            |row| {
                let trouble = RemoteTrouble {
                    since: rows::time(get(row, 1)?)?,
                    error: get(row, 2)?,
                };
                Ok((rows::project(get(row, 0)?)?, trouble))
            },
        )?;
        Ok(rows.into_iter().collect())
    }

    pub(super) fn rows<T>(
        &self,
        text: &str,
        values: impl rusqlite::Params,
        read: impl Fn(&rusqlite::Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(text).map_err(sql("read"))?;
        let mut rows = statement.query(values).map_err(sql("read"))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(sql("read"))? {
            found.push(read(row)?);
        }
        Ok(found)
    }
}
