//! Is the engine there, and what is it like?

use super::command::Engine;
use crate::config::EngineKind;
use crate::model::{Failure, FailureKind, Step};
use crate::process::Runner;
use serde::Deserialize;
use std::path::PathBuf;

/// What an engine says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Of the part that builds.
    pub version: String,
    /// It runs as an ordinary user.
    pub rootless: bool,
    /// Where images and containers are, if that is on this machine.
    pub graph_root: Option<PathBuf>,
    /// Where podman keeps what does not outlive a boot.
    pub run_root: Option<PathBuf>,
    /// podman's storage driver.
    pub driver: Option<String>,
    /// What starts podman's containers, if that is on this machine.
    pub runtime: Option<PathBuf>,
    /// Builds and containers are on another machine, or at least behind a socket.
    pub remote: bool,
}

/// Why an engine cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No such command.
    #[error("{program} is not installed, or not in the daemon's PATH: install it, or set `engine` to another one")]
    Missing {
        /// podman or docker.
        program: &'static str,
    },
    /// The command is there, its server is not.
    #[error("{program} has no daemon to talk to ({said}): start it (systemctl start docker), or look at DOCKER_HOST")]
    NotRunning {
        /// podman or docker.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// Not for us.
    #[error(
        "{program} may not be used by this user ({said}): for docker add the user to the group docker; for rootless \
         podman see /etc/subuid, XDG_RUNTIME_DIR and `loginctl enable-linger`"
    )]
    Permission {
        /// podman or docker.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// It is there and does not work.
    #[error("{program} does not work ({said}): try `{program} info` as the daemon's user")]
    Broken {
        /// podman or docker.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// The question was called off.
    #[error("{program}: cancelled")]
    Cancelled {
        /// podman or docker.
        program: &'static str,
    },
}

impl EngineError {
    /// As the end of a step: never the user's build.
    pub fn into_failure(self) -> Failure {
        let kind = match self {
            Self::Cancelled { .. } => FailureKind::Cancelled,
            _ => FailureKind::Errored,
        };
        Failure::new(kind, self.to_string())
    }
}

#[derive(Deserialize)]
struct PodmanInfo {
    host: PodmanHost,
    store: PodmanStore,
    version: PodmanVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodmanHost {
    #[serde(default)]
    service_is_remote: bool,
    security: PodmanSecurity,
    oci_runtime: Option<PodmanRuntime>,
}

#[derive(Deserialize)]
struct PodmanRuntime {
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct PodmanSecurity {
    #[serde(default)]
    rootless: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodmanStore {
    graph_root: PathBuf,
    run_root: PathBuf,
    graph_driver_name: String,
}

#[derive(Deserialize)]
struct PodmanVersion {
    #[serde(rename = "Version")]
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct DockerInfo {
    server_version: String,
    docker_root_dir: PathBuf,
    security_options: Option<Vec<String>>,
    server_errors: Option<Vec<String>>,
}

impl Engine {
    /// Asks the engine about itself.
    pub async fn probe(&self, runner: &Runner) -> Result<EngineInfo, EngineError> {
        let program = self.program();
        let format = match self.kind {
            EngineKind::Podman => "json",
            EngineKind::Docker => "{{json .}}",
        };
        let answer = self
            .ask(runner, Step::Build, &["info", "--format", format])
            .await
            .map_err(|failure| match failure.kind {
                FailureKind::Cancelled => EngineError::Cancelled { program },
                _ if failure.message.contains("is it installed") => EngineError::Missing { program },
                _ => EngineError::Broken {
                    program,
                    said: failure.message,
                },
            })?;
        if !answer.success() {
            return Err(self.explain(&answer.stderr, answer.last_words()));
        }
        let info = match self.kind {
            EngineKind::Podman => podman(&answer.stdout),
            EngineKind::Docker => self.docker(runner, &answer.stdout)?,
        };
        let info = info.ok_or_else(|| EngineError::Broken {
            program,
            said: format!("the answer of `{program} info` cannot be read"),
        })?;
        self.remember(runner, &info);
        Ok(info)
    }

    fn docker(&self, runner: &Runner, answer: &[u8]) -> Result<Option<EngineInfo>, EngineError> {
        let Ok(info) = serde_json::from_slice::<DockerInfo>(answer) else {
            return Ok(None);
        };
        // Older clients exit with 0 and put the trouble here.
        if let Some(said) = info.server_errors.iter().flatten().next() {
            return Err(self.explain(said, said));
        }
        let host = runner.variable("DOCKER_HOST").unwrap_or_default();
        let remote = !host.is_empty() && !host.to_string_lossy().starts_with("unix://");
        let rootless = info.security_options.iter().flatten().any(|o| o.contains("rootless"));
        Ok((!info.server_version.is_empty()).then(|| EngineInfo {
            version: info.server_version,
            rootless,
            graph_root: (!remote).then_some(info.docker_root_dir),
            run_root: None,
            driver: None,
            runtime: None,
            remote,
        }))
    }

    /// Engines tell their reasons in words only; one that is not known costs a hint, nothing more.
    fn explain(&self, stderr: &str, said: &str) -> EngineError {
        let program = self.program();
        let said = said.trim().to_owned();
        let lower = stderr.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
        if has(&["permission denied", "operation not permitted", "subuid", "newuidmap"]) {
            EngineError::Permission { program, said }
        } else if has(&[
            "cannot connect",
            "connection refused",
            "is the docker daemon running",
            "unable to connect",
        ]) {
            EngineError::NotRunning { program, said }
        } else {
            EngineError::Broken { program, said }
        }
    }
}

fn podman(answer: &[u8]) -> Option<EngineInfo> {
    let info: PodmanInfo = serde_json::from_slice(answer).ok()?;
    let remote = info.host.service_is_remote;
    let local = |path: PathBuf| (!remote).then_some(path);
    Some(EngineInfo {
        version: info.version.version,
        rootless: info.host.security.rootless,
        graph_root: local(info.store.graph_root),
        run_root: local(info.store.run_root),
        runtime: info.host.oci_runtime.and_then(|r| r.path).and_then(local),
        driver: Some(info.store.graph_driver_name),
        remote,
    })
}
