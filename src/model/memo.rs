//! What was found out from the rest of a state, and can be again: two states are the same whatever is remembered.
//!
//! A decision concerns few of many images; what it would find out of all others is here. Nothing in here may be the only
//! place where something is known: whoever forgets all of it comes to the same decisions.

use super::{Agenda, Graph, JobId, Node, RefKey};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// How a released image stands to what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// There is nothing new below it, or it is not kept up to date.
    Fresh,
    /// It is to be built again.
    Stale,
    /// It is stale, and was built again in vain.
    Failed(JobId),
    /// It is stale, and building it again has not changed that.
    Uncured,
}

/// How all that is above an image stands, without words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Over {
    /// Nothing moves there.
    Settled,
    /// Something there failed, and stays stale until that is mended.
    Blocked,
    /// Something will move.
    Waits,
}

/// What was found out along the graph, by places in it.
#[derive(Debug, Clone, Default)]
pub struct Sighted {
    /// How each stands to what is below it.
    pub fresh: HashMap<usize, Freshness>,
    /// Whether a job may yet release it, or anything above it. Where this is known, it is known of all above.
    pub moves: HashMap<usize, bool>,
    /// How it and all above it stand, for those on other refs. Where this is known, `moves` is.
    pub over: HashMap<usize, Over>,
    /// Refs of which something is held back; none: to be found out anew.
    pub held: Option<BTreeSet<RefKey>>,
}

impl Sighted {
    /// Something about this node has changed: what is known of it, and of all that stands on it, does not hold any more.
    pub fn forget(&mut self, place: usize, graph: &Graph) {
        self.fresh.remove(&place);
        let mut next = vec![place];
        while let Some(at) = next.pop() {
            self.over.remove(&at);
            if self.moves.remove(&at).is_some() {
                next.extend(graph.downs(at));
            }
        }
    }
}

/// The job whose turn it is on a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its place in the queue.
    pub place: i64,
    /// The job.
    pub job: JobId,
    /// The wave in which it exchanges its place with others.
    pub wave: Option<JobId>,
    /// How long the way below it is.
    pub height: usize,
}

/// The jobs that could start now, in order, and which of them are known to wait.
#[derive(Debug, Clone, Default)]
pub struct Lineup {
    heads: BTreeMap<(i64, JobId), Head>,
    of_ref: BTreeMap<RefKey, (i64, JobId)>,
    /// Of each wave the longest way first.
    waves: BTreeMap<JobId, BTreeSet<(Reverse<usize>, i64, JobId)>>,
    parked: HashMap<JobId, RefKey>,
    waiting: BTreeMap<RefKey, BTreeMap<JobId, Option<JobId>>>,
    /// Refs to look at again.
    pub dirty: BTreeSet<RefKey>,
}

impl Lineup {
    /// Of these refs it is to be found out whose turn it is.
    pub fn new(dirty: BTreeSet<RefKey>) -> Self {
        Self {
            dirty,
            ..Self::default()
        }
    }

    /// Whose turn it is on a ref by now; none: nobody's.
    pub fn put(&mut self, of: &RefKey, head: Option<Head>) {
        if let Some(before) = self.of_ref.remove(of).and_then(|at| self.heads.remove(&at)) {
            self.unpark(before.job);
            if let Some(wave) = before.wave
                && let Some(jobs) = self.waves.get_mut(&wave)
            {
                jobs.remove(&(Reverse(before.height), before.place, before.job));
                if jobs.is_empty() {
                    self.waves.remove(&wave);
                }
            }
        }
        let Some(head) = head else { return };
        if let Some(wave) = head.wave {
            let jobs = self.waves.entry(wave).or_default();
            jobs.insert((Reverse(head.height), head.place, head.job));
        }
        self.of_ref.insert(of.clone(), (head.place, head.job));
        self.heads.insert((head.place, head.job), head);
    }

    /// A job waits: until something changes on this ref, or as long as that job of it may release something.
    pub fn park(&mut self, job: JobId, on: RefKey, other: Option<JobId>) {
        self.waiting.entry(on.clone()).or_default().insert(job, other);
        self.parked.insert(job, on);
    }

    fn unpark(&mut self, job: JobId) {
        let Some(on) = self.parked.remove(&job) else { return };
        if let Some(waiting) = self.waiting.get_mut(&on) {
            waiting.remove(&job);
            if waiting.is_empty() {
                self.waiting.remove(&on);
            }
        }
    }

    /// Something has changed on a ref: whoever waits for it may not have to any more, unless for a job that `stays`.
    pub fn release(&mut self, on: &RefKey, stays: impl Fn(JobId) -> bool) {
        let waiting = self.waiting.get(on).into_iter().flatten();
        let free = waiting.filter(|(_, other)| !other.is_some_and(&stays));
        let free: Vec<JobId> = free.map(|(job, _)| *job).collect();
        free.into_iter().for_each(|job| self.unpark(job));
    }

    /// Whether all that could start are known to wait.
    pub fn all_wait(&self) -> bool {
        self.heads.len() == self.parked.len()
    }

    /// The jobs that could start and are not known to wait, in order: those of each wave exchange their places, so that
    /// the longest way takes the first one. Who is of no wave keeps his place.
    pub fn in_order(&self) -> impl Iterator<Item = JobId> + '_ {
        let mut waves: HashMap<JobId, std::collections::btree_set::Iter<'_, (Reverse<usize>, i64, JobId)>> =
            HashMap::new();
        let all = self.heads.values().filter_map(move |head| match head.wave {
            None => Some(head.job),
            Some(wave) => {
                let jobs = match waves.entry(wave) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::hash_map::Entry::Vacant(new) => new.insert(self.waves.get(&wave)?.iter()),
                };
                jobs.next().map(|(_, _, job)| *job)
            }
        });
        all.filter(|job| !self.parked.contains_key(job))
    }
}

/// All that is remembered.
#[derive(Debug, Clone, Default)]
pub struct Memo {
    graph: Option<Arc<Graph>>,
    /// What was found out along it.
    pub sighted: Sighted,
    /// Who could start; none: to be found out anew.
    pub lineup: Option<Lineup>,
    /// Refs whose jobs have changed since they were looked through; none: all.
    pub review: Option<BTreeSet<RefKey>>,
    /// Which checks are due when; none: to be found out anew.
    pub agenda: Option<Agenda>,
    /// Images with atomic waves on record that were not released; none: to be found out anew.
    pub failed_waves: Option<BTreeSet<Node>>,
}

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memo {}

impl Memo {
    /// The graph that is remembered, or what is computed now.
    pub fn get(&mut self, compute: impl FnOnce() -> Graph) -> Arc<Graph> {
        self.graph.get_or_insert_with(|| Arc::new(compute())).clone()
    }

    /// The graph, if it is remembered.
    pub fn known(&self) -> Option<Arc<Graph>> {
        self.graph.clone()
    }

    /// What the graph was computed from has changed.
    pub fn forget(&mut self) {
        self.graph = None;
        self.sighted = Sighted::default();
        self.lineup = None;
    }
}
