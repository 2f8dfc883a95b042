//! What keeps a check from its answer, on its way to people.

use crate::model::{CheckError, Failure, error_chain};
use crate::process::Runner;
use crate::registry::RegistryError;

/// Trouble with a check. It is never an answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A registry's.
    Registry(RegistryError),
    /// An engine's, or git's.
    Command(Failure),
    /// What was found is of no use. Why.
    Found(String),
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Command(failure)
    }
}

impl Trouble {
    /// On one line, without secrets.
    pub fn into_error(self, runner: &Runner) -> CheckError {
        let not_before = match &self {
            Self::Registry(RegistryError::Throttled { until, .. }) => *until,
            _ => None,
        };
        let message = match self {
            Self::Registry(error) => error_chain(&error),
            Self::Command(failure) => failure.message,
            Self::Found(why) => why,
        };
        let words: Vec<&str> = message.split(|c: char| c.is_control()).collect();
        CheckError {
            message: runner.mask(words.join(" ").trim()),
            not_before,
        }
    }
}
