//! Images that a person wants built again, all in one wave: each after what it stands on, whatever was tried before.
//!
//! A live job of the ref keeps nobody from asking: the new one comes after it. It must never build one commit of a ref
//! twice for two requests that both still wait.

use super::edges::itself;
use super::event::Effect;
use super::handle::{Tip, Turn, Why};
use super::judge::{Counting, judge, watch};
use super::ours::Ours;
use super::rebuilds::{Place, Plan};
use super::things;
use super::waves::node_of;
use super::wish::obstacle;
use crate::model::{Job, JobId, JobState, Mode, Node, Reason, Tried};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What is built by one job.
#[derive(Default)]
struct Part {
    plan: Plan,
    nodes: Vec<Node>,
    /// A project without images: its tip.
    is_thing: bool,
    height: usize,
}

impl Turn<'_> {
    /// A person wants all of these built again.
    pub(super) fn rebuild_asked(&mut self, nodes: &BTreeSet<Node>, force: bool) {
        let ours = self.ours();
        let mut parts: BTreeMap<Place, Part> = BTreeMap::new();
        for node in nodes {
            if let Err(why) = self.part(node, &ours, &mut parts) {
                let node = node.clone();
                self.decision.effects.push(Effect::NotRebuilt { node, why });
            }
        }
        // The first one gives the wave its number: what nothing of them stands on.
        let mut order: Vec<(Place, Part)> = parts.into_iter().collect();
        order.sort_by_cached_key(|(place, part)| (Reverse(part.height), place.clone()));
        let waiting: Vec<Option<JobId>> = order
            .iter()
            .map(|(place, part)| self.waiting_for(place, part))
            .collect();
        let mut wave = waiting
            .iter()
            .flatten()
            .find_map(|id| self.state.jobs.get(id))
            .map(|job| job.wave);
        for ((place, mut part), waiting) in order.into_iter().zip(waiting) {
            part.plan.force = force;
            let job = match waiting {
                Some(id) => {
                    self.merge(id, part.plan, wave);
                    id
                }
                None if part.is_thing => self.queue_thing(&place, &mut wave),
                None => self.queue_rebuild(&place, part.plan, true, &mut wave),
            };
            let effects = part.nodes.into_iter().map(|node| Effect::Rebuilt { node, job });
            self.decision.effects.extend(effects);
        }
    }

    fn part(&self, node: &Node, ours: &Ours, parts: &mut BTreeMap<Place, Part>) -> Result<(), String> {
        if self.state.mode != Mode::Normal {
            return Err("the daemon is stopping: it takes no new jobs".to_owned());
        }
        if let Some(why) = obstacle(node, self.state, self.config) {
            return Err(why);
        }
        let gone = || "its ref is not followed any more".to_owned();
        let standing = self.state.updates.standings.get(node);
        let watched = standing.and_then(|standing| watch(self.state, self.config, node, standing));
        let commit = match watched {
            Some(watched) => watched.standing.commit.clone(),
            None => {
                let seen = self.state.projects.get(&node.project).ok_or_else(gone)?;
                seen.refs.get(&node.reference).ok_or_else(gone)?.clone()
            }
        };
        let place = (node.project.clone(), node.reference.clone(), commit);
        let part = parts.entry(place).or_default();
        part.nodes.push(node.clone());
        let height = ours.graph.place(node).map_or(0, |place| ours.graph.height(place));
        part.height = part.height.max(height);
        match watched {
            Some(watched) => {
                // It is asked for, whatever is new: only by what it would be built on is it known as tried.
                let mut news = judge(watched, &self.state.updates, ours).news(Counting::All);
                (news.bases, news.upstreams, news.packages, news.own) = Default::default();
                part.plan.add(&node.image, watched.standing.job, news);
            }
            None => part.is_thing = true,
        }
        Ok(())
    }

    /// The job that a person asked for before, and that has not begun: it builds these as well.
    fn waiting_for(&self, (project, reference, commit): &Place, part: &Part) -> Option<JobId> {
        let mut live = self.state.live(project, reference);
        let is_it = |job: &&Job| {
            job.is_queued()
                && job.attempts == 0
                && job.reason == Reason::Manual
                && job.commit == *commit
                && job.rebuild.is_none() == part.is_thing
                && job.atomic.is_none()
                && !self.state.releasing.contains_key(&job.id)
        };
        live.find(is_it).map(|job| job.id)
    }

    fn merge(&mut self, id: JobId, plan: Plan, wave: Option<JobId>) {
        let Some(job) = self.state.jobs.get(&id).cloned() else {
            return;
        };
        let (images, keys, force) = plan.into_parts();
        self.put(id, |job| {
            if let Some(rebuild) = &mut job.rebuild {
                for (image, of) in images {
                    rebuild.images.entry(image).or_insert(of);
                }
                rebuild.force |= force;
            }
            job.wave = wave.unwrap_or(job.wave);
            job.note = "asked for, and was queued already".to_owned();
        });
        for (image, key) in keys {
            self.note_try(&job.project, &job.reference, &image, key, id);
        }
    }

    fn queue_thing(&mut self, (project, reference, commit): &Place, wave: &mut Option<JobId>) -> JobId {
        let tip = Tip {
            project,
            reference,
            commit,
        };
        let why = Why {
            wave: *wave,
            ..Why::new(Reason::Manual, "asked for")
        };
        let job = self.add(tip, why, None, JobState::Queued { not_before: None });
        wave.get_or_insert(job);
        job
    }

    /// A job that was asked for begins: it is tried for what there is to build on now, not for what there was when it was
    /// asked for. Else its failure would not hold, and it would be tried again at once.
    pub(super) fn begins(&mut self, id: JobId) {
        let Some(job) = self.state.jobs.get(&id).filter(|job| job.reason == Reason::Manual) else {
            return;
        };
        let images: Vec<_> = match &job.rebuild {
            Some(rebuild) => rebuild.images.keys().cloned().collect(),
            None => itself(&job.project).into_iter().collect(),
        };
        let nodes: Vec<Node> = images.iter().map(|image| node_of(job, image)).collect();
        let is_rebuild = job.rebuild.is_some();
        let ours = self.ours();
        for node in nodes {
            let updates = &self.state.updates;
            let standing = updates.standings.get(&node).filter(|_| is_rebuild);
            let watched = standing.and_then(|standing| watch(self.state, self.config, &node, standing));
            let key = match watched {
                Some(watched) => Some(judge(watched, updates, &ours).key),
                None => things::stale(&node, self.state, &ours).map(|(key, _)| key),
            };
            if let Some(key) = key {
                let tried = Tried {
                    key,
                    job: id,
                    ended: None,
                };
                self.put_tried(&node, Some(tried));
            }
        }
    }
}
