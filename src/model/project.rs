//! The name of a project: a table in the config, a directory in the workdir.

use serde::{Deserialize, Serialize};

/// A project's name. Letters, digits, `_`, `-` and `.`, at most 100 bytes, not starting with `.` or `-`,
/// so that it is one harmless path component, one argument, and one label value; nor with `pipelined.`, as our own
/// files in the workdir do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

/// Why a string is not a project's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a project name: use 1 to 100 of A-Z a-z 0-9 _ - . and do not start with . or - or pipelined.")]
pub struct ProjectNameError(String);

impl ProjectName {
    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self, ProjectNameError> {
        let name = name.into();
        let fine = (1..=100).contains(&name.len())
            && !name.starts_with(['.', '-'])
            && !name.starts_with("pipelined.")
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if fine {
            Ok(Self(name))
        } else {
            Err(ProjectNameError(name))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ProjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ProjectName {
    type Error = ProjectNameError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl std::str::FromStr for ProjectName {
    type Err = ProjectNameError;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> String {
        name.0
    }
}
