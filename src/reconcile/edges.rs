//! The graph of images, as the last checkouts and the config have it.
//!
//! What was never checked out is in it as what it may turn out to be: an upstream that is not known yet must be waited
//! for. It must never leave out an edge that is on record.

use crate::config::{Config, EnvLayer, Image, Project, Upstream};
use crate::model::{
    ENGINE_VARIABLES, Edge, EdgeKind, Graph, ImageName, ImageRef, Links, Node, ProjectName, RefKind, RefName, Standing,
    State, remote_key,
};
use std::collections::{BTreeMap, BTreeSet};

/// What one node is known by.
struct Found<'a> {
    project: &'a Project,
    image: Option<&'a Image>,
    bases: BTreeSet<&'a ImageRef>,
    siblings: BTreeSet<&'a ImageName>,
    targets: BTreeSet<&'a ImageRef>,
    remotes: Option<&'a BTreeSet<String>>,
    /// Others may rely on it: it is released, or the branch that counts of a project without images.
    counts: bool,
    is_expected: bool,
}

/// The graph of all that is followed.
pub fn graph(state: &State, config: &Config) -> Graph {
    let found = found(state, config);
    let nodes: Vec<Node> = found.keys().cloned().collect();
    let mut providers: BTreeMap<ImageRef, Vec<usize>> = BTreeMap::new();
    let mut of_project: BTreeMap<&ProjectName, Vec<usize>> = BTreeMap::new();
    for (place, (node, it)) in found.iter().enumerate() {
        of_project.entry(&node.project).or_default().push(place);
        for target in &it.targets {
            providers.entry((*target).clone()).or_default().push(place);
        }
    }
    expect(&found, &mut providers);
    let mut by_remote: BTreeMap<String, Vec<&ProjectName>> = BTreeMap::new();
    if found
        .values()
        .any(|it| it.remotes.is_some_and(|remotes| !remotes.is_empty()))
    {
        for project in config.projects.values() {
            by_remote
                .entry(remote_key(&project.remote))
                .or_default()
                .push(&project.name);
        }
    }
    let all: Vec<(&Node, &Found<'_>)> = found.iter().collect();
    let counting = |project: &ProjectName, image: Option<&ImageName>| -> Vec<usize> {
        let places = of_project.get(project).into_iter().flatten().copied();
        let meant = |place: &usize| {
            let (node, it) = all[*place];
            (it.counts || it.is_expected) && image.is_none_or(|image| node.image == *image)
        };
        places.filter(meant).collect()
    };
    let ups = all
        .iter()
        .map(|(node, it)| {
            let mut edges: BTreeSet<Edge> = BTreeSet::new();
            for base in &it.bases {
                let up = providers.get(*base).into_iter().flatten();
                edges.extend(up.map(|to| Edge {
                    to: *to,
                    kind: EdgeKind::Base((*base).clone()),
                }));
            }
            let own = it.image.into_iter().flat_map(|image| &image.upstreams);
            for Upstream { project, image } in own.chain(&it.project.upstreams) {
                edges.extend(counting(project, image.as_ref()).into_iter().map(needs));
            }
            let named = it.remotes.into_iter().flatten().filter_map(|key| by_remote.get(key));
            for project in named.flatten().filter(|project| ***project != node.project) {
                edges.extend(counting(project, None).into_iter().map(needs));
            }
            for sibling in &it.siblings {
                let place = nodes.binary_search(&Node {
                    image: (*sibling).clone(),
                    ..(*node).clone()
                });
                edges.extend(place.map(|to| Edge {
                    to,
                    kind: EdgeKind::Sibling,
                }));
            }
            edges
        })
        .collect();
    let mut numbers: BTreeMap<BTreeMap<&str, &str>, usize> = BTreeMap::new();
    let mut storages = Vec::new();
    for (_, it) in &all {
        let next = numbers.len();
        storages.push(*numbers.entry(storage(it.project)).or_insert(next));
    }
    Graph::new(nodes, ups, providers).with_storages(storages)
}

fn needs(to: usize) -> Edge {
    Edge {
        to,
        kind: EdgeKind::Needs,
    }
}

fn found<'a>(state: &'a State, config: &'a Config) -> BTreeMap<Node, Found<'a>> {
    let mut found = BTreeMap::new();
    for project in config.projects.values().filter(|project| project.enabled) {
        let Some(seen) = state.projects.get(&project.name) else {
            continue;
        };
        for reference in seen.refs.keys() {
            let own = || project.images.iter().map(|image| (image.name.clone(), Some(image)));
            let names: Vec<(ImageName, Option<&Image>)> = match (project.images.is_empty(), itself(&project.name)) {
                (true, Some(name)) => vec![(name, None)],
                _ => own().collect(),
            };
            for (name, image) in names {
                let node = Node {
                    project: project.name.clone(),
                    reference: reference.clone(),
                    image: name,
                };
                let links = state.updates.links.get(&node);
                let standing = state.updates.standings.get(&node);
                if let Some(it) = one(project, image, reference, links, standing) {
                    found.insert(node, it);
                }
            }
        }
    }
    found
}

fn one<'a>(
    project: &'a Project,
    image: Option<&'a Image>,
    reference: &RefName,
    links: Option<&'a Links>,
    standing: Option<&'a Standing>,
) -> Option<Found<'a>> {
    let mut it = Found {
        project,
        image,
        bases: BTreeSet::new(),
        siblings: BTreeSet::new(),
        targets: BTreeSet::new(),
        remotes: None,
        counts: false,
        is_expected: false,
    };
    if let Some(links) = links {
        it.bases.extend(&links.bases);
        it.siblings.extend(&links.siblings);
        it.targets.extend(&links.targets);
        it.remotes = Some(&links.remotes);
        it.counts = match image {
            Some(_) => !links.targets.is_empty(),
            None => links.default == Some(true),
        };
    }
    match (links, standing) {
        // From before links were recorded, or built elsewhere.
        (None, Some(standing)) => {
            let bases = standing.bases.iter().filter(|base| base.needed.is_none());
            it.bases
                .extend(bases.clone().filter_map(|base| base.reference.as_ref()));
            it.siblings.extend(bases.filter_map(|base| base.sibling.as_ref()));
            it.targets.extend(&standing.released);
            it.counts = true;
        }
        (None, None) => {
            it.is_expected = may_release(image, reference);
            return it.is_expected.then_some(it);
        }
        (Some(_), _) => {}
    }
    Some(it)
}

/// The node of a project without images has the project's own name.
pub(super) fn itself(project: &ProjectName) -> Option<ImageName> {
    ImageName::new(project.as_str()).ok()
}

/// Whether others may come to stand on what a ref brings, as far as the config tells.
fn may_release(image: Option<&Image>, reference: &RefName) -> bool {
    match image.map(|image| (&image.release, &image.release_refs)) {
        Some((release, _)) if release.is_empty() => false,
        Some((_, Some(patterns))) => patterns.iter().any(|pattern| pattern.matches(reference.short())),
        Some((_, None)) | None => reference.kind() == RefKind::Branch,
    }
}

/// What was never checked out may come to provide what others are built FROM.
fn expect(found: &BTreeMap<Node, Found<'_>>, providers: &mut BTreeMap<ImageRef, Vec<usize>>) {
    let bases: BTreeSet<&ImageRef> = found.values().flat_map(|it| it.bases.iter().copied()).collect();
    if bases.is_empty() {
        return;
    }
    for (place, (node, it)) in found.iter().enumerate() {
        let Some(image) = it.image.filter(|_| it.is_expected) else {
            continue;
        };
        for release in image.expected(it.project, &node.reference) {
            match release.exactly() {
                Some(target) => {
                    if bases.contains(target) {
                        providers.entry(target.clone()).or_default().push(place);
                    }
                }
                None => {
                    for base in bases.iter().filter(|base| release.could_be(base)) {
                        providers.entry((*base).clone()).or_default().push(place);
                    }
                }
            }
        }
    }
}

/// What decides which storage a project's engine commands have, as far as the config says it.
fn storage(project: &Project) -> BTreeMap<&str, &str> {
    let mut storage = BTreeMap::new();
    for layer in &project.env {
        if let EnvLayer::Table(table) = layer {
            let deciding = table
                .iter()
                .filter(|(name, _)| ENGINE_VARIABLES.contains(&name.as_str()));
            storage.extend(deciding.map(|(name, value)| (name.as_str(), value.as_str())));
        }
    }
    storage
}
