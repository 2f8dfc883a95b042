//! Everything that can wake the loop, in one closed enum.

use super::updates::Answer;
use crate::api::Refused;
use crate::model::{CommitId, JobId, PokeAnswer, PokeError, PokeId, ProjectName, RefName};
use crate::pipeline::Finished;
use tokio::sync::oneshot;

/// What a task or a signal has to say to the loop.
#[derive(Debug)]
pub(super) enum Happening {
    /// An attempt has ended.
    AttemptEnded { job: JobId, finished: Finished },
    /// The ref that a person asked for is at this commit.
    Resolved {
        project: ProjectName,
        reference: RefName,
        commit: CommitId,
        answer: oneshot::Sender<Result<JobId, Refused>>,
    },
    /// A check of a released image has its answer, for the planner or for a round.
    Checked { answer: Answer, round: Option<u64> },
    /// Whoever was poked has answered, or has not.
    Poked {
        poke: PokeId,
        result: Result<PokeAnswer, PokeError>,
    },
    /// A hook has named a project shortly after it had been asked: it is asked again now.
    Poke(ProjectName),
    /// The config's file has changed.
    ConfigFileChanged,
    /// HUP.
    Reload,
    /// INT: the first one drains, the next one stops.
    Drain,
    /// TERM or QUIT: the first one stops with grace, the next one at once.
    Stop,
}
