//! What is asked of the daemon, and answered, when somebody outside is to be told again of a release.

use crate::model::{ImageName, JobId, PokeId, PokePlace, ProjectName, RefName};
use serde::{Deserialize, Serialize};

/// `POST /pokes`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PokesAsked {
    /// Of which images: names, or release references; none: of all.
    #[serde(default)]
    pub images: Vec<String>,
}

/// The answer to `POST /pokes`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PokesSent {
    /// What is sent again.
    pub pokes: Vec<PokeSent>,
}

/// A poke that is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PokeSent {
    /// The number that it has had from the start.
    pub id: PokeId,
    /// `project`, or `project/image`.
    pub name: String,
    /// Whose image.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// Released from where.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// By which job.
    pub job: JobId,
    /// Who is told.
    pub place: PokePlace,
}
