//! What is asked of the daemon, and answered, when images are to be built again.

use crate::model::{ImageName, JobId, ProjectName, RefName};
use serde::{Deserialize, Serialize};

/// `POST /rebuild`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebuildAsked {
    /// Names of images (`project/image`, or `project` for all of its images), release references, and bases that are
    /// none of ours: these stand for what is built FROM them.
    pub images: Vec<String>,
    /// All that stands on them as well.
    #[serde(default)]
    pub recurse: bool,
    /// Of what was not named itself, only what this pattern matches.
    #[serde(rename = "match", default)]
    pub matching: Option<String>,
    /// Without the layer cache, and released also if they have come out the same.
    #[serde(default)]
    pub force: bool,
}

/// The answer to `POST /rebuild`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RebuildStarted {
    /// By which all of its jobs are known, and those that come of them; none if nothing was queued.
    pub wave: Option<JobId>,
    /// One entry for each image; several may have the same job.
    pub jobs: Vec<RebuildJob>,
    /// What is not built again.
    pub refused: Vec<RebuildRefused>,
}

/// An image that is built again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildJob {
    /// By this job.
    pub job: JobId,
    /// `project`, or `project/image`.
    pub name: String,
    /// Whose.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
}

/// An image that is not built again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildRefused {
    /// `project`, or `project/image`.
    pub name: String,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Why not.
    pub why: String,
}
