//! Dependents that live elsewhere: who is told of a release, when, and how often it is tried.
//!
//! A poke is made in the same decision as the record of the release, and is on record until it has ended, so that it is
//! delivered at least once. Of several releases to one place only the newest is worth telling.

use super::event::Effect;
use super::handle::Turn;
use super::retry::{backoff, later};
use super::timing::rounded;
use crate::config::{Config, PokeTarget, Retry};
use crate::model::{
    ImageResult, Job, Mode, Node, Poke, PokeAnswer, PokeEnd, PokeError, PokeId, PokeOutcome, PokePlace, Write,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pokes that are on their way at once, all to different places.
const AT_ONCE: usize = 4;
/// Whoever restarts is there again soon; whoever is away for long is not asked all the time.
const BACKOFF: Retry = Retry {
    attempts: u32::MAX,
    delay: Duration::from_secs(2),
    max_delay: Duration::from_secs(60 * 60),
};
/// The longest time that whoever is poked may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// After so long a poke is given up.
const LONGEST_TRY: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// But not with fewer attempts: a daemon that was away, or a clock that jumped, has used up no time.
const FEWEST_ATTEMPTS: u32 = 12;
/// And never with more, whatever the clock says.
const MOST_ATTEMPTS: u32 = 120;

/// Where a poke goes by now, if the config still names the place.
pub fn poked_target<'a>(config: &'a Config, poke: &Poke) -> Option<&'a PokeTarget> {
    places(config, &poke.node).find_map(|(place, target)| (place.key == poke.place.key).then_some(target))
}

fn places<'a>(config: &'a Config, node: &Node) -> impl Iterator<Item = (PokePlace, &'a PokeTarget)> {
    let project = config.projects.get(&node.project);
    let image = project.and_then(|project| project.images.iter().find(|image| image.name == node.image));
    image.into_iter().flat_map(|image| image.poke_places())
}

impl Turn<'_> {
    /// An image was released: if its content is new, everyone is told.
    pub(super) fn poke_about(&mut self, job: &Job, node: &Node, result: &ImageResult) {
        let standing = self.state.updates.standings.get(node);
        let Some(standing) = standing.filter(|standing| standing.job == Some(job.id)) else {
            return;
        };
        let Some(image) = standing.released.first().cloned().filter(|_| result.alike.is_empty()) else {
            return;
        };
        let references = standing.released.clone();
        let digest = if image.is_local() { &result.id } else { &result.digest };
        let now = rounded(self.now);
        for (place, _) in places(self.config, node) {
            let id = PokeId(self.state.next_poke);
            self.state.next_poke += 1;
            self.put_poke(Poke {
                id,
                node: node.clone(),
                job: job.id,
                commit: job.commit.clone(),
                wave: job.wave,
                image: image.clone(),
                references: references.clone(),
                digest: digest.clone(),
                place,
                since: now,
                attempts: 0,
                next: now,
                error: None,
                end: None,
            });
        }
    }

    /// Whoever was poked has answered, or has not.
    pub(super) fn poked(&mut self, id: PokeId, result: Result<PokeAnswer, PokeError>) {
        let was_on_its_way = self.state.checking.poking.remove(&id);
        let Some(mut poke) = self.state.pokes.get(&id).cloned() else {
            return;
        };
        poke.attempts = poke.attempts.saturating_add(1);
        let error = match result {
            Ok(answer) => {
                poke.error = None;
                return self.end_poke(poke, PokeOutcome::Delivered(answer));
            }
            Err(error) => error,
        };
        if error.rejected {
            poke.error = Some(error.message);
            return self.end_poke(poke, PokeOutcome::Rejected);
        }
        if !was_on_its_way {
            // Told twice: it is tried again as it is.
            return;
        }
        poke.error = Some(error.message);
        let long = self.now.duration_since(poke.since).unsigned_abs() > LONGEST_TRY && self.now > poke.since;
        if long && poke.attempts >= FEWEST_ATTEMPTS || poke.attempts >= MOST_ATTEMPTS {
            return self.end_poke(poke, PokeOutcome::GivenUp);
        }
        let next = later(self.now, backoff(&BACKOFF, poke.attempts));
        let asked = error.not_before.map(|at| at.min(later(self.now, LONGEST_PAUSE)));
        poke.next = rounded(asked.map_or(next, |asked| next.max(asked)));
        self.put_poke(poke);
    }

    /// What was refused or given up is due anew, and what waits for its next try is due now. What is on its way has an end of
    /// its own, and what a later release has overtaken is not worth telling.
    pub(super) fn poke_again(&mut self, pokes: &[Poke]) {
        for poke in pokes {
            let known = &self.state.pokes;
            let is_later =
                |other: &Poke| other.id > poke.id && other.node == poke.node && other.place.key == poke.place.key;
            if self.state.checking.poking.contains(&poke.id) || known.values().any(is_later) {
                continue;
            }
            let again = Poke {
                attempts: 0,
                next: rounded(self.now),
                end: None,
                ..poke.clone()
            };
            if poked_target(self.config, poke).is_some() && known.get(&poke.id) != Some(&again) {
                self.put_poke(again);
            }
        }
    }

    /// Sends what is due, and remembers when the next one is.
    pub(super) fn poke(&mut self) {
        if self.state.mode != Mode::Normal {
            return;
        }
        self.drop_pokes();
        self.state.checking.poke_at = None;
        let (now, config) = (self.now, self.config);
        let pokes = &self.state.pokes;
        let poking = &mut self.state.checking.poking;
        let mut busy: BTreeSet<&str> = poking
            .iter()
            .filter_map(|id| pokes.get(id))
            .map(|poke| poke.place.key.as_str())
            .collect();
        // What is disabled keeps its pokes for when it is not.
        let is_enabled = |poke: &&Poke| config.projects.get(&poke.node.project).is_some_and(|p| p.enabled);
        let waiting = pokes.values().filter(|poke| !poking.contains(&poke.id));
        let mut waiting: Vec<&Poke> = waiting.filter(is_enabled).collect();
        waiting.sort_by_key(|poke| (poke.next, poke.id));
        for poke in waiting {
            if !is_due(poke.next, now) {
                let at = &mut self.state.checking.poke_at;
                *at = Some(at.map_or(poke.next, |at| at.min(poke.next)));
            } else if poking.len() < AT_ONCE && busy.insert(&poke.place.key) {
                poking.insert(poke.id);
                self.decision.effects.push(Effect::Poke(poke.id));
            }
        }
    }

    /// Ends what is not worth telling any more. What is on its way has its own end.
    fn drop_pokes(&mut self) {
        let mut newest: BTreeMap<(&Node, &str), PokeId> = BTreeMap::new();
        for poke in self.state.pokes.values() {
            newest.insert((&poke.node, &poke.place.key), poke.id);
        }
        let mut ended = Vec::new();
        for poke in self.state.pokes.values() {
            if self.state.checking.poking.contains(&poke.id) {
                continue;
            }
            let newest = newest.get(&(&poke.node, poke.place.key.as_str()));
            if let Some(newest) = newest.filter(|newest| **newest != poke.id) {
                ended.push((poke.clone(), PokeOutcome::Superseded(*newest)));
            } else if poked_target(self.config, poke).is_none() {
                ended.push((poke.clone(), PokeOutcome::Dropped));
            }
        }
        for (poke, how) in ended {
            self.end_poke(poke, how);
        }
    }

    fn end_poke(&mut self, poke: Poke, how: PokeOutcome) {
        let at = rounded(self.now);
        self.put_poke(Poke {
            end: Some(PokeEnd { at, how }),
            ..poke
        });
    }

    fn put_poke(&mut self, poke: Poke) {
        match poke.end {
            Some(_) => self.state.pokes.remove(&poke.id),
            None => self.state.pokes.insert(poke.id, poke.clone()),
        };
        self.decision.writes.push(Write::Poke(Box::new(poke)));
    }
}

/// A time that is further off than the longest wait comes from a clock that has jumped back.
fn is_due(next: Timestamp, now: Timestamp) -> bool {
    next <= now || next > later(now, LONGEST_PAUSE.saturating_add(BACKOFF.max_delay))
}
