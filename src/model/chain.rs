//! What is known of the edges between images: what an image stands on, as its last checkout has told, and what that was.

use super::{BaseUsed, CommitId, Digest, ImageName, ImageRef, JobId, Node, Outcome};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the last checkout of a ref has told of an image. A project without images has one entry, under its own name: it
/// is nothing but a thing that others may stand on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Of which commit.
    pub commit: CommitId,
    /// The references that its Containerfile builds FROM, in all stages.
    pub bases: BTreeSet<ImageRef>,
    /// Images of the same project that it stands on: the same job builds them.
    pub siblings: BTreeSet<ImageName>,
    /// Where it is released on this ref; empty: nowhere.
    pub targets: BTreeSet<ImageRef>,
    /// Upstream projects that the repository names in `.gitlab-deps`, as [`super::remote_key`] writes their remotes.
    pub remotes: BTreeSet<String>,
    /// Whether the ref is the branch that the remote's HEAD points at, if that was asked.
    pub default: Option<bool>,
    /// Of a project without images: what it relied on then.
    #[serde(default)]
    pub needs: Vec<BaseUsed>,
    /// The last job that built a tip and did not succeed, with the tip; none if it succeeded since.
    pub failed: Option<(CommitId, JobId, Outcome)>,
    /// The atomic waves that this image has begun and that were not released, with what they failed by: of its tip, and of
    /// what is released. None of them since its tip succeeded.
    #[serde(default)]
    pub failed_waves: Vec<FailedWave>,
}

/// An atomic wave that was not released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedWave {
    /// The job that began it.
    pub root: JobId,
    /// What it failed by. What was not tried any more because of these is none of them.
    pub by: Vec<Culprit>,
}

/// What an atomic wave failed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    /// Which image, or project without images.
    pub node: Node,
    /// The job that did not end well.
    pub job: JobId,
    /// Of which commit.
    pub commit: CommitId,
    /// The commit that was released then.
    pub released: Option<CommitId>,
    /// Its end says nothing of how it stands to the wave: it is none of the wave (something of the wave stands on it), or
    /// was not tried to its end. So any success of it is a mend.
    pub by_any_success: bool,
}

impl Links {
    /// What decides the edges of the graph, to be compared.
    pub fn edges(&self) -> impl PartialEq + '_ {
        let Self {
            commit: _,
            bases,
            siblings,
            targets,
            remotes,
            default,
            needs: _,
            failed: _,
            failed_waves: _,
        } = self;
        (bases, siblings, targets, remotes, default)
    }
}

/// What an attempt has learned from its checkout, before it builds anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// Of all images of the project.
    pub links: BTreeMap<ImageName, Links>,
    /// Those that this job builds.
    pub builds: BTreeSet<ImageName>,
}

/// What an image in `depends_on`, or a project there, was when it was relied on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// Which.
    pub node: Node,
    /// What it was released as; none: it was not, or it is a project without images.
    pub digest: Option<Digest>,
    /// From which commit it was built; none: it never was.
    pub commit: Option<CommitId>,
}

/// A release of ours that a base is pinned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Of its manifest; of a local reference the image's id.
    pub digest: Digest,
    /// By which the storage of the engine that built it may have it still.
    #[serde(default)]
    pub id: Option<Digest>,
    /// The job that has built it.
    pub job: JobId,
}

/// What an attempt builds on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ground {
    /// References that are not to be taken for what their registry has, but for exactly these.
    pub parents: BTreeMap<ImageRef, Parent>,
    /// What each image relies on beside its bases, to be recorded among them.
    pub needs: BTreeMap<ImageName, Vec<BaseUsed>>,
    /// By which digests the content of each released image is known: what comes to the same makes nothing stale.
    pub released: BTreeMap<ImageName, BTreeSet<Digest>>,
    /// The wave that it is of by now; none: the one that it began with.
    pub wave: Option<JobId>,
}

/// A project without images as it is after its last good job, for those that need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thing {
    /// The job.
    pub job: JobId,
    /// Its commit.
    pub commit: CommitId,
    /// What it relied on.
    pub needs: Vec<BaseUsed>,
    /// The job's wave.
    pub wave: JobId,
    /// When the job succeeded.
    pub since: Timestamp,
}

/// How far a release of an atomic wave has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseStage {
    /// References may move.
    #[default]
    Moving,
    /// The content goes to all of its places, and no reference moves.
    Gathering,
    /// The content is in all of its places, and waits for the rest of the wave.
    Held,
    /// It is not released: its wave has failed.
    Abandoned,
}
