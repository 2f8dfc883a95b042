//! Which refs a remote has.

use super::ask::{Digest, Reply};
use super::environment::environment;
use super::refs::{RefList, Rubbish, parse};
use super::remote::Remote;
use crate::model::{Failure, FailureKind, Step, mask_url};
use crate::process::{Captured, Runner};
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

/// Why a remote's refs are not known. Nothing may be concluded about the refs themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// No such host.
    #[error("{remote}: the host is not known ({said}): check its name, and this machine's DNS")]
    HostUnknown {
        /// Masked.
        remote: String,
        /// Git's last words, masked.
        said: String,
    },
    /// Nobody answers there.
    #[error("{remote}: cannot connect ({said}): check host and port, the network, and that the server is up")]
    Unreachable {
        /// Masked.
        remote: String,
        /// Git's last words, masked.
        said: String,
    },
    /// The server wants to know who asks.
    #[error(
        "{remote}: not allowed in ({said}): give credentials in the URL or by a git credential helper, or for ssh a \
         key that the daemon's user can use without a passphrase"
    )]
    Auth {
        /// Masked.
        remote: String,
        /// Git's last words, masked.
        said: String,
    },
    /// The server, or this machine, has no repository there.
    #[error("{remote}: there is no repository ({said}): check the path, and that the daemon's user may read it")]
    Missing {
        /// Masked.
        remote: String,
        /// Git's last words, masked.
        said: String,
    },
    /// Something answers, but not as git does.
    #[error("{remote}: did not answer like a git server ({said}): is this the URL to clone from?")]
    NotGit {
        /// Masked.
        remote: String,
        /// What came instead.
        said: String,
    },
    /// The server, or this machine, has no certificate that settles who answers.
    #[error(
        "{remote}: the TLS certificate is not trusted ({said}): is this the right host, and is its CA in the system's \
         bundle or in git's `http.sslCAInfo`?"
    )]
    Untrusted {
        /// Masked.
        remote: String,
        /// What is wrong with it.
        said: String,
    },
    /// No answer in time.
    #[error("{remote}: no answer within {}: is the server up, or `poll_timeout` too short?", humantime::format_duration(*timeout))]
    TimedOut {
        /// Masked.
        remote: String,
        /// How long we waited.
        timeout: Duration,
    },
    /// More refs than we read.
    #[error("{remote}: the list of refs is longer than {limit} bytes: raise `poll_size_limit` if it is meant to be")]
    TooLong {
        /// Masked.
        remote: String,
        /// In bytes.
        limit: u64,
    },
    /// The server wants to be left alone for a while.
    #[error("{remote}: the server is too busy to answer ({said}){}", again(*wait))]
    Busy {
        /// Masked.
        remote: String,
        /// What it said.
        said: String,
        /// For how long, if it said so (`Retry-After`).
        wait: Option<Duration>,
    },
    /// Git or the server said no for a reason that has no case of its own.
    #[error("{remote}: cannot list its refs: {said}")]
    Refused {
        /// Masked.
        remote: String,
        /// The last words, masked.
        said: String,
    },
    /// The question was called off.
    #[error("{remote}: cancelled")]
    Cancelled {
        /// Masked.
        remote: String,
    },
    /// Git could not be run at all.
    #[error("{0}")]
    Command(String),
}

fn again(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| {
        format!(", and asks to come back in {}", humantime::format_duration(wait))
    })
}

impl ListError {
    /// With all of its words changed.
    pub(super) fn map(mut self, change: impl Fn(&str) -> String) -> Self {
        let (first, second) = match &mut self {
            Self::HostUnknown { remote, said }
            | Self::Unreachable { remote, said }
            | Self::Auth { remote, said }
            | Self::Missing { remote, said }
            | Self::NotGit { remote, said }
            | Self::Untrusted { remote, said }
            | Self::Busy { remote, said, .. }
            | Self::Refused { remote, said } => (remote, Some(said)),
            Self::TimedOut { remote, .. } | Self::TooLong { remote, .. } | Self::Cancelled { remote } => (remote, None),
            Self::Command(text) => (text, None),
        };
        *first = change(first);
        if let Some(second) = second {
            *second = change(second);
        }
        self
    }

    /// As the end of a step: never the user's build.
    pub fn into_failure(self) -> Failure {
        let kind = match self {
            Self::Cancelled { .. } => FailureKind::Cancelled,
            _ => FailureKind::Errored,
        };
        Failure::new(kind, self.to_string())
    }

    /// Git and git servers tell their reasons in words only. A word that is not known here costs a hint, nothing more.
    /// `remote` is masked, and so is `said`, the words that are shown; `all` are all words.
    pub(super) fn in_words(remote: String, said: String, all: &str) -> Self {
        let lower = all.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
        if has(&[
            "could not resolve",
            "unable to look up",
            "name or service not known",
            "temporary failure in name",
        ]) {
            Self::HostUnknown { remote, said }
        } else if has(&[
            "authentication failed",
            "could not read username",
            "could not read password",
            "permission denied (",
            "host key verification failed",
            "returned error: 401",
            "returned error: 403",
            "access denied",
        ]) {
            Self::Auth { remote, said }
        } else if has(&[
            "not valid: is this a git repository",
            "protocol error",
            "invalid server response",
        ]) {
            Self::NotGit { remote, said }
        } else if has(&[
            "failed to connect",
            "couldn't connect",
            "could not connect",
            "unable to connect",
            "connection refused",
            "connection timed out",
            "connection reset",
            "connection closed by",
            "no route to host",
            "network is unreachable",
        ]) {
            Self::Unreachable { remote, said }
        } else if has(&[
            "not found",
            "does not exist",
            "does not appear to be a git repository",
            "not exported",
            "invalid gitfile format",
            "no such",
        ]) {
            Self::Missing { remote, said }
        } else {
            Self::Refused { remote, said }
        }
    }
}

/// The longest answer that is read where nothing else is said.
const ANSWER_LIMIT: u64 = 256 << 20;

/// Asks a remote for its branches and tags by `git ls-remote`. An empty list means that the repository is empty, and
/// nothing else.
pub async fn list_refs(runner: &Runner, remote: &str, cwd: &Path, timeout: Duration) -> Result<RefList, ListError> {
    match ls_remote(runner, remote, cwd, timeout, ANSWER_LIMIT, None).await? {
        Reply::Refs { list, .. } => Ok(list),
        // Nothing is known, so nothing is the same.
        Reply::Unchanged => Ok(RefList::default()),
    }
}

/// As [`list_refs`], with an answer of at most `size` bytes, which is not read if it is known.
pub(super) async fn ls_remote(
    runner: &Runner,
    remote: &str,
    cwd: &Path,
    timeout: Duration,
    size: u64,
    known: Option<Digest>,
) -> Result<Reply, ListError> {
    let question = Question::new(remote, timeout, size);
    let env = environment(runner, remote, false, cwd)
        .await
        .map_err(|failure| question.command(failure))?;
    let runner = runner.with_env(env).with_env([("LC_ALL".into(), "C".into())]);
    let answer = question.ask(&runner, cwd, &["--heads", "--tags"], None).await?;
    let digest = Digest::of(&answer.stdout);
    if known == Some(digest) && !answer.stdout.is_empty() {
        return Ok(Reply::Unchanged);
    }
    let list = question.read(&answer)?;
    if !list.refs.is_empty() || !list.odd.is_empty() {
        return Ok(Reply::Refs { list, digest });
    }
    // A web page without a newline is a list of no refs to git, as is an empty page. So look again, at the packets:
    // a server that speaks git sends some even for an empty repository.
    let runner = runner.with_env([("GIT_TRACE_PACKET".into(), "2".into())]);
    let answer = question.ask(&runner, cwd, &["--heads", "--tags"], None).await?;
    let list = question.read(&answer)?;
    let digest = Digest::of(&answer.stdout);
    let spoke_git = answer.stderr.lines().any(|l| l.contains("packet:") && l.contains("< "));
    if spoke_git {
        Ok(Reply::Refs { list, digest })
    } else {
        Err(question.not_git("it sent no refs and no git packet".to_owned()))
    }
}

/// A question to a remote, of at most so many bytes and so long.
pub(super) struct Question {
    remote: Remote,
    masked: String,
    timeout: Duration,
    size: u64,
    begin: Instant,
}

impl Question {
    pub fn new(remote: &str, timeout: Duration, size: u64) -> Self {
        Self {
            masked: mask_url(remote),
            remote: Remote::new(remote),
            timeout,
            size,
            begin: Instant::now(),
        }
    }

    /// Asks by `git ls-remote`, with its options and the one ref that is asked for, if it is only one.
    pub async fn ask(
        &self,
        runner: &Runner,
        cwd: &Path,
        options: &[&str],
        only: Option<&str>,
    ) -> Result<Captured, ListError> {
        let words = ["git", "ls-remote"].into_iter().chain(options.iter().copied());
        let words = words.chain(["--", self.remote.url.as_str()]).chain(only);
        let argv: Vec<OsString> = words.map(OsString::from).collect();
        let left = self.timeout.saturating_sub(self.begin.elapsed());
        let answer = runner
            .capture(
                Step::Checkout,
                &argv,
                cwd,
                left,
                usize::try_from(self.size).unwrap_or(usize::MAX),
            )
            .await
            .map_err(|failure| self.command(failure))?;
        if !answer.success() {
            let said = without_time(&self.remote.mask(telling_line(&answer.stderr)));
            return Err(ListError::in_words(self.masked.clone(), said, &answer.stderr));
        }
        if answer.truncated {
            return Err(ListError::TooLong {
                remote: self.masked.clone(),
                limit: self.size,
            });
        }
        Ok(answer)
    }

    fn read(&self, answer: &Captured) -> Result<RefList, ListError> {
        parse(&answer.stdout).map_err(|Rubbish(line)| self.not_git(format!("it sent {line:?}")))
    }

    pub fn not_git(&self, said: String) -> ListError {
        ListError::NotGit {
            remote: self.masked.clone(),
            said,
        }
    }

    pub fn command(&self, failure: Failure) -> ListError {
        let remote = self.masked.clone();
        if failure.kind == FailureKind::Cancelled {
            ListError::Cancelled { remote }
        } else if self.begin.elapsed() >= self.timeout {
            let timeout = self.timeout;
            ListError::TimedOut { remote, timeout }
        } else {
            let prefix = format!("{}: ", Step::Checkout);
            ListError::Command(failure.message.trim_start_matches(&prefix).to_owned())
        }
    }
}

/// The line that says most: the first that begins with `fatal:` or `ssh:`, else the last.
pub(super) fn telling_line(stderr: &str) -> &str {
    let lines = || stderr.lines().map(str::trim).filter(|l| !l.is_empty());
    lines()
        .find(|l| l.starts_with("ssh: ") || l.contains("Permission denied (") || l.starts_with("Host key"))
        .or_else(|| lines().find(|l| l.starts_with("fatal: ")))
        .or_else(|| lines().next_back())
        .unwrap_or("it said nothing")
}

/// What git said, without how long curl had waited: that differs from look to look, and is no other trouble.
fn without_time(said: &str) -> String {
    let timeless = || {
        let (before, rest) = said.split_once(" after ")?;
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let after = unit.strip_prefix(" milliseconds").or(unit.strip_prefix(" ms"))?;
        Some(format!("{before}{after}"))
    };
    timeless().unwrap_or_else(|| said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::without_time;

    #[test]
    fn the_same_trouble_reads_the_same() {
        for (said, timeless) in [
            ("connect to h port 9 after 37 ms: No", "connect to h port 9: No"),
            ("Connection timed out after 5001 milliseconds", "Connection timed out"),
            ("gone after 3 tries", "gone after 3 tries"),
            ("the morning after ", "the morning after "),
        ] {
            assert_eq!(without_time(said), timeless);
        }
    }
}
