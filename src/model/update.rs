//! What is known of released images and of what they stand on: the inputs of the question whether there is something new
//! below them.

use super::{
    BaseUsed, CommitId, Digest, ImageName, ImageRef, JobId, Links, Outcome, PokeId, ProjectName, RefName, Standings,
    Thing,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An image on a ref that releases it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node {
    /// Whose.
    pub project: ProjectName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Which.
    pub image: ImageName,
}

impl Node {
    /// What is known of the images of a ref.
    pub fn of_ref<'a, T>(
        known: &'a BTreeMap<Self, T>,
        project: &'a ProjectName,
        reference: &'a RefName,
    ) -> impl Iterator<Item = (&'a Self, &'a T)> {
        let first = Self {
            project: project.clone(),
            reference: reference.clone(),
            image: ImageName::least(),
        };
        let from = known.range(first..);
        from.take_while(move |(node, _)| node.project == *project && node.reference == *reference)
    }

    /// The same of all refs of a project.
    pub fn of_project<'a, T>(
        known: &'a BTreeMap<Self, T>,
        project: &'a ProjectName,
    ) -> impl Iterator<Item = (&'a Self, &'a T)> {
        let first = Self {
            project: project.clone(),
            reference: RefName::least(),
            image: ImageName::least(),
        };
        known
            .range(first..)
            .take_while(move |(node, _)| node.project == *project)
    }
}

/// How it is known what an image was built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It was built here, and is on record.
    Record,
    /// The record is lost, and the image has the labels of a build by us.
    OurLabels,
    /// Built elsewhere: the image has `org.opencontainers.image.base.*`.
    BaseLabels,
    /// Built elsewhere, and says nothing: its first layers are compared with those of the base that its Containerfile names.
    Layers,
}

impl Evidence {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "the record of its build",
            Self::OurLabels => "its pipelined labels",
            Self::BaseLabels => "its org.opencontainers.image.base labels",
            Self::Layers => "its first layers",
        }
    }
}

/// A released image, and what it was built on as far as that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The job that released it; none: it was built elsewhere.
    pub job: Option<JobId>,
    /// From which commit; of what was built elsewhere the tip, from which it would be built.
    pub commit: CommitId,
    /// The image's id.
    pub id: Option<Digest>,
    /// Of its manifest.
    pub digest: Option<Digest>,
    /// Release references that are its own still: no other image was released there since.
    pub released: Vec<ImageRef>,
    /// What it stands on. A build that came to the same content puts what it used in its place.
    pub bases: Vec<BaseUsed>,
    /// When `bases` were last found to be what there is, by building on them.
    pub verified: Timestamp,
    /// How `bases` are known.
    pub evidence: Evidence,
    /// Its own layers, for [`Evidence::Layers`].
    pub layers: Vec<Digest>,
    /// When it was released, or found.
    #[serde(default)]
    pub since: Timestamp,
    /// The wave of the job that released it.
    pub wave: Option<JobId>,
    /// Digests of earlier releases with the same content.
    #[serde(default)]
    pub alike: BTreeSet<Digest>,
}

/// A base that is looked at, however many images stand on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseKey {
    /// Under which name.
    pub reference: ImageRef,
    /// For what is only in an engine's storage: whose env says which storage that is.
    pub project: Option<ProjectName>,
}

/// A base as an image has used it, to be compared with what is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The base.
    pub base: BaseUsed,
    /// For [`Evidence::Layers`]: the image's own layers, which must begin with those of the base.
    pub layers: Option<Vec<Digest>>,
}

impl Used {
    /// The same for two uses exactly if they compare alike.
    pub fn key(&self) -> String {
        let platform = self.base.platform.as_deref().unwrap_or("-");
        if let Some(layers) = &self.layers {
            let layers: Vec<&str> = layers.iter().map(Digest::as_str).collect();
            return format!("{platform} layers {}", layers.join(" "));
        }
        let known = self.base.id.iter().chain(&self.base.digests).next();
        format!("{platform} {}", known.map_or("-", Digest::as_str))
    }

    /// Whether what a reference is at is what was used, by its digest alone.
    pub fn is_at(&self, head: &Digest) -> bool {
        self.layers.is_none() && (self.base.digests.contains(head) || self.base.id.as_ref() == Some(head))
    }
}

/// What a look deeper than the digest has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// [`Used::key`] of what was compared.
    pub used: String,
    /// The id of the image that is there now for this platform, if there is one.
    pub present: Option<Digest>,
    /// Whether it has the same content, or cannot be compared.
    pub same: bool,
    /// There is nothing for this platform: no update, but nothing that could be built on either.
    #[serde(default)]
    pub absent: bool,
    /// What was compared, and what differs: for people.
    pub how: String,
}

/// What was seen of a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// What its reference is at: the digest of a manifest or an index; in an engine's storage an image's id.
    pub head: Digest,
    /// When it was seen there first.
    pub since: Timestamp,
    /// When it was seen there last.
    pub checked: Timestamp,
    /// How this compares with what images have used, where the digest alone does not tell.
    pub compared: Vec<Compared>,
}

/// A package that would be upgraded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageUpdate {
    /// Its name.
    pub name: String,
    /// The version that is in the image; none for what would be new.
    pub old: Option<String>,
    /// The version that there is.
    pub new: Option<String>,
}

impl std::fmt::Display for PackageUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, " {old} → {new}"),
            (None, Some(new)) => write!(f, " {new}"),
            (_, None) => Ok(()),
        }
    }
}

/// What a package check has found in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// The image that was looked into, by the digest (locally the id) that it was released under.
    pub image: Digest,
    /// When.
    pub checked: Timestamp,
    /// Whether there are updates.
    pub needed: bool,
    /// Which, as far as the check tells.
    pub updates: Vec<PackageUpdate>,
}

/// What was found where an image that was not built here would be released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// When.
    pub checked: Timestamp,
    /// The image, if there is one.
    pub found: Option<Standing>,
}

/// A check that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTrouble {
    /// Since when.
    pub since: Timestamp,
    /// How often in a row.
    pub failures: u32,
    /// The last error, for people.
    pub error: String,
}

/// Why a check has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckError {
    /// For people.
    pub message: String,
    /// Whoever was asked does not want to be asked before then.
    pub not_before: Option<Timestamp>,
}

/// A check that is made again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check<T> {
    /// The last good one.
    pub last: Option<T>,
    /// What goes wrong since.
    pub trouble: Option<CheckTrouble>,
    /// When it is made next.
    pub next: Timestamp,
}

/// What a check has found, with when that was.
pub trait Timestamped {
    /// When the check was made.
    fn checked(&self) -> Timestamp;
}

impl Timestamped for Look {
    fn checked(&self) -> Timestamp {
        self.checked
    }
}

impl Timestamped for Elsewhere {
    fn checked(&self) -> Timestamp {
        self.checked
    }
}

impl Timestamped for Packages {
    fn checked(&self) -> Timestamp {
        self.checked
    }
}

/// The last rebuild of a released image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What was new then: for the same, it is not built again.
    pub key: String,
    /// The job.
    pub job: JobId,
    /// How it ended, and when; none while it is live.
    pub ended: Option<(Outcome, Timestamp)>,
}

/// Up to when a schedule was heeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heeded {
    /// The schedule: another one begins anew.
    pub cron: String,
    /// What was due until then has led to a job, or was none of ours.
    pub until: Timestamp,
}

/// A check that is being made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What is a base at?
    Base(BaseKey),
    /// Which packages of an image are old?
    Inside(Node),
    /// Is an image there that was built elsewhere?
    Elsewhere(Node),
}

/// What a job that rebuilds is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuild {
    /// The images that are built again, each with the job whose release it renews: a release that came after that one is
    /// not overwritten. None: what is there was built elsewhere.
    pub images: BTreeMap<ImageName, Option<JobId>>,
    /// For these inputs: [`Tried::key`].
    pub key: String,
    /// It is released also if it has come out the same.
    #[serde(default)]
    pub force: bool,
}

/// Everything that is known of updates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updates {
    /// What is released.
    pub standings: Standings,
    /// What was seen of bases.
    pub bases: BTreeMap<BaseKey, Check<Look>>,
    /// What was found inside of images.
    pub packages: BTreeMap<Node, Check<Packages>>,
    /// Looks for images that were built elsewhere.
    pub elsewhere: BTreeMap<Node, Check<Elsewhere>>,
    /// Schedules.
    pub scheduled: BTreeMap<Node, Heeded>,
    /// Rebuilds.
    pub tried: BTreeMap<Node, Tried>,
    /// What the last checkouts have told of images.
    pub links: BTreeMap<Node, Links>,
    /// Projects without images, on the branch that counts.
    pub things: BTreeMap<Node, Thing>,
}

/// Checks as they go, which no record has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checking {
    /// Those that are being made, since when.
    pub asked: BTreeMap<Question, Timestamp>,
    /// When the next one is due, as far as is known.
    pub next: Option<Timestamp>,
    /// Pokes that are on their way.
    pub poking: BTreeSet<PokeId>,
    /// When the next poke is due of those that are not.
    pub poke_at: Option<Timestamp>,
    /// Bases that somebody says have changed.
    pub hinted: Hinted,
}

/// What hooks have said of bases, and how long none is heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hinted {
    /// Those that were named since they were last asked for.
    pub bases: BTreeSet<BaseKey>,
    /// When each was looked at last, well or not.
    pub looked: BTreeMap<BaseKey, Timestamp>,
    /// Registries that do not want to be asked before then.
    pub pauses: BTreeMap<String, Timestamp>,
}

impl Standing {
    /// What it is known by under one of its references: the digest of its manifest, in an engine's storage its id.
    pub fn known_at(&self, reference: &ImageRef) -> Option<&Digest> {
        match reference.is_local() {
            true => self.id.as_ref(),
            false => self.digest.as_ref(),
        }
    }

    /// What it is known by where it was released: the digest of its manifest, in an engine's storage its id.
    pub fn known_by(&self) -> Option<&Digest> {
        match self.released.iter().any(|reference| !reference.is_local()) {
            true => self.digest.as_ref(),
            false => self.id.as_ref(),
        }
    }
}
