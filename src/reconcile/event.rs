//! What can happen, and what follows from it.

use super::judge::News;
use crate::model::{
    BaseKey, CheckError, CommitId, Compared, Digest, Failure, Ground, ImageRef, ImageResult, JobId, Learned, Node,
    Packages, Poke, PokeAnswer, PokeError, PokeId, ProjectName, RefName, ReleasePlan, Standing, Step, Used, Write,
};
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
    /// A person wants released images built again.
    RebuildRequested {
        /// Which, and what is new below them.
        wanted: Vec<(Node, News)>,
    },
    /// A person wants these built again, each once and all in one wave, whatever is new below them.
    RebuildAsked {
        /// Which.
        nodes: BTreeSet<Node>,
        /// Also released if they have come out the same.
        force: bool,
    },
    /// A person wants a job to end.
    CancelRequested {
        /// Which.
        job: JobId,
    },
    /// A running attempt has read its checkout.
    Learned {
        /// Whose.
        job: JobId,
        /// What stands there.
        learned: Learned,
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
    /// A base was looked at: what it is at, and how this compares with what its images have used.
    BaseSeen {
        /// Which.
        base: BaseKey,
        /// What was seen.
        result: Result<(Digest, Vec<Compared>), CheckError>,
        /// Refs of images that stand on it, whose tip was built and failed.
        failed_tips: BTreeSet<(ProjectName, RefName)>,
    },
    /// The packages of a released image were looked at.
    PackagesSeen {
        /// Which.
        node: Node,
        /// What was found.
        result: Result<Packages, CheckError>,
    },
    /// An image that was not built here was looked for where it would be released.
    ElsewhereSeen {
        /// Which.
        node: Node,
        /// What was found.
        result: Result<Option<Standing>, CheckError>,
    },
    /// Whoever was poked has answered, or has not.
    Poked {
        /// Which poke.
        poke: PokeId,
        /// The answer.
        result: Result<PokeAnswer, PokeError>,
    },
    /// A person wants these sent again, which were not taken.
    PokeAgain {
        /// As they are on record.
        pokes: Vec<Poke>,
    },
    /// Somebody says that these have changed: look now, and not when it is their turn.
    LookNow {
        /// As images name them.
        bases: BTreeSet<ImageRef>,
    },
    /// Time has passed.
    Tick,
    /// Finish what is there, take nothing new.
    Drain,
    /// Interrupt what runs, start nothing.
    Stop,
}

/// What to do once the writes are committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Begin an attempt.
    Start(JobId),
    /// End the running attempt: a person wants it.
    Cancel(JobId),
    /// End the running attempt: the daemon stops.
    Interrupt(JobId),
    /// A person's request is this job.
    Queued(JobId),
    /// A person's request to build an image again is this job.
    Rebuilt {
        /// Which.
        node: Node,
        /// The job.
        job: JobId,
    },
    /// A person's request to build an image again leads to nothing.
    NotRebuilt {
        /// Which.
        node: Node,
        /// Why not, for people.
        why: String,
    },
    /// A running attempt waits, and goes on later.
    Wait {
        /// Whose.
        job: JobId,
        /// For what, for people.
        why: String,
    },
    /// A running attempt goes on.
    Go {
        /// Whose.
        job: JobId,
        /// On what it builds.
        ground: Ground,
    },
    /// A running attempt must not release what it has built.
    Refuse {
        /// Whose.
        job: JobId,
        /// Another attempt would build something else.
        again: bool,
        /// Why, for people.
        why: String,
    },
    /// Look at a base.
    LookAtBase {
        /// Which.
        base: BaseKey,
        /// What images have used of it, to be compared if it is elsewhere by now.
        used: Vec<Used>,
    },
    /// Tell somebody elsewhere of a release.
    Poke(PokeId),
    /// Look for newer packages inside of a released image.
    LookInside(Node),
    /// Look whether an image that was not built here is where it would be released.
    LookElsewhere {
        /// Which.
        node: Node,
        /// The tip, from which it would be built.
        commit: CommitId,
    },
}

/// What an event leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Recorded first.
    pub writes: Vec<Write>,
    /// Done second.
    pub effects: Vec<Effect>,
}
