//! What is released, found also by where it is released and by what it stands on.
//!
//! Every change goes through here, so that what is found can never be another than what there is. It must never decide
//! anything.

use super::{ImageRef, Node, Standing};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

/// Each released image on its ref. Two are equal if what is released is.
#[derive(Debug, Clone, Default)]
pub struct Standings {
    all: BTreeMap<Node, Standing>,
    on: BTreeMap<ImageRef, BTreeSet<Node>>,
    at: BTreeMap<ImageRef, BTreeSet<Node>>,
    touched: BTreeSet<Node>,
    /// Where something was released, or is not any more.
    moved: BTreeSet<ImageRef>,
}

impl Deref for Standings {
    type Target = BTreeMap<Node, Standing>;
    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl PartialEq for Standings {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Eq for Standings {}

impl FromIterator<(Node, Standing)> for Standings {
    fn from_iter<I: IntoIterator<Item = (Node, Standing)>>(all: I) -> Self {
        let mut standings = Self::default();
        for (node, standing) in all {
            standings.insert(node, standing);
        }
        standings
    }
}

impl<const N: usize> From<[(Node, Standing); N]> for Standings {
    fn from(all: [(Node, Standing); N]) -> Self {
        all.into_iter().collect()
    }
}

impl Standings {
    /// Takes in what is released, in the place of what was.
    pub fn insert(&mut self, node: Node, standing: Standing) -> Option<Standing> {
        let before = self.remove(&node);
        for reference in standing.bases.iter().filter_map(|base| base.reference.as_ref()) {
            self.on.entry(reference.clone()).or_default().insert(node.clone());
        }
        for reference in &standing.released {
            self.at.entry(reference.clone()).or_default().insert(node.clone());
            self.moved.insert(reference.clone());
        }
        self.touched.insert(node.clone());
        self.all.insert(node, standing);
        before
    }

    /// Forgets it.
    pub fn remove(&mut self, node: &Node) -> Option<Standing> {
        let standing = self.all.remove(node)?;
        for reference in standing.bases.iter().filter_map(|base| base.reference.as_ref()) {
            forget(&mut self.on, reference, node);
        }
        for reference in &standing.released {
            forget(&mut self.at, reference, node);
            self.moved.insert(reference.clone());
        }
        self.touched.insert(node.clone());
        Some(standing)
    }

    /// Changes what is known of one.
    pub fn change(&mut self, node: &Node, change: impl FnOnce(&mut Standing)) {
        if let Some(mut standing) = self.all.get(node).cloned() {
            change(&mut standing);
            self.insert(node.clone(), standing);
        }
    }

    /// Forgets all but these.
    pub fn retain(&mut self, wanted: impl Fn(&Node, &Standing) -> bool) {
        let others = self.all.iter().filter(|(node, standing)| !wanted(node, standing));
        let others: Vec<Node> = others.map(|(node, _)| node.clone()).collect();
        for node in others {
            self.remove(&node);
        }
    }

    /// Images that were built on what is called so.
    pub fn on(&self, reference: &ImageRef) -> impl Iterator<Item = &Node> + use<'_> {
        self.on.get(reference).into_iter().flatten()
    }

    /// Images that are released there.
    pub fn at(&self, reference: &ImageRef) -> impl Iterator<Item = &Node> + use<'_> {
        self.at.get(reference).into_iter().flatten()
    }

    /// What has changed since this was asked last: the images, and where they are or were released.
    pub fn take_touched(&mut self) -> (BTreeSet<Node>, BTreeSet<ImageRef>) {
        (std::mem::take(&mut self.touched), std::mem::take(&mut self.moved))
    }
}

fn forget(index: &mut BTreeMap<ImageRef, BTreeSet<Node>>, reference: &ImageRef, node: &Node) {
    if let Some(nodes) = index.get_mut(reference) {
        nodes.remove(node);
        if nodes.is_empty() {
            index.remove(reference);
        }
    }
}
