//! How all that is above a node stands, remembered on the way up: of an image deep down a long chain it would otherwise be
//! found out anew at each decision.
//!
//! It must say the same as [`Sight::above`], which walks all of it and has the words.

use super::above::{Above, Freshness, Sight};
use crate::model::Over;
use std::collections::BTreeSet;

impl Sight<'_> {
    /// How everything upstream of a node stands, without words.
    pub(super) fn over(&self, place: usize) -> Over {
        let graph = &self.ours.graph;
        if graph.is_entangled(place) {
            return match self.above(place) {
                Above::Settled => Over::Settled,
                Above::Blocked(_) => Over::Blocked,
                Above::Waits(_) => Over::Waits,
            };
        }
        // No way leads back to its ref: what is found from another ref is the same for whoever asks.
        let own = &graph.nodes()[place];
        let mut worst = Over::Settled;
        let mut seen = BTreeSet::from([place]);
        let mut next = vec![place];
        while let Some(at) = next.pop() {
            for up in graph.ups(at).map(|edge| edge.to) {
                let node = &graph.nodes()[up];
                if node.project != own.project || node.reference != own.reference {
                    worst = worst.max(self.seen_from_below(up));
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
    }

    /// How a node and all that is above it stand, for those on other refs.
    fn seen_from_below(&self, place: usize) -> Over {
        let graph = &self.ours.graph;
        let mut next = vec![place];
        while let Some(at) = next.last().copied() {
            if self.known.borrow().over.contains_key(&at) {
                next.pop();
                continue;
            }
            let own = match self.moves(at) {
                true => Over::Waits,
                false => match self.freshness(at) {
                    Freshness::Stale => Over::Waits,
                    Freshness::Failed(_) => Over::Blocked,
                    Freshness::Fresh | Freshness::Uncured => Over::Settled,
                },
            };
            let mut worst = own;
            let before = next.len();
            if own != Over::Waits {
                let known = self.known.borrow();
                for up in graph.ups(at).map(|edge| edge.to) {
                    match known.over.get(&up) {
                        Some(over) => worst = worst.max(*over),
                        None => next.push(up),
                    }
                }
            }
            if next.len() == before {
                self.known.borrow_mut().over.insert(at, worst);
                next.pop();
            }
        }
        self.known.borrow().over.get(&place).copied().unwrap_or(Over::Waits)
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
