//! What an attempt is given, and what is left of it.

use super::desk::Desk;
use super::locks::ReleaseLocks;
use super::select::LastGood;
use crate::config::{Kaniko, Project};
use crate::engine::Engine;
use crate::git::{Asker, Mirrors};
use crate::model::{Failure, ImageName, ImageResult, Job, RefName, ReleasePlan, Step};
use crate::process::{Cancel, Supervisor};
use crate::registry::Registries;
use crate::workdir::Layout;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Everything that an attempt needs, frozen when it starts: a reload does not change it.
#[derive(Debug, Clone)]
pub struct Work {
    /// What to build.
    pub job: Job,
    /// Counts the job's attempts from 1, interrupted ones included.
    pub attempt: i64,
    /// The directory's name below the ref's, without `.tmp`.
    pub dir: String,
    /// A release that an earlier attempt began in this directory: only that is finished, nothing is built again.
    pub resume: Option<ReleasePlan>,
    /// An earlier part of this attempt has waited in this directory: its checkout is there, unless somebody has removed it.
    pub goes_on: bool,
    /// Another project relies on this one.
    pub is_needed: bool,
    /// Why nothing of it is released: it only ends as failed, with this message.
    pub abandoned: Option<String>,
    /// What the project's images were, on each of its refs, when they were last found good.
    pub last_good: BTreeMap<(RefName, ImageName), LastGood>,
    /// How to build it.
    pub project: Project,
    /// With what.
    pub engine: Arc<Engine>,
    /// Images are built by its executor.
    pub kaniko: Option<Kaniko>,
    /// By which images are staged and released.
    pub registries: Registries,
    /// Whose turn it is to move a reference.
    pub locks: ReleaseLocks,
    /// Where a release is put on record.
    pub desk: Desk,
    /// Where.
    pub layout: Layout,
    /// By which checkouts come.
    pub mirrors: Mirrors,
    /// Has connections over ssh that a fetch may use.
    pub asker: Asker,
    /// Starts commands.
    pub supervisor: Supervisor,
    /// The workdir's own name.
    pub instance: String,
    /// Ends the steps: a person's cancel, or the daemon's stop.
    pub cancel: Cancel,
    /// Ends everything, the error callback too: the daemon's stop.
    pub stop: Cancel,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Bytes of `build.log`.
    pub log_limit: u64,
    /// An error on our side is not tried again after this attempt.
    pub last: bool,
}

/// What is left of an attempt.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub result: Result<(), (Step, Failure)>,
    /// What it built.
    pub image_id: Option<String>,
    /// What became of each image.
    pub images: Vec<ImageResult>,
    /// A release that was begun cannot be finished any more: the next attempt builds anew.
    pub void: bool,
}
