//! How all that is above a node stands. It is remembered on the way up: of an image deep down a long chain it would
//! otherwise be found out anew at each decision.
//!
//! What is stale will be built, but not below something that failed: there it is blocked itself, and so is all that stands
//! on it.

use super::above::{Above, Freshness, Sight, name, waits_for};
use crate::model::{Node, Over};
use std::collections::{BTreeSet, HashMap, VecDeque};

impl Sight<'_> {
    /// How everything upstream of a node stands, without words.
    pub(super) fn over(&self, place: usize) -> Over {
        let graph = &self.ours.graph;
        let own = &graph.nodes()[place];
        self.looking_up(place, |outlook| {
            let mut worst = Over::Settled;
            let mut seen = BTreeSet::from([place]);
            let mut next = vec![place];
            while let Some(at) = next.pop() {
                for up in graph.ups(at).map(|edge| edge.to) {
                    if !is_beside(&graph.nodes()[up], own) {
                        worst = worst.max(outlook(up));
                    } else if seen.insert(up) {
                        if let Freshness::Failed(_) = self.freshness(up) {
                            worst = worst.max(Over::Blocked);
                        }
                        next.push(up);
                    }
                    if worst == Over::Waits {
                        return worst;
                    }
                }
            }
            worst
        })
    }

    /// The same in words, which are about the nearest one that is a reason for it.
    pub fn above(&self, place: usize) -> Above {
        let graph = &self.ours.graph;
        let own = &graph.nodes()[place];
        self.looking_up(place, |outlook| {
            let mut seen = BTreeSet::from([place]);
            let mut next = VecDeque::from([place]);
            let mut blocked = None;
            while let Some(at) = next.pop_front() {
                for up in graph.ups(at).map(|edge| edge.to) {
                    if !seen.insert(up) {
                        continue;
                    }
                    let node = &graph.nodes()[up];
                    // What stands beside it is built by the same job.
                    let is_beside = is_beside(node, own);
                    if let Some(job) = self.moving(node).filter(|_| !is_beside) {
                        return Above::Waits(waits_for(node, job));
                    }
                    match self.freshness(up) {
                        Freshness::Stale if !is_beside && outlook(up) == Over::Waits => {
                            return Above::Waits(format!("{} is to be built again", name(node)));
                        }
                        Freshness::Failed(job) => {
                            blocked.get_or_insert_with(|| format!("{} failed (job {job})", name(node)));
                        }
                        Freshness::Fresh | Freshness::Stale | Freshness::Uncured => {}
                    }
                    next.push_back(up);
                }
            }
            blocked.map_or(Above::Settled, Above::Blocked)
        })
    }

    /// Asks how a node of another ref and all that is above it stand.
    fn looking_up<T>(&self, place: usize, ask: impl FnOnce(&mut dyn FnMut(usize) -> Over) -> T) -> T {
        let graph = &self.ours.graph;
        if graph.is_entangled(place) {
            // A way may lead back to its ref: that is another answer for each who asks.
            let own = &graph.nodes()[place];
            let mut known = HashMap::new();
            return ask(&mut |up| self.outlook(up, Some(own), &mut known));
        }
        let mut known = std::mem::take(&mut self.known.borrow_mut().over);
        let answer = ask(&mut |up| self.outlook(up, None, &mut known));
        self.known.borrow_mut().over = known;
        answer
    }

    /// How a node and all that is above it stand, for whoever is below; what stands beside the asker is no reason to wait.
    fn outlook(&self, place: usize, asker: Option<&Node>, known: &mut HashMap<usize, Over>) -> Over {
        let graph = &self.ours.graph;
        let mut next = vec![place];
        while let Some(at) = next.last().copied() {
            if known.contains_key(&at) {
                next.pop();
                continue;
            }
            let node = &graph.nodes()[at];
            let is_beside = asker.is_some_and(|asker| is_beside(node, asker));
            let moves = match asker {
                None => self.moves(at),
                Some(_) => !is_beside && self.moving(node).is_some(),
            };
            let mut above = Over::Settled;
            let before = next.len();
            if !moves {
                for up in graph.ups(at).map(|edge| edge.to) {
                    match known.get(&up) {
                        Some(over) => above = above.max(*over),
                        None => next.push(up),
                    }
                }
            }
            if next.len() > before {
                continue;
            }
            let over = match moves {
                true => Over::Waits,
                false => match self.freshness(at) {
                    Freshness::Stale if is_beside || above == Over::Blocked => above,
                    Freshness::Stale => Over::Waits,
                    Freshness::Failed(_) => above.max(Over::Blocked),
                    Freshness::Fresh | Freshness::Uncured => above,
                },
            };
            known.insert(at, over);
            next.pop();
        }
        known.get(&place).copied().unwrap_or(Over::Waits)
    }

    /// Whether a job may yet release a node, or anything above it.
    pub(super) fn moves(&self, place: usize) -> bool {
        let graph = &self.ours.graph;
        let mut known = self.known.borrow_mut();
        let mut next = vec![place];
        while let Some(at) = next.last().copied() {
            let before = next.len();
            if !known.moves.contains_key(&at) {
                let mut any = false;
                for up in graph.ups(at).map(|edge| edge.to) {
                    match known.moves.get(&up) {
                        Some(moves) => any |= *moves,
                        None => next.push(up),
                    }
                }
                if next.len() > before {
                    continue;
                }
                let moves = any || self.moving(&graph.nodes()[at]).is_some();
                known.moves.insert(at, moves);
            }
            next.pop();
        }
        known.moves.get(&place).copied().unwrap_or(true)
    }
}

fn is_beside(node: &Node, other: &Node) -> bool {
    node.project == other.project && node.reference == other.reference
}
