//! Running the built image.
//!
//! Never with `--rm`: an engine that removes the container takes the truth about its end along.

use super::command::{Engine, pass_on};
use crate::config::{EngineKind, Tmpfs};
use crate::model::{Failure, Step};
use crate::process::{Marker, Runner};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The labels by which our containers are known.
pub(super) const INSTANCE: &str = "pipelined.instance";
pub(super) const ATTEMPT: &str = "pipelined.attempt";
const PROJECT: &str = "pipelined.project";

/// When a container that never ran was started.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What to run. Templates are filled in, paths are absolute.
#[derive(Debug, Clone, Copy)]
pub struct RunRequest<'a> {
    /// The image's id.
    pub image: &'a str,
    /// Whose.
    pub project: &'a str,
    /// Unique: see [`container_name`].
    pub name: &'a str,
    /// In place of the image's own command.
    pub command: Option<&'a [String]>,
    /// Mounted on /build.
    pub build: &'a Path,
    /// Mounted on /drop.
    pub drop: &'a Path,
    /// Read-only root file system.
    pub read_only: bool,
    /// Size of /tmp.
    pub tmpfs: Tmpfs,
    /// As `--network` takes it.
    pub network: Option<&'a str>,
    /// The user's.
    pub labels: &'a BTreeMap<String, String>,
    /// Variables in the container. Values go by environment.
    pub env: &'a [(String, OsString)],
    /// Mount the engine's own socket.
    pub engine_socket: bool,
    /// Until it is ended.
    pub timeout: Duration,
}

/// What to run as the test of an image.
#[derive(Debug, Clone, Copy)]
pub struct TestRequest<'a> {
    /// The image's id.
    pub image: &'a str,
    /// Whose.
    pub project: &'a str,
    /// Unique: see [`container_name`].
    pub name: &'a str,
    /// The test.
    pub command: &'a [String],
    /// As `--network` takes it.
    pub network: &'a str,
    /// Variables in the container. Values go by environment.
    pub env: &'a [(String, OsString)],
    /// Until it is ended.
    pub timeout: Duration,
}

/// What is run in a container of ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    pub step: Step,
    pub name: &'a str,
    pub argv: &'a [OsString],
    pub cwd: &'a Path,
    pub timeout: Duration,
}

/// A name that says whose container it is, and that no other attempt has.
pub fn container_name(project: &str, short: &str, marker: &Marker) -> String {
    format!("pipelined-{project}-{short}-{marker}")
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    #[serde(default)]
    running: bool,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    exit_code: i64,
    started_at: String,
}

impl Engine {
    /// Runs a container to its end and removes it. A run that is cut off leaves it for `cleanup`.
    pub async fn run(&self, runner: &Runner, request: &RunRequest<'_>) -> Result<(), Failure> {
        let socket = match request.engine_socket {
            true => Some(self.socket(runner)?),
            false => None,
        };
        if let Some((socket, place)) = &socket {
            runner.note(
                Step::Run,
                &format!(
                    "warning: engine_socket mounts {} as {place}: whatever runs in the container owns the engine",
                    socket.display()
                ),
            );
        }
        let argv = self.argv(self.arguments(runner, request, socket)?);
        let container = Container {
            step: Step::Run,
            name: request.name,
            argv: &argv,
            cwd: request.drop,
            timeout: request.timeout,
        };
        let client = runner.with_env(pass_on("--env", request.env).1);
        self.to_its_end(runner, &client, &container, verdict).await
    }

    /// Runs the test of an image in a container of its own, to its end, and removes it. A test that is cut off leaves
    /// it for `cleanup`. Nothing of the host is mounted, and the image's own entrypoint is not in the way.
    pub async fn test(&self, runner: &Runner, request: &TestRequest<'_>) -> Result<(), Failure> {
        let mut args: Vec<OsString> = ["run", "--pull=never"].map(OsString::from).to_vec();
        args.push(format!("--name={}", request.name).into());
        args.extend(our_labels(runner, request.project));
        args.push(format!("--network={}", request.network).into());
        args.extend(pass_on("--env", request.env).0);
        let (program, rest) = request
            .command
            .split_first()
            .ok_or_else(|| Failure::failed("test: the command is empty"))?;
        args.push(format!("--entrypoint={program}").into());
        args.extend(["--".into(), request.image.into()]);
        args.extend(rest.iter().map(OsString::from));
        let argv = self.argv(args);
        let container = Container {
            step: Step::Test,
            name: request.name,
            argv: &argv,
            cwd: Path::new("/"),
            timeout: request.timeout,
        };
        let client = runner.with_env(pass_on("--env", request.env).1);
        self.to_its_end(runner, &client, &container, verdict).await
    }

    /// Runs the client, then asks how the container ended, then removes it.
    pub(super) async fn to_its_end(
        &self,
        runner: &Runner,
        client: &Runner,
        container: &Container<'_>,
        verdict: impl FnOnce(&Ended<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Container { step, name, .. } = *container;
        let code = client
            .logged(step, container.argv, container.cwd, container.timeout)
            .await?;
        let state = self.state(runner, step, name).await;
        let removed = self.remove_containers(runner, step, &[name.to_owned()]).await;
        let ended = Ended {
            step,
            program: self.program(),
            code,
            state: state?,
        };
        verdict(&ended)?;
        removed
    }

    fn arguments(
        &self,
        runner: &Runner,
        request: &RunRequest<'_>,
        socket: Option<(PathBuf, &'static str)>,
    ) -> Result<Vec<OsString>, Failure> {
        let mut args: Vec<OsString> = ["run", "--pull=never"].map(OsString::from).to_vec();
        args.push(format!("--name={}", request.name).into());
        for (key, value) in request.labels {
            args.push(format!("--label={key}={value}").into());
        }
        // The last one wins, and these are ours.
        args.extend(our_labels(runner, request.project));
        args.push(volume(Step::Run, request.build, "/build")?);
        args.push(volume(Step::Run, request.drop, "/drop")?);
        if let Some((socket, place)) = socket {
            args.push(volume(Step::Run, &socket, place)?);
        }
        args.extend(mounts_as_they_are());
        args.extend(request.read_only.then(|| "--read-only".into()));
        let size = match request.tmpfs {
            Tmpfs::Percent(percent) => format!("{percent}%"),
            Tmpfs::Bytes(bytes) => bytes.to_string(),
        };
        args.push(format!("--tmpfs=/tmp:rw,size={size},mode=1777").into());
        args.extend(request.network.map(|network| format!("--network={network}").into()));
        args.extend(pass_on("--env", request.env).0);
        args.push("--".into());
        args.push(request.image.into());
        args.extend(request.command.iter().copied().flatten().map(OsString::from));
        Ok(args)
    }

    /// The engine's socket here, and where a container looks for it.
    fn socket(&self, runner: &Runner) -> Result<(PathBuf, &'static str), Failure> {
        let variable = |name: &str| runner.variable(name).filter(|v| !v.is_empty());
        let of_host = |name: &str| {
            let host = variable(name)?;
            Some(PathBuf::from(host.to_str()?.strip_prefix("unix://")?))
        };
        let (path, place, hint) = match self.kind {
            EngineKind::Podman => {
                let rootless = !nix::unistd::geteuid().is_root();
                let base = variable("XDG_RUNTIME_DIR")
                    .filter(|_| rootless)
                    .unwrap_or("/run".into());
                let path = of_host("CONTAINER_HOST").unwrap_or_else(|| Path::new(&base).join("podman/podman.sock"));
                let hint = match rootless {
                    true => "systemctl --user enable --now podman.socket",
                    false => "systemctl enable --now podman.socket",
                };
                (path, "/run/podman/podman.sock", hint)
            }
            EngineKind::Docker => {
                let path = of_host("DOCKER_HOST").unwrap_or("/var/run/docker.sock".into());
                (path, "/var/run/docker.sock", "systemctl enable --now docker.socket")
            }
        };
        match path.metadata() {
            Ok(metadata) if metadata.file_type().is_socket() => Ok((path, place)),
            _ => Err(Failure::failed(format!(
                "run: engine_socket is set, but {} is no socket: make it with `{hint}`",
                path.display()
            ))),
        }
    }

    /// How the container ended; none if there is no such container.
    async fn state(&self, runner: &Runner, step: Step, name: &str) -> Result<Option<State>, Failure> {
        let args = ["inspect", "--type=container", "--format={{json .State}}", "--", name];
        let answer = self.ask(runner, step, &args).await?;
        if !answer.success() {
            return Ok(None);
        }
        serde_json::from_slice(&answer.stdout)
            .map(Some)
            .map_err(|e| Failure::errored(format!("{step}: cannot read the state of the container: {e}")))
    }

    /// Removes containers, whatever they do, with their anonymous volumes. One that is gone is fine.
    pub(super) async fn remove_containers(&self, runner: &Runner, step: Step, ids: &[String]) -> Result<(), Failure> {
        let mut args = vec!["rm", "--force", "--volumes"];
        if self.kind == EngineKind::Podman {
            // Its own grace is 10 s.
            args.extend(["--time=0", "--ignore"]);
        }
        args.push("--");
        args.extend(ids.iter().map(String::as_str));
        let answer = self.ask(runner, step, &args).await?;
        let gone = answer
            .stderr
            .lines()
            .all(|l| l.is_empty() || l.contains("No such container"));
        match answer.success() || gone {
            true => Ok(()),
            false => Err(Failure::errored(format!(
                "{step}: cannot remove a container: {}",
                answer.last_words()
            ))),
        }
    }
}

/// How a container ended, by its client and by itself.
#[derive(Debug)]
pub(super) struct Ended<'a> {
    pub step: Step,
    pub program: &'a str,
    /// The client's.
    pub code: i32,
    pub state: Option<State>,
}

impl Ended<'_> {
    /// The exit code of what ran in the container, if it ran.
    pub fn exit_code(&self) -> Option<i64> {
        let state = self.state.as_ref()?;
        (state.started() && !state.running && !state.oom_killed).then_some(state.exit_code)
    }
}

impl State {
    pub(super) fn out_of_memory(&self) -> bool {
        self.oom_killed
    }

    pub(super) fn started(&self) -> bool {
        !self.started_at.is_empty() && !self.started_at.starts_with(NEVER.trim_end_matches('Z'))
    }
}

/// What the container's own state says goes before what the client's exit code says.
pub(super) fn verdict(ended: &Ended<'_>) -> Result<(), Failure> {
    let Ended {
        step, program, code, ..
    } = ended;
    let Some(state) = &ended.state else {
        return Err(Failure::errored(format!(
            "{step}: {program} run exited with {code} and made no container: see build.log"
        )));
    };
    if !state.started() {
        // 126 and 127: the engine works, and the image has no such command.
        return Err(match code {
            126 | 127 => Failure::failed(format!(
                "{step}: the command cannot be started in this image: see build.log"
            )),
            _ => Failure::errored(format!(
                "{step}: the container did not start ({program} exited with {code}): see build.log"
            )),
        });
    }
    match (state.running, state.oom_killed, state.exit_code) {
        (true, ..) => Err(Failure::errored(format!(
            "{step}: {program} run exited with {code} while the container was running"
        ))),
        (_, true, _) => Err(Failure::failed(format!(
            "{step}: the container was ended because it was out of memory"
        ))),
        (.., 0) if *code == 0 => Ok(()),
        (.., 0) => Err(Failure::errored(format!(
            "{step}: {program} run exited with {code}: see build.log"
        ))),
        (.., exit) => Err(Failure::failed(format!(
            "{step}: the container exited with {exit}: see build.log"
        ))),
    }
}

/// By these `cleanup` finds the container.
pub(super) fn our_labels(runner: &Runner, project: &str) -> impl Iterator<Item = OsString> {
    [
        (PROJECT, project),
        (INSTANCE, runner.marker.instance()),
        (ATTEMPT, runner.marker.as_str()),
    ]
    .map(|(key, value)| OsString::from(format!("--label={key}={value}")))
    .into_iter()
}

/// Mounted directories keep the labels that SELinux gave them: relabelling a checkout takes long and lasts.
pub(super) fn mounts_as_they_are() -> Option<OsString> {
    let selinux = Path::new("/sys/fs/selinux/enforce").exists();
    selinux.then(|| "--security-opt=label=disable".into())
}

pub(super) fn volume(step: Step, from: &Path, to: &str) -> Result<OsString, Failure> {
    if from.as_os_str().as_bytes().contains(&b':') {
        return Err(Failure::errored(format!(
            "{step}: {} cannot be mounted, because its path has a colon: choose another `workdir`",
            from.display()
        )));
    }
    let mut option = OsString::from("--volume=");
    option.push(from);
    option.push(format!(":{to}"));
    Ok(option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureKind;

    #[test]
    fn the_containers_own_state_decides() {
        let state = |started: bool, running: bool, exit_code: i64| {
            let started_at = if started { "2024-01-01T00:00:00Z" } else { NEVER };
            Some(State {
                running,
                oom_killed: false,
                exit_code,
                started_at: started_at.to_owned(),
            })
        };
        let kind = |code, state| {
            let ended = Ended {
                step: Step::Test,
                program: "podman",
                code,
                state,
            };
            verdict(&ended).map_err(|f| {
                assert!(f.message.starts_with("test: "), "{f}");
                f.kind
            })
        };
        assert_eq!(kind(0, state(true, false, 0)), Ok(()));
        assert_eq!(kind(0, state(true, false, 9)), Err(FailureKind::Failed));
        assert_eq!(kind(125, state(true, false, 125)), Err(FailureKind::Failed));
        assert_eq!(kind(125, state(true, false, 0)), Err(FailureKind::Errored));
        assert_eq!(kind(0, state(true, true, 0)), Err(FailureKind::Errored));
        assert_eq!(kind(127, state(false, false, 0)), Err(FailureKind::Failed));
        assert_eq!(kind(125, state(false, false, 0)), Err(FailureKind::Errored));
        assert_eq!(kind(125, None), Err(FailureKind::Errored));
    }
}
