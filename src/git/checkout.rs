//! Bringing exactly one commit into a fresh directory.
//!
//! The commit is asked for by its hash, so that a branch that moved does not lose the build. It comes by way of a
//! mirror where that works, else straight from the remote; the checkout shows no trace of which it was.

use super::environment::{environment, sharing};
use super::mirror::Mirrors;
use super::remote::Remote;
use super::submodules;
use crate::model::{CommitId, Failure, FailureKind, RefName, Step};
use crate::process::Runner;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// Where the fetched commit is kept; no name that a user's ref could have.
pub(super) const FETCHED: &str = "refs/pipelined/commit";

/// How long a look into the local repository may take.
const LOCAL: Duration = Duration::from_secs(60);

/// What to check out, and where.
#[derive(Debug, Clone, Copy)]
pub struct Checkout<'a> {
    /// As it is configured, with credentials.
    pub remote: &'a str,
    /// The ref for which the job runs.
    pub reference: &'a RefName,
    /// At which commit.
    pub commit: &'a CommitId,
    /// Made by the checkout; its parent is there.
    pub dir: &'a Path,
    /// Only the commit, without history.
    pub shallow: bool,
    /// Submodules too, recursively.
    pub submodules: bool,
    /// For each command.
    pub timeout: Duration,
    /// By which it comes; none: straight from the remote.
    pub mirrors: Option<&'a Mirrors>,
    /// Of a connection to the remote's host that ssh may use (see [`crate::git::Asker::ssh_socket`]).
    pub ssh_socket: Option<&'a Path>,
}

/// Checks a commit out: detached, self-contained, and with an `origin` that holds no credentials.
pub async fn checkout(runner: &Runner, wanted: &Checkout<'_>) -> Result<(), Failure> {
    let parent = wanted.dir.parent().unwrap_or(Path::new("/"));
    let env = environment(runner, wanted.remote, wanted.submodules, parent).await?;
    let for_submodules = runner.with_env(env.iter().cloned());
    let git = Git {
        plain: runner,
        runner: &runner.with_env(sharing(env, wanted.ssh_socket)),
        wanted,
        remote: Remote::new(wanted.remote),
    };
    let done = match wanted.mirrors {
        Some(mirrors) => git.by_mirror(mirrors).await?,
        None => false,
    };
    if !done {
        git.init().await?;
        git.fetch_directly().await?;
        if git.check_out().await? != 0 {
            return Err(git.not_checked_out());
        }
    }
    if wanted.submodules {
        // They may be on other hosts, to which the shared connection does not lead.
        submodules::update(&for_submodules, wanted).await?;
    }
    Ok(())
}

/// The git commands of one checkout.
pub(super) struct Git<'a> {
    /// Without the environment for the remote.
    pub plain: &'a Runner,
    /// With it.
    pub runner: &'a Runner,
    pub wanted: &'a Checkout<'a>,
    pub remote: Remote,
}

impl Git<'_> {
    pub fn parent(&self) -> &Path {
        self.wanted.dir.parent().unwrap_or(Path::new("/"))
    }

    /// An empty repository at the checkout's place, with its `origin`.
    pub async fn init(&self) -> Result<(), Failure> {
        let mut argv = vec!["git".into()];
        argv.extend(init_args(self.wanted.commit, &[]));
        argv.push(self.wanted.dir.into());
        succeed(self.runner, &argv, self.parent(), self.wanted.timeout).await?;
        self.must(&["remote", "add", "--", "origin", &self.remote.url]).await
    }

    /// Fills the work tree with as many writers as there are cores; the exit code.
    pub async fn check_out(&self) -> Result<i32, Failure> {
        let commit = self.wanted.commit.as_str();
        let args = [
            "-c",
            "checkout.workers=0",
            "checkout",
            "--quiet",
            "--detach",
            "--force",
            commit,
        ];
        self.run(self.wanted.dir, &args.map(OsString::from)).await
    }

    pub fn not_checked_out(&self) -> Failure {
        Failure::errored(format!(
            "{}: git cannot check {} out: see build.log",
            Step::Checkout,
            self.wanted.commit
        ))
    }

    pub fn no_commit(&self) -> Failure {
        Failure::failed(format!(
            "{}: {} does not point at a commit, but at a tree or a single file",
            Step::Checkout,
            self.wanted.reference
        ))
    }

    pub fn note(&self, text: &str) {
        self.plain.note(Step::Checkout, text);
    }

    /// A question to the checkout.
    pub async fn look(&self, args: &[&str]) -> Result<(bool, String), Failure> {
        let argv: Vec<OsString> = std::iter::once("git")
            .chain(args.iter().copied())
            .map(OsString::from)
            .collect();
        let answer = self
            .runner
            .capture(Step::Checkout, &argv, self.wanted.dir, LOCAL, 64 * 1024)
            .await?;
        Ok((answer.success(), String::from_utf8_lossy(&answer.stdout).into_owned()))
    }

    pub async fn must(&self, args: &[&str]) -> Result<(), Failure> {
        let argv: Vec<OsString> = std::iter::once("git")
            .chain(args.iter().copied())
            .map(OsString::from)
            .collect();
        succeed(self.runner, &argv, self.wanted.dir, self.wanted.timeout).await
    }

    /// Runs git in a directory; its exit code.
    pub async fn run(&self, cwd: &Path, args: &[OsString]) -> Result<i32, Failure> {
        run(self.runner, cwd, args, self.wanted.timeout).await
    }
}

/// The arguments that make a repository for a commit, but for its path.
pub(super) fn init_args(commit: &CommitId, more: &[&str]) -> Vec<OsString> {
    let format = match commit.as_str().len() {
        64 => "--object-format=sha256",
        _ => "--object-format=sha1",
    };
    // A name for the unborn branch, or some gits explain at length how to choose one.
    let args = ["-c", "init.defaultBranch=main", "init", "--quiet", format];
    args.iter().chain(more).chain(&["--"]).map(OsString::from).collect()
}

/// Runs git; its exit code.
pub(super) async fn run(runner: &Runner, cwd: &Path, args: &[OsString], timeout: Duration) -> Result<i32, Failure> {
    let argv: Vec<OsString> = std::iter::once(OsString::from("git"))
        .chain(args.iter().cloned())
        .collect();
    runner
        .logged(Step::Checkout, &argv, cwd, timeout)
        .await
        .map_err(not_the_build)
}

/// Runs git, for which nothing but success will do. That it fails is our side's trouble: disk, network, a filter.
pub(super) async fn succeed(runner: &Runner, argv: &[OsString], cwd: &Path, timeout: Duration) -> Result<(), Failure> {
    match runner
        .logged(Step::Checkout, argv, cwd, timeout)
        .await
        .map_err(not_the_build)?
    {
        0 => Ok(()),
        code => Err(Failure::errored(format!(
            "checkout: `{}` exited with {code}: see build.log",
            runner.shown(argv)
        ))),
    }
}

/// A git that a signal ended (out of memory, say) is no fault of the commit's.
pub(super) fn not_the_build(mut failure: Failure) -> Failure {
    if failure.kind == FailureKind::Failed {
        failure.kind = FailureKind::Errored;
    }
    failure
}
