//! Masks a stream as it comes.
//!
//! It exists because a secret may be written in pieces. It holds back only what could still become one, never copies
//! what holds none, and gives the same bytes however the stream is cut: a `***` for each secret, or for each row of
//! secrets that overlap. No part of a secret is left of such a row.

use super::automaton::State;
use super::masks::{MASK, Masks};
use std::collections::VecDeque;

/// A secret, or several that overlap, from the first byte that is held.
struct Region {
    start: usize,
    end: usize,
    /// Its beginning, with its mask, is out already.
    begun: bool,
}

/// Between a stream and where it goes.
pub(super) struct Masker {
    masks: Masks,
    state: State,
    /// What could still become a secret.
    held: Vec<u8>,
    /// In order, apart from each other.
    regions: VecDeque<Region>,
}

impl Masker {
    /// None if there is nothing to be masked.
    pub(super) fn new(masks: &Masks) -> Option<Self> {
        let state = masks.automaton()?.start();
        Some(Self {
            masks: masks.clone(),
            state,
            held: Vec::new(),
            regions: VecDeque::new(),
        })
    }

    /// Takes what comes next, and gives to `out` what is decided.
    pub(super) fn take(&mut self, chunk: &[u8], out: &mut impl FnMut(&[u8])) {
        let Some(automaton) = self.masks.automaton() else {
            return;
        };
        let (held, regions) = (self.held.len(), &mut self.regions);
        self.state = automaton.read(self.state, chunk, |read, length| {
            let end = held + read;
            merge(regions, end.saturating_sub(length), end);
        });
        let open = automaton.open(self.state);
        self.release(chunk, (held + chunk.len()).saturating_sub(open), out);
    }

    /// The stream is over: what is held is no secret.
    pub(super) fn end(&mut self, out: &mut impl FnMut(&[u8])) {
        let Some(automaton) = self.masks.automaton() else {
            return;
        };
        self.state = automaton.start();
        self.release(&[], self.held.len(), out);
    }

    /// Gives out the first `safe` bytes of what is held and of the chunk after it, and holds the rest.
    fn release(&mut self, chunk: &[u8], safe: usize, out: &mut impl FnMut(&[u8])) {
        let held = self.held.len();
        let plain = |from: usize, to: usize, out: &mut dyn FnMut(&[u8])| {
            let pieces = [
                &self.held[from.min(held)..to.min(held)],
                &chunk[from.max(held) - held..to.max(held) - held],
            ];
            pieces.into_iter().filter(|piece| !piece.is_empty()).for_each(out);
        };
        let mut at = 0;
        while let Some(region) = self.regions.front_mut() {
            if region.start >= safe {
                break;
            }
            if !region.begun {
                plain(at, region.start, out);
                out(MASK);
                region.begun = true;
            }
            at = region.end.min(safe);
            if region.end > safe {
                break;
            }
            self.regions.pop_front();
        }
        plain(at, safe, out);
        for region in &mut self.regions {
            region.start = region.start.saturating_sub(safe);
            region.end -= safe;
        }
        self.held.drain(..safe.min(held));
        self.held.extend_from_slice(&chunk[safe.max(held) - held..]);
    }
}

/// Adds a match, which ends behind all others.
fn merge(regions: &mut VecDeque<Region>, mut start: usize, end: usize) {
    let mut begun = false;
    while let Some(last) = regions.pop_back_if(|last| last.end > start) {
        start = start.min(last.start);
        begun |= last.begun;
    }
    regions.push_back(Region { start, end, begun });
}

#[cfg(test)]
mod tests;
