//! Bringing a commit into a mirror, and telling whose fault it is when that fails.

use super::Mirrors;
use super::stale::tidy;
use super::tend::is_overgrown;
use super::turn::Held;
use crate::git::checkout::{Git, init_args, run};
use crate::git::list::list_refs;
use crate::model::{CommitId, Failure};
use crate::process::Runner;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Below it a ref for each commit that is kept.
pub(super) const REFS: &str = "refs/pipelined";

/// For people who look into the directory.
const DESCRIPTION: &str = "A copy of what was fetched, to fetch less the next time. It is safe to remove.\n";

/// How it went.
pub(in crate::git) enum Brought {
    /// The commit is in the mirror, with its history unless the checkout is shallow.
    Here,
    /// The mirror is at fault, and a new one will do better. Why.
    Damaged(String),
    /// The mirror is of no use for this commit. Why.
    Useless(String),
}

/// What to fetch, and how.
pub(in crate::git) struct Fetching<'a> {
    /// With the environment for the remote.
    pub runner: &'a Runner,
    /// Without credentials.
    pub url: &'a str,
    /// Which one.
    pub commit: &'a CommitId,
    /// Without its history.
    pub shallow: bool,
    /// Where git runs.
    pub cwd: &'a Path,
    /// For each command.
    pub timeout: Duration,
}

impl Held {
    /// Makes the mirror if it is missing, and fetches what is missing in it. A failure is the remote's, or a cancel.
    pub(in crate::git) async fn bring(&self, mirrors: &Mirrors, git: &Git<'_>) -> Result<Brought, Failure> {
        let wanted = git.wanted;
        let fetching = Fetching {
            runner: git.runner,
            url: &git.remote.url,
            commit: wanted.commit,
            shallow: wanted.shallow,
            cwd: git.parent(),
            timeout: wanted.timeout,
        };
        let fresh = match self.ready(mirrors, &fetching).await? {
            Ok(fresh) => fresh,
            Err(trouble) => return Ok(trouble),
        };
        // Tags come and go while a commit stays, and whole histories are there to be described by them.
        if wanted.shallow && self.has(wanted.commit) {
            return Ok(Brought::Here);
        }
        if self.fetch(&fetching).await? && self.has(wanted.commit) {
            return Ok(Brought::Here);
        }
        let refs = list_refs(git.plain, wanted.remote, git.parent(), wanted.timeout)
            .await
            .map_err(|error| error.into_failure())?
            .refs;
        let is_tip = refs
            .iter()
            .any(|(name, tip)| name == wanted.reference && tip == wanted.commit);
        if !is_tip {
            return Ok(Brought::Useless(format!("{} has moved", wanted.reference)));
        }
        if !fresh {
            return Ok(Brought::Damaged("it cannot take in what the remote has".to_owned()));
        }
        match mirrors.discard(&self.path) {
            Err(error) => Ok(self.useless("throw away", &error)),
            Ok(()) => Ok(Brought::Useless(
                "not even a new mirror can take in what the remote has".to_owned(),
            )),
        }
    }

    /// Makes the mirror if it is missing, else free of what a killed git has left. Answers whether it is new; or what
    /// the trouble with it is.
    pub(in crate::git) async fn ready(
        &self,
        mirrors: &Mirrors,
        fetching: &Fetching<'_>,
    ) -> Result<Result<bool, Brought>, Failure> {
        if is_overgrown(&self.path)
            && let Err(error) = mirrors.discard(&self.path)
        {
            return Ok(Err(self.useless("throw away", &error)));
        }
        let fresh = self.path.symlink_metadata().is_err();
        if fresh {
            if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(&mirrors.root) {
                return Ok(Err(self.useless("make", &error)));
            }
            if !self.make(fetching).await? {
                return Ok(Err(Brought::Useless(format!("cannot make {}", self.path.display()))));
            }
        } else if let Err(error) = tidy(&self.path) {
            return Ok(Err(Brought::Damaged(error.to_string())));
        }
        Ok(Ok(fresh))
    }

    fn useless(&self, what: &str, error: &io::Error) -> Brought {
        Brought::Useless(format!("cannot {what} {}: {error}", self.path.display()))
    }

    async fn make(&self, fetching: &Fetching<'_>) -> Result<bool, Failure> {
        let mut args = init_args(fetching.commit, &["--bare", "--template="]);
        args.push(self.path.clone().into());
        let made = run(fetching.runner, fetching.cwd, &args, fetching.timeout).await? == 0;
        // Whether anyone can be told is no reason to do without.
        let _ = fs::write(self.path.join("description"), DESCRIPTION);
        Ok(made)
    }

    /// Fetches the commit, and tags with whole histories; false if git says no.
    pub(in crate::git) async fn fetch(&self, fetching: &Fetching<'_>) -> Result<bool, Failure> {
        let commit = fetching.commit;
        let mut args: Vec<OsString> = git_dir(&self.path).into();
        let mut add = |more: &[&str]| args.extend(more.iter().map(OsString::from));
        // One pack for each fetch, whatever its size: packs are copied faster than loose objects, and counted.
        add(&[
            "-c",
            "fetch.unpackLimit=1",
            "-c",
            "gc.auto=0",
            "-c",
            "maintenance.auto=false",
            "fetch",
        ]);
        add(&[
            "--force",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
        ]);
        add(if fetching.shallow {
            &["--depth=1", "--no-prune"]
        } else {
            &["--prune"]
        });
        add(&["--", fetching.url, &format!("+{commit}:{REFS}/{commit}")]);
        if !fetching.shallow {
            add(&["+refs/tags/*:refs/tags/*"]);
        }
        Ok(run(fetching.runner, fetching.cwd, &args, fetching.timeout).await? == 0)
    }

    /// Whether the commit was fetched, and is kept: marks it as used.
    pub(in crate::git) fn has(&self, commit: &CommitId) -> bool {
        let path = self.path.join(REFS).join(commit.as_str());
        let here = fs::read(&path).is_ok_and(|text| text.trim_ascii() == commit.as_str().as_bytes());
        if here && let Ok(file) = File::open(&path) {
            // Only the order in which commits are forgotten suffers.
            let _ = file.set_modified(SystemTime::now());
        }
        here
    }
}

/// The mirror by its name: a directory that is no repository must not make git find another one around it.
pub(in crate::git) fn git_dir(mirror: &Path) -> [OsString; 2] {
    ["--git-dir".into(), mirror.into()]
}
