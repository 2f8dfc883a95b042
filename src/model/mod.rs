//! The words of the project as types, so that a project's name, a ref and a commit cannot be mixed up.
//!
//! Nothing here may do IO, read a clock or know another module: everything else stands on it.

mod agenda;
mod chain;
mod commit;
mod content;
mod digest;
mod env;
mod failure;
mod graph;
mod history;
mod image;
mod image_ref;
mod job;
mod jobs;
mod mask;
mod memo;
mod poke;
mod project;
mod refname;
mod remote_key;
mod sender;
mod standings;
mod state;
mod template;
mod update;
mod write;

pub use agenda::{Agenda, Wish, Wishes};
pub use chain::{Culprit, FailedWave, Ground, Learned, Links, Needed, Parent, ReleaseStage, Thing};
pub use commit::{CommitError, CommitId};
pub use content::{ImageContent, platform};
pub use digest::{Digest, DigestError};
pub use env::{
    CALLBACK_VARIABLES, ENGINE_VARIABLES, EnvFileError, JOB_VARIABLES, RELEASE_VARIABLES, is_env_name, is_job_variable,
    parse_env_file,
};
pub use failure::{Failure, FailureKind, error_chain};
pub use graph::{Edge, EdgeKind, Graph};
pub use history::settles;
pub use image::{
    BaseUsed, Content, ImageName, ImageNameError, ImageResult, ImageStatus, PlannedRelease, Release, ReleasePlan,
    full_name,
};
pub use image_ref::{ImageRef, ImageRefError};
pub use job::{Job, JobId, JobState, Outcome, Reason, Step};
pub use jobs::{Jobs, RefKey};
pub use mask::mask_url;
pub use memo::{Freshness, Head, Lineup, Memo, Over, Sighted};
pub use poke::{Poke, PokeAnswer, PokeEnd, PokeError, PokeId, PokeKind, PokeOutcome, PokePlace};
pub use project::{ProjectName, ProjectNameError};
pub use refname::{RefKind, RefName, RefNameError};
pub use remote_key::remote_key;
pub use sender::Sender;
pub use standings::Standings;
pub use state::{Mode, Seen, State};
pub use template::{Template, TemplateError};
pub use update::{
    BaseKey, Check, CheckError, CheckTrouble, Checking, Compared, Elsewhere, Evidence, Heeded, Hinted, Look, Node,
    PackageUpdate, Packages, Question, Rebuild, Standing, Timestamped, Tried, Updates, Used,
};
pub use write::Write;
