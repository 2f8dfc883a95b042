//! Bases that somebody says have changed: they are looked at now, and not when it is their turn.
//!
//! Whoever says so may be wrong, or lie, so that this must never do more than a look does that comes by itself: it
//! records nothing, keeps to a gap between two looks, and leaves a registry alone that wants to be.

use super::handle::Turn;
use super::judge::{base_key, watched};
use super::retry::later;
use super::timing::LONGEST_PAUSE;
use super::wanted::SHORTEST_GAP;
use crate::config::Config;
use crate::model::{BaseKey, CheckError, Hinted, ImageRef, Question, State};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// The bases with these references on which something stands that is kept up to date.
pub fn bases_at(state: &State, config: &Config, references: &BTreeSet<ImageRef>) -> BTreeSet<BaseKey> {
    let mut bases = BTreeSet::new();
    for image in watched(state, config).filter(|image| image.image.update.base) {
        let named = |base: &BaseKey| references.contains(&base.reference);
        let keys = image
            .standing
            .bases
            .iter()
            .filter_map(|used| base_key(image.node, used));
        bases.extend(keys.filter(named));
    }
    bases
}

impl Turn<'_> {
    /// Somebody says that these have changed.
    pub(super) fn look_now(&mut self, references: &BTreeSet<ImageRef>) {
        let mut bases = bases_at(self.state, self.config, references);
        let (checking, now) = (&self.state.checking, self.now);
        // What is asked for in this very moment is asked for late enough; what was named before gets its look already.
        let is_late = |base: &BaseKey| checking.asked.get(&Question::Base(base.clone())) == Some(&now);
        bases.retain(|base| !checking.hinted.bases.contains(base) && !is_late(base));
        if !bases.is_empty() {
            self.state.checking.hinted.bases.extend(bases);
            self.check_at(self.now);
        }
    }

    /// When a check is made that would be due at a time, if these bases were named. They stay so until they are asked for:
    /// a question that is under way may be older than what was said.
    pub(super) fn hurried(&mut self, named: &BTreeSet<BaseKey>, question: &Question, at: Timestamp) -> Timestamp {
        let Question::Base(base) = question else { return at };
        if !named.contains(base) {
            return at;
        }
        let checking = &mut self.state.checking;
        let at = at.min(checking.hinted.due(base, self.now));
        if at > self.now || checking.asked.contains_key(question) {
            checking.hinted.bases.insert(base.clone());
        }
        at
    }

    /// A look at a base has ended. Whoever has named it meanwhile is answered by another one, as this may have come too
    /// early.
    pub(super) fn looked<T>(&mut self, base: &BaseKey, result: &Result<T, CheckError>) {
        let hinted = &mut self.state.checking.hinted;
        hinted.ended(base, self.now, result.as_ref().err().and_then(|error| error.not_before));
        if hinted.bases.contains(base) {
            self.check_at(self.now);
        }
    }
}

impl Hinted {
    fn ended(&mut self, base: &BaseKey, now: Timestamp, not_before: Option<Timestamp>) {
        // Older ones hold nobody up any more.
        self.looked.retain(|_, looked| later(*looked, SHORTEST_GAP) > now);
        self.looked.insert(base.clone(), now);
        self.pauses.retain(|_, until| *until > now);
        if let Some(until) = not_before {
            let until = until.min(later(now, LONGEST_PAUSE));
            let pause = self.pauses.entry(base.reference.registry().to_owned()).or_insert(until);
            *pause = until.max(*pause);
        }
    }

    /// When to look at a base that was named.
    fn due(&self, base: &BaseKey, now: Timestamp) -> Timestamp {
        // A look that seems to be still to come is from a clock that has jumped back.
        let looked = self.looked.get(base).filter(|looked| **looked <= now);
        let rested = looked.map_or(now, |looked| later(*looked, SHORTEST_GAP));
        let pause = self.pauses.get(base.reference.registry()).copied();
        rested.max(pause.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::time::Duration;

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(NOW + second).unwrap()
    }

    fn base(reference: &str) -> BaseKey {
        BaseKey {
            reference: ImageRef::parse(reference).unwrap(),
            project: None,
        }
    }

    /// `looks`: of which base, when, and how long its registry wants to be left alone.
    #[rstest]
    #[case::never_looked_at(&[], 0)]
    #[case::looked_at_long_ago(&[("r.io/a:1", -100, None)], 0)]
    #[case::looked_at_just_now(&[("r.io/a:1", -1, None)], 4)]
    #[case::another_was_looked_at(&[("r.io/b:1", -1, None)], 0)]
    #[case::a_pause_of_the_registry(&[("r.io/b:1", -10, Some(60))], 50)]
    #[case::the_longer_pause(&[("r.io/b:1", -10, Some(60)), ("r.io/c:1", -9, Some(30))], 50)]
    #[case::a_pause_that_is_over(&[("r.io/b:1", -100, Some(60))], 0)]
    #[case::a_pause_of_another_registry(&[("q.io/a:1", -10, Some(60))], 0)]
    #[case::a_pause_for_ever(&[("r.io/b:1", 0, Some(1 << 33))], 24 * 3600)]
    #[case::a_clock_that_jumped_back(&[("r.io/a:1", 500, None)], 0)]
    fn when_a_named_base_is_looked_at(#[case] looks: &[(&str, i64, Option<i64>)], #[case] due: i64) {
        let mut hinted = Hinted::default();
        for (of, when, pause) in looks {
            hinted.ended(&base(of), at(*when), pause.map(|pause| at(when + pause)));
        }
        let now = at(0);
        assert_eq!(hinted.due(&base("r.io/a:1"), now).max(now), at(due));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut hinted = Hinted::default();
        for n in 0..1000 {
            hinted.ended(&base(&format!("r{n}.io/a:1")), at(n), Some(at(n + 3)));
        }
        assert!(hinted.looked.len() <= 5 && hinted.pauses.len() <= 3);
        let gap = Duration::from_secs(5);
        assert_eq!(SHORTEST_GAP, gap);
    }
}
