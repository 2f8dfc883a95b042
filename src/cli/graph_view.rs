//! The graph of images as it is shown: which nodes, what they are called, and how they stand. Pure.

use super::failed_waves::{CulpritView, FailedWaveView, failed};
use crate::model::{Edge, EdgeKind, Graph, ImageName, ImageRef, JobId, Node, ProjectName, RefName, State, full_name};
use crate::reconcile::{Chains, Word, around, external_bases};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// `graph --format json`. These names are a promise, as those of `status`.
#[derive(Debug, Serialize)]
pub(super) struct GraphView {
    /// In the order of their names.
    pub nodes: Vec<NodeView>,
    /// Each as a way around it, by ids: each stands on the next, and the last on the first. Those that lie beside the
    /// shortest way follow it.
    pub circles: Vec<Vec<String>>,
    /// The same in words.
    #[serde(skip)]
    pub circles_told: Vec<String>,
}

/// An image on a ref, or a project without images.
#[derive(Debug, Serialize)]
pub(super) struct NodeView {
    /// The same as long as it is there: `ruby/slim@refs/heads/main`.
    pub id: String,
    /// Whose.
    pub project: ProjectName,
    /// Its name in the project; that of the project, if it has no images.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Where it is released, or will be.
    pub released: Vec<ImageRef>,
    /// How it stands.
    pub state: Word,
    /// Why; empty if that goes without saying.
    pub why: String,
    /// The job that this is about.
    pub job: Option<JobId>,
    /// Its wave.
    pub wave: Option<JobId>,
    /// The job in which the tip of its ref failed, whatever is released.
    pub tip_failed: Option<JobId>,
    /// What the atomic wave failed by that it has begun and that is not released since.
    pub wave_failed_by: Vec<CulpritView>,
    /// The atomic waves that failed by it and are not released since.
    pub failed_waves: Vec<RootView>,
    /// How many images follow each other on the longest way down from it.
    pub height: usize,
    /// What it stands on.
    pub stands_on: Vec<EdgeView>,
    /// What people call it, with its ref if there are several.
    #[serde(skip)]
    pub title: String,
    /// The places in `nodes` of what stands on it.
    #[serde(skip)]
    pub below: Vec<usize>,
    /// Whether it stands on another one that is shown.
    #[serde(skip)]
    pub is_root: bool,
}

/// What has begun an atomic wave.
#[derive(Debug, Serialize)]
pub(super) struct RootView {
    /// The id of the image.
    pub image: String,
    /// In this job.
    pub job: JobId,
}

/// What an image stands on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct EdgeView {
    /// The id of an image of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A base that is none of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ImageRef>,
    /// `base`, `depends_on` or `sibling`.
    pub kind: &'static str,
}

impl GraphView {
    /// Of all, or of these with all that they stand on and all that stands on them.
    pub fn new(state: &State, chains: &Chains<'_>, only: Option<&BTreeSet<usize>>) -> Self {
        let graph: &Graph = &chains.ours().graph;
        let shown: Vec<usize> = match only {
            Some(only) => around_these(graph, only).into_iter().collect(),
            None => (0..graph.nodes().len())
                .filter(|p| is_shown(*p, state, chains))
                .collect(),
        };
        let place_of: BTreeMap<usize, usize> = shown.iter().enumerate().map(|(at, place)| (*place, at)).collect();
        let mut refs: BTreeMap<(&ProjectName, &ImageName), usize> = BTreeMap::new();
        for place in &shown {
            let node = &graph.nodes()[*place];
            *refs.entry((&node.project, &node.image)).or_default() += 1;
        }
        let waves = failed(state, chains, None);
        let nodes = shown.iter().map(|place| {
            let node = &graph.nodes()[*place];
            let name = full_name(&node.project, &node.image);
            let title = match refs.get(&(&node.project, &node.image)) {
                Some(2..) => format!("{name} {}", node.reference.short()),
                _ => name,
            };
            let stands = chains.stands(*place);
            let known = |edge: &&Edge| place_of.contains_key(&edge.to);
            let ours = graph.edges(*place).filter(known).map(|edge| EdgeView {
                image: Some(id(&graph.nodes()[edge.to])),
                reference: None,
                kind: kind(&edge.kind),
            });
            let external = external_bases(*place, graph, state)
                .into_iter()
                .map(|reference| EdgeView {
                    image: None,
                    reference: Some(reference),
                    kind: "base",
                });
            let stands_on: BTreeSet<EdgeView> = ours.chain(external).collect();
            NodeView {
                id: id(node),
                project: node.project.clone(),
                image: node.image.clone(),
                reference: node.reference.clone(),
                released: released(node, state),
                state: stands.state,
                why: stands.why,
                job: stands.job,
                wave: stands.wave,
                tip_failed: state.failed_tip(node).map(|(_, job, _)| *job),
                wave_failed_by: waves
                    .iter()
                    .filter(|wave| wave.is_of(node))
                    .flat_map(|wave| wave.by.clone())
                    .collect(),
                failed_waves: waves.iter().filter(|wave| wave.is_by(node)).map(root).collect(),
                height: graph.height(*place),
                stands_on: stands_on.into_iter().collect(),
                title,
                below: graph
                    .downs(*place)
                    .filter_map(|down| place_of.get(&down).copied())
                    .collect(),
                is_root: !graph.ups(*place).any(|edge| place_of.contains_key(&edge.to)),
            }
        });
        let nodes: Vec<NodeView> = nodes.collect();
        let circles = graph.circles().iter();
        let circles: Vec<&Vec<usize>> = circles
            .filter(|circle| circle.iter().any(|place| place_of.contains_key(place)))
            .collect();
        let ids = |circle: &&Vec<usize>| circle.iter().map(|place| id(&graph.nodes()[*place])).collect();
        Self {
            nodes,
            circles_told: circles.iter().map(|circle| around(graph, circle)).collect(),
            circles: circles.iter().map(ids).collect(),
        }
    }
}

fn root(wave: &FailedWaveView) -> RootView {
    RootView {
        image: format!("{}@{}", wave.name, wave.reference),
        job: wave.job,
    }
}

/// What it is known by.
fn id(node: &Node) -> String {
    format!("{}@{}", full_name(&node.project, &node.image), node.reference)
}

fn kind(kind: &EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Base(_) => "base",
        EdgeKind::Needs => "depends_on",
        EdgeKind::Sibling => "sibling",
    }
}

fn released(node: &Node, state: &State) -> Vec<ImageRef> {
    let updates = &state.updates;
    match (updates.standings.get(node), updates.links.get(node)) {
        (Some(standing), _) => standing.released.clone(),
        (None, Some(links)) => links.targets.iter().cloned().collect(),
        (None, None) => Vec::new(),
    }
}

/// A ref that releases nothing is only shown if something stands on it, or a job is about it.
fn is_shown(place: usize, state: &State, chains: &Chains<'_>) -> bool {
    let graph = &chains.ours().graph;
    let node = &graph.nodes()[place];
    chains.stands(place).state != Word::NotReleased
        || graph.downs(place).next().is_some()
        || state.live(&node.project, &node.reference).next().is_some()
}

/// These, all above them and all below them.
fn around_these(graph: &Graph, only: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut shown = only.clone();
    for up in [true, false] {
        let mut seen = only.clone();
        let mut next: Vec<usize> = only.iter().copied().collect();
        while let Some(at) = next.pop() {
            let more: Vec<usize> = match up {
                true => graph.edges(at).map(|edge| edge.to).collect(),
                false => graph.downs(at).collect(),
            };
            next.extend(more.into_iter().filter(|place| seen.insert(*place)));
        }
        shown.append(&mut seen);
    }
    shown
}
