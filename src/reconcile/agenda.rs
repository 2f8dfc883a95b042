//! Keeps which checks are due when: of what has changed it is found out anew, and of nothing else.

use super::handle::Turn;
use super::judge::{base_key, is_at, used, watch};
use super::timing::{due, sane, spread};
use super::wanted::{Wanted, is_looked_into, stranger};
use crate::config::Config;
use crate::model::{Agenda, BaseKey, Node, Question, State, Used, Wish};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

impl Turn<'_> {
    /// A check may be due at another time by now.
    pub(super) fn retime(&mut self, question: Question) {
        if let Some(agenda) = &mut self.state.graph.agenda {
            agenda.questions.insert(question);
        }
    }

    /// What images want of a base; none if nothing stands on it.
    pub(super) fn wanted_of(&mut self, base: &BaseKey) -> Option<Wanted> {
        let agenda = self.renewed();
        let wanted = wanted_of(&agenda, self.state, base);
        self.state.graph.agenda = Some(agenda);
        wanted
    }

    /// Which checks are due when. It is taken out of the state.
    pub(super) fn agenda(&mut self) -> Agenda {
        let mut agenda = self.renewed();
        for question in std::mem::take(&mut agenda.questions) {
            let at = time(&agenda, self.state, self.config, self.now, &question);
            agenda.put(question, at);
        }
        agenda
    }

    /// The same, with times of before.
    fn renewed(&mut self) -> Agenda {
        self.digest();
        // Times that are too far off to be true depend on what time it is.
        let known = self.state.graph.agenda.take().filter(|agenda| agenda.now <= self.now);
        let mut agenda = known.unwrap_or_else(|| everything(self.state, self.config));
        agenda.now = self.now;
        renew_all(&mut agenda, self.state, self.config);
        agenda
    }
}

/// When each check is due that is to be made, found out anew.
pub(super) fn fresh(state: &State, config: &Config, now: Timestamp) -> BTreeMap<Question, Timestamp> {
    let mut agenda = everything(state, config);
    renew_all(&mut agenda, state, config);
    let questions = std::mem::take(&mut agenda.questions).into_iter();
    let due = questions.filter_map(|question| Some((question.clone(), time(&agenda, state, config, now, &question)?)));
    due.collect()
}

/// Takes in what has changed.
fn renew_all(agenda: &mut Agenda, state: &State, config: &Config) {
    for (project, reference) in std::mem::take(&mut agenda.refs) {
        let config_of = config.projects.get(&project);
        for image in config_of.into_iter().flat_map(|project| &project.images) {
            let node = Node {
                project: project.clone(),
                reference: reference.clone(),
                image: image.name.clone(),
            };
            renew(agenda, state, config, node);
        }
    }
    for node in std::mem::take(&mut agenda.nodes) {
        // Where the remote's HEAD decides, what one ref has released says where that is.
        let seen = state.projects.get(&node.project);
        for reference in seen.into_iter().flat_map(|seen| seen.refs.keys()) {
            let other = Node {
                reference: reference.clone(),
                ..node.clone()
            };
            agenda.questions.insert(Question::Elsewhere(other));
        }
        renew(agenda, state, config, node);
    }
}

/// All is to be found out.
fn everything(state: &State, config: &Config) -> Agenda {
    let seen = state.projects.iter();
    let refs = seen.flat_map(|(project, seen)| seen.refs.keys().map(|reference| (project.clone(), reference.clone())));
    let schedules = config.projects.values();
    let scheduled = schedules.filter(|project| project.images.iter().any(|image| image.schedule.is_some()));
    let nodes = state.updates.standings.keys().cloned();
    let scheduled = scheduled.map(|project| project.name.clone());
    Agenda::new(refs.collect(), nodes.collect(), scheduled.collect())
}

/// What an image wants by now.
fn renew(agenda: &mut Agenda, state: &State, config: &Config, node: Node) {
    let standing = state.updates.standings.get(&node);
    let watched = standing.and_then(|standing| watch(state, config, &node, standing));
    let wanted = watched.filter(|watched| watched.image.update.base);
    let wishes = wanted.into_iter().flat_map(|watched| {
        let bases = watched.standing.bases.iter();
        bases.filter_map(move |base| {
            Some(Wish {
                base: base_key(watched.node, base)?,
                every: watched.image.update.every,
                quiet: watched.image.update.quiet,
                verified: watched.standing.verified,
                used: used(watched.standing, base).key(),
            })
        })
    });
    let wishes = wishes.collect();
    agenda.wish(&node, wishes);
    agenda.questions.insert(Question::Elsewhere(node.clone()));
    agenda.questions.insert(Question::Inside(node));
}

/// What images want of a base.
pub(super) fn wanted_of(agenda: &Agenda, state: &State, base: &BaseKey) -> Option<Wanted> {
    let wishes = agenda.of_base(base)?;
    let used = wishes
        .used()
        .filter_map(|(key, node)| Some((key.clone(), used_by(state, node, base, key)?)));
    Wanted::new(wishes.times()?, used.collect())
}

fn used_by(state: &State, node: &Node, base: &BaseKey, key: &str) -> Option<Used> {
    let standing = state.updates.standings.get(node)?;
    let bases = standing.bases.iter().filter(|it| is_at(node, it, base));
    let mut all = bases.map(|it| used(standing, it)).filter(|used| used.key() == key);
    all.next_back()
}

/// When a check is due; none: it is not to be made.
fn time(agenda: &Agenda, state: &State, config: &Config, now: Timestamp, question: &Question) -> Option<Timestamp> {
    let updates = &state.updates;
    let (at, every): (Timestamp, Duration) = match question {
        Question::Base(base) => {
            let wanted = wanted_of(agenda, state, base)?;
            (wanted.due(base, updates.bases.get(base)), wanted.every())
        }
        Question::Inside(node) => {
            let standing = updates.standings.get(node)?;
            let image = watch(state, config, node, standing).filter(is_looked_into)?;
            let every = image.image.update.every;
            let at = match updates.packages.get(node) {
                Some(check) => due(check, every, node),
                None => spread(standing.verified, every, node),
            };
            (at, every)
        }
        Question::Elsewhere(node) => {
            let every = stranger(state, config, node)?.every;
            let check = updates.elsewhere.get(node);
            (check.map_or(now, |check| due(check, every, node)), every)
        }
    };
    Some(sane(at, every, now))
}
