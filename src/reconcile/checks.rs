//! When released images are checked, and what the answers say.
//!
//! A base is one question, however many images stand on it. What fails is asked less and less often, each check for
//! itself.

use super::event::Effect;
use super::handle::Turn;
use super::judge::{Watched, base_key, is_at, is_kept, used, watched};
use super::retry::later;
use crate::config::{Config, Image, PackageCheck, Project, Update};
use crate::model::{
    BaseKey, BaseUsed, Check, CheckError, CheckTrouble, CommitId, Compared, Digest, Elsewhere, Look, Mode, Node,
    Packages, Question, RefName, Standing, State, Used, Write,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The wait after the first failure of a check, if it is not made more often anyway.
const FIRST_BACKOFF: Duration = Duration::from_secs(60);
/// The longest wait for a check that fails.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60 * 60);
/// Between two looks at a base, whatever is asked of it meanwhile.
const SHORTEST_GAP: Duration = Duration::from_secs(5);
/// The longest time that a registry may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// A check that fails waits for at most so many of its intervals.
const MOST_INTERVALS: u32 = 10;

/// What images want of a base.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The shortest interval of theirs.
    every: Option<Duration>,
    /// The longest quiet period.
    quiet: Duration,
    /// When the first of them was verified.
    verified: Option<Timestamp>,
    /// What they have used.
    used: BTreeMap<String, Used>,
}

/// Every base that is to be looked at.
pub(super) fn wanted(state: &State, config: &Config) -> BTreeMap<BaseKey, Wanted> {
    let mut wanted: BTreeMap<BaseKey, Wanted> = BTreeMap::new();
    for image in watched(state, config).filter(|watched| watched.image.update.base) {
        for base in &image.standing.bases {
            if let Some(key) = base_key(image.node, base) {
                wanted.entry(key).or_default().add(&image, base);
            }
        }
    }
    wanted
}

/// The same of one base; none if nothing stands on it.
fn wanted_of(state: &State, config: &Config, base: &BaseKey) -> Option<Wanted> {
    let mut wanted = Wanted::default();
    for image in watched(state, config).filter(|watched| watched.image.update.base) {
        for used in image.standing.bases.iter().filter(|used| is_at(image.node, used, base)) {
            wanted.add(&image, used);
        }
    }
    wanted.every.is_some().then_some(wanted)
}

impl Wanted {
    fn add(&mut self, image: &Watched<'_>, base: &BaseUsed) {
        let update = &image.image.update;
        self.every = Some(self.every.map_or(update.every, |every| every.min(update.every)));
        self.quiet = self.quiet.max(update.quiet);
        let verified = image.standing.verified;
        self.verified = Some(self.verified.map_or(verified, |first| first.min(verified)));
        let used = used(image.standing, base);
        self.used.insert(used.key(), used);
    }

    fn every(&self) -> Duration {
        self.every.unwrap_or(Duration::MAX)
    }

    /// When to look at the base.
    pub(super) fn due(&self, key: &BaseKey, check: Option<&Check<Look>>) -> Timestamp {
        let verified = self.verified.unwrap_or(Timestamp::MIN);
        let Some(check) = check else {
            return spread(verified, self.every(), key);
        };
        match &check.last {
            // Seen, but not compared with what somebody has used since.
            Some(look) if check.trouble.is_none() && self.used.values().any(|used| !is_told(look, used)) => {
                check.next.min(later(look.checked, SHORTEST_GAP))
            }
            _ => check.next,
        }
    }
}

/// Whether a look tells how a base stands to what was used.
fn is_told(look: &Look, used: &Used) -> bool {
    let key = used.key();
    used.is_at(&look.head) || look.compared.iter().any(|compared| compared.used == key)
}

/// An interval after a time, a tenth more or less: by what it is for, so that not all come at once.
fn spread(after: Timestamp, every: Duration, seed: &impl Hash) -> Timestamp {
    let mut hasher = DefaultHasher::new();
    (seed, after.as_millisecond()).hash(&mut hasher);
    let share = 0.9 + 0.2 * (hasher.finish() % 1024) as f64 / 1024.0;
    // A product that is no duration is later than all times.
    let wait = Duration::try_from_secs_f64(every.as_secs_f64() * share).unwrap_or(Duration::MAX);
    rounded(later(after, wait))
}

/// As the record has it.
pub(super) fn rounded(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// When a check that has failed is made again.
fn again(trouble: &CheckTrouble, every: Duration, error: &CheckError, now: Timestamp) -> Timestamp {
    let first = every.min(FIRST_BACKOFF);
    let longest = every.saturating_mul(MOST_INTERVALS).min(LONGEST_BACKOFF).max(first);
    let doublings = trouble.failures.saturating_sub(1).min(31);
    let wait = first.saturating_mul(1 << doublings).min(longest);
    let next = later(now, wait);
    let longest = later(now, LONGEST_PAUSE);
    rounded(
        error
            .not_before
            .map_or(next, |not_before| next.max(not_before.min(longest))),
    )
}

/// A time for a check that is further off than any wait for it comes from a clock that has jumped back.
fn sane(at: Timestamp, every: Duration, now: Timestamp) -> Timestamp {
    let longest = later(now, every.saturating_mul(2).max(LONGEST_PAUSE));
    if at > longest { now } else { at }
}

/// What becomes of a check: `last` is what the answer says, with when to ask next.
fn taken<T: Clone>(
    before: Option<&Check<T>>,
    answer: Result<(T, Timestamp), CheckError>,
    every: Duration,
    now: Timestamp,
) -> Check<T> {
    match answer {
        Ok((last, next)) => Check {
            last: Some(last),
            trouble: None,
            next,
        },
        Err(error) => {
            let earlier = before.and_then(|check| check.trouble.as_ref());
            let trouble = CheckTrouble {
                since: earlier.map_or(now, |trouble| trouble.since),
                failures: earlier.map_or(0, |trouble| trouble.failures).saturating_add(1),
                error: error.message.clone(),
            };
            Check {
                last: before.and_then(|check| check.last.clone()),
                next: again(&trouble, every, &error, now),
                trouble: Some(trouble),
            }
        }
    }
}

/// Bases that are to be looked at, each with what images have used of it.
pub fn bases_of(state: &State, config: &Config) -> Vec<(BaseKey, Vec<Used>)> {
    let wanted = wanted(state, config).into_iter();
    wanted
        .map(|(base, wanted)| (base, wanted.used.into_values().collect()))
        .collect()
}

/// Released images that are to be looked into.
pub fn inside_of(state: &State, config: &Config) -> Vec<Node> {
    let wanted = watched(state, config).filter(is_looked_into);
    wanted.map(|watched| watched.node.clone()).collect()
}

/// When each check is due that is to be made; what was never looked for elsewhere is due since ever.
pub fn due(state: &State, config: &Config) -> BTreeMap<Question, Timestamp> {
    let updates = &state.updates;
    let bases = wanted(state, config).into_iter().map(|(base, wanted)| {
        let at = wanted.due(&base, updates.bases.get(&base));
        (Question::Base(base), at)
    });
    let inside = watched(state, config).filter(is_looked_into);
    let inside = inside.map(|image| (Question::Inside(image.node.clone()), inside_due(&image, state)));
    let elsewhere = strangers(state, config).map(|stranger| {
        let check = updates.elsewhere.get(&stranger.node);
        let at = check.map_or(Timestamp::MIN, |check| check.next);
        (Question::Elsewhere(stranger.node), at)
    });
    bases.chain(inside).chain(elsewhere).collect()
}

fn inside_due(image: &Watched<'_>, state: &State) -> Timestamp {
    match state.updates.packages.get(image.node) {
        Some(check) => check.next,
        None => spread(image.standing.verified, image.image.update.every, image.node),
    }
}

fn is_looked_into(watched: &Watched<'_>) -> bool {
    watched.image.update.packages != PackageCheck::Off && watched.standing.known_by().is_some()
}

/// Images that may have been built elsewhere, each with the tip of its ref.
pub fn strangers_of(state: &State, config: &Config) -> Vec<(Node, CommitId)> {
    let strangers = strangers(state, config);
    strangers
        .map(|stranger| (stranger.node, stranger.commit.clone()))
        .collect()
}

/// A check that was made by hand, outside of the planner's own times.
pub fn answered<T: Clone>(before: Option<&Check<T>>, answer: Result<T, CheckError>, now: Timestamp) -> Check<T> {
    let next = before.map_or(now, |check| check.next);
    taken(before, answer.map(|last| (last, next)), Duration::ZERO, now)
}

/// A look at a base, with when it was seen there first.
pub fn look(before: Option<&Look>, head: Digest, compared: Vec<Compared>, now: Timestamp) -> Look {
    Look {
        since: before.filter(|look| look.head == head).map_or(now, |look| look.since),
        head,
        checked: now,
        compared,
    }
}

/// An image that may have been built elsewhere.
struct Stranger<'a> {
    node: Node,
    commit: &'a CommitId,
    every: Duration,
}

/// Images of the config of which no release is on record, on refs where one could be. Only while nothing is being built
/// there.
fn strangers<'a>(state: &'a State, config: &'a Config) -> impl Iterator<Item = Stranger<'a>> {
    let projects = config.projects.values().filter(|project| project.enabled);
    projects.flat_map(move |project| {
        let images = project.images.iter().filter(|image| wants_checks(image));
        images.flat_map(move |image| strangers_in(state, project, image))
    })
}

fn wants_checks(image: &Image) -> bool {
    let Update { base, packages, .. } = &image.update;
    !image.release.is_empty() && (*base || *packages != PackageCheck::Off)
}

fn strangers_in<'a>(state: &'a State, project: &'a Project, image: &'a Image) -> Vec<Stranger<'a>> {
    let ours = |node: &Node| state.updates.standings.get(node).is_some_and(|s| s.job.is_some());
    let of_image = |node: &Node| node.project == project.name && node.image == image.name;
    let released_somewhere = || state.updates.standings.keys().any(|node| of_image(node) && ours(node));
    // Where the remote's HEAD decides, what was released once tells where that is.
    if image.release_refs.is_none() && released_somewhere() {
        return Vec::new();
    }
    let Some(seen) = state.projects.get(&project.name) else {
        return Vec::new();
    };
    let may_release = |reference: &RefName| match &image.release_refs {
        Some(patterns) => patterns.iter().any(|pattern| pattern.matches(reference.short())),
        None => true,
    };
    let refs = seen.refs.iter().filter(|(reference, _)| {
        is_kept(&image.update.tags, reference)
            && may_release(reference)
            && state.live(&project.name, reference).next().is_none()
    });
    refs.map(|(reference, commit)| Stranger {
        node: Node {
            project: project.name.clone(),
            reference: reference.clone(),
            image: image.name.clone(),
        },
        commit,
        every: image.update.every,
    })
    .filter(|stranger| !ours(&stranger.node))
    .collect()
}

impl Turn<'_> {
    /// The checks are to be looked through, not later than at this time.
    pub(super) fn check_at(&mut self, time: Timestamp) {
        let next = &mut self.state.checking.next;
        *next = Some(next.map_or(time, |next| next.min(time)));
    }

    /// Asks what is due, and remembers when to look through the checks again.
    pub(super) fn check(&mut self) {
        if self.state.mode != Mode::Normal || self.state.checking.next.is_none_or(|next| next > self.now) {
            return;
        }
        self.state.checking.next = None;
        self.heed_schedules();
        let mut due: Vec<(Timestamp, Question, Effect)> = Vec::new();
        for (base, wanted) in wanted(self.state, self.config) {
            let at = wanted.due(&base, self.state.updates.bases.get(&base));
            let at = sane(at, wanted.every(), self.now);
            let effect = Effect::LookAtBase {
                base: base.clone(),
                used: wanted.used.into_values().collect(),
            };
            due.push((at, Question::Base(base), effect));
        }
        for image in watched(self.state, self.config).filter(is_looked_into) {
            let at = inside_due(&image, self.state);
            let at = sane(at, image.image.update.every, self.now);
            let node = image.node.clone();
            due.push((at, Question::Inside(node.clone()), Effect::LookInside(node)));
        }
        for Stranger { node, commit, every } in strangers(self.state, self.config) {
            let at = self
                .state
                .updates
                .elsewhere
                .get(&node)
                .map_or(self.now, |check| check.next);
            let at = sane(at, every, self.now);
            let commit = commit.clone();
            let effect = Effect::LookElsewhere {
                node: node.clone(),
                commit,
            };
            due.push((at, Question::Elsewhere(node), effect));
        }
        for (at, question, effect) in due {
            if self.state.checking.asked.contains(&question) {
                continue;
            }
            if at <= self.now {
                self.state.checking.asked.insert(question);
                self.decision.effects.push(effect);
            } else {
                self.check_at(at);
            }
        }
    }

    pub(super) fn base_seen(&mut self, base: &BaseKey, result: Result<(Digest, Vec<Compared>), CheckError>) {
        self.state.checking.asked.remove(&Question::Base(base.clone()));
        let Some(wanted) = wanted_of(self.state, self.config, base) else {
            return self.put_base(base, None);
        };
        let (now, every) = (rounded(self.now), wanted.every());
        let before = self.state.updates.bases.get(base);
        let answer = result.map(|(head, compared)| {
            let look = look(before.and_then(|check| check.last.as_ref()), head, compared, now);
            let moved = look.compared.iter().any(|compared| !compared.same);
            let settled = later(look.since, wanted.quiet);
            let regular = spread(now, every, base);
            let next = if moved && settled > now {
                regular.min(settled)
            } else {
                regular
            };
            (look, rounded(next))
        });
        let check = taken(before, answer, every, now);
        self.put_base(base, Some(check));
    }

    fn put_base(&mut self, base: &BaseKey, check: Option<Check<Look>>) {
        if let Some(check) = &check {
            self.check_at(check.next);
        }
        let bases = &mut self.state.updates.bases;
        let before = match &check {
            Some(check) => bases.insert(base.clone(), check.clone()),
            None => bases.remove(base),
        };
        if before != check {
            let base = base.clone();
            self.decision.writes.push(Write::Base { base, check });
        }
    }

    pub(super) fn packages_seen(&mut self, node: &Node, result: Result<Packages, CheckError>) {
        self.state.checking.asked.remove(&Question::Inside(node.clone()));
        let known = watched(self.state, self.config).find(|watched| watched.node == node);
        let wanted = known.filter(|watched| watched.image.update.packages != PackageCheck::Off);
        let Some(watched) = wanted else {
            return self.put_packages(node, None);
        };
        if let Ok(found) = &result
            && watched.standing.known_by() != Some(&found.image)
        {
            // Another one was released while this one was looked into.
            return self.check_at(self.now);
        }
        let (now, every) = (rounded(self.now), watched.image.update.every);
        let answer = result.map(|found| (Packages { checked: now, ..found }, spread(now, every, node)));
        let check = taken(self.state.updates.packages.get(node), answer, every, now);
        self.put_packages(node, Some(check));
    }

    pub(super) fn put_packages(&mut self, node: &Node, check: Option<Check<Packages>>) {
        if let Some(check) = &check {
            self.check_at(check.next);
        }
        let packages = &mut self.state.updates.packages;
        let before = match &check {
            Some(check) => packages.insert(node.clone(), check.clone()),
            None => packages.remove(node),
        };
        if before != check {
            let node = node.clone();
            self.decision.writes.push(Write::Packages { node, check });
        }
    }

    pub(super) fn elsewhere_seen(&mut self, node: &Node, result: Result<Option<Standing>, CheckError>) {
        self.state.checking.asked.remove(&Question::Elsewhere(node.clone()));
        let stranger = strangers(self.state, self.config).find(|stranger| stranger.node == *node);
        let Some(Stranger { every, .. }) = stranger else {
            return self.put_elsewhere(node, None);
        };
        let now = rounded(self.now);
        let before = self.state.updates.elsewhere.get(node);
        let known = before.and_then(|check| check.last.as_ref()?.found.clone());
        let answer = result.map(|found| {
            let found = found.map(|found| Standing {
                // The same image, from the same commit: what was seen of its bases since holds.
                verified: match &known {
                    Some(known) if known.digest == found.digest && known.commit == found.commit => known.verified,
                    _ => now,
                },
                ..found
            });
            let last = Elsewhere { checked: now, found };
            (last, spread(now, every, node))
        });
        let check = taken(before, answer, every, now);
        self.put_elsewhere(node, Some(check));
    }

    pub(super) fn put_elsewhere(&mut self, node: &Node, check: Option<Check<Elsewhere>>) {
        if let Some(check) = &check {
            self.check_at(check.next);
        }
        let updates = &mut self.state.updates;
        let found = check.as_ref().and_then(|check| check.last.as_ref()?.found.clone());
        let before = match &check {
            Some(check) => updates.elsewhere.insert(node.clone(), check.clone()),
            None => updates.elsewhere.remove(node),
        };
        if updates
            .standings
            .get(node)
            .is_none_or(|standing| standing.job.is_none())
        {
            match found {
                Some(found) => updates.standings.insert(node.clone(), found),
                None => updates.standings.remove(node),
            };
        }
        if before != check {
            let node = node.clone();
            self.decision.writes.push(Write::Elsewhere { node, check });
        }
    }

    /// Forgets what is known of what is not watched any more.
    pub(super) fn prune_checks(&mut self) {
        let wanted = wanted(self.state, self.config);
        let bases = self.state.updates.bases.keys();
        for base in bases
            .filter(|base| !wanted.contains_key(base))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.put_base(&base, None);
        }
        let config = self.config;
        let known = |node: &Node| {
            let project = config.projects.get(&node.project);
            project.is_some_and(|project| project.images.iter().any(|image| image.name == node.image))
        };
        let updates = &self.state.updates;
        let elsewhere: Vec<Node> = updates.elsewhere.keys().filter(|node| !known(node)).cloned().collect();
        let packages: Vec<Node> = updates.packages.keys().filter(|node| !known(node)).cloned().collect();
        let scheduled: Vec<Node> = updates.scheduled.keys().filter(|node| !known(node)).cloned().collect();
        let tried: Vec<Node> = updates.tried.keys().filter(|node| !known(node)).cloned().collect();
        for node in &elsewhere {
            self.put_elsewhere(node, None);
        }
        for node in &packages {
            self.put_packages(node, None);
        }
        for node in &scheduled {
            self.put_scheduled(node, None);
        }
        for node in &tried {
            self.put_tried(node, None);
        }
    }
}
