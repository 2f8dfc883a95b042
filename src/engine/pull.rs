//! Bringing bases into the engine's storage, in a step of its own: a registry that does not answer is our side's
//! trouble, and what fails after this is the build's.

use super::command::Engine;
use crate::config::{EngineKind, Pull};
use crate::model::{Failure, FailureKind, Step};
use crate::process::Runner;
use std::path::Path;
use std::time::Duration;

/// Names under this host are made here; no registry has them.
const LOCAL: &str = "localhost/";

impl Engine {
    /// Pulls what the policy asks for.
    pub async fn pull_bases(
        &self,
        runner: &Runner,
        bases: &[String],
        policy: Pull,
        timeout: Duration,
    ) -> Result<(), Failure> {
        for base in bases {
            self.pull_base(runner, base, policy, timeout).await?;
        }
        Ok(())
    }

    async fn pull_base(&self, runner: &Runner, base: &str, policy: Pull, timeout: Duration) -> Result<(), Failure> {
        if policy == Pull::Never {
            return Ok(());
        }
        if base.starts_with(LOCAL) {
            return match self.has_image(runner, base).await? {
                true => Ok(()),
                false => Err(Failure::errored(format!(
                    "pull: {base} is not in the storage of {}, and no registry has {LOCAL} names: build it first",
                    self.program()
                ))),
            };
        }
        if policy == Pull::Missing && self.has_image(runner, base).await? {
            return Ok(());
        }
        let argv = self.argv(["pull", "--", base]);
        let trouble = match runner.logged(Step::Pull, &argv, Path::new("/"), timeout).await {
            Ok(0) => return Ok(()),
            Ok(code) => format!("`{} pull` exited with {code}", self.program()),
            Err(failure) if failure.kind == FailureKind::Cancelled => return Err(failure),
            Err(failure) => failure.message,
        };
        if policy == Pull::Newer && self.has_image(runner, base).await? {
            runner.note(
                Step::Pull,
                &format!("{base}: its registry cannot be asked, so the image that is here is used"),
            );
            return Ok(());
        }
        Err(Failure::errored(format!(
            "pull: cannot pull {base} ({trouble}): see build.log"
        )))
    }

    /// Whether the storage has an image of that name.
    async fn has_image(&self, runner: &Runner, name: &str) -> Result<bool, Failure> {
        let answer = match self.kind {
            EngineKind::Podman => self.ask(runner, Step::Pull, &["image", "exists", "--", name]).await?,
            EngineKind::Docker => {
                self.ask(
                    runner,
                    Step::Pull,
                    &["image", "inspect", "--format", "{{.Id}}", "--", name],
                )
                .await?
            }
        };
        match answer.code {
            Some(0) => Ok(true),
            // 1 is "no"; podman has 125 for "I do not work".
            Some(1) => Ok(false),
            _ => Err(Failure::errored(format!(
                "pull: cannot look for {name} in the storage: {}",
                answer.last_words()
            ))),
        }
    }
}
