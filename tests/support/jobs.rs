//! The record as a witness: what the database says of jobs, read without the daemon.

use crate::support::daemon::{Site, strays};
use crate::support::scratch::{SOON, wait_for_state};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// A job as it is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Identity.
    pub id: i64,
    /// Whose.
    pub project: String,
    /// Full name of its ref.
    pub reference: String,
    /// The whole hash.
    pub commit: String,
    /// queued, running, cancelling or done.
    pub state: String,
    /// How it ended.
    pub outcome: Option<String>,
    /// Why it stands where it stands.
    pub note: String,
    /// The names of the directories of its attempts.
    pub attempts: Vec<String>,
}

impl Row {
    /// Its outcome, or the empty string.
    pub fn outcome(&self) -> &str {
        self.outcome.as_deref().unwrap_or_default()
    }
}

/// Every job, the oldest first. None while there is no database yet.
pub fn jobs(workdir: &Path) -> Vec<Row> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(db) = Connection::open_with_flags(workdir.join("pipelined.db"), flags) else {
        return Vec::new();
    };
    db.busy_timeout(SOON).unwrap();
    let query = "SELECT id, project, CAST(ref AS TEXT), commit_id, state, outcome, note, \
                 (SELECT group_concat(dir, ' ') FROM (SELECT dir FROM attempts WHERE job = id ORDER BY n)) \
                 FROM jobs ORDER BY id";
    // A database that was made a moment ago has no tables yet.
    let Ok(mut statement) = db.prepare(query) else {
        return Vec::new();
    };
    let rows = statement.query_map([], |row| {
        Ok(Row {
            id: row.get(0)?,
            project: row.get(1)?,
            reference: row.get(2)?,
            commit: row.get(3)?,
            state: row.get(4)?,
            outcome: row.get(5)?,
            note: row.get(6)?,
            attempts: row
                .get::<_, Option<String>>(7)?
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// The newest job of a commit.
pub fn job_of(workdir: &Path, commit: &str) -> Option<Row> {
    jobs(workdir).into_iter().rev().find(|job| job.commit == commit)
}

/// Waits until the newest job of a commit is as `is` wants it.
#[track_caller]
pub fn wait_job(site: &Site, commit: &str, what: &str, is: impl Fn(&Row) -> bool) -> Row {
    wait_for_state(what, SOON, || {
        let job = job_of(&site.workdir, commit);
        match job {
            Some(job) if is(&job) => Ok(job),
            other => Err(format!(
                "{other:?}, and the daemon says\n{}",
                std::fs::read_to_string(&site.log).unwrap_or_default()
            )),
        }
    })
}

/// Waits until the newest job of a commit has this outcome.
#[track_caller]
pub fn wait_outcome(site: &Site, commit: &str, outcome: &str) -> Row {
    wait_job(site, commit, &format!("{commit} to be {outcome}"), |job| {
        job.outcome() == outcome
    })
}

/// The supervisors among the processes of jobs.
pub fn supervisors(workdir: &Path) -> Vec<nix::unistd::Pid> {
    strays(workdir)
        .into_iter()
        .filter(|(_, command)| command.split(' ').nth(1) == Some("supervise"))
        .map(|(pid, _)| pid)
        .collect()
}

/// The processes of jobs: [`strays`] without those of polls, which come and go, and whose markers have job 0.
pub fn job_strays(workdir: &Path) -> Vec<(nix::unistd::Pid, String)> {
    let mut found = strays(workdir);
    found.retain(|(pid, _)| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environ = String::from_utf8_lossy(&environ);
        let marker = environ.split('\0').find_map(|e| e.strip_prefix("PIPELINED_JOB="));
        marker.is_some_and(|m| m.split('.').nth(1) != Some("0"))
    });
    found
}
