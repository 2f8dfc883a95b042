//! What a decision records.

use super::{
    BaseKey, Check, CommitId, Elsewhere, Failure, Heeded, ImageResult, Job, JobId, Links, Look, Node, Packages, Poke,
    ProjectName, RefName, ReleasePlan, Step, Thing, Tried,
};

/// What to record. All writes of a decision are one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A job as it now is; `lasting` tells whether a skip settles the commit.
    Job {
        /// The job.
        job: Job,
        /// Whether a skip holds when the ref shows the commit again.
        lasting: bool,
    },
    /// An attempt of a job begins.
    Attempt(JobId),
    /// The attempt of a job has ended.
    AttemptEnd {
        /// Whose.
        job: JobId,
        /// Why it did not end well.
        failure: Option<(Step, Failure)>,
        /// The image that it built.
        image_id: Option<String>,
        /// What became of each image.
        images: Vec<ImageResult>,
        /// What it was about to release cannot be finished: the next attempt begins from the start.
        void: bool,
    },
    /// The running attempt of a job ends for now, and goes on later in the same directory.
    AttemptWaits(JobId),
    /// What the last checkout of a ref has told of an image; none: it is not there any more.
    Links {
        /// Which.
        node: Node,
        /// What is known of it now.
        links: Option<Links>,
    },
    /// A project without images as it is after its last good job; none: nobody needs it any more.
    Thing {
        /// Which.
        node: Node,
        /// What is known of it now.
        thing: Option<Thing>,
    },
    /// What the running attempt of a job is about to release.
    Releasing {
        /// Whose.
        job: JobId,
        /// What, and to where.
        plan: ReleasePlan,
    },
    /// The tip of a ref, or that it is not followed any more.
    Ref {
        /// Whose.
        project: ProjectName,
        /// Which.
        reference: RefName,
        /// Its tip.
        commit: Option<CommitId>,
    },
    /// The patterns of the last look.
    Selection {
        /// Whose.
        project: ProjectName,
        /// See [`super::Seen`].
        selection: String,
    },
    /// What was seen of a base; none: nothing stands on it any more.
    Base {
        /// Which.
        base: BaseKey,
        /// What is known of it now.
        check: Option<Check<Look>>,
    },
    /// What was found inside of an image; none: it is not looked into any more.
    Packages {
        /// Which.
        node: Node,
        /// What is known of it now.
        check: Option<Check<Packages>>,
    },
    /// What was found of an image that was built elsewhere; none: it is not looked for any more.
    Elsewhere {
        /// Which.
        node: Node,
        /// What is known of it now.
        check: Option<Check<Elsewhere>>,
    },
    /// Up to when an image's schedule was heeded; none: it has none any more.
    Scheduled {
        /// Which.
        node: Node,
        /// What is known of it now.
        heeded: Option<Heeded>,
    },
    /// A poke as it now is.
    Poke(Box<Poke>),
    /// The last rebuild of an image; none: it does not count.
    Tried {
        /// Which.
        node: Node,
        /// What is known of it now.
        tried: Option<Tried>,
    },
}
