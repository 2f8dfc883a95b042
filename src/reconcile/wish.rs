//! What a person means who wants images built again: which, and each because of what.
//!
//! The same function for `--dry-run` and for the daemon: what was shown is what is done. It must never leave out quietly
//! what was named.

use super::judge::watch;
use super::ours::Ours;
use crate::config::{Config, Pattern};
use crate::model::{EdgeKind, Graph, ImageRef, Node, State, full_name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many letters a name may differ by from one that may be meant.
const NEAR: usize = 2;
/// At most so many names are suggested.
const SUGGESTED: usize = 5;

/// What a person asks for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Names (`project` for all of its images, `project/image`), or references: of ours, or external bases.
    pub images: Vec<String>,
    /// All that stands on them as well.
    pub recurse: bool,
    /// Of what was not named itself, only what this matches: a full name, or a release reference.
    pub matching: Option<Pattern>,
}

/// Why an image is built again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// It was named.
    Asked,
    /// It stands on these, which are built again.
    StandsOn(BTreeSet<Node>),
    /// It is built FROM this reference, which was named.
    BuiltFrom(ImageRef),
}

/// Something that is not built again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Because of what it would have been.
    pub because: Because,
    /// Why it is not.
    pub why: String,
    /// It could be, and is not wanted.
    pub is_unwanted: bool,
}

/// What is to be built again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wished {
    /// Each because of what.
    pub nodes: BTreeMap<Node, Because>,
    /// What was named or stands on it, and is not built again.
    pub left: BTreeMap<Node, Left>,
    /// External bases that were named.
    pub bases: BTreeSet<ImageRef>,
}

impl Left {
    fn new(because: Because, why: impl Into<String>) -> Self {
        Self {
            because,
            why: why.into(),
            is_unwanted: false,
        }
    }
}

/// Why a wish cannot be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// Nobody knows the name.
    #[error("there is no image {name}, and nothing of ours stands on it{}", or(.near))]
    Unknown {
        /// As it was asked for.
        name: String,
        /// Names that may be meant.
        near: Vec<String>,
    },
    /// It is known, and cannot be built again.
    #[error("{name} cannot be built again: {why}")]
    Not {
        /// As it was asked for.
        name: String,
        /// Why.
        why: String,
    },
}

fn or(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!(": is {} meant?", near.join(" or ")),
    }
}

/// Reads a wish.
pub fn wished(wish: &Wish, state: &State, config: &Config, ours: &Ours) -> Result<Wished, WishError> {
    let mut reader = Reader {
        wish,
        state,
        config,
        graph: &ours.graph,
        wished: Wished::default(),
        roots: BTreeSet::new(),
    };
    for name in &wish.images {
        reader.name(name)?;
    }
    if wish.recurse {
        reader.below();
    }
    let Wished { nodes, left, .. } = &mut reader.wished;
    left.retain(|node, _| !nodes.contains_key(node));
    Ok(reader.wished)
}

/// Why an image cannot be built again; none if it can.
pub(super) fn obstacle(node: &Node, state: &State, config: &Config) -> Option<String> {
    if state.updates.things.contains_key(node) {
        return None;
    }
    let Some(standing) = state.updates.standings.get(node) else {
        let project = &node.project;
        return Some(format!(
            "it is not released yet: `pipelined build {project}` builds its tip"
        ));
    };
    watch(state, config, node, standing)
        .is_none()
        .then(|| "its ref is not followed any more, or it is not kept up to date".to_owned())
}

struct Reader<'a> {
    wish: &'a Wish,
    state: &'a State,
    config: &'a Config,
    graph: &'a Graph,
    wished: Wished,
    /// What is built again, or would be if it could.
    roots: BTreeSet<usize>,
}

impl Reader<'_> {
    fn name(&mut self, name: &str) -> Result<(), WishError> {
        match meant(name, self.state, self.config, self.graph)? {
            (places, None) => self.asked(name, places),
            (places, Some(reference)) => {
                self.external(places, reference);
                Ok(())
            }
        }
    }

    /// Of a name that may stand for several images, those are taken that can be.
    fn asked(&mut self, name: &str, places: Vec<usize>) -> Result<(), WishError> {
        let mut first = None;
        let mut any = false;
        let mut left = BTreeMap::new();
        for place in &places {
            let node = &self.graph.nodes()[*place];
            match obstacle(node, self.state, self.config) {
                None => {
                    any = true;
                    self.wished.nodes.insert(node.clone(), Because::Asked);
                    self.roots.insert(*place);
                }
                Some(why) => {
                    first.get_or_insert_with(|| why.clone());
                    // A ref that does not release it is none that anybody asks about.
                    if !self.is_aside(node) {
                        let because = Because::Asked;
                        left.insert(node.clone(), Left::new(because, why));
                    }
                }
            }
        }
        if !any {
            let is_off = self.config.projects.values().any(|known| {
                let is_it = name.split('/').next() == Some(known.name.as_str());
                is_it && !known.enabled
            });
            let none = if is_off {
                "its project is disabled"
            } else {
                "no ref of it was seen yet"
            };
            let why = first.unwrap_or_else(|| none.to_owned());
            let name = name.to_owned();
            return Err(WishError::Not { name, why });
        }
        self.wished.left.extend(left);
        Ok(())
    }

    /// Whether its last checkout has said that it is released nowhere.
    fn is_aside(&self, node: &Node) -> bool {
        let links = self.state.updates.links.get(node);
        let is_released = self.state.updates.standings.contains_key(node);
        !is_released && links.is_some_and(|links| links.targets.is_empty())
    }

    /// What stands on a base that is none of ours.
    fn external(&mut self, places: Vec<usize>, reference: ImageRef) {
        for place in places {
            self.roots.insert(place);
            if !self.is_aside(&self.graph.nodes()[place]) {
                self.take(place, Because::BuiltFrom(reference.clone()));
            }
        }
        self.wished.bases.insert(reference);
    }

    /// Takes what was not named itself, if it is meant and can be built.
    fn take(&mut self, place: usize, because: Because) {
        let node = &self.graph.nodes()[place];
        if self.wished.nodes.contains_key(node) {
            return;
        }
        if !self.matches(node) {
            let left = Left {
                is_unwanted: true,
                ..Left::new(because, "--match leaves it out, unless it follows by itself")
            };
            self.wished.left.insert(node.clone(), left);
            return;
        }
        match obstacle(node, self.state, self.config) {
            None => {
                self.wished.nodes.insert(node.clone(), because);
            }
            Some(why) => {
                self.wished.left.insert(node.clone(), Left::new(because, why));
            }
        }
    }

    fn matches(&self, node: &Node) -> bool {
        let Some(pattern) = &self.wish.matching else {
            return true;
        };
        let updates = &self.state.updates;
        let released = updates.standings.get(node).into_iter().flat_map(|s| &s.released);
        let targets = updates.links.get(node).into_iter().flat_map(|links| &links.targets);
        let references = released.chain(targets).map(ToString::to_string);
        std::iter::once(full_name(&node.project, &node.image))
            .chain(references)
            .any(|name| pattern.matches(name.as_bytes()))
    }

    /// All that stands on the roots, also behind what is left out.
    fn below(&mut self) {
        let mut seen = self.roots.clone();
        let mut next: VecDeque<usize> = seen.iter().copied().collect();
        while let Some(at) = next.pop_front() {
            next.extend(self.graph.downs(at).filter(|down| seen.insert(*down)));
        }
        // What stands above comes first, so that each knows which of those are built.
        let mut order: Vec<usize> = seen.iter().copied().collect();
        order.sort_by_key(|place| std::cmp::Reverse(self.graph.height(*place)));
        order.retain(|place| !self.roots.contains(place));
        for place in order {
            let node = &self.graph.nodes()[place];
            if self.is_aside(node) {
                continue;
            }
            let ups = self.graph.ups(place).map(|edge| edge.to);
            let above = ups.filter(|up| seen.contains(up));
            let above = above.map(|up| self.graph.nodes()[up].clone()).collect();
            self.take(place, Because::StandsOn(above));
        }
    }
}

/// The nodes that a name stands for; with the reference, if they are what is built FROM it and nobody of ours is released
/// there.
pub fn meant(
    name: &str,
    state: &State,
    config: &Config,
    graph: &Graph,
) -> Result<(Vec<usize>, Option<ImageRef>), WishError> {
    let places = |is_meant: &dyn Fn(&Node) -> bool| -> Vec<usize> {
        let nodes = graph.nodes().iter().enumerate();
        nodes
            .filter(|(_, node)| is_meant(node))
            .map(|(place, _)| place)
            .collect()
    };
    let (project, image) = name.split_once('/').map_or((name, None), |(p, i)| (p, Some(i)));
    let is_known = config.projects.values().any(|known| {
        let is_image = |image| known.images.iter().any(|own| own.name.as_str() == image);
        known.name.as_str() == project && image.is_none_or(is_image)
    });
    if is_known {
        let of_name =
            |node: &Node| node.project.as_str() == project && image.is_none_or(|image| node.image.as_str() == image);
        return Ok((places(&of_name), None));
    }
    let Ok(reference) = ImageRef::parse(name) else {
        return Err(unknown(name, state, config));
    };
    let providers = graph.providers(&reference).to_vec();
    if !providers.is_empty() {
        return Ok((providers, None));
    }
    let on_it = places(&|node| stands_on(node, &reference, state));
    if !on_it.is_empty() {
        return Ok((on_it, Some(reference)));
    }
    let to_be = places(&|node| would_release(node, &reference, config));
    match to_be.is_empty() {
        true => Err(unknown(name, state, config)),
        false => Ok((to_be, None)),
    }
}

/// Whether the config releases an image there, once it is built.
fn would_release(node: &Node, reference: &ImageRef, config: &Config) -> bool {
    let Some(project) = config.projects.get(&node.project) else {
        return false;
    };
    let images = project.images.iter().filter(|image| image.name == node.image);
    let mut expected = images.flat_map(|image| image.expected(project, &node.reference));
    expected.any(|release| release.could_be(reference))
}

fn unknown(name: &str, state: &State, config: &Config) -> WishError {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for project in config.projects.values() {
        names.insert(project.name.to_string());
        let images = project.images.iter();
        names.extend(images.map(|image| full_name(&project.name, &image.name)));
    }
    let released = state.updates.standings.values().flat_map(|s| &s.released);
    names.extend(released.map(ToString::to_string));
    let distance = |known: &String| strsim::damerau_levenshtein(known, name);
    let is_near = |known: &String| {
        let is_part = name.len() > NEAR && known.split('/').any(|part| part == name);
        is_part || distance(known) <= NEAR && 2 * distance(known) <= known.len()
    };
    let mut near: Vec<String> = names.into_iter().filter(is_near).collect();
    near.sort_by_key(|known| (distance(known), known.clone()));
    near.truncate(SUGGESTED);
    WishError::Unknown {
        name: name.to_owned(),
        near,
    }
}

/// Whether an image is built FROM a reference, as far as is known.
fn stands_on(node: &Node, reference: &ImageRef, state: &State) -> bool {
    match (state.updates.links.get(node), state.updates.standings.get(node)) {
        (Some(links), _) => links.bases.contains(reference),
        (None, Some(standing)) => standing
            .bases
            .iter()
            .any(|base| base.needed.is_none() && base.reference.as_ref() == Some(reference)),
        (None, None) => false,
    }
}

/// References that an image is built FROM and that are none of ours.
pub fn external_bases(place: usize, graph: &Graph, state: &State) -> BTreeSet<ImageRef> {
    let node = &graph.nodes()[place];
    let ours: BTreeSet<&ImageRef> = graph
        .edges(place)
        .filter_map(|edge| match &edge.kind {
            EdgeKind::Base(reference) => Some(reference),
            EdgeKind::Needs | EdgeKind::Sibling => None,
        })
        .collect();
    let all: Vec<&ImageRef> = match (state.updates.links.get(node), state.updates.standings.get(node)) {
        (Some(links), _) => links.bases.iter().collect(),
        (None, Some(standing)) => {
            let bases = standing.bases.iter();
            let bases = bases.filter(|base| base.needed.is_none() && base.sibling.is_none());
            bases.filter_map(|base| base.reference.as_ref()).collect()
        }
        (None, None) => Vec::new(),
    };
    all.into_iter()
        .filter(|reference| !ours.contains(reference))
        .cloned()
        .collect()
}
