//! Why a step did not end well, in the terms that decide what happens next.

use super::Outcome;
use serde::{Deserialize, Serialize};

/// An error with its sources, on one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Whose fault it was, and so what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The user's build: not tried again until something changes.
    Failed,
    /// Our side (network, engine, disk): tried again with backoff.
    Errored,
    /// The step outlived its timeout.
    TimedOut,
    /// The commit is gone from the remote: a newer one stands in its place.
    Superseded,
    /// Nothing is wrong: it waits for something else, and goes on in the same directory.
    Waiting,
    /// A person cancelled the job, or the daemon is stopping; which of the two is the daemon's knowledge.
    Cancelled,
}

/// A step's failure with what a person needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// Decides about retries.
    pub kind: FailureKind,
    /// One line, without credentials.
    pub message: String,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
    /// The user's build failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, message)
    }
    /// Our side failed.
    pub fn errored(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Errored, message)
    }
    /// The outcome that a job with this failure has when nothing is tried again.
    pub fn outcome(&self) -> Outcome {
        match self.kind {
            FailureKind::Failed => Outcome::Failed,
            FailureKind::Errored => Outcome::Errored,
            FailureKind::TimedOut => Outcome::TimedOut,
            FailureKind::Superseded => Outcome::Superseded,
            FailureKind::Cancelled | FailureKind::Waiting => Outcome::Cancelled,
        }
    }
}
