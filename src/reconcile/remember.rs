//! Keeps what is remembered true: what changes makes forgotten what was found out from it.
//!
//! Whatever is remembered must be what would be found out anew. Jobs and releases say themselves what has changed; of
//! all else the one place that changes it says so here.

use super::above::is_held;
use super::handle::Turn;
use crate::model::{BaseKey, Graph, ImageRef, Node, RefKey, Sighted, State};
use std::collections::BTreeSet;

impl Turn<'_> {
    /// What is known along the graph, for a `Sight`: it is to be put back.
    pub(super) fn known(&mut self) -> Sighted {
        self.digest();
        std::mem::take(&mut self.state.graph.sighted)
    }

    /// Takes note of what has changed since this was done last.
    pub(super) fn digest(&mut self) {
        let mut refs = self.state.jobs.take_touched();
        let (nodes, moved) = self.state.updates.standings.take_touched();
        if self.state.graph.sighted.held.is_none() {
            self.state.graph.sighted.held = Some(held_refs(self.state));
        }
        if refs.is_empty() && nodes.is_empty() && moved.is_empty() {
            return;
        }
        if let Some(graph) = self.state.graph.known() {
            let waves = self.waves_by(&refs, &nodes);
            let mut sighted = std::mem::take(&mut self.state.graph.sighted);
            for place in waves.iter().filter_map(|node| graph.place(node)) {
                sighted.forget(place, &graph);
            }
            for of in &refs {
                forget_ref(&mut sighted, &graph, self.state, of);
            }
            for node in &nodes {
                if let Some(place) = graph.place(node) {
                    forget_below(&mut sighted, &graph, place);
                }
                for beside in graph.of_ref(&node.project, &node.reference) {
                    sighted.forget(beside, &graph);
                }
            }
            for reference in &moved {
                forget_on(&mut sighted, &graph, self.state, reference);
            }
            self.state.graph.sighted = sighted;
        } else {
            self.state.graph.sighted.held = None;
        }
        if let Some(review) = &mut self.state.graph.review {
            review.extend(refs.iter().cloned());
        }
        if let Some(agenda) = &mut self.state.graph.agenda {
            agenda.refs.extend(refs.iter().cloned());
            agenda.nodes.extend(nodes.iter().cloned());
        }
        if let Some(lineup) = &mut self.state.graph.lineup {
            refs.extend(nodes.into_iter().map(|node| (node.project, node.reference)));
            lineup.dirty.extend(refs);
        }
    }

    /// Images whose wave failed by something of these.
    fn waves_by(&mut self, refs: &BTreeSet<RefKey>, nodes: &BTreeSet<Node>) -> Vec<Node> {
        let by = |of: &Node| nodes.contains(of) || refs.contains(&(of.project.clone(), of.reference.clone()));
        self.failed_by(by)
    }

    /// Something is known about a node that decides whether it is to be built again.
    pub(super) fn note_node(&mut self, node: &Node) {
        self.with_graph(|sighted, graph, _| {
            if let Some(place) = graph.place(node) {
                sighted.forget(place, graph);
            }
        });
    }

    /// What others rely on has changed.
    pub(super) fn note_needed(&mut self, node: &Node) {
        self.state.jobs.touch_ref(&node.project, &node.reference);
        self.with_graph(|sighted, graph, _| {
            if let Some(place) = graph.place(node) {
                forget_below(sighted, graph, place);
            }
        });
    }

    /// A base was looked at.
    pub(super) fn note_base(&mut self, base: &BaseKey) {
        self.with_graph(|sighted, graph, state| forget_on(sighted, graph, state, &base.reference));
    }

    fn with_graph(&mut self, forget: impl FnOnce(&mut Sighted, &Graph, &State)) {
        let Some(graph) = self.state.graph.known() else { return };
        let mut sighted = std::mem::take(&mut self.state.graph.sighted);
        forget(&mut sighted, &graph, self.state);
        self.state.graph.sighted = sighted;
    }
}

/// Refs of which something is held back.
fn held_refs(state: &State) -> BTreeSet<RefKey> {
    let held = state.releasing.keys().filter(|id| is_held(state, **id));
    let jobs = held.filter_map(|id| state.jobs.get(id));
    jobs.map(|job| (job.project.clone(), job.reference.clone())).collect()
}

/// The jobs of a ref have changed, or how far a release of theirs has come.
fn forget_ref(sighted: &mut Sighted, graph: &Graph, state: &State, of: &RefKey) {
    let (project, reference) = of;
    let is_held = state.live(project, reference).any(|job| is_held(state, job.id));
    let was_held = match (is_held, &mut sighted.held) {
        (true, Some(held)) => !held.insert(of.clone()),
        (false, Some(held)) => held.remove(of),
        (_, None) => true,
    };
    for place in graph.of_ref(project, reference) {
        if !is_held && !was_held {
            sighted.forget(place, graph);
            continue;
        }
        // What is held back counts below like what is released.
        forget_below(sighted, graph, place);
        let node = &graph.nodes()[place];
        let links = state.updates.links.get(node).into_iter();
        let standing = state.updates.standings.get(node).into_iter();
        let targets: BTreeSet<&ImageRef> = links
            .flat_map(|links| &links.targets)
            .chain(standing.flat_map(|standing| &standing.released))
            .collect();
        for target in targets {
            forget_on(sighted, graph, state, target);
        }
    }
}

/// A node, and all that stands on it.
fn forget_below(sighted: &mut Sighted, graph: &Graph, place: usize) {
    sighted.forget(place, graph);
    for down in graph.downs(place) {
        sighted.forget(down, graph);
    }
}

/// All that was built on what is called so.
fn forget_on(sighted: &mut Sighted, graph: &Graph, state: &State, reference: &ImageRef) {
    for node in state.updates.standings.on(reference) {
        if let Some(place) = graph.place(node) {
            sighted.forget(place, graph);
        }
    }
}
