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
                let standings = &mut self.state.updates.standings;
                let released = standings.get(&node).and_then(|standing| standing.job);
                if released.is_some_and(|released| released < job.id) {
                    standings.change(&node, |standing| {
                        standing.bases.clone_from(&result.bases);
                        standing.verified = verified;
                    });
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
        let standings = &mut self.state.updates.standings;
        let there = result.released.iter().flat_map(|reference| standings.at(reference));
        let there: BTreeSet<Node> = there.cloned().collect();
        let mut is_bare = false;
        for node in there {
            let Some(standing) = standings.get(&node) else { continue };
            // What was built elsewhere is on no record of ours.
            let Some(other) = standing.job else { continue };
            if other > job {
                own.retain(|reference| !standing.released.contains(reference));
                continue;
            }
            if other == job && node == *own_node {
                continue;
            }
            let left = |reference: &&ImageRef| !result.released.contains(reference);
            let left: Vec<ImageRef> = standing.released.iter().filter(left).cloned().collect();
            match left.is_empty() {
                true => drop(standings.remove(&node)),
                false => standings.change(&node, |standing| standing.released = left),
            }
            is_bare |= !self.state.updates.links.contains_key(&node);
        }
        if is_bare {
            // What was released was all that is known of its edges.
            self.state.graph.forget();
        }
        own
    }
}
