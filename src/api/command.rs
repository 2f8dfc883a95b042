//! Requests to the daemon.

use super::message::{Cancelled, Looks};
use super::pokes::{PokesAsked, PokesSent};
use super::rebuild::{RebuildAsked, RebuildStarted};
use super::updates::{UpdatesAsked, UpdatesRound, UpdatesStarted};
use crate::hooks::Hint;
use crate::model::{JobId, ProjectName, Sender};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Where an answer goes.
pub type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// Why the daemon does not do what it was asked for, in words for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
pub struct Refused(pub String);

/// A request with a place for its answer.
#[derive(Debug)]
pub enum Command {
    /// How are you?
    Status(Answer<DaemonStatus>),
    /// Ask the remote now, and build this ref's tip, again if need be.
    Build {
        /// Whose.
        project: ProjectName,
        /// A full or short ref name; none: the only branch that is followed.
        reference: Option<String>,
        /// The job.
        answer: Answer<JobId>,
    },
    /// End these jobs.
    Cancel {
        /// Which, by number.
        jobs: Vec<JobId>,
        /// What comes of it.
        answer: Answer<Cancelled>,
    },
    /// Build released images again, with what stands on them.
    Rebuild {
        /// Which, and how.
        asked: RebuildAsked,
        /// The jobs.
        answer: Answer<RebuildStarted>,
    },
    /// Ask the remotes now: of one project, or of all.
    Poll {
        /// Whose.
        project: Option<ProjectName>,
        /// How many remotes are being asked.
        answer: Answer<usize>,
    },
    /// Check released images now.
    Updates {
        /// Which, and what then.
        asked: UpdatesAsked,
        /// Where to ask how it goes.
        answer: Answer<UpdatesStarted>,
    },
    /// Tell those again who have not taken a release.
    Pokes {
        /// Of what.
        asked: PokesAsked,
        /// Who is told.
        answer: Answer<PokesSent>,
    },
    /// How do the checks go?
    UpdatesRound {
        /// Which.
        round: u64,
        /// So.
        answer: Answer<UpdatesRound>,
    },
    /// Somebody says that something has changed.
    Hook {
        /// Who.
        sender: Sender,
        /// What.
        hints: Vec<Hint>,
        /// How much of it is looked at.
        answer: Answer<Looks>,
    },
    /// Read the config again, as HUP does. Refused with the diagnostics if it is bad.
    Reload(Answer<String>),
}

/// What only the running daemon knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// running, draining or stopping.
    pub mode: String,
    /// Jobs at once.
    pub limit: usize,
    /// Of the config in force.
    pub config: String,
    /// How the remotes answer.
    pub polls: PollStatus,
    /// Registries that count what is pulled, or that do not want to be asked for a while.
    #[serde(default)]
    pub registries: Vec<RegistryStatus>,
    /// What has come of webhooks.
    #[serde(default)]
    pub hooks: HookStatus,
}

/// Webhooks since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Where they are taken by TCP.
    pub listen: Option<String>,
    /// Those that were heard, whatever they name.
    pub accepted: u64,
    /// Those without the right secret, and those that make no sense.
    pub refused: u64,
    /// Those that were too many.
    pub limited: u64,
}

/// What a registry has said of its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    /// Its host.
    pub registry: String,
    /// How many pulls it allows.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub remaining: Option<u64>,
    /// In how many seconds.
    pub window: Option<u64>,
    /// It is not asked before then: it said so.
    pub paused_until: Option<Timestamp>,
}

/// What was asked of remotes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollStatus {
    /// Distinct ones that are watched.
    pub remotes: usize,
    /// Questions since the start.
    pub asked: u64,
    /// Of these, whose answer was the same as before.
    pub unchanged: u64,
    /// Of these, without an answer.
    pub failed: u64,
    /// Remotes that fail, or that only git itself can ask.
    pub noteworthy: Vec<RemoteStatus>,
}

/// What there is to tell of a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteStatus {
    /// Masked.
    pub remote: String,
    /// Those that follow it.
    pub projects: Vec<ProjectName>,
    /// The last question had no answer.
    pub failing: bool,
    /// Why `git ls-remote` has to ask it, which costs a hundred times more.
    pub fallback: Option<String>,
    /// When it is asked next; none while it is asked, or waits for its turn.
    pub next: Option<Timestamp>,
}
