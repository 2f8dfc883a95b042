//! Bodies of requests and answers, shared by both sides so that they cannot differ.

use crate::model::{JobId, ProjectName};
use serde::{Deserialize, Serialize};

/// `POST /build`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildAsked {
    /// Whose.
    pub project: ProjectName,
    /// A full or short ref name.
    #[serde(rename = "ref", default)]
    pub reference: Option<String>,
}

/// The answer to `POST /build`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Queued {
    /// The job.
    pub job: JobId,
}

/// `POST /cancel`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelAsked {
    /// Which.
    pub jobs: Vec<JobId>,
}

/// The answer to `POST /cancel`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cancelled {
    /// Those that had no outcome yet, and are to end.
    pub jobs: Vec<JobId>,
    /// Those that are finished all the same: they move references with an atomic wave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finishing: Vec<JobId>,
}

/// `POST /poll`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollAsked {
    /// Whose remote; none: all.
    #[serde(default)]
    pub project: Option<ProjectName>,
}

/// The answer to `POST /poll`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Polled {
    /// How many are being asked.
    pub remotes: usize,
}

/// The answer to a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poked {
    /// How much is looked at now.
    pub poked: Looks,
}

/// What is looked at because of a hook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// Projects whose remotes are asked.
    pub projects: usize,
    /// Bases of images.
    pub bases: usize,
}

/// The answer to `POST /reload`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reloaded {
    /// What changed, for people.
    pub summary: String,
}
