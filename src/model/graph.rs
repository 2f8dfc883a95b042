//! Which image stands on which: a graph over all projects, with its circles found.

use super::{ImageRef, Node, ProjectName, RefName};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// Why one image stands on another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// It is built FROM what the other one is released as.
    Base(ImageRef),
    /// It relies on it: `depends_on`, or `.gitlab-deps`.
    Needs,
    /// The same job builds both, the other one first.
    Sibling,
}

/// What an image stands on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The place of the upstream in [`Graph::nodes`].
    pub to: usize,
    /// Why.
    pub kind: EdgeKind,
}

/// Every image on every ref, with what it stands on. Nodes are known by their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
    ups: Vec<BTreeSet<Edge>>,
    downs: Vec<Vec<usize>>,
    /// Nodes with the same number stand on each other, or are one.
    circle: Vec<usize>,
    /// Those that are part of a circle.
    circles: Vec<Vec<usize>>,
    /// Of which the ref is part of a circle of refs, or may be.
    entangled: Vec<bool>,
    height: Vec<usize>,
    providers: BTreeMap<ImageRef, Vec<usize>>,
    /// Nodes with the same number have the same engine storage.
    storages: Vec<usize>,
}

impl Graph {
    /// Of nodes in order, each with what it stands on, and of where they are released.
    pub fn new(nodes: Vec<Node>, ups: Vec<BTreeSet<Edge>>, providers: BTreeMap<ImageRef, Vec<usize>>) -> Self {
        let mut downs = vec![Vec::new(); nodes.len()];
        for (node, edges) in ups.iter().enumerate() {
            for to in edges.iter().map(|edge| edge.to).collect::<BTreeSet<_>>() {
                downs[to].push(node);
            }
        }
        let (circle, order) = circles(&downs);
        let circles = order
            .iter()
            .filter(|members| members.len() > 1 || downs[members[0]].contains(&members[0]))
            .map(|members| round(members, &downs))
            .collect();
        // Those that nothing stands on come first: a height is known before it is asked for.
        let mut height = vec![0; nodes.len()];
        for members in &order {
            for node in members {
                let below = downs[*node].iter().filter(|down| circle[**down] != circle[*node]);
                height[*node] = below.map(|down| height[*down] + 1).max().unwrap_or(0);
            }
        }
        let entangled = entangled(&nodes, &ups);
        Self {
            nodes,
            ups,
            downs,
            circle,
            circles,
            entangled,
            height,
            providers,
            storages: Vec::new(),
        }
    }

    /// The same with a number for the engine storage of each node; without, all have the same.
    #[must_use]
    pub fn with_storages(self, storages: Vec<usize>) -> Self {
        Self { storages, ..self }
    }

    /// Whether what one node has in its engine's storage is there for another one.
    pub fn share_storage(&self, one: usize, other: usize) -> bool {
        self.storages.get(one) == self.storages.get(other)
    }

    /// All of them, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The place of a node.
    pub fn place(&self, node: &Node) -> Option<usize> {
        self.nodes.binary_search(node).ok()
    }

    /// The places of all images of a ref.
    pub fn of_ref(&self, project: &ProjectName, reference: &RefName) -> Range<usize> {
        let of = |node: &Node| (&node.project, &node.reference).cmp(&(project, reference));
        let first = self.nodes.partition_point(|node| of(node).is_lt());
        let after = self.nodes.partition_point(|node| of(node).is_le());
        first..after
    }

    /// What a node stands on, and why, its own circle included.
    pub fn edges(&self, place: usize) -> impl Iterator<Item = &Edge> {
        self.ups.get(place).into_iter().flatten()
    }

    /// What a node stands on, its own circle left out.
    pub fn ups(&self, place: usize) -> impl Iterator<Item = &Edge> {
        self.edges(place).filter(move |edge| !self.is_circle(place, edge.to))
    }

    /// What stands on a node, its own circle left out.
    pub fn downs(&self, place: usize) -> impl Iterator<Item = usize> {
        let all = self.downs.get(place).into_iter().flatten().copied();
        all.filter(move |down| !self.is_circle(place, *down))
    }

    /// Whether two nodes stand on each other, or are one.
    pub fn is_circle(&self, one: usize, other: usize) -> bool {
        self.circle.get(one) == self.circle.get(other)
    }

    /// Whether the refs of this node and of others stand on each other, although no images may: their jobs can come to
    /// wait for each other.
    pub fn is_entangled(&self, place: usize) -> bool {
        self.entangled.get(place).is_none_or(|is| *is)
    }

    /// Each circle as a way around it, from its first node by name; those that lie beside this way follow it.
    pub fn circles(&self) -> &[Vec<usize>] {
        &self.circles
    }

    /// How many images follow each other on the longest way down.
    pub fn height(&self, place: usize) -> usize {
        self.height.get(place).copied().unwrap_or(0)
    }

    /// Who is released there.
    pub fn providers(&self, reference: &ImageRef) -> &[usize] {
        self.providers.get(reference).map_or(&[], Vec::as_slice)
    }
}

/// For each node the number of its circle, and the circles, each after all that stand on it.
fn circles(downs: &[Vec<usize>]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut graph: DiGraph<(), (), usize> = DiGraph::default();
    for _ in downs {
        graph.add_node(());
    }
    for (up, list) in downs.iter().enumerate() {
        for down in list {
            graph.add_edge(NodeIndex::new(up), NodeIndex::new(*down), ());
        }
    }
    let mut number = vec![0; downs.len()];
    // In reverse topological order, as it is documented.
    let order: Vec<Vec<usize>> = kosaraju_scc(&graph)
        .into_iter()
        .map(|members| members.into_iter().map(NodeIndex::index).collect())
        .collect();
    for (circle, members) in order.iter().enumerate() {
        for node in members {
            number[*node] = circle;
        }
    }
    (number, order)
}

/// For each node whether there is a way from its ref to other refs and back.
fn entangled(nodes: &[Node], ups: &[BTreeSet<Edge>]) -> Vec<bool> {
    let mut of: Vec<usize> = Vec::with_capacity(nodes.len());
    for (place, node) in nodes.iter().enumerate() {
        let number = match place.checked_sub(1).map(|before| (&nodes[before], of[before])) {
            None => 0,
            Some((before, number)) if before.project == node.project && before.reference == node.reference => number,
            Some((_, number)) => number + 1,
        };
        of.push(number);
    }
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); of.last().map_or(0, |last| last + 1)];
    for (place, edges) in ups.iter().enumerate() {
        let others = edges.iter().map(|edge| of[edge.to]).filter(|up| *up != of[place]);
        others.for_each(|up| below[up].push(of[place]));
    }
    let (_, order) = circles(&below);
    let mut is_entangled = vec![false; below.len()];
    for members in order.iter().filter(|members| members.len() > 1) {
        members.iter().for_each(|of| is_entangled[*of] = true);
    }
    of.into_iter().map(|number| is_entangled[number]).collect()
}

/// The shortest way from the first member back to itself, and the others after it.
fn round(members: &[usize], downs: &[Vec<usize>]) -> Vec<usize> {
    let all: BTreeSet<usize> = members.iter().copied().collect();
    let Some(first) = all.first().copied() else {
        return Vec::new();
    };
    let mut from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut next = VecDeque::from([first]);
    'search: while let Some(at) = next.pop_front() {
        for down in downs[at].iter().filter(|down| all.contains(down)) {
            if !from.contains_key(down) {
                from.insert(*down, at);
                next.push_back(*down);
            }
            if *down == first {
                break 'search;
            }
        }
    }
    let mut way = vec![first];
    let mut at = from.get(&first).copied().unwrap_or(first);
    while at != first {
        way.push(at);
        at = from.get(&at).copied().unwrap_or(first);
    }
    // It was found against the arrows from what stands on what: as read, each stands on the next.
    let beside = all
        .iter()
        .filter(|member| !way.contains(member))
        .copied()
        .collect::<Vec<_>>();
    way.extend(beside);
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ImageName;
    use proptest::prelude::*;

    fn graph(count: usize, edges: &[(usize, usize)]) -> Graph {
        let node = |n: usize| Node {
            project: ProjectName::new(format!("p{n:04}")).unwrap(),
            reference: RefName::new("refs/heads/main").unwrap(),
            image: ImageName::new(format!("p{n:04}")).unwrap(),
        };
        let mut ups = vec![BTreeSet::new(); count];
        for (down, up) in edges {
            ups[*down].insert(Edge {
                to: *up,
                kind: EdgeKind::Needs,
            });
        }
        Graph::new((0..count).map(node).collect(), ups, BTreeMap::new())
    }

    #[test]
    fn circles_are_named_as_each_stands_on_the_next() {
        for (edges, expected) in [
            (vec![(1, 0), (2, 1)], vec![]),
            (vec![(0, 0)], vec![vec![0]]),
            (vec![(0, 1), (1, 2), (2, 0), (3, 0)], vec![vec![0, 1, 2]]),
            (
                vec![(0, 1), (1, 0), (2, 3), (3, 2), (2, 1)],
                vec![vec![0, 1], vec![2, 3]],
            ),
            // Two ways around: the shorter one first.
            (vec![(0, 1), (1, 0), (1, 2), (2, 0)], vec![vec![0, 1, 2]]),
        ] {
            let mut found = graph(4, &edges).circles().to_vec();
            found.sort();
            assert_eq!(found, expected, "{edges:?}");
        }
    }

    #[test]
    fn the_longest_way_down_counts_and_a_deep_one_is_no_trouble() {
        let many = 20_000;
        let edges: Vec<_> = (1..many).map(|n| (n, n - 1)).collect();
        let graph = graph(many, &edges);
        assert_eq!((graph.height(0), graph.height(many - 1)), (many - 1, 0));
    }

    #[test]
    fn refs_are_entangled_where_jobs_may_wait_for_each_other() {
        let node = |project: &str, image: &str| Node {
            project: ProjectName::new(project).unwrap(),
            reference: RefName::new("refs/heads/main").unwrap(),
            image: ImageName::new(image).unwrap(),
        };
        let nodes = vec![node("a", "1"), node("a", "2"), node("b", "1"), node("c", "1")];
        let edge = |to| Edge {
            to,
            kind: EdgeKind::Needs,
        };
        // a/2 on b/1 on a/1, and c on all of it: no images stand on each other.
        let ups = vec![
            BTreeSet::new(),
            [edge(0), edge(2)].into(),
            [edge(0)].into(),
            [edge(1)].into(),
        ];
        let graph = Graph::new(nodes, ups, BTreeMap::new());
        assert!(graph.circles().is_empty());
        let is = [0, 1, 2, 3].map(|place| graph.is_entangled(place));
        assert_eq!(is, [true, true, true, false]);
    }

    proptest! {
        #[test]
        fn heights_fall_along_every_edge_outside_of_circles(
            edges in prop::collection::vec((0..12usize, 0..12usize), 0..40)
        ) {
            let graph = graph(12, &edges);
            for place in 0..12 {
                for edge in graph.ups(place) {
                    prop_assert!(graph.height(edge.to) > graph.height(place));
                    prop_assert!(graph.downs(edge.to).any(|down| down == place));
                }
            }
            for way in graph.circles() {
                for member in way {
                    prop_assert!(graph.is_circle(way[0], *member));
                }
            }
            // Nothing outside of them can be walked in a circle.
            let inside: BTreeSet<usize> = graph.circles().iter().flatten().copied().collect();
            for (down, up) in edges {
                prop_assert_eq!(graph.is_circle(down, up), inside.contains(&down) && graph.is_circle(down, up) || down == up && inside.contains(&down));
            }
        }
    }
}
