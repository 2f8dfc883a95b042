//! A checkout by way of a mirror: fetch into it what is new, copy its objects, check out.
//!
//! The mirror is never the reason why a checkout fails. One that is at fault is thrown away, and the checkout is made
//! again with a new one.

use super::checkout::{FETCHED, Git};
use super::mirror::{Brought, Gift, Held, Mirrors, git_dir};
use crate::model::{Failure, FailureKind, Step};
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// The longest list of tags that is read.
const TAGS_LIMIT: usize = 64 << 20;

/// How a try went.
enum Tried {
    Done,
    /// The mirror is at fault. Why.
    Damaged(String),
    /// This commit does not come by a mirror. Why.
    Useless(String),
}

impl Git<'_> {
    /// Whether there is a checkout now. If not, the directory is free for another way; a failure is final.
    pub(super) async fn by_mirror(&self, mirrors: &Mirrors) -> Result<bool, Failure> {
        let path = mirrors.path(self.wanted.remote, self.wanted.shallow);
        for again in ["trying again with a new one", "doing without"] {
            match self.try_mirror(mirrors, &path).await? {
                Tried::Done => return Ok(true),
                Tried::Useless(why) => {
                    self.note(&format!(
                        "no use of the mirror: {why}: fetching straight from the remote"
                    ));
                    self.clear(mirrors)?;
                    return Ok(false);
                }
                Tried::Damaged(why) => {
                    self.note(&format!("the mirror is thrown away ({why}): {again}"));
                    let _held = mirrors.hold(self.runner, path.clone()).await?;
                    if let Err(error) = mirrors.discard(&path) {
                        self.note(&format!("cannot throw {} away: {error}", path.display()));
                    }
                    self.clear(mirrors)?;
                }
            }
        }
        Ok(false)
    }

    async fn try_mirror(&self, mirrors: &Mirrors, path: &Path) -> Result<Tried, Failure> {
        let held = mirrors.hold(self.runner, path.to_owned()).await?;
        match held.bring(mirrors, self).await? {
            Brought::Here => {}
            Brought::Damaged(why) => return Ok(Tried::Damaged(why)),
            Brought::Useless(why) => return Ok(Tried::Useless(why)),
        }
        self.init().await?;
        let Some(tags) = self.tags(path).await? else {
            return Ok(Tried::Damaged("its history cannot be read".to_owned()));
        };
        match self.copy(held, tags).await {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                let cancelled = format!("{}: cancelled", Step::Checkout);
                return Err(Failure::new(FailureKind::Cancelled, cancelled));
            }
            Err(error) => return Ok(Tried::Damaged(format!("its objects cannot be copied: {error}"))),
            Ok(()) => {}
        }
        if self.check_out().await? == 0 {
            return self.is_at_commit().map(|()| Tried::Done);
        }
        let (found, kind) = self.look(&["cat-file", "-t", self.wanted.commit.as_str()]).await?;
        if found && kind.trim() != "commit" {
            return Err(self.no_commit());
        }
        // A filter may have failed, or the disk is full: only what is proved against the mirror counts.
        let argv = ["git", "fsck", "--no-dangling", "--no-progress"].map(OsString::from);
        let runner = self.runner;
        let proof = runner
            .capture(Step::Checkout, &argv, self.wanted.dir, self.wanted.timeout, 1)
            .await?;
        match proof.success() {
            true => Err(self.not_checked_out()),
            false => Ok(Tried::Damaged(proof.last_words().to_owned())),
        }
    }

    /// The tags of the commit's history, as `HASH NAME` lines; none if the mirror cannot tell.
    async fn tags(&self, mirror: &Path) -> Result<Option<Vec<u8>>, Failure> {
        if self.wanted.shallow {
            return Ok(Some(Vec::new()));
        }
        let mut argv = vec!["git".into()];
        argv.extend(git_dir(mirror));
        argv.extend(["for-each-ref", "--format=%(objectname) %(refname)"].map(OsString::from));
        argv.extend([format!("--merged={}", self.wanted.commit), "refs/tags/".to_owned()].map(OsString::from));
        let (cwd, timeout) = (self.parent(), self.wanted.timeout);
        let answer = self
            .runner
            .capture(Step::Checkout, &argv, cwd, timeout, TAGS_LIMIT)
            .await?;
        Ok((answer.success() && !answer.truncated).then_some(answer.stdout))
    }

    /// Keeps the mirror until its last file is read, also when nobody waits for that any more.
    async fn copy(&self, held: Held, tags: Vec<u8>) -> io::Result<()> {
        let git_dir = self.wanted.dir.join(".git");
        let (commit, cancel) = (self.wanted.commit.clone(), self.runner.cancel.clone());
        let copying = move || {
            let gift = Gift {
                mirror: held.path(),
                git_dir: &git_dir,
                commit: &commit,
                reference: FETCHED,
                tags: &tags,
                cancel: &cancel,
            };
            gift.give()
        };
        tokio::task::spawn_blocking(copying).await?
    }

    /// What was asked for may be a tag, whose commit was checked out then.
    fn is_at_commit(&self) -> Result<(), Failure> {
        let head = std::fs::read(self.wanted.dir.join(".git/HEAD")).unwrap_or_default();
        match head.trim_ascii() == self.wanted.commit.as_str().as_bytes() {
            true => Ok(()),
            false => Err(self.no_commit()),
        }
    }

    /// Takes what a try has left out of the way.
    fn clear(&self, mirrors: &Mirrors) -> Result<(), Failure> {
        let dir = self.wanted.dir;
        if dir.symlink_metadata().is_err() {
            return Ok(());
        }
        mirrors
            .discard(dir)
            .map_err(|e| Failure::errored(format!("{}: cannot remove {}: {e}", Step::Checkout, dir.display())))
    }
}
