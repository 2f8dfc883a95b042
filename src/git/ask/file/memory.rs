//! When a fingerprint may be trusted: the decision, without any effect.
//!
//! A file that changes twice within one tick of its file system's clock may look the same after both (the kernel's
//! ticks are up to 10 ms long, those of the oldest file systems two seconds). So what was read right after a change
//! may be older than its fingerprint. What is read when the same fingerprint was seen a tick earlier cannot be: by
//! then each further change gets another time. Only our own clock is asked, so that a server's clock that is wrong
//! does no harm.

use super::super::reply::Digest;
use super::place::{Approach, Identity, Repository};
use super::survey::{Entry, Fingerprint};
use std::time::{Duration, Instant};

/// The coarsest tick (FAT's mtime), and the kernel's lag on top of it.
const TICK: Duration = Duration::from_millis(2100);

/// Of more entries than this, only the fingerprint is kept.
const ENTRIES: usize = 256;

/// So many looks may rest on known entries; then the directories are listed again, in case that a file system does not
/// keep their times as it should.
const GLANCES: u8 = 15;

/// What is kept of a repository from look to look: some hundred bytes, and the names of a few loose refs.
#[derive(Debug, Default)]
pub(in crate::git::ask) struct Memory {
    last: Option<Sight>,
    /// Those of `last`, while `glances` is not 0.
    entries: Vec<Entry>,
    glances: u8,
    /// Where a glance may rest on `entries`.
    rest: Option<Box<Rest>>,
    /// Waits for an answer.
    open: Option<Sight>,
    /// A repository of another user for which git waits to answer.
    asked_about: Option<Identity>,
    /// A repository of another user that git has let us read.
    accepted: Option<Identity>,
}

/// A repository that need not be found again.
#[derive(Debug)]
pub(super) struct Rest {
    pub approach: Approach,
    pub repository: Repository,
}

#[derive(Debug, Clone, Copy)]
struct Sight {
    fingerprint: Fingerprint,
    /// When it was first seen.
    since: Instant,
    /// The refs were read after the tick of their last change was over.
    settled: bool,
    digest: Option<Digest>,
}

impl Memory {
    /// Whether the refs of this fingerprint are certainly those of `known`.
    pub(super) fn trusts(&self, fingerprint: Fingerprint, known: Option<Digest>) -> bool {
        known.is_some()
            && self
                .last
                .is_some_and(|last| last.fingerprint == fingerprint && last.settled && last.digest == known)
    }

    /// The entries that the last list rests on, if they are few and were listed not long ago.
    pub(super) fn entries(&mut self) -> Option<&[Entry]> {
        self.glances = self.glances.checked_sub(1)?;
        Some(&self.entries)
    }

    /// The repository was at rest there, and its file system is at hand.
    pub(super) fn rest(&mut self, approach: Approach, repository: Repository) {
        self.rest = Some(Box::new(Rest { approach, repository }));
    }

    /// What a glance may rest on, as [`Self::entries`].
    pub(super) fn at_rest(&mut self) -> Option<(&Rest, &[Entry])> {
        let rest = self.rest.as_deref()?;
        self.glances = self.glances.checked_sub(1)?;
        Some((rest, &self.entries))
    }

    /// A walk has found these, and a fingerprint that is trusted.
    pub(super) fn keep(&mut self, entries: Vec<Entry>) {
        let few = entries.len() <= ENTRIES;
        self.entries = if few { entries } else { Vec::new() };
        self.glances = if few { GLANCES } else { 0 };
    }

    /// The refs of this fingerprint, which was seen at `now`, are about to be read.
    pub(super) fn begin(&mut self, fingerprint: Fingerprint, now: Instant) {
        let before = [self.last, self.open].into_iter().flatten();
        let since = before
            .filter(|sight| sight.fingerprint == fingerprint)
            .map(|sight| sight.since)
            .min()
            .unwrap_or(now);
        self.asked_about = None;
        self.glances = 0;
        self.rest = None;
        self.open = Some(Sight {
            fingerprint,
            since,
            settled: now.saturating_duration_since(since) >= TICK,
            digest: None,
        });
    }

    /// What is about to be read rests on more than the fingerprint: nothing can be learned from it.
    pub(super) fn give_up(&mut self) {
        self.open = None;
        self.last = None;
    }

    /// Whether git has let us read this repository of another user; if not, its answer will tell.
    pub(super) fn accepts(&mut self, stranger: Identity) -> bool {
        let accepted = self.accepted == Some(stranger);
        if !accepted {
            self.asked_about = Some(stranger);
        }
        accepted
    }

    /// A whole and good answer has come for the last look, by us or by `git ls-remote`: these are its refs.
    pub fn learned(&mut self, digest: Digest) {
        self.accepted = self.asked_about.take().or(self.accepted);
        self.last = self.open.take().map(|sight| Sight {
            digest: Some(digest),
            ..sight
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: Fingerprint = Fingerprint::of(1);
    const B: Fingerprint = Fingerprint::of(2);
    const ONE: Digest = Digest(1);

    fn looked(memory: &mut Memory, fingerprint: Fingerprint, now: Instant) {
        memory.begin(fingerprint, now);
        memory.learned(ONE);
    }

    #[test]
    fn trust_needs_a_reading_after_the_tick() {
        let (mut memory, begin) = (Memory::default(), Instant::now());
        looked(&mut memory, A, begin);
        assert!(!memory.trusts(A, Some(ONE)), "it may have changed right after");
        looked(&mut memory, A, begin + TICK / 2);
        assert!(!memory.trusts(A, Some(ONE)));
        looked(&mut memory, A, begin + TICK);
        assert!(memory.trusts(A, Some(ONE)));
        assert!(!memory.trusts(B, Some(ONE)));
        assert!(!memory.trusts(A, Some(Digest(2))) && !memory.trusts(A, None));
        looked(&mut memory, B, begin + TICK * 3);
        assert!(!memory.trusts(A, Some(ONE)) && !memory.trusts(B, Some(ONE)));
    }

    #[test]
    fn a_question_to_git_counts_from_when_it_was_asked() {
        let (mut memory, begin) = (Memory::default(), Instant::now());
        memory.begin(A, begin);
        memory.begin(A, begin + TICK);
        assert!(!memory.trusts(A, Some(ONE)), "git has not answered");
        memory.learned(ONE);
        assert!(memory.trusts(A, Some(ONE)));
        memory.begin(A, begin + TICK * 2);
        memory.give_up();
        memory.learned(ONE);
        assert!(!memory.trusts(A, Some(ONE)));
    }

    #[test]
    fn a_stranger_is_read_once_git_has_answered_for_it() {
        let [here, there] = ["/", "/proc"].map(|dir| Identity::from(&std::fs::metadata(dir).unwrap()));
        let (mut memory, now) = (Memory::default(), Instant::now());
        for _ in 0..2 {
            memory.begin(A, now);
            assert!(!memory.accepts(here));
        }
        memory.learned(ONE);
        memory.begin(B, now);
        assert!(memory.accepts(here) && !memory.accepts(there));
        // Git was asked for another reason, and has said nothing about this one.
        memory.begin(A, now);
        memory.learned(ONE);
        assert!(memory.accepts(here) && !memory.accepts(there));
    }

    proptest! {
        /// Whatever the order of looks: trusted is only what was read a tick after it was first seen, and last.
        #[test]
        fn never_trusts_too_early(looks in proptest::collection::vec((0..3_u128, 0..4000_u64), 1..40)) {
            let (mut memory, mut now) = (Memory::default(), Instant::now());
            let mut first: Option<(Fingerprint, Instant)> = None;
            for (fingerprint, pause) in looks {
                now += Duration::from_millis(pause);
                let seen = Fingerprint::of(fingerprint);
                let since = first.filter(|(before, _)| *before == seen).map_or(now, |(_, since)| since);
                first = Some((seen, since));
                looked(&mut memory, seen, now);
                prop_assert_eq!(memory.trusts(seen, Some(ONE)), now - since >= TICK);
            }
        }
    }
}
