//! Checks of released images: asking what is due, and taking in the answers.
//!
//! A base is one question, however many images stand on it. What fails is asked less and less often, each check for
//! itself.

use super::agenda::wanted_of;
use super::edges::itself;
use super::event::Effect;
use super::handle::{Turn, replace};
use super::judge::watch;
use super::retry::later;
use super::timing::{look, rounded, spread, taken};
use super::wanted::{Stranger, stranger, wanted};
use crate::config::{Config, PackageCheck};
use crate::model::{
    Agenda, BaseKey, Check, CheckError, Compared, Digest, Elsewhere, Look, Mode, Node, Packages, Question, Standing,
    State, Write,
};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What asks a question, if it is one still.
fn ask(agenda: &Agenda, state: &State, config: &Config, question: &Question) -> Option<Effect> {
    Some(match question {
        Question::Base(base) => Effect::LookAtBase {
            base: base.clone(),
            used: wanted_of(agenda, state, base)?.used.into_values().collect(),
        },
        Question::Inside(node) => Effect::LookInside(node.clone()),
        Question::Elsewhere(node) => Effect::LookElsewhere {
            node: node.clone(),
            commit: stranger(state, config, node)?.commit.clone(),
        },
    })
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
        let hinted = std::mem::take(&mut self.state.checking.hinted.bases);
        let mut agenda = self.agenda();
        let mut due = agenda.take_due(self.now);
        due.extend(hinted.iter().cloned().map(Question::Base));
        for question in due {
            let Some(at) = agenda.time(&question) else { continue };
            let at = self.hurried(&hinted, &question, at);
            if self.state.checking.asked.contains_key(&question) {
                continue;
            }
            if at > self.now {
                self.check_at(at);
            } else if let Some(effect) = ask(&agenda, self.state, self.config, &question) {
                self.state.checking.asked.insert(question, self.now);
                self.decision.effects.push(effect);
            }
        }
        let asked = &self.state.checking.asked;
        let next = agenda.later().find(|(_, question)| !asked.contains_key(question));
        let next = next.map(|(at, _)| at);
        self.state.graph.agenda = Some(agenda);
        if let Some(at) = next {
            self.check_at(at);
        }
    }

    /// A check has ended; since when it was under way.
    fn answered(&mut self, question: Question) -> Option<Timestamp> {
        let since = self.state.checking.asked.remove(&question);
        self.retime(question);
        since
    }

    pub(super) fn base_seen(&mut self, base: &BaseKey, result: Result<(Digest, Vec<Compared>), CheckError>) {
        let asked = self.answered(Question::Base(base.clone()));
        self.looked(base, &result);
        let ours = self.ours();
        if let Ok((head, _)) = &result
            && ours.is_too_old(base, head, asked, &self.state.updates)
        {
            return self.check_at(self.now);
        }
        let Some(wanted) = self.wanted_of(base) else {
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
        if replace(&mut self.state.updates.bases, base, check.as_ref()) {
            self.retime(Question::Base(base.clone()));
            self.note_base(base);
            let base = base.clone();
            self.decision.writes.push(Write::Base { base, check });
        }
    }

    pub(super) fn packages_seen(&mut self, node: &Node, result: Result<Packages, CheckError>) {
        self.answered(Question::Inside(node.clone()));
        let standing = self.state.updates.standings.get(node);
        let known = standing.and_then(|standing| watch(self.state, self.config, node, standing));
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
        if replace(&mut self.state.updates.packages, node, check.as_ref()) {
            self.retime(Question::Inside(node.clone()));
            self.note_node(node);
            let node = node.clone();
            self.decision.writes.push(Write::Packages { node, check });
        }
    }

    pub(super) fn elsewhere_seen(&mut self, node: &Node, result: Result<Option<Standing>, CheckError>) {
        self.answered(Question::Elsewhere(node.clone()));
        let Some(Stranger { every, .. }) = stranger(self.state, self.config, node) else {
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
        let changed = replace(&mut updates.elsewhere, node, check.as_ref());
        let standing = updates.standings.get(node);
        if standing.is_none_or(|standing| standing.job.is_none()) && standing != found.as_ref() {
            match found {
                Some(found) => updates.standings.insert(node.clone(), found),
                None => updates.standings.remove(node),
            };
            self.state.graph.forget();
        }
        if changed {
            self.retime(Question::Elsewhere(node.clone()));
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
            project.is_some_and(|project| {
                let is_itself = || project.images.is_empty() && itself(&project.name).as_ref() == Some(&node.image);
                project.images.iter().any(|image| image.name == node.image) || is_itself()
            })
        };
        let updates = &self.state.updates;
        let checked = updates.elsewhere.keys().chain(updates.packages.keys());
        let built = updates.scheduled.keys().chain(updates.tried.keys());
        let learned = updates.links.keys().chain(updates.things.keys());
        let gone: BTreeSet<Node> = checked
            .chain(built)
            .chain(learned)
            .filter(|node| !known(node))
            .cloned()
            .collect();
        for node in &gone {
            self.put_elsewhere(node, None);
            self.put_packages(node, None);
            self.put_scheduled(node, None);
            self.put_tried(node, None);
            self.put_links(node, None);
            self.put_thing(node, None);
        }
    }
}
