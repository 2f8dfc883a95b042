//! The user's credential helpers, by `git credential`: git knows which one is for which URL, and so we need not.
//!
//! What is said goes by a variable that only the shell sees: arguments are public, and a helper's own children would
//! inherit it.

use super::Login;
use crate::git::environment::QUIET;
use crate::git::remote::Remote;
use crate::model::{Failure, FailureKind, Step};
use crate::process::{Captured, Runner};
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

/// printf is the shell's own, so its arguments are nobody's to see.
const SCRIPT: &str = "said=$PIPELINED_CREDENTIAL; unset PIPELINED_CREDENTIAL; \
                      printf '%s\\n' \"$said\" | git credential \"$1\"";

/// A shell's code for a program that is not there.
const NOT_FOUND: i32 = 127;

/// Bytes of an answer.
const LIMIT: usize = 1 << 20;

/// What the helpers know.
#[derive(Clone, PartialEq, Eq)]
pub struct Filled {
    /// To be tried.
    pub login: Login,
    /// All that git said, for it to be said back; none if no helper was of use.
    answer: Option<String>,
}

/// A derived one would print the secret.
impl std::fmt::Debug for Filled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filled(***)")
    }
}

/// Asks the helpers for a URL, for the login of that name if the URL had one. When none knows it, the password of a
/// name is empty, as for a token; without a name there is nothing to try.
///
/// A helper that does not answer in time is ended with all that it started, and is an error, as is a missing git.
pub async fn fill(
    runner: &Runner,
    cwd: &Path,
    url: &str,
    username: Option<&str>,
    deadline: Duration,
) -> Result<Option<Filled>, Failure> {
    let url = Remote::new(url).url;
    let mut lines = format!("url={url}\n");
    if let Some(username) = username {
        lines.push_str(&format!("username={username}\n"));
    }
    // A line too many would ask for another server's login.
    if [url.as_str(), username.unwrap_or_default()]
        .iter()
        .any(|text| text.contains(char::is_control))
    {
        return Ok(None);
    }
    let answer = say(runner, cwd, "fill", &lines, deadline).await?;
    let filled = answer.success().then(|| read(answer.stdout)).flatten();
    Ok(filled.or_else(|| {
        username.map(|username| Filled {
            login: Login {
                username: username.to_owned(),
                password: String::new(),
            },
            answer: None,
        })
    }))
}

impl Filled {
    /// Tells the helpers that the login worked, so that they may keep it.
    pub async fn approve(&self, runner: &Runner, cwd: &Path, deadline: Duration) -> Result<(), Failure> {
        self.tell(runner, cwd, "approve", deadline).await
    }

    /// Tells the helpers that the login was refused, so that they forget it.
    pub async fn reject(&self, runner: &Runner, cwd: &Path, deadline: Duration) -> Result<(), Failure> {
        self.tell(runner, cwd, "reject", deadline).await
    }

    async fn tell(&self, runner: &Runner, cwd: &Path, verb: &str, deadline: Duration) -> Result<(), Failure> {
        match &self.answer {
            Some(answer) => say(runner, cwd, verb, answer, deadline).await.map(drop),
            None => Ok(()),
        }
    }
}

fn read(answer: Vec<u8>) -> Option<Filled> {
    let answer = String::from_utf8(answer).ok()?;
    let value = |key: &str| {
        let mut values = answer
            .split('\n')
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.next_back().map(str::to_owned)
    };
    Some(Filled {
        login: Login {
            username: value("username")?,
            password: value("password")?,
        },
        answer: Some(answer),
    })
}

async fn say(runner: &Runner, cwd: &Path, verb: &str, lines: &str, deadline: Duration) -> Result<Captured, Failure> {
    let argv = ["sh", "-c", SCRIPT, "git-credential", verb].map(OsString::from);
    let environment = QUIET.into_iter().chain([("PIPELINED_CREDENTIAL", lines)]);
    let runner = runner.with_env(environment.map(|(name, value)| (name.into(), value.into())));
    let begin = Instant::now();
    let answer = runner.capture(Step::Checkout, &argv, cwd, deadline, LIMIT).await;
    match answer {
        Ok(answer) if answer.code == Some(NOT_FOUND) => Err(Failure::errored(
            "cannot start git credential: is git installed, and in the daemon's PATH?",
        )),
        Err(failure) if failure.kind != FailureKind::Cancelled && begin.elapsed() >= deadline => {
            Err(Failure::errored(format!(
                "git credential {verb} did not end within {}: does a credential helper wait for a person?",
                humantime::format_duration(deadline)
            )))
        }
        answer => answer,
    }
}
