//! One run of a project's pipeline for one (ref, commit), and how it may end.

use super::{CommitId, Failure, FailureKind, ProjectName, Rebuild, RefName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A job's identity in the database; grows, is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a job exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A poll saw a commit at the tip of a selected ref.
    NewCommit,
    /// A person asked.
    Manual,
    /// A base of a released image has other content.
    BaseUpdated,
    /// Packages in a released image have newer versions.
    PackagesUpdated,
    /// What it stands on was released anew.
    UpstreamRebuilt,
    /// Its schedule says so.
    Schedule,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::NewCommit,
        Self::Manual,
        Self::BaseUpdated,
        Self::PackagesUpdated,
        Self::UpstreamRebuilt,
        Self::Schedule,
    ];

    /// The reason that is stored as this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether the engine's layer cache is of no use: what is to be new comes from outside of the Containerfile.
    pub fn needs_no_cache(self) -> bool {
        matches!(self, Self::PackagesUpdated | Self::Schedule)
    }

    /// As `BUILD_REASON` and people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewCommit => "new commit",
            Self::Manual => "manual",
            Self::BaseUpdated => "base updated",
            Self::PackagesUpdated => "packages updated",
            Self::UpstreamRebuilt => "upstream rebuilt",
            Self::Schedule => "schedule",
        }
    }
}

/// A part of a job, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Making the job's directory and reading its env files.
    Setup,
    /// Bringing the commit into `build/`.
    Checkout,
    /// `prepare_callback`.
    Prepare,
    /// Bringing the bases into the engine's storage.
    Pull,
    /// Building the image.
    Build,
    /// Bringing the built image to its staging reference.
    Stage,
    /// Running the test in the built image.
    Test,
    /// Running the built image.
    Run,
    /// Moving the release references to the image.
    Release,
    /// Copying the result to its destination.
    Rsync,
    /// `success_callback`.
    SuccessCallback,
    /// `error_callback`.
    ErrorCallback,
}

impl Step {
    /// As `BUILD_STEP`, the log and people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Checkout => "checkout",
            Self::Prepare => "prepare_callback",
            Self::Pull => "pull",
            Self::Build => "build",
            Self::Stage => "stage",
            Self::Test => "test",
            Self::Run => "run",
            Self::Release => "release",
            Self::Rsync => "rsync",
            Self::SuccessCallback => "success_callback",
            Self::ErrorCallback => "error_callback",
        }
    }

    /// The kind of failure that it is when a signal from elsewhere ends a command of this step: git's and the engine's
    /// own end (out of memory, say) is no fault of the build, and a RUN that is killed has an exit code.
    pub fn on_signal(self) -> FailureKind {
        match self {
            Self::Setup
            | Self::Checkout
            | Self::Pull
            | Self::Build
            | Self::Stage
            | Self::Test
            | Self::Run
            | Self::Release => FailureKind::Errored,
            Self::Prepare | Self::Rsync | Self::SuccessCallback | Self::ErrorCallback => FailureKind::Failed,
        }
    }

    /// The kind of failure that a timeout of this step is: waiting for others in vain is our side's trouble.
    pub fn on_timeout(self) -> FailureKind {
        match self {
            Self::Setup | Self::Checkout | Self::Pull | Self::Stage | Self::Release => FailureKind::Errored,
            _ => FailureKind::TimedOut,
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a job ended. Every job reaches exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All steps ended well.
    Succeeded,
    /// The user's build failed.
    Failed,
    /// Our side failed, and the retries are used up.
    Errored,
    /// A step outlived its timeout.
    TimedOut,
    /// A person cancelled it.
    Cancelled,
    /// A newer commit of the ref took its place.
    Superseded,
    /// It was decided that it need not run.
    Skipped,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::Errored,
        Self::TimedOut,
        Self::Cancelled,
        Self::Superseded,
        Self::Skipped,
    ];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Skipped => "skipped",
        }
    }

    /// The outcome that is stored as this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.as_str() == word)
    }

    /// Whether `error_callback` is told about it.
    pub fn calls_error_callback(self) -> bool {
        match self {
            Self::Failed | Self::Errored | Self::TimedOut | Self::Cancelled => true,
            Self::Succeeded | Self::Superseded | Self::Skipped => false,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waits for its turn; after an errored attempt not before a time.
    Queued {
        /// The end of the backoff.
        not_before: Option<Timestamp>,
    },
    /// An attempt is running.
    Running {
        /// A person asked for its end.
        cancelling: bool,
    },
    /// It has its outcome.
    Done(Outcome),
}

/// A job as the store and the planner know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Identity.
    pub id: JobId,
    /// Whose pipeline runs.
    pub project: ProjectName,
    /// For which ref.
    pub reference: RefName,
    /// At which commit.
    pub commit: CommitId,
    /// `BUILD_NUMBER`: counts the jobs of a project from 1; 0 for what was skipped when first seen.
    pub number: i64,
    /// Why it exists.
    pub reason: Reason,
    /// The same in words: what was seen, or asked for. Does not change.
    pub cause: String,
    /// Its place in the queue: lower is earlier. A job inherits the place of the one that it supersedes, so that a
    /// ref that is pushed to all the time is still built; after an errored attempt it goes to the end.
    pub place: i64,
    /// When it was decided.
    pub created: Timestamp,
    /// Where it stands.
    pub state: JobState,
    /// Attempts that were begun and not interrupted.
    pub attempts: u32,
    /// Why it stands where it stands: the reason of the last decision about it, one line for people.
    pub note: String,
    /// The last failure of an attempt.
    pub failure: Option<(Step, Failure)>,
    /// What it rebuilds; none: the commit is built as it is.
    pub rebuild: Option<Rebuild>,
    /// The job that began the wave which this one belongs to; itself, if it was not brought about by another one.
    pub wave: JobId,
    /// The job that began the atomic wave with which its references move; none: they move by themselves.
    pub atomic: Option<JobId>,
}

impl Job {
    /// Whether it has no outcome yet.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, JobState::Done(_))
    }

    /// Whether it waits for its turn.
    pub fn is_queued(&self) -> bool {
        matches!(self.state, JobState::Queued { .. })
    }

    /// Whether an attempt has found that its commit is not there any more.
    pub fn is_gone(&self) -> bool {
        let failure = self.failure.as_ref();
        failure.is_some_and(|(_, failure)| failure.kind == FailureKind::Superseded)
    }

    /// Whether an attempt of it is running.
    pub fn is_running(&self) -> bool {
        matches!(self.state, JobState::Running { .. })
    }
}
