//! Why a registry did not do what was asked, with what a person can do about it.
//!
//! It exists so that whoever reads a failed release knows which file to look into. No text here may hold a password, a
//! token or a URL that a registry made up: these carry signatures.

use crate::model::{Digest, Failure, FailureKind, Step, error_chain};
use jiff::Timestamp;
use std::path::PathBuf;
use std::time::Duration;

/// What went wrong between us and a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A login is missing or wrong.
    #[error("{registry} does not let us in{}: {tried}", in_words(.said))]
    Unauthorized {
        /// Which.
        registry: String,
        /// Which credentials were used, or where none were found.
        tried: String,
        /// In the server's words.
        said: String,
    },
    /// The login is fine, and may not do this.
    #[error("{registry} does not allow it for {what}{}: {tried}", in_words(.said))]
    Denied {
        /// Which.
        registry: String,
        /// The repository or reference.
        what: String,
        /// Which credentials were used.
        tried: String,
        /// In the server's words.
        said: String,
    },
    /// There is no such repository, manifest or blob.
    #[error("{what} is not there{}", in_words(.said))]
    Missing {
        /// What was asked for.
        what: String,
        /// In the server's words.
        said: String,
    },
    /// Too many requests.
    #[error("{registry} wants to be left alone{}", until_when(.until))]
    Throttled {
        /// Which.
        registry: String,
        /// If it said so.
        until: Option<Timestamp>,
    },
    /// No connection, or one that broke.
    #[error("{registry} cannot be reached: {said}")]
    Unreachable {
        /// Which.
        registry: String,
        /// Why.
        said: String,
    },
    /// There is TLS, and it is not trusted.
    #[error(
        "the TLS certificate of {registry} is not trusted: {said} (ca_file in [registries.\"{registry}\"] adds a CA)"
    )]
    Tls {
        /// Which.
        registry: String,
        /// Why.
        said: String,
    },
    /// There is no TLS.
    #[error("{registry} does not speak TLS; to use plain http, set insecure = true in [registries.\"{registry}\"]")]
    PlainHttp {
        /// Which.
        registry: String,
    },
    /// What it sent is not what it announced or what was asked for.
    #[error("{what}: {expected} was expected and the registry has {got}")]
    Lied {
        /// Which manifest, blob or tag.
        what: String,
        /// The digest, or the size, that was asked for or announced.
        expected: String,
        /// What came.
        got: String,
    },
    /// Longer than is good.
    #[error("{what} is longer than {limit} bytes")]
    TooBig {
        /// What.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// One of our deadlines.
    #[error("{registry}: {what} took longer than {}", humantime::format_duration(*.after))]
    TimedOut {
        /// Which.
        registry: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// Trouble within the registry.
    #[error("{registry} is in trouble: it answers {status}{}", in_words(.said))]
    Server {
        /// Which.
        registry: String,
        /// 500 to 599.
        status: u16,
        /// In the server's words.
        said: String,
    },
    /// Something answers, and not as registries do.
    #[error("{registry} does not answer as a registry does: {said}")]
    Protocol {
        /// Which.
        registry: String,
        /// What is odd.
        said: String,
    },
    /// A file with credentials or certificates, or a helper, is of no use.
    #[error("{0}")]
    Settings(String),
    /// An image in a file is of no use.
    #[error("{}: {why}", .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// An end was asked for.
    #[error("cancelled")]
    Cancelled,
}

fn in_words(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(" ({said})")
    }
}

fn until_when(until: &Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" until {until:.0}"))
}

impl RegistryError {
    /// As the failure of a step. A registry is never the fault of a build.
    pub fn into_failure(self, step: Step) -> Failure {
        let kind = match self {
            Self::Cancelled => FailureKind::Cancelled,
            _ => FailureKind::Errored,
        };
        Failure::new(kind, format!("{step}: {}", error_chain(&self)))
    }

    /// Whether the same may go well in a moment.
    pub(super) fn is_passing(&self, pause: Duration) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            // Minutes were patience enough.
            Self::TimedOut { after, .. } => *after <= Duration::from_secs(60),
            // What answers for a registry that is not up.
            Self::Server { status, .. } => !matches!(status, 501 | 505),
            // The next request waits by itself, if it may.
            Self::Throttled { until, .. } => until.is_none_or(|until| {
                let wait = Duration::try_from(until.duration_since(Timestamp::now()));
                wait.is_ok_and(|wait| wait <= pause)
            }),
            _ => false,
        }
    }

    pub(super) fn lied(what: impl Into<String>, expected: &Digest, got: impl ToString) -> Self {
        Self::Lied {
            what: what.into(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }
}
