//! What an attempt has learned from its checkout: whether it goes on, and on what it builds.

use super::above::Sight;
use super::event::Effect;
use super::handle::{Turn, replace};
use super::ours::Ours;
use super::things;
use super::tries::tip_key;
use super::verdict::own_base;
use super::waves::node_of;
use crate::model::{
    BaseKey, BaseUsed, Digest, Ground, ImageName, Job, JobId, JobState, Learned, Links, Node, Outcome, Parent,
    ProjectName, RefName, Write,
};
use std::collections::{BTreeMap, BTreeSet};

impl Turn<'_> {
    /// A running attempt has read its checkout.
    pub(super) fn learned(&mut self, id: JobId, learned: &Learned) {
        let Some(job) = self.state.jobs.get(&id).filter(|job| job.is_running()).cloned() else {
            return;
        };
        self.take_links(&job, learned);
        let ours = self.ours();
        let known = self.known();
        let sight = Sight::remembering(self.state, self.config, &ours, known);
        let why = sight.wait_of(&job);
        self.state.graph.sighted = sight.into_known();
        if let Some(why) = why {
            return self.decision.effects.push(Effect::Wait { job: id, why });
        }
        let (mut ground, root) = self.ground(&job, learned, &ours);
        // Of a ref that left the config meanwhile nothing is known any more: it stays in its wave.
        let is_known = !ours.graph.of_ref(&job.project, &job.reference).is_empty();
        if is_known {
            // What is released together has one number, whatever brought about each of its jobs.
            let wave = root.and_then(|root| self.state.jobs.get(&root)).map(|root| root.wave);
            ground.wave = wave.filter(|wave| *wave != job.wave);
            if job.atomic != root || ground.wave.is_some() {
                self.put(id, |job| {
                    job.atomic = root;
                    job.wave = ground.wave.unwrap_or(job.wave);
                });
            }
        }
        self.note_first(&job, learned, &ours);
        self.decision.effects.push(Effect::Go { job: id, ground });
    }

    /// What was never released may fail for want of what it stands on: on what it was tried is kept in mind.
    fn note_first(&mut self, job: &Job, learned: &Learned, ours: &Ours) {
        for image in learned.builds.iter().filter(|_| job.rebuild.is_none()) {
            let node = node_of(job, image);
            let is_expected = self
                .state
                .updates
                .links
                .get(&node)
                .is_some_and(|links| !links.targets.is_empty());
            if is_expected && !self.state.updates.standings.contains_key(&node) {
                let (key, _) = things::first_ground(&node, self.state, ours);
                self.note_try(&job.project, &job.reference, image, tip_key(&key), job.id);
            }
        }
    }

    fn take_links(&mut self, job: &Job, learned: &Learned) {
        let node = |image: &ImageName| node_of(job, image);
        for (image, links) in &learned.links {
            let node = node(image);
            let before = self.state.updates.links.get(&node);
            let links = Links {
                failed: before.and_then(|links| links.failed.clone()),
                failed_waves: before.map(|links| links.failed_waves.clone()).unwrap_or_default(),
                needs: before.map(|links| links.needs.clone()).unwrap_or_default(),
                ..links.clone()
            };
            self.put_links(&node, Some(links));
        }
        self.forget_links(&job.project, Some(&job.reference), |image| {
            learned.links.contains_key(image)
        });
        // Of a project without images nobody else keeps what it relied on.
        let is_thing = self
            .config
            .projects
            .get(&job.project)
            .is_some_and(|project| project.images.is_empty());
        for image in learned.links.keys().filter(|_| is_thing) {
            let (node, ours) = (node(image), self.ours());
            let needs = things::needs(&node, &ours, self.state);
            let links = self.state.updates.links.get(&node).cloned();
            self.put_links(&node, links.map(|links| Links { needs, ..links }));
        }
    }

    /// Forgets what was learned of images that are not kept: of one ref, or of all refs of a project.
    pub(super) fn forget_links(
        &mut self,
        project: &ProjectName,
        reference: Option<&RefName>,
        kept: impl Fn(&ImageName) -> bool,
    ) {
        let links = &self.state.updates.links;
        let known: Vec<&Node> = match reference {
            Some(reference) => Node::of_ref(links, project, reference).map(|(node, _)| node).collect(),
            None => Node::of_project(links, project).map(|(node, _)| node).collect(),
        };
        let gone = known.into_iter().filter(|node| !kept(&node.image));
        let gone: Vec<Node> = gone.cloned().collect();
        for node in gone {
            self.put_links(&node, None);
            self.put_thing(&node, None);
        }
    }

    pub(super) fn put_links(&mut self, node: &Node, links: Option<Links>) {
        let before = self.state.updates.links.get(node);
        let is_other = before.map(Links::edges) != links.as_ref().map(Links::edges);
        if is_other {
            self.reconsider_below(node);
        }
        if replace(&mut self.state.updates.links, node, links.as_ref()) {
            self.state.jobs.touch_ref(&node.project, &node.reference);
            let has_failed = links.as_ref().is_some_and(|links| !links.failed_waves.is_empty());
            match &mut self.state.graph.failed_waves {
                Some(nodes) if has_failed => drop(nodes.insert(node.clone())),
                Some(nodes) => drop(nodes.remove(node)),
                None => {}
            }
            let node = node.clone();
            self.decision.writes.push(Write::Links { node, links });
        }
        if is_other {
            self.state.graph.forget();
        }
    }

    /// What stands on a node now may not any more: whatever it waited for, nobody else will come back to it.
    pub(super) fn reconsider_below(&mut self, node: &Node) {
        let graph = self.graph();
        let Some(place) = graph.place(node) else { return };
        self.reconsider
            .extend(graph.downs(place).map(|down| graph.nodes()[down].clone()));
    }

    /// The same of all images of a ref.
    pub(super) fn reconsider_below_ref(&mut self, project: &ProjectName, reference: &RefName) {
        let graph = self.graph();
        let downs = graph.of_ref(project, reference).flat_map(|place| graph.downs(place));
        self.reconsider.extend(downs.map(|down| graph.nodes()[down].clone()));
    }

    /// What a job builds on, and the atomic wave that this makes it a part of.
    fn ground(&self, job: &Job, learned: &Learned, ours: &Ours) -> (Ground, Option<JobId>) {
        let updates = &self.state.updates;
        let mut ground = Ground::default();
        let mut root: Option<JobId> = None;
        for image in &learned.builds {
            let node = node_of(job, image);
            let links = learned.links.get(image);
            for reference in links.into_iter().flat_map(|links| &links.bases) {
                if reference.digest().is_some() {
                    continue;
                }
                let key = BaseKey {
                    reference: reference.clone(),
                    project: reference.is_local().then(|| job.project.clone()),
                };
                let Some(at) = own_base(&node, &key, updates, ours) else {
                    continue;
                };
                root = [root, at.held].into_iter().flatten().min();
                if (job.rebuild.is_some() || at.held.is_some())
                    && let Some(digest) = at.digest
                {
                    let parent = Parent {
                        digest,
                        id: at.id,
                        job: at.job,
                    };
                    ground.parents.insert(reference.clone(), parent);
                }
            }
            let needs: Vec<BaseUsed> = things::needs(&node, ours, self.state);
            let place = ours.graph.place(&node);
            let needed = place.into_iter().flat_map(|place| ours.graph.ups(place));
            let held = needed.filter_map(|edge| ours.root_of(&ours.graph.nodes()[edge.to]));
            root = root.into_iter().chain(held).min();
            if !needs.is_empty() {
                ground.needs.insert(image.clone(), needs);
            }
            if let Some(released) = self.known_by(&node) {
                ground.released.insert(image.clone(), released);
            }
        }
        (ground, root)
    }

    /// All digests under which the content of what is released is known.
    fn known_by(&self, node: &Node) -> Option<BTreeSet<Digest>> {
        let standing = self.state.updates.standings.get(node)?;
        standing.job?;
        let mut known = standing.alike.clone();
        known.extend(standing.digest.iter().chain(&standing.id).cloned());
        (!known.is_empty()).then_some(known)
    }

    /// How the build of a tip has ended: what stands on it and was never built must know.
    pub(super) fn note_failed(&mut self, job: &Job) {
        let JobState::Done(outcome) = job.state else { return };
        let failed = match outcome {
            Outcome::Succeeded => None,
            Outcome::Failed | Outcome::Errored | Outcome::TimedOut | Outcome::Cancelled => {
                Some((job.commit.clone(), job.id, outcome))
            }
            Outcome::Superseded | Outcome::Skipped => {
                if job.is_gone() {
                    self.forget_failed_waves(job);
                }
                return;
            }
        };
        if job.rebuild.is_some() {
            return;
        }
        let images = self.config.projects.get(&job.project).map(|project| &project.images);
        let names = images.into_iter().flatten().map(|image| image.name.clone());
        let nodes = names
            .chain(super::edges::itself(&job.project))
            .map(|image| node_of(job, &image));
        let known: BTreeMap<Node, Links> = nodes
            .filter_map(|node| Some((node.clone(), self.state.updates.links.get(&node)?.clone())))
            .collect();
        for (node, mut links) in known {
            links.failed.clone_from(&failed);
            if failed.is_none() {
                links.failed_waves.clear();
            }
            self.put_links(&node, Some(links));
        }
    }
}
