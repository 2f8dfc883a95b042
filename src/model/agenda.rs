//! Which checks are due when, kept while little changes.
//!
//! It only keeps what it is told: what is due when is decided elsewhere. It must be the same as if it were made anew.

use super::{BaseKey, Node, ProjectName, Question, RefKey};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often each value is there.
#[derive(Debug, Clone)]
struct Counts<T>(BTreeMap<T, usize>);

impl<T> Default for Counts<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Counts<T> {
    fn add(&mut self, value: T) {
        *self.0.entry(value).or_default() += 1;
    }

    fn remove(&mut self, value: &T) {
        if let Some(count) = self.0.get_mut(value) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(value);
            }
        }
    }
}

/// What one image wants of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which base.
    pub base: BaseKey,
    /// The interval.
    pub every: Duration,
    /// The quiet period.
    pub quiet: Duration,
    /// When it was verified.
    pub verified: Timestamp,
    /// By which it is known what it has used.
    pub used: String,
}

/// What all images together want of a base.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    every: Counts<Duration>,
    quiet: Counts<Duration>,
    verified: Counts<Timestamp>,
    used: BTreeMap<String, BTreeMap<Node, usize>>,
}

impl Wishes {
    fn add(&mut self, node: &Node, wish: &Wish) {
        self.every.add(wish.every);
        self.quiet.add(wish.quiet);
        self.verified.add(wish.verified);
        let nodes = self.used.entry(wish.used.clone()).or_default();
        *nodes.entry(node.clone()).or_default() += 1;
    }

    fn remove(&mut self, node: &Node, wish: &Wish) {
        self.every.remove(&wish.every);
        self.quiet.remove(&wish.quiet);
        self.verified.remove(&wish.verified);
        if let Some(nodes) = self.used.get_mut(&wish.used) {
            if let Some(count) = nodes.get_mut(node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(node);
                }
            }
            if nodes.is_empty() {
                self.used.remove(&wish.used);
            }
        }
    }

    /// The shortest interval, the longest quiet period, and when the first image was verified.
    pub fn times(&self) -> Option<(Duration, Duration, Timestamp)> {
        let (every, _) = self.every.0.first_key_value()?;
        let (quiet, _) = self.quiet.0.last_key_value()?;
        let (verified, _) = self.verified.0.first_key_value()?;
        Some((*every, *quiet, *verified))
    }

    /// What was used of it, each with the last image that has.
    pub fn used(&self) -> impl Iterator<Item = (&String, &Node)> {
        let used = self.used.iter();
        used.filter_map(|(key, nodes)| Some((key, nodes.last_key_value()?.0)))
    }
}

/// Which checks are due when.
#[derive(Debug, Clone, Default)]
pub struct Agenda {
    /// When it was looked at last.
    pub now: Timestamp,
    /// Projects that build something by a schedule.
    pub scheduled: Vec<ProjectName>,
    /// Refs whose jobs have changed since it was looked at.
    pub refs: BTreeSet<RefKey>,
    /// Images of which something else is released since then.
    pub nodes: BTreeSet<Node>,
    /// Checks that may be due at another time since then.
    pub questions: BTreeSet<Question>,
    wishes: BTreeMap<BaseKey, Wishes>,
    of_node: BTreeMap<Node, Vec<Wish>>,
    times: BTreeMap<Question, Timestamp>,
    order: BTreeSet<(Timestamp, Question)>,
}

impl Agenda {
    /// Of all of these it is to be found out what is due when.
    pub fn new(refs: BTreeSet<RefKey>, nodes: BTreeSet<Node>, scheduled: Vec<ProjectName>) -> Self {
        Self {
            refs,
            nodes,
            scheduled,
            ..Self::default()
        }
    }

    /// What an image wants of its bases by now.
    pub fn wish(&mut self, node: &Node, wishes: Vec<Wish>) {
        for wish in self.of_node.remove(node).into_iter().flatten() {
            if let Some(of_base) = self.wishes.get_mut(&wish.base) {
                of_base.remove(node, &wish);
                if of_base.used.is_empty() {
                    self.wishes.remove(&wish.base);
                }
            }
            self.questions.insert(Question::Base(wish.base));
        }
        for wish in &wishes {
            self.wishes.entry(wish.base.clone()).or_default().add(node, wish);
            self.questions.insert(Question::Base(wish.base.clone()));
        }
        if !wishes.is_empty() {
            self.of_node.insert(node.clone(), wishes);
        }
    }

    /// What is wanted of a base; none if nothing stands on it.
    pub fn of_base(&self, base: &BaseKey) -> Option<&Wishes> {
        self.wishes.get(base)
    }

    /// When a check is due by now; none: it is not to be made.
    pub fn put(&mut self, question: Question, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.times.insert(question.clone(), at),
            None => self.times.remove(&question),
        };
        if let Some(before) = before {
            self.order.remove(&(before, question.clone()));
        }
        if let Some(at) = at {
            self.order.insert((at, question));
        }
    }

    /// When a check is due.
    pub fn time(&self, question: &Question) -> Option<Timestamp> {
        self.times.get(question).copied()
    }

    /// Takes out what is due: it is not due again before it was put again.
    pub fn take_due(&mut self, now: Timestamp) -> BTreeSet<Question> {
        let mut due = BTreeSet::new();
        while self.order.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.order.pop_first().map(|(_, question)| question));
        }
        due
    }

    /// What is due later, the first one first.
    pub fn later(&self) -> impl Iterator<Item = (Timestamp, &Question)> {
        self.order.iter().map(|(at, question)| (*at, question))
    }
}
