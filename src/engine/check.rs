//! Looking into an image by a command in a container of it, which may change nothing but that container.
//!
//! The container has few rights and none of the host's files but one directory of the look's own. It must never outlive the
//! look, however that ends, and how it ended is never guessed.

use super::command::{Engine, pass_on};
use super::run::{Container, Ended, mounts_as_they_are, our_labels, volume};
use crate::model::{Digest, Failure, Step};
use crate::process::{Cancel, Runner};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// What package managers need as root: to write what is another user's, and to become another user. Nothing of this reaches
/// beyond the container's own files and processes.
const CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"];

/// Processes in the container.
const PROCESSES: u32 = 512;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct CheckRequest<'a> {
    /// The image's id.
    pub image: &'a str,
    /// Whose.
    pub project: &'a str,
    /// Unique: see [`super::container_name`].
    pub name: &'a str,
    /// Program and arguments; the image's own entrypoint is not in the way.
    pub command: &'a [String],
    /// As `--network` takes it; none: the engine's default.
    pub network: Option<&'a str>,
    /// Variables in the container. Values go by environment.
    pub env: &'a [(String, OsString)],
    /// A directory of the host, and where the container has it.
    pub mount: (&'a Path, &'a str),
    /// Until it is ended.
    pub timeout: Duration,
}

/// How a command in an image has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckEnd {
    /// With this exit code.
    Exited(i64),
    /// The image has no such command, or it cannot be executed.
    NotStarted,
}

impl Engine {
    /// Runs a command in a container of an image, as root with few rights, and removes the container. The output goes to the
    /// log.
    pub async fn check(&self, runner: &Runner, request: &CheckRequest<'_>) -> Result<CheckEnd, Failure> {
        let argv = self.argv(check_arguments(runner, request)?);
        let container = Container {
            step: Step::Run,
            name: request.name,
            argv: &argv,
            cwd: Path::new("/"),
            timeout: request.timeout,
        };
        let client = runner.with_env(pass_on("--env", request.env).1);
        let mut end = None;
        let see = runner.log_name().into_owned();
        let verdict = |ended: &Ended<'_>| {
            end = Some(check_end(ended, &see)?);
            Ok(())
        };
        if let Err(failure) = self.to_its_end(runner, &client, &container, verdict).await {
            // What was cut off is still there, and removing it must not be cut off.
            let runner = Runner {
                cancel: Cancel::new(),
                ..runner.clone()
            };
            if let Err(error) = self
                .remove_containers(&runner, Step::Run, &[request.name.to_owned()])
                .await
            {
                tracing::error!(container = request.name, %error, "cannot remove the container of a look into an image");
            }
            return Err(failure);
        }
        end.ok_or_else(|| Failure::errored(format!("{}: nobody knows how it ended", Step::Run)))
    }

    /// The ids of all images in the storage.
    pub async fn image_ids(&self, runner: &Runner, step: Step) -> Result<BTreeSet<Digest>, Failure> {
        let answer = self
            .ask(runner, step, &["images", "--all", "--quiet", "--no-trunc"])
            .await?;
        if !answer.success() || answer.truncated {
            return Err(Failure::errored(format!(
                "{step}: cannot list the images of {}: {}",
                self.program(),
                answer.last_words()
            )));
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        Ok(text.lines().filter_map(super::inspect::digest).collect())
    }
}

fn check_arguments(runner: &Runner, request: &CheckRequest<'_>) -> Result<Vec<OsString>, Failure> {
    let mut args: Vec<OsString> = ["run", "--pull=never"].map(OsString::from).to_vec();
    args.push(format!("--name={}", request.name).into());
    args.extend(our_labels(runner, request.project));
    args.extend(["--user=0", "--cap-drop=all"].map(OsString::from));
    args.extend(CAPABILITIES.map(|capability| format!("--cap-add={capability}").into()));
    args.extend(["--security-opt=no-new-privileges", "--no-healthcheck"].map(OsString::from));
    args.push(format!("--pids-limit={PROCESSES}").into());
    args.extend(request.network.map(|network| format!("--network={network}").into()));
    args.push(volume(Step::Run, request.mount.0, request.mount.1)?);
    args.extend(mounts_as_they_are());
    args.extend(pass_on("--env", request.env).0);
    let (program, rest) = request
        .command
        .split_first()
        .ok_or_else(|| Failure::failed("the command is empty"))?;
    args.push(format!("--entrypoint={program}").into());
    args.extend(["--".into(), request.image.into()]);
    args.extend(rest.iter().map(OsString::from));
    Ok(args)
}

/// Only what the client and the container agree upon counts.
fn check_end(ended: &Ended<'_>, log: &str) -> Result<CheckEnd, Failure> {
    let Ended {
        step, program, code, ..
    } = ended;
    let Some(state) = &ended.state else {
        return Err(Failure::errored(format!(
            "{step}: {program} run exited with {code} and made no container: see {log}"
        )));
    };
    if !state.started() {
        return match code {
            126 | 127 => Ok(CheckEnd::NotStarted),
            _ => Err(Failure::errored(format!(
                "{step}: the container did not start ({program} exited with {code}): see {log}"
            ))),
        };
    }
    match ended.exit_code() {
        Some(exit) if exit == i64::from(*code) => Ok(CheckEnd::Exited(exit)),
        Some(exit) => Err(Failure::errored(format!(
            "{step}: {program} run exited with {code}, and the container with {exit}: see {log}"
        ))),
        None if state.out_of_memory() => Err(Failure::failed(format!(
            "{step}: the container was ended because it was out of memory"
        ))),
        None => Err(Failure::errored(format!(
            "{step}: {program} run exited with {code} while the container was running"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::run::State;
    use crate::model::FailureKind;

    #[test]
    fn only_an_exit_code_that_is_certain_counts() {
        let state = |started: bool, running: bool, oom: bool, exit: i64| {
            let at = if started {
                "2026-01-01T00:00:00Z"
            } else {
                "0001-01-01T00:00:00Z"
            };
            let json = serde_json::json!({ "Running": running, "OOMKilled": oom, "ExitCode": exit, "StartedAt": at });
            serde_json::from_value::<State>(json).unwrap()
        };
        let end = |code: i32, state: Option<State>| {
            let ended = Ended {
                step: Step::Run,
                program: "podman",
                code,
                state,
            };
            check_end(&ended, "update-check.log").map_err(|failure| {
                assert!(failure.kind != FailureKind::Cancelled && !failure.message.contains("build.log"));
            })
        };
        assert_eq!(end(0, Some(state(true, false, false, 0))), Ok(CheckEnd::Exited(0)));
        assert_eq!(
            end(100, Some(state(true, false, false, 100))),
            Ok(CheckEnd::Exited(100))
        );
        assert_eq!(
            end(127, Some(state(true, false, false, 127))),
            Ok(CheckEnd::Exited(127))
        );
        assert_eq!(end(127, Some(state(false, false, false, 0))), Ok(CheckEnd::NotStarted));
        for (code, state) in [
            (0, None),
            (0, Some(state(false, false, false, 0))),
            (125, Some(state(false, false, false, 0))),
            (0, Some(state(true, true, false, 0))),
            (0, Some(state(true, false, true, 0))),
            (0, Some(state(true, false, false, 100))),
            (125, Some(state(true, false, false, 0))),
        ] {
            assert_eq!(end(code, state), Err(()));
        }
    }
}
