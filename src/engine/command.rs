//! The engine's command, and what is known about it.

use super::hold::Held;
use super::probe::EngineInfo;
use crate::config::EngineKind;
use crate::model::{ENGINE_VARIABLES, Failure, Step};
use crate::process::{Captured, Runner};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The longest answer to a question.
const ANSWER_LIMIT: usize = 16 << 20;
/// How long a question to the engine's own storage may take.
pub(super) const QUESTION: Duration = Duration::from_secs(60);

/// Of some variables, those that decide which storage or which server the engine talks to.
pub fn deciding(env: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    env.into_iter()
        .filter(|(name, _)| ENGINE_VARIABLES.iter().any(|d| name == d))
        .collect()
}

/// Whether a variable in the engine's own environment would change what the engine does, or keep it from working.
pub(super) fn changes_engine(name: &str) -> bool {
    const NAMES: [&str; 4] = ["PATH", "HOME", "TMPDIR", "REGISTRY_AUTH_FILE"];
    const PREFIXES: [&str; 8] = [
        "BUILDAH_",
        "CONTAINERS_",
        "CONTAINER_",
        "DOCKER_",
        "LD_",
        "PODMAN_",
        "STORAGE_",
        "XDG_",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Options that pass variables on, and the environment that their values come from: arguments are public, and values
/// may not be. A variable that the engine itself would heed goes by its value; such are no secrets.
pub(super) fn pass_on(option: &str, pairs: &[(String, OsString)]) -> (Vec<OsString>, Vec<(OsString, OsString)>) {
    let (mut options, mut env) = (Vec::new(), Vec::new());
    for (name, value) in pairs {
        let mut argument = OsString::from(format!("{option}={name}"));
        if changes_engine(name) {
            argument.push("=");
            argument.push(value);
        } else {
            env.push((name.into(), value.clone()));
        }
        options.push(argument);
    }
    (options, env)
}

/// podman or docker.
#[derive(Debug)]
pub struct Engine {
    pub(super) kind: EngineKind,
    known: Mutex<HashMap<Vec<Option<OsString>>, EngineInfo>>,
    pub(super) held: Held,
}

impl Engine {
    /// Asks nothing yet.
    pub fn new(kind: EngineKind) -> Self {
        Self {
            kind,
            known: Mutex::default(),
            held: Held::default(),
        }
    }

    /// The command's name.
    pub fn program(&self) -> &'static str {
        match self.kind {
            EngineKind::Podman => "podman",
            EngineKind::Docker => "docker",
        }
    }

    /// What the engine said about itself the last time it was asked in this environment, else what it says now.
    pub(super) async fn info(&self, runner: &Runner) -> Result<EngineInfo, Failure> {
        let key = key(runner);
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        match known {
            Some(info) => Ok(info),
            None => self.probe(runner).await.map_err(|error| error.into_failure()),
        }
    }

    pub(super) fn remember(&self, runner: &Runner, info: &EngineInfo) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key(runner), info.clone());
    }

    pub(super) fn argv<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Vec<OsString> {
        std::iter::once(OsString::from(self.program()))
            .chain(args.into_iter().map(|a| a.as_ref().to_owned()))
            .collect()
    }

    /// A question that reads the engine's storage.
    pub(super) async fn ask(&self, runner: &Runner, step: Step, args: &[&str]) -> Result<Captured, Failure> {
        runner
            .capture(step, &self.argv(args), Path::new("/"), QUESTION, ANSWER_LIMIT)
            .await
    }
}

fn key(runner: &Runner) -> Vec<Option<OsString>> {
    ENGINE_VARIABLES.iter().map(|name| runner.variable(name)).collect()
}
