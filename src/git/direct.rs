//! Fetching one commit straight from its remote into a checkout, by whatever the server grants: the hash, the ref, or
//! the ref's history.
//!
//! Whatever fails, the decision "the commit is gone" rests on what the remote says about its refs, never on git's
//! wording.

use super::checkout::{Checkout, FETCHED, Git};
use super::list::list_refs;
use crate::model::{Failure, FailureKind, Step};
use std::ffi::{OsStr, OsString};

/// Nothing may go on in the background when a fetch is done.
const FETCH: [&str; 6] = ["-c", "gc.auto=0", "-c", "maintenance.auto=false", "fetch", "--force"];

impl Git<'_> {
    /// Fetches the commit, and with it its history unless the checkout is shallow.
    pub(super) async fn fetch_directly(&self) -> Result<(), Failure> {
        if !self.fetch(self.wanted.commit.as_str(), self.wanted.shallow).await? {
            self.fetch_by_ref().await?;
        }
        match self.fetched().await?.as_deref() {
            Some(hash) if hash == self.wanted.commit.as_str() => Ok(()),
            _ => Err(self.no_commit()),
        }
    }

    /// Fetches a hash or a ref; false if git says no.
    async fn fetch(&self, what: impl AsRef<OsStr>, shallow: bool) -> Result<bool, Failure> {
        let mut args: Vec<OsString> = FETCH.map(OsString::from).to_vec();
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
        Ok(self.run(self.wanted.dir, &args).await? == 0)
    }

    /// The server does not give single commits, or the commit is gone, or the network is. Which of them, its refs tell.
    async fn fetch_by_ref(&self) -> Result<(), Failure> {
        let wanted = self.wanted;
        let refs = list_refs(self.plain, wanted.remote, self.parent(), wanted.timeout)
            .await
            .map_err(|error| error.into_failure())?
            .refs;
        let tip = refs
            .iter()
            .find(|(name, _)| name == wanted.reference)
            .map(|(_, tip)| tip);
        let Some(tip) = tip else { return Err(self.gone()) };
        self.note(&format!(
            "the server did not give the commit by its hash: fetching {}",
            wanted.reference
        ));
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
            self.note("the ref has just moved: fetching its history");
            let mut args: Vec<OsString> = FETCH.map(OsString::from).to_vec();
            args.extend(["--unshallow", "--", "origin"].map(OsString::from));
            args.push(wanted.reference.as_os_str().to_owned());
            self.run(wanted.dir, &args).await?;
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
            format!(
                "{}: commit {commit} is no longer on {reference} at the remote",
                Step::Checkout
            ),
        )
    }

    /// The commit that was fetched; none if it is no commit.
    async fn fetched(&self) -> Result<Option<String>, Failure> {
        let commit = format!("{FETCHED}^{{commit}}");
        let (found, hash) = self.look(&["rev-parse", "--verify", "--quiet", &commit]).await?;
        Ok(found.then(|| hash.trim().to_owned()))
    }
}
