//! What becomes of what is new below released images: jobs that build the released commits again.
//!
//! Nothing is built twice for the same inputs: what was tried for them holds, whether it failed, cured nothing or was
//! cancelled, until they change or a person asks. While anything else is queued or running for a ref, nothing is added:
//! it will use what is new, and when it has ended this is looked at again.

use super::above::{Freshness, Sight};
use super::event::Effect;
use super::handle::{Tip, Turn, Why};
use super::judge::{Counting, News, Watched, judge, watch, watched, watched_on};
use super::mends::{mended_tip, mends};
use super::things::{Change, failed_first, stale};
use super::tries::{held, tip_key};
use crate::config::Image;
use crate::model::{
    BaseKey, CommitId, ImageName, JobId, JobState, Mode, Node, Over, ProjectName, Reason, Rebuild, RefName, Standing,
};
use std::collections::{BTreeMap, BTreeSet};

/// More packages than these are not named.
const MOST_NAMED: usize = 5;

/// Which released images an event concerns.
pub(super) enum Scope<'a> {
    /// Those that stand on this base.
    Base(&'a BaseKey),
    /// Those of a ref.
    Ref(&'a ProjectName, &'a RefName),
    /// This one.
    Node(&'a Node),
    /// These, and what stands on those of them that do not change themselves.
    Below(BTreeSet<Node>),
    All,
}

/// What is to be built again for a ref.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub images: BTreeMap<ImageName, Option<JobId>>,
    keys: BTreeMap<ImageName, String>,
    bases: BTreeSet<String>,
    upstreams: BTreeSet<String>,
    packages: BTreeSet<String>,
    /// What was mended of what its wave failed by.
    mends: BTreeSet<String>,
    pub schedules: BTreeSet<String>,
    /// The newest wave that has brought it about.
    wave: Option<JobId>,
    /// The atomic wave that it is a part of.
    atomic: Option<JobId>,
    pub force: bool,
}

/// A ref, and the commit that was released from it.
pub(super) type Place = (ProjectName, RefName, CommitId);

impl Plan {
    pub(super) fn add(&mut self, image: &ImageName, of: Option<JobId>, news: News) {
        self.images.insert(image.clone(), of);
        self.keys.insert(image.clone(), news.key);
        self.bases.extend(news.bases);
        self.upstreams.extend(news.upstreams);
        self.packages.extend(news.packages);
        self.wave = self.wave.max(news.own.iter().map(|own| own.wave).max());
        let held = news.own.iter().filter_map(|own| own.held);
        self.atomic = self.atomic.into_iter().chain(held).min();
    }

    /// Its images, by what each is known as tried, and whether it is released in any case.
    pub(super) fn into_parts(self) -> (BTreeMap<ImageName, Option<JobId>>, BTreeMap<ImageName, String>, bool) {
        (self.images, self.keys, self.force)
    }

    fn reason(&self) -> Reason {
        // What comes from packages needs a build without cache.
        match (&self.packages, &self.bases, &self.upstreams) {
            (packages, _, _) if !packages.is_empty() => Reason::PackagesUpdated,
            (_, bases, _) if !bases.is_empty() => Reason::BaseUpdated,
            (_, _, upstreams) if !upstreams.is_empty() => Reason::UpstreamRebuilt,
            // It is a commit that is not released yet.
            _ if !self.mends.is_empty() => Reason::NewCommit,
            _ => Reason::Schedule,
        }
    }

    fn cause(&self, by_hand: bool) -> String {
        let mut packages: Vec<&str> = self.packages.iter().map(String::as_str).collect();
        let more = packages.len().saturating_sub(MOST_NAMED);
        let named = format!("and {more} more");
        if more > 0 {
            packages.truncate(MOST_NAMED);
            packages.push(&named);
        }
        let bases = self.bases.iter().map(String::as_str);
        let schedules = self.schedules.iter().map(String::as_str);
        let hand = by_hand.then_some("asked for");
        bases
            .chain(self.upstreams.iter().map(String::as_str))
            .chain(packages)
            .chain(self.mends.iter().map(String::as_str))
            .chain(schedules)
            .chain(hand)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What is to be queued.
#[derive(Debug, Default)]
struct Plans {
    /// Of what is released.
    released: BTreeMap<Place, Plan>,
    /// Tips that failed before.
    tips: BTreeMap<Place, Plan>,
    /// Tips of projects without images.
    things: BTreeMap<Place, Plan>,
}

impl Turn<'_> {
    fn in_scope<'a>(&'a self, scope: &Scope<'a>) -> Vec<Watched<'a>> {
        let (state, config) = (&*self.state, self.config);
        let watch = |node: &'a Node| {
            let standing = state.updates.standings.get(node)?;
            watch(state, config, node, standing)
        };
        match scope {
            Scope::Node(node) => watch(node).into_iter().collect(),
            Scope::Base(base) => watched_on(state, config, base).collect(),
            Scope::Ref(project, reference) => {
                let of_ref = Node::of_ref(&state.updates.standings, project, reference);
                of_ref.filter_map(|(node, _)| watch(node)).collect()
            }
            Scope::Below(_) => Vec::new(),
            Scope::All => watched(state, config).collect(),
        }
    }

    /// Queues what is to be built again, and need not wait for anything above it. Of refs in `failed_tips` the tip comes
    /// first, which failed before: with what is new it may not.
    pub(super) fn rebuild(&mut self, scope: &Scope<'_>, failed_tips: &BTreeSet<(ProjectName, RefName)>) {
        let is_nothing = matches!(scope, Scope::Below(nodes) if nodes.is_empty());
        if self.state.mode != Mode::Normal || is_nothing {
            return;
        }
        let ours = self.ours();
        let known = self.known();
        let sight = Sight::remembering(self.state, self.config, &ours, known);
        let plans = self.plans(scope, failed_tips, &sight);
        self.state.graph.sighted = sight.into_known();
        self.queue_plans(plans);
    }

    fn queue_plans(&mut self, mut plans: Plans) {
        // Those that begin a wave in one decision begin the same one.
        let mut wave = None;
        // What a tip releases, if it is good by now, needs no other job; if not, the rest comes after it.
        let tips: BTreeSet<_> = plans
            .tips
            .keys()
            .map(|(project, reference, _)| (project, reference))
            .collect();
        plans
            .released
            .retain(|(project, reference, _), _| !tips.contains(&(project, reference)));
        for (place, plan) in plans.tips {
            self.queue_tip(&place, &plan, "it failed before: ", &mut wave);
        }
        for (place, plan) in plans.things {
            self.queue_tip(&place, &plan, "", &mut wave);
        }
        for (place, plan) in plans.released {
            self.queue_rebuild(&place, plan, false, &mut wave);
        }
    }

    fn plans(&self, scope: &Scope<'_>, failed_tips: &BTreeSet<(ProjectName, RefName)>, sight: &Sight<'_>) -> Plans {
        let ours = sight.ours;
        let mut plans = Plans::default();
        let mut candidates = self.in_scope(scope);
        let below = match scope {
            Scope::Below(nodes) => below(nodes, sight),
            Scope::All => (0..ours.graph.nodes().len()).collect(),
            Scope::Ref(project, reference) => ours.graph.of_ref(project, reference).collect(),
            Scope::Base(_) | Scope::Node(_) => Vec::new(),
        };
        for place in below {
            let node = &ours.graph.nodes()[place];
            self.plan_mended_tip(place, sight, &mut plans);
            match self.state.updates.standings.get(node) {
                Some(standing) if matches!(scope, Scope::Below(_)) => {
                    candidates.extend(watch(self.state, self.config, node, standing));
                }
                Some(_) => {}
                None => {
                    self.plan_thing(place, sight, &mut plans);
                    self.plan_first(place, sight, &mut plans);
                }
            }
        }
        for watched in candidates {
            self.plan(watched, failed_tips, sight, &mut plans);
        }
        plans
    }

    fn plan(
        &self,
        watched: Watched<'_>,
        failed_tips: &BTreeSet<(ProjectName, RefName)>,
        sight: &Sight<'_>,
        plans: &mut Plans,
    ) {
        let Watched { node, standing, .. } = watched;
        let updates = &self.state.updates;
        let place = sight.ours.graph.place(node);
        if self.is_busy(node) || place.is_some_and(|place| sight.freshness(place) != Freshness::Stale) {
            return;
        }
        let judgement = judge(watched, updates, sight.ours);
        if !judgement.is_stale() || held(node, &judgement.key, updates, self.config).is_some() {
            return;
        }
        match place.map(|place| sight.over(place)) {
            Some(Over::Waits) => return,
            // What is old inside of it is cured on what there is.
            Some(Over::Blocked) if judgement.packages.is_none() => return,
            Some(Over::Blocked | Over::Settled) | None => {}
        }
        let tip = self.failed_tip(node, standing, failed_tips);
        let tip = tip.filter(|_| {
            judgement.moved(Counting::Settled).next().is_some() && !self.was_tip_tried(node, &judgement.key)
        });
        let (plans, commit) = match tip {
            Some(tip) => (&mut plans.tips, tip),
            None => (&mut plans.released, standing.commit.clone()),
        };
        let place = (node.project.clone(), node.reference.clone(), commit);
        let plan = plans.entry(place).or_default();
        plan.add(&node.image, standing.job, judgement.news(Counting::Settled));
        if let Some(tried) = updates.tried.get(node).filter(|tried| tried.key == judgement.key) {
            plan.mends.extend(mends(node, tried.job, updates, self.config));
        }
    }

    /// The tip whose wave was not released is tried again once something that the wave failed by is mended. That is once
    /// for each mend: if it fails again, what it fails by is on record anew.
    fn plan_mended_tip(&self, place: usize, sight: &Sight<'_>, plans: &mut Plans) {
        let node = &sight.ours.graph.nodes()[place];
        let Some((tip, mends)) = mended_tip(node, self.state, self.config) else {
            return;
        };
        if self.is_busy(node) || sight.over(place) != Over::Settled {
            return;
        }
        let place = (node.project.clone(), node.reference.clone(), tip);
        plans.tips.entry(place).or_default().mends.extend(mends);
    }

    fn plan_thing(&self, place: usize, sight: &Sight<'_>, plans: &mut Plans) {
        let node = &sight.ours.graph.nodes()[place];
        let Some((key, changes)) = stale(node, self.state, sight.ours) else {
            return;
        };
        let is_held = held(node, &key, &self.state.updates, self.config).is_some();
        if is_held || self.is_busy(node) || sight.over(place) != Over::Settled {
            return;
        }
        let seen = self.state.projects.get(&node.project);
        let Some(tip) = seen.and_then(|seen| seen.refs.get(&node.reference)) else {
            return;
        };
        let plan = plans
            .things
            .entry((node.project.clone(), node.reference.clone(), tip.clone()))
            .or_default();
        plan.keys.insert(node.image.clone(), key);
        for Change { name, job, wave } in changes {
            plan.upstreams.insert(format!("{name} (job {job} has built it anew)"));
            plan.wave = plan.wave.max(Some(wave));
        }
    }

    /// What was never released because its tip failed is tried again once something that it stands on has a newer
    /// release: it may have failed for want of it.
    fn plan_first(&self, place: usize, sight: &Sight<'_>, plans: &mut Plans) {
        let node = &sight.ours.graph.nodes()[place];
        let Some((tip, key, changes)) = failed_first(node, self.state, sight.ours) else {
            return;
        };
        if self.is_busy(node) || sight.over(place) != Over::Settled {
            return;
        }
        let place = (node.project.clone(), node.reference.clone(), tip);
        let plan = plans.tips.entry(place).or_default();
        plan.keys.insert(node.image.clone(), key);
        for Change { name, job, wave } in changes {
            plan.upstreams.insert(format!("{name} (job {job} has released it)"));
            plan.wave = plan.wave.max(Some(wave));
        }
    }

    /// Whether a job is live for the ref.
    pub(super) fn is_busy(&self, node: &Node) -> bool {
        self.state.live(&node.project, &node.reference).next().is_some()
    }

    fn failed_tip(
        &self,
        node: &Node,
        standing: &Standing,
        failed_tips: &BTreeSet<(ProjectName, RefName)>,
    ) -> Option<CommitId> {
        let failed = failed_tips.contains(&(node.project.clone(), node.reference.clone()));
        let links = self.state.updates.links.get(node);
        let last = links.and_then(|links| links.failed.as_ref());
        let tip = self.state.projects.get(&node.project)?.refs.get(&node.reference)?;
        let failed = failed || last.is_some_and(|(commit, _, _)| commit == tip);
        (failed && *tip != standing.commit).then(|| tip.clone())
    }

    fn was_tip_tried(&self, node: &Node, key: &str) -> bool {
        let tried = self.state.updates.tried.get(node);
        tried.is_some_and(|tried| tried.key == tip_key(key))
    }

    fn queue_tip(&mut self, (project, reference, commit): &Place, plan: &Plan, before: &str, wave: &mut Option<JobId>) {
        let tip = Tip {
            project,
            reference,
            commit,
        };
        let queued = JobState::Queued { not_before: None };
        let why = Why {
            wave: plan.wave.or(*wave),
            ..Why::new(plan.reason(), format!("{before}{}", plan.cause(false)))
        };
        let is_thing = before.is_empty();
        let job = self.add(tip, why, None, queued);
        wave.get_or_insert(job);
        for (image, key) in &plan.keys {
            let key = if is_thing { key.clone() } else { tip_key(key) };
            self.note_try(project, reference, image, key, job);
        }
    }

    pub(super) fn queue_rebuild(
        &mut self,
        (project, reference, commit): &Place,
        mut plan: Plan,
        by_hand: bool,
        wave: &mut Option<JobId>,
    ) -> JobId {
        self.add_siblings(project, reference, commit, &mut plan);
        let tip = Tip {
            project,
            reference,
            commit,
        };
        let queued = JobState::Queued { not_before: None };
        let (reason, cause) = (plan.reason(), plan.cause(by_hand));
        let reason = if by_hand && reason == Reason::Schedule {
            Reason::Manual
        } else {
            reason
        };
        let keys: Vec<&str> = plan.keys.values().map(String::as_str).collect();
        let rebuild = Some(Rebuild {
            key: keys.join(" "),
            images: plan.images,
            force: plan.force,
        });
        let why = Why {
            reason,
            cause,
            rebuild,
            wave: plan.wave.or(*wave),
            atomic: plan.atomic,
        };
        let job = self.add(tip, why, None, queued);
        wave.get_or_insert(job);
        for (image, key) in plan.keys {
            self.note_try(project, reference, &image, key, job);
        }
        job
    }

    /// What is released from the same commit and stands on one of these is built with it.
    fn add_siblings(&self, project: &ProjectName, reference: &RefName, commit: &CommitId, plan: &mut Plan) {
        let config = self.config.projects.get(project);
        let images: &[Image] = config.map_or(&[], |project| &project.images);
        loop {
            let more: Vec<(ImageName, Option<JobId>)> = images
                .iter()
                .filter(|image| !plan.images.contains_key(&image.name))
                .filter_map(|image| {
                    let node = Node {
                        project: project.clone(),
                        reference: reference.clone(),
                        image: image.name.clone(),
                    };
                    let standing = self.state.updates.standings.get(&node)?;
                    let mut below = standing.bases.iter().filter_map(|base| base.sibling.as_ref());
                    let stands = below.any(|sibling| plan.images.contains_key(sibling))
                        || image.depends_on.iter().any(|needed| plan.images.contains_key(needed));
                    (standing.commit == *commit && stands).then(|| (image.name.clone(), standing.job))
                })
                .collect();
            if more.is_empty() {
                return;
            }
            plan.images.extend(more);
        }
    }

    /// A person wants these built again now, whatever was tried for them.
    pub(super) fn rebuild_requested(&mut self, wanted: Vec<(Node, News)>) {
        let mut plans: BTreeMap<Place, (Plan, Vec<Node>)> = BTreeMap::new();
        for (node, news) in wanted {
            match self.place_by_hand(&node) {
                Ok((place, of)) => {
                    let (plan, nodes) = plans.entry(place).or_default();
                    plan.add(&node.image, of, news);
                    nodes.push(node);
                }
                Err(why) => self.decision.effects.push(Effect::NotRebuilt { node, why }),
            }
        }
        let mut wave = None;
        for (place, (plan, nodes)) in plans {
            let job = self.queue_rebuild(&place, plan, true, &mut wave);
            let effects = nodes.into_iter().map(|node| Effect::Rebuilt { node, job });
            self.decision.effects.extend(effects);
        }
    }

    /// What a person's rebuild of an image builds, and whose release it renews.
    fn place_by_hand(&self, node: &Node) -> Result<(Place, Option<JobId>), String> {
        if self.state.mode != Mode::Normal {
            return Err("the daemon is stopping: it takes no new jobs".to_owned());
        }
        let standing = self.state.updates.standings.get(node);
        let watched = standing.and_then(|standing| watch(self.state, self.config, node, standing));
        let watched = watched.ok_or("it is not released, or not to be kept up to date any more")?;
        if let Some(job) = self.state.live(&node.project, &node.reference).next() {
            let stands = if job.is_running() { "running" } else { "queued" };
            return Err(format!("job {} of this ref is {stands}", job.id));
        }
        let Standing { commit, job, .. } = watched.standing;
        let place = (node.project.clone(), node.reference.clone(), commit.clone());
        Ok((place, *job))
    }
}

/// These nodes, and what stands on those of them that do not change themselves: what waited for something above may not
/// have to any more.
fn below(nodes: &BTreeSet<Node>, sight: &Sight<'_>) -> Vec<usize> {
    let graph = &sight.ours.graph;
    let mut next: Vec<usize> = nodes.iter().filter_map(|node| graph.place(node)).collect();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    while let Some(place) = next.pop() {
        if !seen.insert(place) {
            continue;
        }
        let is_settled = sight.is_at_rest(&graph.nodes()[place])
            && matches!(sight.freshness(place), Freshness::Fresh | Freshness::Uncured);
        if is_settled {
            next.extend(graph.downs(place));
        }
    }
    seen.into_iter().collect()
}
