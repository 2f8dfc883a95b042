//! The mark by which a stray process is known as ours, also by the next daemon.

use crate::model::JobId;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that every child carries.
pub const MARKER_VARIABLE: &str = "PIPELINED_JOB";

/// `<instance>.<job>.<attempt>`: the instance is the workdir's own random name, so that two daemons on one machine
/// leave each other alone. Also the name and label of containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker(String);

impl Marker {
    /// For an attempt of a job.
    pub fn job(instance: &str, job: JobId, attempt: i64) -> Self {
        Self(format!("{instance}.{job}.{attempt}"))
    }

    /// For what runs outside of jobs: polls, questions to the engine. Each is another one, so that ending what one
    /// left behind does not touch the others.
    pub fn service(instance: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(format!("{instance}.0.{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// As the variable's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The workdir's own part.
    pub fn instance(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
