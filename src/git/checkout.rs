//! Bringing exactly one commit into a fresh directory.
//!
//! The commit is asked for by its hash, so that a branch that moved does not lose the build. Whatever fails, the
//! decision "the commit is gone" rests on what the remote says about its refs, never on git's wording.

use super::environment::environment;
use super::list::list_refs;
use super::remote::Remote;
use super::submodules;
use crate::model::{CommitId, Failure, FailureKind, RefName, Step};
use crate::process::Runner;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

/// Where the fetched commit is kept; no name that a user's ref could have.
const FETCHED: &str = "refs/pipelined/commit";

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
}

/// Checks a commit out: detached, self-contained, and with an `origin` that holds no credentials.
pub async fn checkout(runner: &Runner, wanted: &Checkout<'_>) -> Result<(), Failure> {
    let parent = wanted.dir.parent().unwrap_or(Path::new("/"));
    let env = environment(runner, wanted.remote, wanted.submodules, parent).await?;
    let git = Git {
        plain: runner,
        runner: &runner.with_env(env),
        wanted,
        remote: Remote::new(wanted.remote),
    };
    git.init(parent).await?;
    if !git.fetch(wanted.commit.as_str(), wanted.shallow).await? {
        git.fetch_by_ref().await?;
    }
    match git.fetched().await?.as_deref() {
        Some(hash) if hash == wanted.commit.as_str() => {}
        _ => {
            return Err(Failure::failed(format!(
                "checkout: {} does not point at a commit, but at a tree or a single file",
                wanted.reference
            )));
        }
    }
    git.must(&["checkout", "--quiet", "--detach", "--force", wanted.commit.as_str()])
        .await?;
    if wanted.submodules {
        submodules::update(git.runner, wanted).await?;
    }
    Ok(())
}

struct Git<'a> {
    plain: &'a Runner,
    runner: &'a Runner,
    wanted: &'a Checkout<'a>,
    remote: Remote,
}

impl Git<'_> {
    async fn init(&self, parent: &Path) -> Result<(), Failure> {
        let format = match self.wanted.commit.as_str().len() {
            64 => "--object-format=sha256",
            _ => "--object-format=sha1",
        };
        // A name for the unborn branch, or some gits explain at length how to choose one.
        let mut argv: Vec<OsString> = ["git", "-c", "init.defaultBranch=main", "init", "--quiet", format, "--"]
            .map(OsString::from)
            .to_vec();
        argv.push(self.wanted.dir.into());
        succeed(self.runner, &argv, parent, self.wanted.timeout).await?;
        self.must(&["remote", "add", "--", "origin", &self.remote.url]).await
    }

    /// Fetches a hash or a ref; false if git says no. Nothing may go on in the background when it is done.
    async fn fetch(&self, what: impl AsRef<OsStr>, shallow: bool) -> Result<bool, Failure> {
        let mut args: Vec<OsString> = ["-c", "gc.auto=0", "-c", "maintenance.auto=false", "fetch", "--force"]
            .map(OsString::from)
            .to_vec();
        // Without --no-tags, tags of the fetched history come too.
        args.extend(
            shallow
                .then_some(["--depth=1", "--no-tags"])
                .into_iter()
                .flatten()
                .map(OsString::from),
        );
        args.extend(["--no-recurse-submodules", "--", "origin"].map(OsString::from));
        let mut refspec = what.as_ref().to_owned();
        refspec.push(format!(":{FETCHED}"));
        args.push(refspec);
        Ok(self.run(&args).await? == 0)
    }

    /// The server does not give single commits, or the commit is gone, or the network is. Which of them, its refs tell.
    async fn fetch_by_ref(&self) -> Result<(), Failure> {
        let wanted = self.wanted;
        let parent = wanted.dir.parent().unwrap_or(Path::new("/"));
        let refs = list_refs(self.plain, wanted.remote, parent, wanted.timeout)
            .await
            .map_err(|error| error.into_failure())?
            .refs;
        let tip = refs
            .iter()
            .find(|(name, _)| name == wanted.reference)
            .map(|(_, tip)| tip);
        let Some(tip) = tip else { return Err(self.gone()) };
        self.runner.note(
            Step::Checkout,
            &format!(
                "the server did not give the commit by its hash: fetching {}",
                wanted.reference
            ),
        );
        // Only the history can tell whether a commit that is no tip is still part of the ref. A server without
        // smart http gives no shallow history at all.
        let only_tip = wanted.shallow && tip == wanted.commit;
        let fetched = only_tip && self.fetch(wanted.reference.as_os_str(), true).await?;
        if !fetched && !self.fetch(wanted.reference.as_os_str(), false).await? {
            return Err(Failure::errored(format!(
                "checkout: cannot fetch {} from {}: see build.log",
                wanted.reference, self.remote.url
            )));
        }
        if self.fetched().await?.as_deref() == Some(wanted.commit.as_str()) {
            return Ok(());
        }
        if only_tip && fetched {
            // The ref moved between the list and the fetch.
            self.runner
                .note(Step::Checkout, "the ref has just moved: fetching its history");
            let mut args = [
                "-c",
                "gc.auto=0",
                "-c",
                "maintenance.auto=false",
                "fetch",
                "--force",
                "--unshallow",
                "--",
            ]
            .map(OsString::from)
            .to_vec();
            args.push("origin".into());
            args.push(wanted.reference.as_os_str().to_owned());
            self.run(&args).await?;
        }
        let commit = wanted.commit.as_str();
        if !self.look(&["merge-base", "--is-ancestor", commit, FETCHED]).await?.0 {
            return Err(self.gone());
        }
        self.must(&["update-ref", FETCHED, commit]).await
    }

    fn gone(&self) -> Failure {
        let Checkout { commit, reference, .. } = self.wanted;
        Failure::new(
            FailureKind::Superseded,
            format!("checkout: commit {commit} is no longer on {reference} at the remote"),
        )
    }

    /// The commit that was fetched; none if it is no commit.
    async fn fetched(&self) -> Result<Option<String>, Failure> {
        let commit = format!("{FETCHED}^{{commit}}");
        let (found, hash) = self.look(&["rev-parse", "--verify", "--quiet", &commit]).await?;
        Ok(found.then(|| hash.trim().to_owned()))
    }

    /// A question to the local repository.
    async fn look(&self, args: &[&str]) -> Result<(bool, String), Failure> {
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

    async fn must(&self, args: &[&str]) -> Result<(), Failure> {
        let argv: Vec<OsString> = std::iter::once("git")
            .chain(args.iter().copied())
            .map(OsString::from)
            .collect();
        succeed(self.runner, &argv, self.wanted.dir, self.wanted.timeout).await
    }

    async fn run(&self, args: &[OsString]) -> Result<i32, Failure> {
        let argv: Vec<OsString> = std::iter::once(OsString::from("git"))
            .chain(args.iter().cloned())
            .collect();
        self.runner
            .logged(Step::Checkout, &argv, self.wanted.dir, self.wanted.timeout)
            .await
            .map_err(not_the_build)
    }
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
            crate::process::display_argv(argv)
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
