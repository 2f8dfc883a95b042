//! What stands above an image, and so what it has to wait for.
//!
//! It must never make anything wait for what waits for it: circles do not count, and of jobs that wait for each other
//! none waits.

use super::judge::{judge, watch};
use super::ours::Ours;
use super::tries::held;
use crate::config::Config;
pub use crate::model::Freshness;
use crate::model::{
    EdgeKind, Job, JobId, Node, Outcome, ProjectName, Reason, RefKey, RefName, ReleaseStage, Sighted, State, full_name,
};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Why a job waits, if nothing but a mended failure will end that.
const BLOCKED: &str = "blocked: ";

/// How all that is above an image stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Above {
    /// Nothing moves there.
    Settled,
    /// Something will.
    Waits(String),
    /// Something there failed, and stays stale until that is mended.
    Blocked(String),
}

/// Looks upwards, in one state.
pub struct Sight<'a> {
    pub(super) state: &'a State,
    config: &'a Config,
    /// What our own releases say.
    pub ours: &'a Ours,
    pub(super) known: RefCell<Sighted>,
}

impl<'a> Sight<'a> {
    /// As the state is now.
    pub fn new(state: &'a State, config: &'a Config, ours: &'a Ours) -> Self {
        Self::remembering(state, config, ours, Sighted::default())
    }

    /// The same with what was found out before and holds still.
    pub(super) fn remembering(state: &'a State, config: &'a Config, ours: &'a Ours, known: Sighted) -> Self {
        Self {
            state,
            config,
            ours,
            known: RefCell::new(known),
        }
    }

    /// What was found out.
    pub(super) fn into_known(self) -> Sighted {
        self.known.into_inner()
    }

    /// The live jobs of a node's ref.
    pub(super) fn live(&self, node: &Node) -> impl Iterator<Item = &'a Job> + use<'a> {
        self.state.live(&node.project, &node.reference)
    }

    /// Whether nothing is about to change on a node's ref, but for the release of what is held back.
    pub(super) fn is_at_rest(&self, node: &Node) -> bool {
        self.live(node).all(|job| is_held(self.state, job.id))
    }

    /// The job that may yet release a node: one that is held back does not.
    pub(super) fn moving(&self, node: &Node) -> Option<&'a Job> {
        self.live(node)
            .find(|job| covers(job, node) && !is_held(self.state, job.id))
    }

    /// How a node stands to what is below it.
    pub fn freshness(&self, place: usize) -> Freshness {
        if let Some(known) = self.known.borrow().fresh.get(&place) {
            return known.clone();
        }
        let freshness = self.judge(place);
        self.known.borrow_mut().fresh.insert(place, freshness.clone());
        freshness
    }

    fn judge(&self, place: usize) -> Freshness {
        let node = &self.ours.graph.nodes()[place];
        let updates = &self.state.updates;
        // What is held back is released first, and what its ref has is judged after that: until then none of it is built
        // again, and no wave must wait for it.
        if self.live(node).any(|job| is_held(self.state, job.id)) {
            return Freshness::Fresh;
        }
        let (is_stale, key) = match updates.standings.get(node) {
            Some(standing) => {
                let Some(watched) = watch(self.state, self.config, node, standing) else {
                    return Freshness::Fresh;
                };
                let judgement = judge(watched, updates, self.ours);
                (judgement.is_stale(), judgement.key)
            }
            None => match super::things::stale(node, self.state, self.ours) {
                Some((key, _)) => (true, key),
                None => return Freshness::Fresh,
            },
        };
        if !is_stale {
            return Freshness::Fresh;
        }
        if held(node, &key, updates, self.config).is_none() {
            return Freshness::Stale;
        }
        let tried = updates.tried.get(node);
        match tried.map(|tried| (tried.job, &tried.ended)) {
            Some((job, Some((outcome, _)))) if *outcome != Outcome::Succeeded => Freshness::Failed(job),
            _ => Freshness::Uncured,
        }
    }

    /// What each job that is not to start now waits for.
    pub fn waits(&self) -> BTreeMap<JobId, String> {
        self.waits_among(self.state.jobs.values())
    }

    /// The same of some, with whom all are that could wait for each other.
    pub(super) fn waits_among<'b>(&'b self, jobs: impl Iterator<Item = &'b Job>) -> BTreeMap<JobId, String> {
        let mut waits: BTreeMap<JobId, String> = BTreeMap::new();
        let mut edges: BTreeMap<JobId, BTreeMap<JobId, &Node>> = BTreeMap::new();
        for job in jobs.filter(|job| job.is_queued()) {
            match self.state.releasing.get(&job.id).map(|plan| plan.stage) {
                Some(ReleaseStage::Held) => {
                    waits.insert(job.id, "it is built, and waits for the rest of its wave".to_owned());
                }
                // It only finishes what it has begun.
                Some(_) => {}
                None => {
                    // A circle is one also where a part of it is blocked.
                    waits.extend(self.blocked(job).map(|why| (job.id, why)));
                    if self.knows_its_bases(job) {
                        edges.insert(job.id, self.waits_of(job));
                    }
                }
            }
        }
        let on_jobs = self.without_circles(&edges);
        for (job, (other, why)) in &on_jobs {
            // What waits for something that is blocked is blocked by the same.
            let mut end = other;
            while let Some((next, _)) = on_jobs.get(end) {
                end = next;
            }
            let blocked = waits.get(end).filter(|why| why.starts_with(BLOCKED)).cloned();
            waits
                .entry(*job)
                .or_insert_with(|| blocked.unwrap_or_else(|| why.clone()));
        }
        waits
    }

    /// What a job waits for: something on a ref, and there for which job; none: for nothing at all.
    pub(super) fn obstacle(&self, job: &Job) -> Option<(RefKey, Option<JobId>)> {
        let of = |node: &Node| (node.project.clone(), node.reference.clone());
        if let Some(plan) = self.state.releasing.get(&job.id) {
            let is_held = plan.stage == ReleaseStage::Held;
            return is_held.then(|| ((job.project.clone(), job.reference.clone()), None));
        }
        if let Some((node, _)) = self.blocking(job) {
            return Some((of(node), None));
        }
        if !self.knows_its_bases(job) {
            return None;
        }
        let waits = self.waits_of(job);
        waits.first_key_value().map(|(other, node)| (of(node), Some(*other)))
    }

    /// Whether the refs of a job and of others stand on each other.
    pub(super) fn is_entangled(&self, job: &Job) -> bool {
        let graph = &self.ours.graph;
        graph
            .of_ref(&job.project, &job.reference)
            .any(|place| graph.is_entangled(place))
    }

    /// What a job would have to wait for that has learned what it stands on.
    pub(super) fn wait_of(&self, job: &Job) -> Option<String> {
        if let Some(why) = self.blocked(job) {
            return Some(why);
        }
        let own = self.waits_of(job);
        if own.is_empty() {
            return None;
        }
        if !self.is_entangled(job) {
            // Nobody whom it waits for can wait for it.
            let mut others = own.iter();
            return others.find_map(|(other, node)| Some(waits_for(node, self.state.jobs.get(other)?)));
        }
        let mut edges = BTreeMap::from([(job.id, own)]);
        // Those that wait for this one are not waited for: of others than those that it would wait for, and those with
        // which they and it take turns, nothing is asked.
        let beside = |job: &Job| self.state.live(&job.project, &job.reference).map(|other| other.id);
        let mut next: Vec<JobId> = edges[&job.id].keys().copied().chain(beside(job)).collect();
        let mut seen = BTreeSet::from([job.id]);
        while let Some(id) = next.pop() {
            let Some(other) = self.state.jobs.get(&id).filter(|_| seen.insert(id)) else {
                continue;
            };
            next.extend(beside(other));
            if other.is_queued() && !self.state.releasing.contains_key(&id) && self.knows_its_bases(other) {
                let to = self.waits_of(other);
                next.extend(to.keys());
                edges.insert(id, to);
            }
        }
        self.without_circles(&edges).remove(&job.id).map(|(_, why)| why)
    }

    /// Of jobs that wait for each other none waits, and all wait for the others still: each for which one, and why.
    fn without_circles(&self, edges: &BTreeMap<JobId, BTreeMap<JobId, &Node>>) -> BTreeMap<JobId, (JobId, String)> {
        let mut graph: DiGraph<JobId, ()> = DiGraph::default();
        let mut places: BTreeMap<JobId, NodeIndex> = BTreeMap::new();
        let jobs: BTreeSet<JobId> = edges
            .iter()
            .flat_map(|(job, to)| to.keys().chain([job]))
            .copied()
            .collect();
        for job in jobs {
            places.insert(job, graph.add_node(job));
        }
        for (job, to) in edges {
            for other in to.keys() {
                graph.add_edge(places[job], places[other], ());
            }
        }
        // The jobs of a ref take turns: what waits for one of them waits for all, and is waited for by all.
        let mut first: BTreeMap<(&ProjectName, &RefName), NodeIndex> = BTreeMap::new();
        for (id, at) in &places {
            let Some(job) = self.state.jobs.get(id) else { continue };
            let first = *first.entry((&job.project, &job.reference)).or_insert(*at);
            if first != *at {
                graph.add_edge(first, *at, ());
                graph.add_edge(*at, first, ());
            }
        }
        let mut circle: BTreeMap<JobId, usize> = BTreeMap::new();
        for (number, members) in kosaraju_scc(&graph).into_iter().enumerate() {
            circle.extend(members.into_iter().map(|at| (graph[at], number)));
        }
        let waits = edges.iter().filter_map(|(job, to)| {
            let (other, node) = to.iter().find(|(other, _)| circle[other] != circle[job])?;
            Some((*job, (*other, waits_for(node, self.state.jobs.get(other)?))))
        });
        waits.collect()
    }

    /// Whether the last checkout was of this very commit: what a job stands on is only known then.
    fn knows_its_bases(&self, job: &Job) -> bool {
        let mut nodes = self.nodes_of(job).peekable();
        nodes.peek().is_some()
            && nodes.all(|place| {
                let links = self.state.updates.links.get(&self.ours.graph.nodes()[place]);
                links.is_none_or(|links| links.commit == job.commit)
            })
            && self.nodes_of(job).any(|place| {
                let node = &self.ours.graph.nodes()[place];
                self.state.updates.links.contains_key(node) || self.state.updates.standings.contains_key(node)
            })
    }

    /// The nodes that a job builds.
    pub(super) fn nodes_of<'b>(&'b self, job: &'b Job) -> impl Iterator<Item = usize> + 'b {
        let graph = &self.ours.graph;
        let of_ref = graph.of_ref(&job.project, &job.reference);
        of_ref.filter(|place| covers(job, &graph.nodes()[*place]))
    }

    /// The jobs upstream of one that may yet release something, the nearest ones: those above them are theirs to wait for.
    fn waits_of(&self, job: &Job) -> BTreeMap<JobId, &Node> {
        let graph = &self.ours.graph;
        let mut found = BTreeMap::new();
        let mut seen: BTreeSet<usize> = self.nodes_of(job).collect();
        let mut next: VecDeque<usize> = seen.iter().copied().collect();
        while let Some(at) = next.pop_front() {
            for up in graph.ups(at).map(|edge| edge.to) {
                if !seen.insert(up) {
                    continue;
                }
                if !self.moves(up) {
                    continue;
                }
                let node = &graph.nodes()[up];
                let is_beside = node.project == job.project && node.reference == job.reference;
                match self.moving(node).filter(|_| !is_beside) {
                    Some(other) => {
                        found.entry(other.id).or_insert(node);
                    }
                    None => next.push_back(up),
                }
            }
        }
        found
    }

    /// Why a commit is not built: what it stands on was never released, and its build failed. Not if that stands on
    /// something of this very job: it may have failed for want of it.
    pub(super) fn blocked(&self, job: &Job) -> Option<String> {
        let (node, failed) = self.blocking(job)?;
        let name = full_name(&node.project, &node.image);
        Some(format!("{BLOCKED}{name} failed (job {failed}) and was never released"))
    }

    fn blocking(&self, job: &Job) -> Option<(&Node, JobId)> {
        if job.reason == Reason::Manual || job.rebuild.is_some() || !self.knows_its_bases(job) {
            return None;
        }
        let graph = &self.ours.graph;
        let own: Vec<usize> = self.nodes_of(job).collect();
        let edges = own.iter().flat_map(|place| graph.ups(*place));
        let others = edges.filter(|edge| edge.kind != EdgeKind::Sibling).map(|edge| edge.to);
        let mut blocking = others.filter_map(|up| {
            let node = &graph.nodes()[up];
            let updates = &self.state.updates;
            let was_released = updates.standings.contains_key(node)
                || updates.things.contains_key(node)
                || self.ours.root_of(node).is_some();
            let is_other = node.project != job.project || node.reference != job.reference;
            let may_stand = !is_other || graph.is_entangled(up);
            if was_released || self.moving(node).is_some() || may_stand && self.stands_on_any(up, &own) {
                return None;
            }
            let (_, failed, _) = self.state.failed_tip(node)?;
            Some((node, *failed))
        });
        blocking.next()
    }

    /// Whether a node stands on one of these, however far down.
    fn stands_on_any(&self, place: usize, wanted: &[usize]) -> bool {
        let graph = &self.ours.graph;
        let mut seen = BTreeSet::from([place]);
        let mut next = vec![place];
        while let Some(at) = next.pop() {
            for up in graph.edges(at).map(|edge| edge.to) {
                if wanted.contains(&up) {
                    return true;
                }
                if seen.insert(up) {
                    next.push(up);
                }
            }
        }
        false
    }
}

/// Whether a job builds an image.
pub fn covers(job: &Job, node: &Node) -> bool {
    job.project == node.project
        && job.reference == node.reference
        && job
            .rebuild
            .as_ref()
            .is_none_or(|rebuild| rebuild.images.contains_key(&node.image))
}

/// Whether a job is done but for its release, which comes with the rest of its wave.
pub(super) fn is_held(state: &State, job: JobId) -> bool {
    state
        .releasing
        .get(&job)
        .is_some_and(|plan| plan.stage == ReleaseStage::Held)
}

pub(super) fn waits_for(node: &Node, job: &Job) -> String {
    let stands = match job.is_running() {
        true => "running",
        false => "queued",
    };
    format!("{}: job {} is {stands}", name(node), job.id)
}

pub(super) fn name(node: &Node) -> String {
    full_name(&node.project, &node.image)
}
