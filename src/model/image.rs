//! What is known of an image: its name, what it was built from, where it was released.

use super::{Digest, Failure, ImageRef, JobId, Needed, ProjectName, ReleaseStage, Step};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The name of an image within its project: 1 to 128 of `A-Z a-z 0-9 _ - .`, not starting with `-` or `.`. The only
/// image of a project, `[projects.X.image]`, has the project's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName(String);

/// Why a string is not an image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an image name: use 1 to 128 of A-Z a-z 0-9 _ - . and do not start with . or -")]
pub struct ImageNameError(String);

impl ImageName {
    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self, ImageNameError> {
        let name = name.into();
        let fine = (1..=128).contains(&name.len())
            && !name.starts_with(['.', '-'])
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if fine {
            Ok(Self(name))
        } else {
            Err(ImageNameError(name))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// No name comes before this one.
    pub(super) fn least() -> Self {
        Self("0".to_owned())
    }
}

impl std::fmt::Display for ImageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ImageName {
    type Error = ImageNameError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> String {
        name.0
    }
}

/// What people call an image: `ruby/slim`, or just `ruby` for the only image of the project ruby.
pub fn full_name(project: &ProjectName, image: &ImageName) -> String {
    match project.as_str() == image.as_str() {
        true => project.to_string(),
        false => format!("{project}/{image}"),
    }
}

/// A base as it was in fact used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseUsed {
    /// As the Containerfile says, with its variables filled in.
    pub name: String,
    /// The same in normal form; none if it is no reference (an image id, say).
    pub reference: Option<ImageRef>,
    /// Digests of manifests or indexes by which this content is known where it came from, the one that the tag had
    /// first. Empty for what was made here, and where the engine does not tell.
    pub digests: Vec<Digest>,
    /// The image's id: the digest of its config. None where the engine does not tell (kaniko).
    pub id: Option<Digest>,
    /// The digests of its layers, unpacked, from the bottom up. Empty where the engine does not tell.
    pub diff_ids: Vec<Digest>,
    /// `linux/amd64`, `linux/arm/v7`: what it was made for. None where the engine does not tell.
    #[serde(default)]
    pub platform: Option<String>,
    /// The image of the same project that it is, built by the same job.
    #[serde(default)]
    pub sibling: Option<ImageName>,
    /// It is no base, but something that the image relies on, and what that was.
    #[serde(default)]
    pub needed: Option<Needed>,
}

/// How far an image came in a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageStatus {
    /// Built, tested if it has a test, and not to be released on this ref.
    Built,
    /// All of its release references point at what was built.
    Released,
    /// Built again, and the content is that of what is released: nothing was moved.
    Unchanged,
    /// Nothing that concerns it has changed since its last good build.
    Skipped,
    /// Its build, its test or a step of our own did not end well, or it was cut off.
    Failed,
    /// Another image that it stands on failed, so that it was not tried.
    Blocked,
}

impl ImageStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Built,
        Self::Released,
        Self::Unchanged,
        Self::Skipped,
        Self::Failed,
        Self::Blocked,
    ];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Released => "released",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
        }
    }

    /// The status that is stored as this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Whether its content was built and found good: later commits are compared with it. What came out unchanged leaves
    /// that to the build that released it.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Built | Self::Released)
    }
}

/// What became of one image in one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageResult {
    /// Which.
    pub image: ImageName,
    /// How far it came.
    pub status: ImageStatus,
    /// Why: of a skip or a failure, one line for people.
    pub note: String,
    /// Of the image's config: a build with another one is not comparable.
    pub fingerprint: String,
    /// The image's id: the digest of its config.
    pub id: Option<Digest>,
    /// Of its manifest, once it was written for a registry; for what is in the engine's storage only, its id.
    pub digest: Option<Digest>,
    /// What it was built FROM.
    pub bases: Vec<BaseUsed>,
    /// Release references that were moved to `digest`.
    pub released: Vec<ImageRef>,
    /// Digests of what was released there before, if its content is the same.
    #[serde(default)]
    pub alike: BTreeSet<Digest>,
}

impl ImageResult {
    /// Whether some of its references were moved and others were not: half of a release, which must not stay so.
    pub fn is_half_released(&self) -> bool {
        self.status != ImageStatus::Released && !self.released.is_empty()
    }
}

/// Where the content of an image is, while it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// On a registry, in this repository, by digest: the staging reference.
    Registry(ImageRef),
    /// In an archive file, at this path below the job's directory.
    Archive(String),
    /// Only in the engine's storage, by this id.
    Engine(Digest),
}

/// One image that is about to be released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRelease {
    /// The image with its status, bases, id and digest as they are before the release.
    pub result: ImageResult,
    /// Where its content is.
    pub content: Content,
    /// Where its references are to point at it.
    pub targets: Vec<ImageRef>,
}

/// What an attempt is about to release: recorded before the first reference moves, so that whatever cuts it off, the
/// next attempt of the job finishes it to the same digests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasePlan {
    /// Images with something to release.
    pub images: Vec<PlannedRelease>,
    /// What became of the job's other images.
    pub others: Vec<ImageResult>,
    /// How the job ends although these images are released: one of the others failed.
    pub failure: Option<(Step, Failure)>,
    /// Whether references may move.
    #[serde(default)]
    pub stage: ReleaseStage,
    /// What decides to which storage or server a command talks, and as whom: see [`super::RELEASE_VARIABLES`]. By this
    /// the references of a wave are moved also when the config has the project no more.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Where a release reference points, as far as we moved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The reference.
    pub reference: ImageRef,
    /// What it points at.
    pub digest: Digest,
    /// The job that moved it.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
}
