//! What the end of a job means for what is released.

use super::handle::Turn;
use super::timing::rounded;
use super::waves::node_of;
use crate::model::{Evidence, ImageRef, ImageResult, ImageStatus, Job, JobId, Node, Standing};
use std::collections::BTreeSet;

impl Turn<'_> {
    /// Takes in what became of a job's images.
    pub(super) fn results(&mut self, job: &Job, results: &[ImageResult]) {
        for result in results {
            self.result(job, result);
        }
        let nodes = results.iter().map(|result| node_of(job, &result.image));
        if nodes
            .into_iter()
            .any(|node| !self.state.updates.links.contains_key(&node))
        {
            // What is released is all that is known of its edges.
            self.state.graph.forget();
        }
    }

    fn result(&mut self, job: &Job, result: &ImageResult) {
        let verified = rounded(self.now);
        let node = Node {
            project: job.project.clone(),
            reference: job.reference.clone(),
            image: result.image.clone(),
        };
        let before = self.state.updates.standings.get(&node);
        let is_other = before.is_some_and(|before| before.commit != job.commit);
        let released = self.take_over(job.id, &node, result);
        match result.status {
            // All of it is a newer job's by now.
            ImageStatus::Released if released.is_empty() => {
                let standings = &mut self.state.updates.standings;
                if standings.get(&node).is_some_and(|standing| standing.job < Some(job.id)) {
                    standings.remove(&node);
                }
            }
            ImageStatus::Released => {
                let standing = Standing {
                    job: Some(job.id),
                    commit: job.commit.clone(),
                    id: result.id.clone(),
                    digest: result.digest.clone(),
                    released,
                    bases: result.bases.clone(),
                    verified,
                    evidence: Evidence::Record,
                    layers: Vec::new(),
                    since: verified,
                    wave: Some(job.wave),
                    alike: result.alike.clone(),
                };
                self.state.updates.standings.insert(node.clone(), standing);
                if is_other {
                    self.forget_try(&node);
                }
                self.poke_about(job, &node, result);
                self.put_packages(&node, None);
                self.put_elsewhere(&node, None);
            }
            ImageStatus::Unchanged => {
                if let Some(standing) = self.state.updates.standings.get_mut(&node)
                    && standing.job.is_some_and(|released| released < job.id)
                {
                    standing.bases.clone_from(&result.bases);
                    standing.verified = verified;
                }
            }
            _ => {}
        }
    }

    /// The references that are an image's own by now: what a newer job has released elsewhere stays with that.
    fn take_over(&mut self, job: JobId, own_node: &Node, result: &ImageResult) -> Vec<ImageRef> {
        if result.released.is_empty() {
            return Vec::new();
        }
        let mut own = result.released.clone();
        let mut gone: BTreeSet<Node> = BTreeSet::new();
        for (node, standing) in &mut self.state.updates.standings {
            // What was built elsewhere is on no record of ours.
            let Some(other) = standing.job else { continue };
            if other > job {
                own.retain(|reference| !standing.released.contains(reference));
            } else if other < job || node != own_node {
                standing
                    .released
                    .retain(|reference| !result.released.contains(reference));
                if standing.released.is_empty() {
                    gone.insert(node.clone());
                }
            }
        }
        for node in gone {
            self.state.updates.standings.remove(&node);
        }
        own
    }
}
