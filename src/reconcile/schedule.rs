//! When each remote is asked, and which may be asked at the same time.
//!
//! Pure: time is a duration since some beginning, chance is a hash. Polls are spread over the interval, a host is asked
//! for few of its remotes at once, what fails is asked less and less often, and what hangs holds up nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Questions at once over all hosts; each may hold a connection or two.
const AT_ONCE: usize = 512;
/// The same for remotes that did not answer in time at the last look: they wait for each other, and nobody for them.
const SILENT_AT_ONCE: usize = 64;
/// The longest time between the first looks at two new remotes: a few are all looked at at once.
const FIRST_GAP: Duration = Duration::from_millis(20);
/// Waking for each remote by itself costs more than the question: those of one grain are asked together.
const LONGEST_GRAIN: Duration = Duration::from_secs(1);
/// A failing remote is asked again after at most so many intervals.
const LONGEST_BACKOFF: u32 = 10;
/// Longer ones mean never.
const LONGEST_INTERVAL: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The longest time that a server may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// A remote, by the number that its owner gave it. Numbers are never used again.
pub type RemoteId = u32;

/// How a remote is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How often.
    pub interval: Duration,
    /// Shared by remotes that would be kept busy together; none for this machine's own.
    pub host: Option<String>,
    /// Decides where in the interval it is asked, the same after each start: its URL, say.
    pub seed: u64,
}

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answered.
    Fine,
    /// It did not.
    Failed {
        /// It let the time run out.
        silent: bool,
        /// For how long its host asks to be left alone.
        pause: Option<Duration>,
    },
}

/// All remotes and their times.
#[derive(Debug)]
pub struct Schedule {
    per_host: usize,
    remotes: HashMap<RemoteId, Remote>,
    names: BTreeMap<Option<String>, HostId>,
    hosts: HashMap<HostId, Host>,
    next_host: HostId,
    /// Idle remotes by the time of their next look.
    times: BTreeSet<(Duration, RemoteId)>,
    /// Hosts that may have a slot for one that waits, in turn.
    open: VecDeque<HostId>,
    asking: Slots,
}

type HostId = u32;

#[derive(Debug)]
struct Remote {
    host: HostId,
    interval: Duration,
    seed: u64,
    stage: Stage,
    /// Looks that failed since the last one that did not.
    failures: u32,
    silent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle {
        next: Duration,
    },
    /// In a queue of its host. A poke is not held up by a pause.
    Waiting {
        poked: bool,
    },
    /// A poke meanwhile makes it asked again.
    Asking {
        again: bool,
        silent: bool,
    },
}

#[derive(Debug, Default)]
struct Host {
    name: Option<String>,
    remotes: usize,
    waiting: VecDeque<RemoteId>,
    /// Those that did not answer in time at the last look.
    waiting_silent: VecDeque<RemoteId>,
    /// In [`Schedule::open`].
    is_open: bool,
    asking: Slots,
    paused_until: Duration,
}

#[derive(Debug, Default, Clone, Copy)]
struct Slots {
    normal: usize,
    silent: usize,
}

impl Slots {
    fn of(&mut self, silent: bool) -> &mut usize {
        if silent { &mut self.silent } else { &mut self.normal }
    }

    /// Over all hosts.
    fn has_room(self, silent: bool) -> bool {
        if silent {
            self.silent < SILENT_AT_ONCE
        } else {
            self.normal < AT_ONCE
        }
    }
}

impl Host {
    /// Of its slots, silent remotes may take only a quarter.
    fn has_room(&self, silent: bool, per_host: usize) -> bool {
        let Slots {
            normal,
            silent: hanging,
        } = self.asking;
        // This machine's own files are nobody's server.
        self.name.is_none() || normal + hanging < per_host && (!silent || hanging < (per_host / 4).max(1))
    }

    fn queue(&mut self, silent: bool) -> &mut VecDeque<RemoteId> {
        if silent {
            &mut self.waiting_silent
        } else {
            &mut self.waiting
        }
    }
}

impl Schedule {
    /// Without remotes yet.
    pub fn new(per_host: usize) -> Self {
        Self {
            per_host,
            remotes: HashMap::new(),
            names: BTreeMap::new(),
            hosts: HashMap::new(),
            next_host: 0,
            times: BTreeSet::new(),
            open: VecDeque::new(),
            asking: Slots::default(),
        }
    }

    /// Another limit. What is being asked goes on.
    pub fn set_per_host(&mut self, per_host: usize) {
        self.per_host = per_host;
        let all: Vec<HostId> = self.hosts.keys().copied().collect();
        all.into_iter().for_each(|host| self.open(host));
    }

    /// Takes in new remotes. Their first looks follow each other quickly, but not all at once.
    pub fn add(&mut self, new: Vec<(RemoteId, Terms)>, now: Duration) {
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX).max(1);
        for (place, (id, terms)) in (0u32..).zip(new) {
            let interval = terms.interval.min(LONGEST_INTERVAL);
            let next = now + FIRST_GAP.min(interval / count) * place;
            let host = self.host(terms.host);
            self.times.insert((next, id));
            let remote = Remote {
                host,
                interval,
                seed: terms.seed,
                stage: Stage::Idle { next },
                failures: 0,
                silent: false,
            };
            self.remotes.insert(id, remote);
        }
    }

    fn host(&mut self, name: Option<String>) -> HostId {
        let id = *self.names.entry(name.clone()).or_insert_with(|| {
            self.next_host += 1;
            self.next_host
        });
        let host = self.hosts.entry(id).or_default();
        host.name = name;
        host.remotes += 1;
        id
    }

    /// Another interval for a remote that is there.
    pub fn set_interval(&mut self, id: RemoteId, interval: Duration, now: Duration) {
        let interval = interval.min(LONGEST_INTERVAL);
        let Some(remote) = self.remotes.get_mut(&id).filter(|r| r.interval != interval) else {
            return;
        };
        remote.interval = interval;
        let regular = remote.next_regular(now);
        if let Stage::Idle { next } = &mut remote.stage
            && regular < *next
            && remote.failures == 0
        {
            self.times.remove(&(*next, id));
            self.times.insert((regular, id));
            *next = regular;
        }
    }

    /// Forgets a remote. Nothing is heard of a question to it that is under way.
    pub fn remove(&mut self, id: RemoteId) {
        let Some(remote) = self.remotes.remove(&id) else { return };
        match remote.stage {
            Stage::Idle { next } => {
                self.times.remove(&(next, id));
            }
            // Its place in the queue is skipped.
            Stage::Waiting { .. } => {}
            Stage::Asking { silent, .. } => self.free(remote.host, silent),
        }
        if let Some(host) = self.hosts.get_mut(&remote.host) {
            host.remotes -= 1;
            if host.remotes == 0 {
                self.names.remove(&host.name);
                self.hosts.remove(&remote.host);
            }
        }
    }

    /// Asks now; once more if it is being asked already, as that question may have been too early.
    pub fn poke(&mut self, id: RemoteId) {
        let Some(remote) = self.remotes.get_mut(&id) else {
            return;
        };
        match &mut remote.stage {
            Stage::Idle { next } => {
                self.times.remove(&(*next, id));
                self.wait(id, true);
            }
            Stage::Waiting { poked } => *poked = true,
            Stage::Asking { again, .. } => *again = true,
        }
    }

    /// Which to ask now. Each is taken as being asked until [`Self::answered`].
    pub fn due(&mut self, now: Duration) -> Vec<RemoteId> {
        while let Some(&(next, id)) = self.times.first().filter(|(next, _)| *next <= now) {
            self.times.remove(&(next, id));
            self.wait(id, false);
        }
        let mut due = Vec::new();
        // Each host takes one slot in its turn, so that a full house is shared by all.
        while let Some(id) = self.open.pop_front() {
            match self.take_from(id, now) {
                Some(remote) => {
                    due.push(remote);
                    self.open.push_back(id);
                }
                None => {
                    if let Some(host) = self.hosts.get_mut(&id) {
                        host.is_open = false;
                    }
                }
            }
        }
        due
    }

    /// The next remote of a host that gets a slot.
    fn take_from(&mut self, id: HostId, now: Duration) -> Option<RemoteId> {
        let host = self.hosts.get_mut(&id)?;
        // Those that hang have few slots, but on a host that is never done with the others they must come to them.
        for silent in [true, false] {
            while self.asking.has_room(silent) && host.has_room(silent, self.per_host) {
                let Some(next) = host.queue(silent).pop_front() else {
                    break;
                };
                let Some(remote) = self.remotes.get_mut(&next) else {
                    continue;
                };
                let Stage::Waiting { poked } = remote.stage else {
                    continue;
                };
                if host.paused_until > now && !poked {
                    let later = host.paused_until + share(remote.interval, remote.seed);
                    remote.stage = Stage::Idle { next: later };
                    self.times.insert((later, next));
                    continue;
                }
                remote.stage = Stage::Asking { again: false, silent };
                *host.asking.of(silent) += 1;
                *self.asking.of(silent) += 1;
                return Some(next);
            }
        }
        None
    }

    /// A question has ended.
    pub fn answered(&mut self, id: RemoteId, verdict: Verdict, now: Duration) {
        let Some(remote) = self.remotes.get_mut(&id) else {
            return;
        };
        let Stage::Asking { again, silent } = remote.stage else {
            return;
        };
        let id_of_host = remote.host;
        let mut next = remote.next_regular(now);
        match verdict {
            Verdict::Fine => {
                remote.failures = 0;
                remote.silent = false;
            }
            Verdict::Failed { silent, pause } => {
                remote.failures = remote.failures.saturating_add(1);
                remote.silent = silent;
                next = now + remote.backoff();
                if let Some(pause) = pause {
                    let until = now + pause.min(LONGEST_PAUSE);
                    next = next.max(until + share(remote.interval, remote.seed));
                    if let Some(host) = self.hosts.get_mut(&id_of_host) {
                        host.paused_until = host.paused_until.max(until);
                    }
                }
            }
        }
        remote.stage = Stage::Idle { next };
        self.times.insert((next, id));
        self.free(id_of_host, silent);
        if again {
            self.poke(id);
        }
    }

    /// When [`Self::due`] has something to say although nothing happens; none if never. A remote that waits for a slot
    /// gets it after [`Self::answered`], so it is no reason to wake.
    pub fn next_wake(&self) -> Option<Duration> {
        self.times.first().map(|(next, _)| *next)
    }

    /// When the remote is asked next; none if it is being asked, waits for a slot, or is not known.
    pub fn next_look(&self, id: RemoteId) -> Option<Duration> {
        match self.remotes.get(&id)?.stage {
            Stage::Idle { next } => Some(next),
            Stage::Waiting { .. } | Stage::Asking { .. } => None,
        }
    }

    fn wait(&mut self, id: RemoteId, poked: bool) {
        let Some(remote) = self.remotes.get_mut(&id) else {
            return;
        };
        remote.stage = Stage::Waiting { poked };
        let (id_of_host, silent) = (remote.host, remote.silent);
        if let Some(host) = self.hosts.get_mut(&id_of_host) {
            host.queue(silent).push_back(id);
        }
        self.open(id_of_host);
    }

    fn free(&mut self, id: HostId, silent: bool) {
        // Over all hosts, others may have waited for this slot.
        let was_full = !self.asking.has_room(silent);
        *self.asking.of(silent) -= 1;
        if let Some(host) = self.hosts.get_mut(&id) {
            *host.asking.of(silent) -= 1;
        }
        self.open(id);
        if was_full {
            let mut waiting: Vec<HostId> = self
                .hosts
                .iter_mut()
                .filter_map(|(id, host)| (!host.queue(silent).is_empty()).then_some(*id))
                .collect();
            waiting.sort_unstable();
            waiting.into_iter().for_each(|id| self.open(id));
        }
    }

    fn open(&mut self, id: HostId) {
        if let Some(host) = self.hosts.get_mut(&id)
            && !host.is_open
            && !(host.waiting.is_empty() && host.waiting_silent.is_empty())
        {
            host.is_open = true;
            self.open.push_back(id);
        }
    }
}

impl Remote {
    /// The next of the moments, one interval apart, that are this remote's own.
    fn next_regular(&self, now: Duration) -> Duration {
        let (interval, now) = (nanos(self.interval).max(1), nanos(now));
        let phase = nanos(share(self.interval, self.seed));
        let rounds = (now + interval - phase) / interval;
        let grain = nanos((self.interval / 60).clamp(Duration::from_millis(1), LONGEST_GRAIN));
        let next = (rounds * interval + phase).div_ceil(grain) * grain;
        // A moment just before `now` may come to lie on it by its grain.
        Duration::from_nanos(if next <= now { next + grain } else { next })
    }

    /// An interval after the first failure, doubled each time; a little more or less, so that what fell together does
    /// not come back together.
    fn backoff(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let whole = self.interval * (1u32 << doublings).min(LONGEST_BACKOFF);
        whole - whole / 8 + share(whole / 4, hash(&(self.seed, self.failures)))
    }
}

/// A part of a time that only the seed decides.
fn share(of: Duration, seed: u64) -> Duration {
    let of = u128::from(nanos(of));
    let share = (of * u128::from(hash(&seed))) >> 64;
    // Not more than `of` was, which is 64 bits.
    Duration::from_nanos(u64::try_from(share).unwrap_or(0))
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// 64 bits of nanoseconds are 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests;
