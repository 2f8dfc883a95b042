//! What scripts get as JSON, the same from every verb, and what people get is made of.
//!
//! These names are a promise: a field may be added, none may go or change its meaning. No credential is in them.

use super::blocked::BlockedView;
use super::circles::CircleView;
use super::failed_waves::FailedWaveView;
use super::poke_view::PokedView;
use super::style::plain;
use super::time::{ago, between, until};
use super::update_summary::UpdatesView;
use crate::api::{DaemonStatus, RemoteStatus};
use crate::model::{CommitId, Failure, JobId, JobState, ProjectName, RefName, Step, mask_url};
use crate::store::{AttemptRecord, JobRecord, RemoteTrouble};
use crate::workdir::Layout;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::path::PathBuf;
use std::time::Duration;

/// `status --json`.
#[derive(Debug, Serialize)]
pub(super) struct StatusView {
    /// None if none runs.
    pub daemon: Option<DaemonStatus>,
    /// Those of the config and of the record.
    pub projects: Vec<ProjectView>,
    /// Jobs without an outcome, in the order of the queue.
    pub jobs: Vec<JobView>,
    /// None if nothing released is kept up to date, or the config is not known.
    pub updates: Option<UpdatesView>,
    /// Images that wait for what failed above them to be mended; none are known if the config is not.
    pub blocked: Vec<BlockedView>,
    /// Atomic waves that failed and are not released since; none are known if the config is not.
    pub failed_waves: Vec<FailedWaveView>,
    /// Images that stand on themselves; none are known if the config is not.
    pub circles: Vec<CircleView>,
    /// Places outside that were not told of a release: it was rejected, given up, or does not get through.
    pub pokes: Vec<PokedView>,
}

/// A project.
#[derive(Debug, Serialize)]
pub(super) struct ProjectView {
    /// Its name.
    pub name: ProjectName,
    /// Masked; none if the config is not known, or does not have the project.
    pub remote: Option<String>,
    /// None if the config is not known; false also if it does not have the project.
    pub enabled: Option<bool>,
    /// Why its remote cannot be asked.
    pub trouble: Option<TroubleView>,
    /// Why `git ls-remote` asks its remote, if it does: the daemon itself does so for a hundredth of the cost.
    pub fallback: Option<String>,
    /// Its refs.
    pub refs: Vec<RefView>,
}

/// Why a remote cannot be asked.
#[derive(Debug, Serialize)]
pub(super) struct TroubleView {
    /// When it began.
    pub since: Timestamp,
    /// The last error.
    pub error: String,
    /// When it is asked again; none if no daemon runs, or right now.
    pub next: Option<Timestamp>,
}

/// A ref with its newest job.
#[derive(Debug, Serialize)]
pub(super) struct RefView {
    /// Its full name.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Its tip at the last look; none if it was not there then, or is not selected.
    pub commit: Option<CommitId>,
    /// Its newest job.
    pub job: Option<JobView>,
    /// The newest job of its tip, if that failed and the newest job of the ref is of another commit.
    pub tip_job: Option<JobView>,
    /// What it has released last, if that is not its tip.
    pub released: Option<ReleasedView>,
}

/// What a ref has released last.
#[derive(Debug, Serialize)]
pub(super) struct ReleasedView {
    /// From this commit.
    pub commit: CommitId,
    /// By this job; none if it was built elsewhere.
    pub job: Option<JobId>,
}

impl RefView {
    /// The job that tells how the ref is: what failed at its tip must not hide behind an older commit that was built again.
    pub fn telling(&self) -> Option<&JobView> {
        let live = self.job.as_ref().filter(|job| job.outcome.is_none());
        live.or(self.tip_job.as_ref()).or(self.job.as_ref())
    }

    /// What there is to say beside how that job stands; empty if nothing.
    pub fn beside(&self) -> String {
        let Some(job) = self.telling() else {
            return String::new();
        };
        let mut told = String::new();
        if let Some(tip) = self.tip_job.as_ref().filter(|tip| tip.id != job.id) {
            told.push_str(&format!(
                "; its tip {} {} (job {})",
                tip.commit.short(),
                tip.word(),
                tip.id
            ));
        }
        let released = self
            .released
            .as_ref()
            .filter(|_| self.tip_job.is_some() || job.is_bad());
        if let Some(ReleasedView { commit, job }) = released {
            let by = job.map(|job| format!(" by job {job}")).unwrap_or_default();
            told.push_str(&format!("; released is {}{by}", commit.short()));
        }
        told
    }
}

/// A job.
#[derive(Debug, Serialize)]
pub(super) struct JobView {
    /// Identity.
    pub id: JobId,
    /// Whose.
    pub project: ProjectName,
    /// For which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// At which commit.
    pub commit: CommitId,
    /// `BUILD_NUMBER`.
    pub number: i64,
    /// Why it exists.
    pub reason: &'static str,
    /// The same in words: what was seen, or asked for.
    pub cause: String,
    /// queued, running, cancelling or done.
    pub state: &'static str,
    /// How it ended.
    pub outcome: Option<&'static str>,
    /// Why it stands where it stands; empty while that goes without saying.
    pub note: String,
    /// The job that began the wave which it belongs to; itself, if no other one has brought it about.
    pub wave: JobId,
    /// When it was decided.
    pub created: Timestamp,
    /// When its newest attempt began.
    pub started: Option<Timestamp>,
    /// When it got its outcome.
    pub finished: Option<Timestamp>,
    /// The end of its backoff.
    pub not_before: Option<Timestamp>,
    /// For which other image it waits, or by which it is blocked; only of what is queued.
    pub waits: Option<String>,
    /// All of them, the first one first.
    pub attempts: Vec<AttemptView>,
    /// Of the newest attempt.
    pub dir: Option<PathBuf>,
}

/// One attempt of a job.
#[derive(Debug, Serialize)]
pub(super) struct AttemptView {
    /// Counted from 1.
    pub n: i64,
    /// Where it is, or was, on disk.
    pub dir: PathBuf,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it did not end well.
    pub failure: Option<FailureView>,
    /// What it built.
    pub image_id: Option<String>,
    /// It has ended for now, and goes on later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// For how many seconds of its time it has waited for something else.
    #[serde(skip_serializing_if = "Duration::is_zero", serialize_with = "seconds")]
    pub waited: Duration,
}

fn seconds<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(length.as_secs_f64())
}

/// Why an attempt did not end well.
#[derive(Debug, Serialize)]
pub(super) struct FailureView {
    /// Where.
    pub step: Step,
    /// Whose fault, and the message.
    #[serde(flatten)]
    pub failure: Failure,
}

impl JobView {
    /// Of a record in this workdir.
    pub fn new(record: JobRecord, layout: &Layout) -> Self {
        let JobRecord {
            job,
            finished,
            attempts,
        } = record;
        let (state, outcome, not_before) = match job.state {
            JobState::Queued { not_before } => ("queued", None, not_before),
            JobState::Running { cancelling: false } => ("running", None, None),
            JobState::Running { cancelling: true } => ("cancelling", None, None),
            JobState::Done(outcome) => ("done", Some(outcome.as_str()), None),
        };
        let attempts: Vec<AttemptView> = attempts
            .into_iter()
            .map(|attempt| AttemptView::new(attempt, layout, &job.project, &job.reference))
            .collect();
        Self {
            started: attempts.last().map(|a| a.started),
            dir: attempts.last().map(|a| a.dir.clone()),
            id: job.id,
            project: job.project,
            reference: job.reference,
            commit: job.commit,
            number: job.number,
            reason: job.reason.as_str(),
            cause: job.cause,
            state,
            outcome,
            note: job.note,
            wave: job.wave,
            created: job.created,
            finished,
            not_before,
            waits: None,
            attempts,
        }
    }

    /// The word that people read first: its outcome, else where it stands.
    pub fn word(&self) -> &'static str {
        self.outcome.unwrap_or(self.state)
    }

    /// Why it stands where it stands, or at least why it is there.
    pub fn why(&self) -> &str {
        if self.note.is_empty() { &self.cause } else { &self.note }
    }

    /// The same, or for what it waits.
    pub fn stands(&self) -> String {
        match &self.waits {
            Some(waits) => told_wait(waits),
            None => self.why().to_owned(),
        }
    }

    /// Whether it was decided that it need not run: of no interest to most. What could not run is.
    pub fn is_left_out(&self) -> bool {
        self.outcome == Some("skipped") && !self.note.starts_with("blocked: ")
    }

    /// Whether it ended, and not well.
    pub fn is_bad(&self) -> bool {
        self.outcome
            .is_some_and(|outcome| !matches!(outcome, "succeeded" | "skipped" | "superseded"))
    }

    /// How long its newest attempt has worked; none if it has none, or waits.
    pub fn took(&self, now: Timestamp) -> Option<Duration> {
        let end = self.finished.or(self.is_running().then_some(now))?;
        Some(between(self.started?, end).saturating_sub(self.waited()))
    }

    /// How long its newest attempt has waited.
    pub fn waited(&self) -> Duration {
        self.attempts.last().map_or(Duration::ZERO, |attempt| attempt.waited)
    }

    /// Whether an attempt of it is running.
    pub fn is_running(&self) -> bool {
        matches!(self.state, "running" | "cancelling")
    }

    /// `job 12 (ruby main 5bf417f5)`.
    pub fn title(&self) -> String {
        let (project, name, commit) = (&self.project, self.reference.short(), self.commit.short());
        format!("job {} ({project} {name} {commit})", self.id)
    }
}

impl AttemptView {
    fn new(record: AttemptRecord, layout: &Layout, project: &ProjectName, reference: &RefName) -> Self {
        Self {
            n: record.n,
            dir: layout.existing(project, reference, &record.dir),
            started: record.started,
            ended: record.ended,
            failure: record.failure.map(|(step, failure)| FailureView { step, failure }),
            image_id: record.image_id,
            waits: record.waits,
            waited: record.waited,
        }
    }
}

impl TroubleView {
    /// Of a record, and what the daemon says of the remote.
    pub fn new(trouble: RemoteTrouble, remote: Option<&RemoteStatus>) -> Self {
        Self {
            since: trouble.since,
            error: trouble.error,
            next: remote.and_then(|remote| remote.next),
        }
    }

    /// In words, for people.
    pub fn story(&self, now: Timestamp) -> String {
        let next = self
            .next
            .map_or_else(String::new, |at| format!("; asked again {}", until(at, now)));
        format!("since {}: {}{next}", ago(self.since, now), plain(&self.error))
    }
}

/// `waits: ruby: job 8 is running`; what says itself how it stands is left as it is.
pub(super) fn told_wait(waits: &str) -> String {
    match waits.starts_with("blocked: ") || waits.starts_with("it is built") {
        true => waits.to_owned(),
        false => format!("waits: {waits}"),
    }
}

/// A remote as it may be shown.
pub(super) fn shown_remote(remote: &str) -> String {
    mask_url(remote)
}
