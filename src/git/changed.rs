//! Which paths changed between two commits, as git decides it from their trees.
//!
//! It asks the mirror of whole histories, which is brought up to date for that. It must never answer with fewer paths
//! than changed: whoever asks leaves out what seems not to be touched. Where it cannot tell, it says so, and why.

use super::environment::{environment, sharing};
use super::head::head;
use super::list::list_refs;
use super::mirror::{Brought, Fetching, Held, Mirrors, git_dir};
use super::remote::Remote;
use crate::model::{CommitId, Failure, Step};
use crate::process::{Captured, Runner};
use bstr::{BString, ByteSlice};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The longest list of paths that is read.
const PATHS_LIMIT: usize = 64 << 20;

/// How often a default branch that moves while we look is followed.
const MOVES: usize = 3;

/// What to compare a commit with.
#[derive(Debug, Clone, Copy)]
pub enum Since<'a> {
    /// With another one: the last of the ref that was built.
    Commit(&'a CommitId),
    /// With where it left the branch that the remote's HEAD points at.
    DefaultBranch,
}

/// A commit that is looked at in a mirror.
#[derive(Debug, Clone, Copy)]
pub struct AtCommit<'a> {
    /// As it is configured, with credentials.
    pub remote: &'a str,
    /// Of the workdir.
    pub mirrors: &'a Mirrors,
    /// Of a connection to the remote's host that ssh may use (see [`crate::git::Asker::ssh_socket`]).
    pub ssh_socket: Option<&'a Path>,
    /// Where git may run. It must not be in a repository.
    pub dir: &'a Path,
    /// Which.
    pub commit: &'a CommitId,
    /// For each command.
    pub timeout: Duration,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These paths, below the repository's root: added, removed, or with another content, mode or type; a renamed file is
    /// there with both of its names, and a submodule by its path.
    Paths(Vec<BString>),
    /// The two have no common history.
    Unrelated,
    /// Nobody can tell. Why.
    Unknown(String),
}

/// Asks what changed up to a commit. A failure is the remote's that cannot be reached, or a cancel: all else has an answer.
pub async fn changed_paths(runner: &Runner, wanted: &AtCommit<'_>, since: Since<'_>) -> Result<Changed, Failure> {
    let look = Look::open(runner, wanted, false).await?;
    let mut trouble = String::new();
    for again in TRIES {
        let held = look.hold().await?;
        match look.compare(&held, since).await? {
            Tried::Done(changed) => return Ok(changed),
            Tried::Useless(why) => return Ok(Changed::Unknown(format!("no use of the mirror: {why}"))),
            Tried::Damaged(why) => {
                look.throw_away(&held, &why, again);
                trouble = why;
            }
        }
    }
    Ok(Changed::Unknown(format!("no use of the mirror: {trouble}")))
}

/// What follows a try with a mirror that is at fault.
pub(super) const TRIES: [&str; 2] = ["trying again with a new one", "doing without"];

/// How a try went.
pub(super) enum Tried<T> {
    Done(T),
    /// The mirror is at fault, and a new one may do better. Why.
    Damaged(String),
    /// A mirror cannot answer that. Why.
    Useless(String),
}

/// A look into a mirror.
pub(super) struct Look<'a> {
    /// Without the environment for the remote.
    plain: &'a Runner,
    /// With it.
    runner: Runner,
    url: String,
    /// Into the one of single commits.
    shallow: bool,
    pub wanted: &'a AtCommit<'a>,
}

impl<'a> Look<'a> {
    pub(super) async fn open(runner: &'a Runner, wanted: &'a AtCommit<'a>, shallow: bool) -> Result<Self, Failure> {
        let env = environment(runner, wanted.remote, false, wanted.dir).await?;
        Ok(Self {
            plain: runner,
            runner: runner.with_env(sharing(env, wanted.ssh_socket)),
            url: Remote::new(wanted.remote).url,
            shallow,
            wanted,
        })
    }

    /// Waits for the mirror's turn.
    pub(super) async fn hold(&self) -> Result<Held, Failure> {
        let path = self.wanted.mirrors.path(self.wanted.remote, self.shallow);
        self.wanted.mirrors.hold(&self.runner, path).await
    }

    /// Does away with a mirror that is at fault.
    pub(super) fn throw_away(&self, held: &Held, why: &str, again: &str) {
        let note = format!("the mirror is thrown away ({why}): {again}");
        self.plain.note(Step::Checkout, &note);
        if let Err(error) = self.wanted.mirrors.discard(held.path()) {
            let path = held.path().display();
            self.plain
                .note(Step::Checkout, &format!("cannot throw {path} away: {error}"));
        }
    }

    /// Makes the mirror ready, and answers whether it is a new one.
    pub(super) async fn ready(&self, held: &Held) -> Result<Tried<bool>, Failure> {
        let wanted = self.wanted;
        Ok(match held.ready(wanted.mirrors, &self.fetching(wanted.commit)).await? {
            Ok(fresh) => Tried::Done(fresh),
            Err(Brought::Damaged(why)) => Tried::Damaged(why),
            Err(Brought::Useless(why)) => Tried::Useless(why),
            Err(Brought::Here) => Tried::Done(false),
        })
    }

    async fn compare(&self, held: &Held, since: Since<'_>) -> Result<Tried<Changed>, Failure> {
        let wanted = self.wanted;
        let fresh = match self.ready(held).await? {
            Tried::Done(fresh) => fresh,
            Tried::Damaged(why) => return Ok(Tried::Damaged(why)),
            Tried::Useless(why) => return Ok(Tried::Useless(why)),
        };
        match self.bring(held, wanted.commit, fresh).await? {
            Tried::Done(true) => {}
            Tried::Done(false) => return Ok(Tried::Done(gone(wanted.commit))),
            Tried::Damaged(why) => return Ok(Tried::Damaged(why)),
            Tried::Useless(why) => return Ok(Tried::Useless(why)),
        }
        let other = match since {
            Since::Commit(commit) => match self.bring(held, commit, fresh).await? {
                Tried::Done(true) => commit.clone(),
                Tried::Done(false) => return Ok(Tried::Done(gone(commit))),
                Tried::Damaged(why) => return Ok(Tried::Damaged(why)),
                Tried::Useless(why) => return Ok(Tried::Useless(why)),
            },
            Since::DefaultBranch => match self.bring_default(held, fresh).await? {
                Tried::Done(Ok(tip)) => tip,
                Tried::Done(Err(unknown)) => return Ok(Tried::Done(unknown)),
                Tried::Damaged(why) => return Ok(Tried::Damaged(why)),
                Tried::Useless(why) => return Ok(Tried::Useless(why)),
            },
        };
        let base = self
            .ask(held, &["merge-base", other.as_str(), wanted.commit.as_str()])
            .await?;
        let base = match (base.code, base.stdout.trim().to_str().map(CommitId::new)) {
            (Some(1), _) if base.stderr.trim().is_empty() => return Ok(Tried::Done(Changed::Unrelated)),
            (Some(0), Ok(Ok(commit))) => commit,
            _ => {
                return Ok(Tried::Damaged(format!(
                    "its history cannot be read: {}",
                    base.last_words()
                )));
            }
        };
        let old = match since {
            Since::Commit(_) => &other,
            Since::DefaultBranch => &base,
        };
        self.differences(held, old).await
    }

    /// Both trees, without what a user's settings would leave out or make of them.
    async fn differences(&self, held: &Held, old: &CommitId) -> Result<Tried<Changed>, Failure> {
        let mut args = vec![
            "diff",
            "--name-only",
            "-z",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
        ];
        args.extend(["--no-relative", "--ignore-submodules=none"]);
        args.extend([old.as_str(), self.wanted.commit.as_str(), "--"]);
        let answer = self.ask(held, &args).await?;
        if !answer.success() {
            return Ok(Tried::Damaged(format!(
                "its trees cannot be read: {}",
                answer.last_words()
            )));
        }
        if answer.truncated {
            let why = format!("the paths that changed have more than {PATHS_LIMIT} bytes");
            return Ok(Tried::Done(Changed::Unknown(why)));
        }
        let paths = answer.stdout.split_str("\0").filter(|path| !path.is_empty());
        Ok(Tried::Done(Changed::Paths(paths.map(BString::from).collect())))
    }

    /// Sees that a commit and its history are in the mirror; false if the remote does not give it.
    pub(super) async fn bring(&self, held: &Held, commit: &CommitId, fresh: bool) -> Result<Tried<bool>, Failure> {
        if held.has(commit) {
            return Ok(Tried::Done(true));
        }
        // Most commits are in the history of one that is there.
        let object = format!("{commit}^{{commit}}");
        if self.ask(held, &["cat-file", "-e", &object]).await?.success() {
            return Ok(Tried::Done(true));
        }
        if held.fetch(&self.fetching(commit)).await? && held.has(commit) {
            return Ok(Tried::Done(true));
        }
        // Whose fault it is, the remote's refs tell, or that it does not answer.
        let (remote, dir) = (self.wanted.remote, self.wanted.dir);
        let refs = list_refs(self.plain, remote, dir, self.wanted.timeout)
            .await
            .map_err(|error| error.into_failure())?
            .refs;
        let is_tip = refs.iter().any(|(_, tip)| tip == commit);
        let why = "it cannot take in what the remote has".to_owned();
        Ok(match is_tip {
            true if fresh => Tried::Useless(why),
            true => Tried::Damaged(why),
            // A mirror that cannot read what it has would not have taken the commit in either.
            false if !fresh && !self.ask(held, &["rev-list", "--quiet", "--all"]).await?.success() => {
                Tried::Damaged("its history cannot be read".to_owned())
            }
            false => Tried::Done(false),
        })
    }

    /// The tip of the default branch, once it is in the mirror.
    async fn bring_default(&self, held: &Held, fresh: bool) -> Result<Tried<Result<CommitId, Changed>>, Failure> {
        let AtCommit {
            remote,
            ssh_socket,
            dir,
            timeout,
            ..
        } = *self.wanted;
        let mut last = None;
        for _ in 0..MOVES {
            let head = head(self.plain, remote, ssh_socket, dir, timeout).await?;
            let (Some(branch), Some(tip)) = (head.branch, head.tip) else {
                let why = "the remote's HEAD points at no branch that exists".to_owned();
                return Ok(Tried::Done(Err(Changed::Unknown(why))));
            };
            match self.bring(held, &tip, fresh).await? {
                Tried::Done(true) => return Ok(Tried::Done(Ok(tip))),
                Tried::Done(false) => last = Some(branch),
                Tried::Damaged(why) => return Ok(Tried::Damaged(why)),
                Tried::Useless(why) => return Ok(Tried::Useless(why)),
            }
        }
        let branch = last.map(|branch| branch.to_string()).unwrap_or_default();
        Ok(Tried::Done(Err(Changed::Unknown(format!(
            "{branch} moves all the time"
        )))))
    }

    fn fetching<'b>(&'b self, commit: &'b CommitId) -> Fetching<'b> {
        Fetching {
            runner: &self.runner,
            url: &self.url,
            commit,
            shallow: self.shallow,
            cwd: self.wanted.dir,
            timeout: self.wanted.timeout,
        }
    }

    /// A question to the mirror.
    async fn ask(&self, held: &Held, args: &[&str]) -> Result<Captured, Failure> {
        self.ask_for(held, args, PATHS_LIMIT).await
    }

    /// The same, for so many bytes.
    pub(super) async fn ask_for(&self, held: &Held, args: &[&str], limit: usize) -> Result<Captured, Failure> {
        let words = args.iter().map(OsString::from);
        let argv: Vec<OsString> = ["git".into()]
            .into_iter()
            .chain(git_dir(held.path()))
            .chain(words)
            .collect();
        let (dir, timeout) = (self.wanted.dir, self.wanted.timeout);
        self.plain.capture(Step::Checkout, &argv, dir, timeout, limit).await
    }
}

fn gone(commit: &CommitId) -> Changed {
    Changed::Unknown(format!("the remote does not give commit {commit} any more"))
}
