//! Removing what an attempt that was cut off, or an earlier life of the daemon, has left in the engine.
//!
//! Only what carries our mark is touched. Everything is tried, and every error collected: what cannot be removed must
//! not keep the rest.

use super::command::Engine;
use super::run::{ATTEMPT, INSTANCE};
use super::working;
use crate::config::EngineKind;
use crate::model::{Failure, Step};
use crate::process::{Marker, Runner};

/// Whose leftovers.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Of one attempt of one job, when it was cut off.
    Attempt(&'a Marker),
    /// Of everything that daemons on this workdir have started, before this one starts anything.
    Instance(&'a str),
}

impl Scope<'_> {
    fn filter(self) -> String {
        match self {
            Self::Attempt(marker) => format!("label={ATTEMPT}={marker}"),
            Self::Instance(instance) => format!("label={INSTANCE}={instance}"),
        }
    }

    pub(super) fn holds(self, marker: &str) -> bool {
        match self {
            Self::Attempt(own) => own.as_str() == marker,
            Self::Instance(instance) => marker.strip_prefix(instance).is_some_and(|rest| rest.starts_with('.')),
        }
    }
}

/// What was there and is no more.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    /// Containers of run steps.
    pub containers: usize,
    /// Working containers of builds.
    pub working: usize,
    /// Processes in those.
    pub processes: usize,
}

impl Engine {
    /// Removes leftovers. The runner must not be one that is cancelled.
    pub async fn cleanup(&self, runner: &Runner, scope: Scope<'_>) -> Result<Cleaned, Failure> {
        let mut cleaned = Cleaned::default();
        let mut errors: Vec<String> = Vec::new();
        match self.remove_labelled(runner, scope).await {
            Ok(containers) => cleaned.containers = containers,
            Err(failure) => errors.push(failure.message),
        }
        if self.kind == EngineKind::Podman {
            match self.info(runner).await {
                Ok(info) => {
                    let found = working::find(&info, scope);
                    self.remove_working(runner, &found, &mut cleaned, &mut errors).await;
                }
                Err(failure) => errors.push(failure.message),
            }
        }
        match errors.is_empty() {
            true => Ok(cleaned),
            false => Err(Failure::errored(format!("cleaning up: {}", errors.join("; ")))),
        }
    }

    async fn remove_labelled(&self, runner: &Runner, scope: Scope<'_>) -> Result<usize, Failure> {
        let filter = scope.filter();
        let args = ["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter];
        let answer = self.ask(runner, Step::Run, &args).await?;
        if !answer.success() {
            return Err(Failure::errored(format!(
                "cannot list the containers of {}: {}",
                self.program(),
                answer.last_words()
            )));
        }
        let ids: Vec<String> = String::from_utf8_lossy(&answer.stdout)
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        if !ids.is_empty() {
            self.remove_containers(runner, Step::Run, &ids).await?;
        }
        Ok(ids.len())
    }

    /// Processes first: what still runs would hold the mounts.
    async fn remove_working(
        &self,
        runner: &Runner,
        found: &[working::Working],
        cleaned: &mut Cleaned,
        errors: &mut Vec<String>,
    ) {
        for working in found {
            match working::end_processes(working).await {
                Ok(ended) => cleaned.processes += ended,
                Err(left) => errors.push(format!(
                    "{left} processes in the working container {} survive KILL",
                    working.id
                )),
            }
        }
        // One by one only if they cannot be removed all at once.
        let ids: Vec<String> = found.iter().map(|w| w.id.clone()).collect();
        if ids.is_empty() || self.remove_containers(runner, Step::Build, &ids).await.is_ok() {
            cleaned.working += ids.len();
            return;
        }
        for id in ids {
            match self.remove_containers(runner, Step::Build, &[id]).await {
                Ok(()) => cleaned.working += 1,
                Err(failure) => errors.push(failure.message),
            }
        }
    }
}
