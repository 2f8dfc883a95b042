//! Looks for all patterns at once, and knows how much of what was read last could still become one.
//!
//! It exists because a search that is told of matches only cannot say when output may go on to the log. It must never
//! look at a byte twice: a command may write anything, and much of it.

use aho_corasick::automaton::{Automaton as Steps, StateID};
use aho_corasick::{Anchored, MatchKind, StartKind, dfa::DFA, nfa::contiguous::NFA};
use std::collections::HashMap;

/// Up to so many bytes of patterns the fastest machine is made, which takes up to a KiB for each.
const SMALL: usize = 4096;

enum Machine {
    Fast(DFA),
    Compact(NFA),
}

/// The patterns' Aho-Corasick automaton.
pub(super) struct Automaton {
    machine: Machine,
    start: StateID,
    /// The bytes that a pattern begins with: others are passed over quickly.
    first: [bool; 256],
    /// By state, of those where it is not 0: the longest end of the input that is the beginning of a pattern, but not
    /// a whole one that leads nowhere.
    open: HashMap<StateID, usize>,
}

/// Where the search is, between two bytes.
#[derive(Clone, Copy)]
pub(super) struct State(StateID);

impl Automaton {
    /// None if the patterns are beyond what can be built, or one is empty.
    pub(super) fn new(patterns: &[Vec<u8>]) -> Option<Self> {
        if patterns.iter().any(Vec::is_empty) {
            return None;
        }
        let small = patterns.iter().map(Vec::len).sum::<usize>() <= SMALL;
        let (machine, start, open) = if small {
            let mut builder = DFA::builder();
            builder.match_kind(MatchKind::Standard).prefilter(false);
            let dfa = builder.start_kind(StartKind::Unanchored).build(patterns).ok()?;
            let (start, open) = explore(&dfa, patterns)?;
            (Machine::Fast(dfa), start, open)
        } else {
            let mut builder = NFA::builder();
            builder.match_kind(MatchKind::Standard).prefilter(false);
            let nfa = builder.build(patterns).ok()?;
            let (start, open) = explore(&nfa, patterns)?;
            (Machine::Compact(nfa), start, open)
        };
        let mut first = [false; 256];
        for pattern in patterns {
            first[usize::from(pattern[0])] = true;
        }
        Some(Self {
            machine,
            start,
            first,
            open,
        })
    }

    /// Before the first byte.
    pub(super) fn start(&self) -> State {
        State(self.start)
    }

    /// Reads a chunk. `found` is told of the longest match at each place where one ends: the number of bytes of the
    /// chunk up to there, and the match's length.
    pub(super) fn read(&self, state: State, chunk: &[u8], found: impl FnMut(usize, usize)) -> State {
        State(match &self.machine {
            Machine::Fast(dfa) => self.walk(dfa, state.0, chunk, found),
            Machine::Compact(nfa) => self.walk(nfa, state.0, chunk, found),
        })
    }

    /// How many of the last bytes could be the beginning of a match that is not over yet.
    pub(super) fn open(&self, state: State) -> usize {
        self.open.get(&state.0).copied().unwrap_or(0)
    }

    fn walk<A: Steps>(
        &self,
        steps: &A,
        mut state: StateID,
        chunk: &[u8],
        mut found: impl FnMut(usize, usize),
    ) -> StateID {
        let mut at = 0;
        while at < chunk.len() {
            if state == self.start {
                match chunk[at..].iter().position(|byte| self.first[usize::from(*byte)]) {
                    Some(plain) => at += plain,
                    None => break,
                }
            }
            state = steps.next_state(Anchored::No, state, chunk[at]);
            at += 1;
            if steps.is_special(state) && steps.is_match(state) {
                let lengths = (0..steps.match_len(state)).map(|i| steps.pattern_len(steps.match_pattern(state, i)));
                found(at, lengths.max().unwrap_or(0));
            }
        }
        state
    }
}

/// Walks along every pattern: each of its beginnings is a state of its own, as deep as it is long.
fn explore<A: Steps>(steps: &A, patterns: &[Vec<u8>]) -> Option<(StateID, HashMap<StateID, usize>)> {
    let start = steps.start_state(Anchored::No).ok()?;
    let step = |state, byte: &u8| steps.next_state(Anchored::No, state, *byte);
    let mut open = HashMap::new();
    for pattern in patterns {
        let mut state = start;
        for (index, byte) in pattern[..pattern.len() - 1].iter().enumerate() {
            state = step(state, byte);
            open.insert(state, index + 1);
        }
    }
    // A pattern that leads nowhere is as open as its longest end that is the beginning of one: by their lengths, since
    // that may be a shorter pattern, which leads nowhere either.
    let mut by_length: Vec<&Vec<u8>> = patterns.iter().collect();
    by_length.sort_by_key(|pattern| pattern.len());
    for pattern in by_length {
        let whole = pattern.iter().fold(start, step);
        if !open.contains_key(&whole) {
            let end = pattern[1..].iter().fold(start, step);
            open.insert(whole, open.get(&end).copied().unwrap_or(0));
        }
    }
    Some((start, open))
}
