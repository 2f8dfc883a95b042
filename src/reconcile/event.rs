//! What can happen, and what follows from it.

use crate::model::{CommitId, Failure, ImageResult, JobId, ProjectName, RefName, ReleasePlan, Step, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whatever can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The state was loaded: whatever ran before runs no more.
    Recovered,
    /// Another config is in force.
    ConfigChanged,
    /// A remote was asked, and this is all that it has.
    RefsListed {
        /// Whose remote.
        project: ProjectName,
        /// Branches and tags with their commits.
        refs: Arc<BTreeMap<RefName, CommitId>>,
        /// Those whose commit has an outcome that settles it (see [`crate::model::settles`]).
        settled: BTreeSet<RefName>,
    },
    /// A person wants a commit built.
    BuildRequested {
        /// Whose.
        project: ProjectName,
        /// Which ref.
        reference: RefName,
        /// Its tip.
        commit: CommitId,
    },
    /// A person wants a job to end.
    CancelRequested {
        /// Which.
        job: JobId,
    },
    /// A running attempt is about to release.
    Releasing {
        /// Whose.
        job: JobId,
        /// What, and to where.
        plan: ReleasePlan,
    },
    /// An attempt has ended.
    AttemptEnded {
        /// Whose.
        job: JobId,
        /// How.
        result: Result<(), (Step, Failure)>,
        /// The image that it built.
        image_id: Option<String>,
        /// What became of each image.
        images: Vec<ImageResult>,
        /// What it was about to release cannot be finished.
        void: bool,
        /// An error is not tried again, as the attempt was told when it began, and told the error callback.
        last: bool,
    },
    /// Time has passed.
    Tick,
    /// Finish what is there, take nothing new.
    Drain,
    /// Interrupt what runs, start nothing.
    Stop,
}

/// What to do once the writes are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Begin an attempt.
    Start(JobId),
    /// End the running attempt: a person wants it.
    Cancel(JobId),
    /// End the running attempt: the daemon stops.
    Interrupt(JobId),
    /// A person's request is this job.
    Queued(JobId),
}

/// What an event leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Recorded first.
    pub writes: Vec<Write>,
    /// Done second.
    pub effects: Vec<Effect>,
}
