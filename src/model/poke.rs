//! Telling dependents that live elsewhere of a release: to whom, of what, and how far that has come.
//!
//! It exists so that what is still to be told outlives the daemon. It must never hold a secret: all of it is kept on record
//! and shown to people.

use super::{CommitId, Digest, ImageRef, JobId, Node};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A poke's identity in the database; grows, is never used twice. Whoever is poked sees it at each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PokeId(pub i64);

impl std::fmt::Display for PokeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What is poked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PokeKind {
    /// A pipeline of GitLab, by a trigger token.
    Gitlab,
    /// Whatever listens at a URL.
    Webhook,
}

impl PokeKind {
    /// As the config and people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gitlab => "gitlab",
            Self::Webhook => "webhook",
        }
    }
}

/// Where a poke goes, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PokePlace {
    /// What is there.
    pub kind: PokeKind,
    /// Its URL without what is behind a question mark, which may be secret.
    pub url: String,
    /// The project on that GitLab.
    pub project: Option<String>,
    /// The ref that its pipeline runs on.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The same for two entries of the config exactly if they go to the same place, all of the URL counted.
    pub key: String,
}

impl std::fmt::Display for PokePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.as_str())?;
        if let Some(project) = &self.project {
            write!(f, " {project}")?;
        }
        if let Some(reference) = &self.reference {
            write!(f, " {reference}")?;
        }
        match self.project.is_some() {
            true => write!(f, " at {}", self.url),
            false => write!(f, " {}", self.url),
        }
    }
}

/// A release that somebody elsewhere is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poke {
    /// Identity.
    pub id: PokeId,
    /// The image, and from which ref it was released.
    pub node: Node,
    /// The job that released it.
    pub job: JobId,
    /// From which commit.
    pub commit: CommitId,
    /// In which wave.
    pub wave: JobId,
    /// The first of the references that it was released as.
    pub image: ImageRef,
    /// All of them.
    pub references: Vec<ImageRef>,
    /// What they point at: the digest of a manifest, in an engine's storage an image's id. None where the engine does not
    /// tell.
    pub digest: Option<Digest>,
    /// Who is told.
    pub place: PokePlace,
    /// When it was released.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next: Timestamp,
    /// Why the last attempt came to nothing.
    pub error: Option<String>,
    /// How it ended, and when; none while it is to be delivered.
    pub end: Option<PokeEnd>,
}

/// The end of a poke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PokeEnd {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: PokeOutcome,
}

/// How a poke ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PokeOutcome {
    /// It was taken, with this answer.
    Delivered(PokeAnswer),
    /// It was refused, so that it is not tried again: [`Poke::error`] says why.
    Rejected,
    /// It was tried for too long: [`Poke::error`] says what came of the last attempt.
    GivenUp,
    /// A later release to the same place was told in its stead.
    Superseded(PokeId),
    /// The config does not name the place any more.
    Dropped,
}

impl PokeOutcome {
    /// The word that is stored and shown.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Rejected => "rejected",
            Self::GivenUp => "given up",
            Self::Superseded(_) => "superseded",
            Self::Dropped => "dropped",
        }
    }
}

impl Poke {
    /// Where it stands, in a word: that of its end, or `waiting`.
    pub fn word(&self) -> &'static str {
        self.end.as_ref().map_or("waiting", |end| end.how.as_str())
    }

    /// Whether people should look after it: it was refused or given up, or does not get through.
    pub fn is_trouble(&self) -> bool {
        match self.end.as_ref().map(|end| &end.how) {
            None => self.error.is_some(),
            Some(PokeOutcome::Rejected | PokeOutcome::GivenUp) => true,
            Some(PokeOutcome::Delivered(_) | PokeOutcome::Superseded(_) | PokeOutcome::Dropped) => false,
        }
    }
}

/// What whoever was poked has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PokeAnswer {
    /// Of HTTP.
    pub status: u16,
    /// The begin of what it said.
    pub text: String,
    /// The pipeline's page, if it named one.
    pub web_url: Option<String>,
}

/// Why a poke was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PokeError {
    /// It would be refused again.
    pub rejected: bool,
    /// For people.
    pub message: String,
    /// Whoever was poked does not want to be before then.
    pub not_before: Option<Timestamp>,
}
