//! What an image is compared with, to learn whether anything that it watches has changed: git decides.

use super::attempt::Attempt;
use super::prepare::Prepared;
use super::select::{Compared, Difference, LastGood};
use crate::git::{AtCommit, Changed, Since, changed_paths, default_branch};
use crate::model::{Failure, RefKind, RefName};

impl Attempt<'_> {
    /// The branch that the remote's HEAD points at.
    pub(super) async fn ask_default_branch(&self) -> Result<Option<RefName>, Failure> {
        let socket = self.ssh_socket().await;
        let remote = &self.work.project.remote;
        default_branch(
            &self.runner,
            remote,
            socket.as_deref(),
            &self.directory,
            self.work.project.timeout,
        )
        .await
    }

    /// What has changed since the image was last found good on the ref; on a branch that has never built it, since that
    /// left the default branch. None if there is nothing to compare with.
    pub(super) async fn compare(
        &self,
        prepared: &Prepared<'_>,
        default: Option<&RefName>,
    ) -> Result<Option<Compared>, Failure> {
        let name = &prepared.image.name;
        let reference = &self.work.job.reference;
        let good_on = |reference: &RefName| self.work.last_good.get(&(reference.clone(), name.clone())).cloned();
        if let Some(good) = good_on(reference) {
            let with = format!("{} (job {})", good.commit.short(), good.job);
            let difference = self.difference(Since::Commit(&good.commit)).await?;
            return Ok(Some(Compared { good, with, difference }));
        }
        let branch = default.filter(|default| *default != reference && reference.kind() == RefKind::Branch);
        let Some((branch, good)) = branch.and_then(|branch| Some((branch, good_on(branch)?))) else {
            return Ok(None);
        };
        let difference = self.difference(Since::DefaultBranch).await?;
        let with = format!("this branch left {}", branch.short());
        Ok(Some(Compared {
            // What a branch adds is released by the branch itself, or not at all.
            good: LastGood {
                released: false,
                ..good
            },
            with,
            difference,
        }))
    }

    async fn difference(&self, since: Since<'_>) -> Result<Difference, Failure> {
        let project = &self.work.project;
        let socket = self.ssh_socket().await;
        let at = AtCommit {
            remote: &project.remote,
            mirrors: &self.work.mirrors,
            ssh_socket: socket.as_deref(),
            dir: &self.directory,
            commit: &self.work.job.commit,
            timeout: project.timeout,
        };
        Ok(match changed_paths(&self.runner, &at, since).await? {
            Changed::Paths(paths) => Difference::Paths(paths),
            Changed::Unrelated => Difference::Unrelated,
            Changed::Unknown(why) => Difference::Unknown(why),
        })
    }
}
