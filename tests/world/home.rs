//! A home directory of its own for git.

use crate::support::scratch::Scratch;
use pipelined::git::{Filled, World, fill};
use pipelined::model::JobId;
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Long enough for a busy machine.
pub const LONG: Duration = Duration::from_secs(30);

/// A home directory for git, and nothing of the user's who runs the tests.
pub struct Home {
    /// The directory.
    pub scratch: Scratch,
    /// Starts commands that live there.
    pub runner: Runner,
}

impl Home {
    /// With this `.gitconfig`.
    pub fn new(config: &str) -> Self {
        let scratch = Scratch::new();
        scratch.write(".gitconfig", config);
        let xdg = scratch.join("xdg");
        let env = [
            ("HOME", scratch.path().as_os_str()),
            ("XDG_CONFIG_HOME", xdg.as_os_str()),
            ("GIT_CONFIG_NOSYSTEM", "1".as_ref()),
            ("GIT_CEILING_DIRECTORIES", "/".as_ref()),
        ];
        let runner = Runner {
            supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
            marker: Marker::job("world", JobId(1), 1),
            env: env.map(|(n, v)| (n.into(), v.to_owned())).to_vec(),
            cancel: Cancel::new(),
            grace: Duration::from_millis(300),
            log: None,
            masks: Masks::default(),
        };
        Self { scratch, runner }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// As it is read.
    pub async fn world(&self) -> World {
        World::read(&self.runner, self.path()).await.unwrap()
    }

    /// What git says on stdout; `None` when it fails.
    pub fn git(&self, args: &[&str]) -> Option<String> {
        let env = self.runner.env.iter().map(|(n, v)| (n, v));
        let output = Command::new("git")
            .args(args)
            .envs(env)
            .current_dir(self.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| text.trim_end_matches('\n').to_owned())
    }

    /// Asks the helpers.
    pub async fn fill(&self, url: &str, username: Option<&str>) -> Option<Filled> {
        fill(&self.runner, self.path(), url, username, LONG).await.unwrap()
    }

    /// What the recording helper was told, line by line; `get` and the like between brackets.
    pub fn told(&self) -> String {
        std::fs::read_to_string(self.scratch.join("told")).unwrap_or_default()
    }

    /// A helper that writes down what it is told, then runs `answer` for `get`.
    pub fn helper(&self, answer: &str) {
        let told = self.scratch.join("told");
        let body = format!(
            "{{ echo \"[$1]\"; cat; }} >> '{told}'\n\
             env | grep -c PIPELINED_CREDENTIAL >> '{told}.leak'\n\
             if test \"$1\" = get; then\n{answer}\nfi",
            told = told.display()
        );
        let script = self.scratch.script("helper", &body);
        self.git(&[
            "config",
            "--global",
            "credential.helper",
            &format!("!{}", script.display()),
        ])
        .unwrap();
    }
}
