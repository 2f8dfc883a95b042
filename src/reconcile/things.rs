//! Projects without images: what others rely on all the same.
//!
//! On the branch that the remote's HEAD points at such a project is a node like an image. It is stale when what it relies
//! on has changed; then its tip is built again.

use super::handle::{Turn, replace};
use super::ours::Ours;
use super::timing::rounded;
use super::tries::tip_key;
use crate::model::{BaseUsed, CommitId, EdgeKind, Job, JobId, Links, Node, Outcome, State, Thing, Write, full_name};
use std::collections::BTreeSet;

/// By which inputs a project without images is stale, with the wave of the newest one; none if it is not.
pub(super) fn stale(node: &Node, state: &State, ours: &Ours) -> Option<(String, Vec<Change>)> {
    let thing = state.updates.things.get(node)?;
    let mut key = Vec::new();
    let mut changes = Vec::new();
    for used in &thing.needs {
        let Some(needed) = &used.needed else { continue };
        let Some(Some(at)) = ours.needed(node, &needed.node, &state.updates) else {
            continue;
        };
        key.push(format!("{} {}", used.name, at.as_input()));
        if !at.is_what_was_needed(needed) {
            changes.push(Change {
                name: used.name.clone(),
                job: at.job,
                wave: at.wave,
            });
        }
    }
    (!changes.is_empty()).then(|| (key.join(" "), changes))
}

/// What is released of ours that an image stands on which was never released itself: by this, whether its tip was tried
/// on the same. Its commit counts, not its job: in a circle of jobs each would bring about the other for ever.
pub(super) fn first_ground(node: &Node, state: &State, ours: &Ours) -> (String, Vec<Change>) {
    let ups = ours
        .graph
        .place(node)
        .into_iter()
        .flat_map(|place| ours.graph.ups(place));
    let mut key = Vec::new();
    let mut changes = Vec::new();
    let nodes: BTreeSet<&Node> = ups.map(|edge| &ours.graph.nodes()[edge.to]).collect();
    let is_beside = |up: &Node| up.project == node.project && up.reference == node.reference;
    for up in nodes.into_iter().filter(|up| !is_beside(up)) {
        let Some(at) = ours.any(up, &state.updates).filter(|at| at.held.is_none()) else {
            continue;
        };
        let name = full_name(&up.project, &up.image);
        key.push(format!("{name} {}", at.commit));
        changes.push(Change {
            name,
            job: at.job,
            wave: at.wave,
        });
    }
    (key.join(" "), changes)
}

/// The tip that has failed of an image that was never released, if what it stands on has been released since.
pub(super) fn failed_first(node: &Node, state: &State, ours: &Ours) -> Option<(CommitId, String, Vec<Change>)> {
    let updates = &state.updates;
    let (commit, _, outcome) = updates.links.get(node)?.failed.as_ref()?;
    let tip = state.projects.get(&node.project)?.refs.get(&node.reference)?;
    if tip != commit || *outcome == Outcome::Cancelled || updates.standings.contains_key(node) {
        return None;
    }
    let (key, changes) = first_ground(node, state, ours);
    let is_other = updates.tried.get(node)?.key != tip_key(&key);
    (is_other && !changes.is_empty()).then(|| (tip.clone(), key, changes))
}

/// Something that is relied on is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub name: String,
    pub job: JobId,
    pub wave: JobId,
}

impl Turn<'_> {
    /// A project without images was built on the branch that counts.
    pub(super) fn thing(&mut self, job: &Job) {
        let Some(image) = super::edges::itself(&job.project) else {
            return;
        };
        let has_none = self
            .config
            .projects
            .get(&job.project)
            .is_some_and(|project| project.images.is_empty());
        let node = Node {
            project: job.project.clone(),
            reference: job.reference.clone(),
            image,
        };
        let links = self.state.updates.links.get(&node);
        let Some(Links { needs, .. }) = links.filter(|links| has_none && links.default == Some(true)) else {
            return;
        };
        let thing = Thing {
            job: job.id,
            commit: job.commit.clone(),
            needs: needs.clone(),
            wave: job.wave,
            since: rounded(self.now),
        };
        self.put_thing(&node, Some(thing));
    }

    pub(super) fn put_thing(&mut self, node: &Node, thing: Option<Thing>) {
        if replace(&mut self.state.updates.things, node, thing.as_ref()) {
            self.note_needed(node);
            let node = node.clone();
            self.decision.writes.push(Write::Thing { node, thing });
        }
    }
}

/// What a node relies on beside its bases, as it is now.
pub(super) fn needs(node: &Node, ours: &Ours, state: &State) -> Vec<BaseUsed> {
    let Some(place) = ours.graph.place(node) else {
        return Vec::new();
    };
    let needs = ours.graph.ups(place).filter(|edge| edge.kind == EdgeKind::Needs);
    let nodes = needs.map(|edge| &ours.graph.nodes()[edge.to]);
    nodes
        .map(|up| super::verdict::need(up, ours.any(up, &state.updates).as_ref()))
        .collect()
}
