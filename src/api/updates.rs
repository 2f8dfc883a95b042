//! What the daemon says of updates.

use crate::model::{CommitId, Digest, ImageName, ImageRef, JobId, PackageUpdate, ProjectName, RefName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `POST /updates`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdatesAsked {
    /// Names of images (`project/image`, or `project` for all of its images) and release references; none: all.
    #[serde(default)]
    pub images: Vec<String>,
    /// Queue what has updates.
    #[serde(default)]
    pub rebuild: bool,
}

/// The answer to `POST /updates`: `GET /updates/ROUND` tells how it goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpdatesStarted {
    /// Its number.
    pub round: u64,
}

/// The answer to `GET /updates/ROUND`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpdatesRound {
    /// Checks that were made.
    pub done: usize,
    /// Of so many.
    pub of: usize,
    /// Every image that was asked for. Empty until all checks are made.
    pub images: Vec<ImageUpdates>,
    /// Images that may have been built elsewhere, and could not be looked for.
    #[serde(default)]
    pub failed: Vec<FailedLook>,
}

/// An image that may have been built elsewhere, and could not be looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedLook {
    /// `project`, or `project/image`.
    pub name: String,
    /// Whose.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Why.
    pub error: String,
}

impl UpdatesRound {
    /// Whether all is told.
    pub fn is_finished(&self) -> bool {
        self.done == self.of
    }
}

/// What is new below an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUpdates {
    /// `project`, or `project/image`.
    pub name: String,
    /// Whose.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Where it is released.
    pub released: Vec<ImageRef>,
    /// From which commit.
    pub commit: CommitId,
    /// The job that released it; none: it was built elsewhere.
    pub job: Option<JobId>,
    /// The wave of that job.
    #[serde(default)]
    pub wave: Option<JobId>,
    /// How it is known what it was built on, in words.
    pub evidence: String,
    /// Whether there are updates that count.
    pub updates: bool,
    /// Of what it stands on.
    pub bases: Vec<BaseUpdates>,
    /// Of what is inside; none: not looked at.
    pub packages: Option<InsideUpdates>,
    /// Why it is not built again although there are updates.
    pub held: Option<String>,
    /// The job that builds it again, if that was asked for or is live.
    pub rebuild: Option<JobId>,
    /// Why there is none although it was asked for.
    pub refused: Option<String>,
    /// When its schedule is due next.
    pub scheduled: Option<Timestamp>,
}

/// How a base stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseUpdates {
    /// As the Containerfile says.
    pub name: String,
    /// `base`, `depends_on` or `sibling`.
    #[serde(default)]
    pub kind: BaseKind,
    /// How it stands.
    pub state: UpdateState,
    /// What was used.
    pub from: Option<Digest>,
    /// Of what is relied on without being a base: from which commit it was.
    #[serde(default)]
    pub commit: Option<CommitId>,
    /// The release of ours that it is at now; none if a look at a registry tells.
    #[serde(default)]
    pub by: Option<OwnRelease>,
    /// Where it is now, if that is elsewhere.
    pub to: Option<Digest>,
    /// How that was found out, or what differs.
    pub how: Option<String>,
    /// Since when it is there.
    pub since: Option<Timestamp>,
    /// The check itself.
    pub check: Option<CheckState>,
}

/// What was found inside of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsideUpdates {
    /// `current`, `updates` or `unknown`.
    pub state: UpdateState,
    /// Which, as far as the check tells.
    pub updates: Vec<PackageUpdate>,
    /// The check itself.
    pub check: Option<CheckState>,
}

/// What an image stands on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseKind {
    /// It is built FROM it.
    #[default]
    Base,
    /// It relies on it.
    DependsOn,
    /// The same job builds both.
    Sibling,
}

/// A release of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRelease {
    /// By which job.
    pub job: JobId,
    /// Its wave.
    pub wave: JobId,
    /// What it is; none of a project without images.
    pub digest: Option<Digest>,
    /// It is held back, and released with the wave that this job began.
    pub held: Option<JobId>,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// It cannot move: named by digest, or built with the image.
    Fixed,
    /// Nothing is new.
    Current,
    /// There is something new.
    Updates,
    /// It moved a moment ago, and counts if it stays there.
    Settling,
    /// Not seen yet, or only before the image was built.
    Unknown,
}

/// How a check goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckState {
    /// The last good one.
    pub last: Option<Timestamp>,
    /// The next one.
    pub next: Option<Timestamp>,
    /// What goes wrong since then.
    pub error: Option<String>,
    /// Since when.
    pub failing_since: Option<Timestamp>,
}
