//! The mirrors of remotes: which are kept, and when they are tended. Trouble with them is never a job's.

use super::core::Daemon;
use crate::config::Project;
use crate::git::Mirrors;
use crate::workdir::{Layout, Trash};
use std::collections::BTreeSet;

/// The mirrors of a workdir that is ours. Fails if no thread can be started.
pub(super) fn open(layout: &Layout) -> std::io::Result<Mirrors> {
    let trash = Trash::open(layout.trash())?;
    Ok(Mirrors::new(layout.mirrors(), move |path| trash.discard(path)))
}

impl Daemon {
    /// Throws away the mirrors of remotes that no project has any more.
    pub(super) fn prune_mirrors(&self) {
        let kept = self.config.projects.values().flat_map(|project| {
            let kinds = kinds(project).into_iter();
            kinds.map(|shallow| (project.remote.as_str(), shallow))
        });
        match self.mirrors.prune(kept) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "threw away the mirrors of remotes that are in no project"),
            Err(error) => tracing::warn!(%error, "cannot throw away mirrors that nobody needs"),
        }
    }

    /// Sees to the mirrors that a job has used, beside whatever comes next.
    pub(super) fn tend_mirror(&self, project: &Project) {
        let (mirrors, runner) = (self.mirrors.clone(), self.asking.runner(self.asking.stop()));
        let (remote, kinds) = (project.remote.clone(), kinds(project));
        self.asking.tasks.spawn(async move {
            for shallow in kinds {
                if let Err(error) = mirrors.tend(&runner, &remote, shallow).await {
                    // A damaged one is found out, and thrown away, by the next checkout.
                    tracing::debug!(%error, "cannot pack a mirror anew");
                }
            }
        });
    }
}

/// The mirrors that a project's jobs use, each by its `shallow`: what has changed since another commit is a question to
/// the whole history.
fn kinds(project: &Project) -> BTreeSet<bool> {
    let watches = project.images.iter().any(|image| !image.watch.is_empty());
    [project.shallow].into_iter().chain(watches.then_some(false)).collect()
}
