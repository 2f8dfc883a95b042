//! What must hold at every event, and at rest.

use super::*;

impl Farm {
    /// What is remembered of the graph is what it is.
    pub(super) fn check_memo(&self) {
        let fresh = graph(self.state(), self.config());
        let remembered = self.state().graph.clone().get(|| fresh.clone());
        assert_eq!(*remembered, fresh, "the graph that is remembered");
    }

    /// Of an atomic wave all or nothing is released.
    pub(super) fn check_waves(&self) {
        for (job, root) in &self.moved {
            for (other, _) in self.members.iter().filter(|(_, of)| *of == root) {
                let Some((ended, outcome)) = self.done.get(other) else {
                    continue;
                };
                // In its place a newer commit was built, which is a member by itself.
                let is_replaced = *outcome == Outcome::Superseded && !ended.is_gone();
                assert!(
                    *outcome == Outcome::Succeeded || is_replaced,
                    "job {job} of the wave of {root} was released, and {other} {outcome}: {}",
                    ended.note
                );
            }
        }
    }

    pub(super) fn check_ground(&self, id: JobId, ground: &Ground) {
        for (base, parent) in &ground.parents {
            let is_released = self.registry.get(base) == Some(&parent.digest);
            let held = self
                .state()
                .releasing
                .values()
                .filter(|plan| plan.stage == ReleaseStage::Held);
            let is_held = held
                .flat_map(|plan| &plan.images)
                .any(|image| image.targets.contains(base) && image.result.digest.as_ref() == Some(&parent.digest));
            assert!(
                is_released || is_held,
                "job {id} is pinned to what is not there: {base} {parent:?}"
            );
        }
    }

    pub(super) fn memo(&self) -> std::sync::Arc<Graph> {
        self.state().graph.clone().get(|| self.graph())
    }

    /// Nothing above a job that builds is being built, or about to be.
    pub(super) fn check_settled(&self, id: JobId) {
        let graph = self.memo();
        let job = &self.state().jobs[&id];
        let builds = |job: &Job, node: &Node| {
            (&job.project, &job.reference) == (&node.project, &node.reference)
                && job
                    .rebuild
                    .as_ref()
                    .is_none_or(|rebuild| rebuild.images.contains_key(&node.image))
        };
        let own = graph.nodes().iter().enumerate().filter(|(_, node)| builds(job, node));
        let mut next: Vec<usize> = own.map(|(place, _)| place).collect();
        let mut above = BTreeSet::new();
        while let Some(place) = next.pop() {
            next.extend(graph.ups(place).map(|edge| edge.to).filter(|up| above.insert(*up)));
        }
        let above: BTreeSet<&Node> = above.iter().map(|place| &graph.nodes()[*place]).collect();
        for other in self
            .state()
            .jobs
            .values()
            .filter(|other| other.id != id && !is_held(self.state(), other.id))
        {
            let is_above = above.iter().any(|node| builds(other, node));
            assert!(!is_above, "job {id} builds before {other:?}");
        }
    }

    /// Of a wave the longest way down goes first.
    pub(super) fn check_longest(&self, effects: &[Effect]) {
        let graph = self.memo();
        let waits = self.waits();
        let height = |job: &Job| {
            let images = job.rebuild.iter().flat_map(|rebuild| rebuild.images.keys());
            let nodes = images.filter_map(|image| graph.place(&node(job.project.as_str(), image.as_str())));
            nodes.map(|place| graph.height(place)).max()
        };
        for effect in effects {
            let Effect::Start(id) = effect else { continue };
            let job = &self.state().jobs[id];
            let others = self
                .state()
                .jobs
                .values()
                .filter(|other| other.is_queued() && other.wave == job.wave);
            for other in others.filter(|other| !waits.contains_key(&other.id)) {
                assert!(
                    height(job) >= height(other) || job.rebuild.is_none(),
                    "{job:?} before {other:?}"
                );
            }
        }
    }

    /// When references move, all of the wave moves.
    pub(super) fn check_atomic(&self, job: &Job) {
        let jobs = self.state().jobs.values();
        for other in jobs.filter(|other| job.atomic.is_some() && other.atomic == job.atomic) {
            let stage = self.state().releasing.get(&other.id).map(|plan| plan.stage);
            assert_eq!(
                stage,
                Some(ReleaseStage::Moving),
                "job {} while {} moves",
                other.id,
                job.id
            );
        }
    }

    /// The live jobs and the graph, in few words.
    pub fn told(&self) -> String {
        let waits = self.waits();
        let jobs = self.state().jobs.values().map(|job| {
            let stage = self.state().releasing.get(&job.id).map(|plan| plan.stage);
            let images = job
                .rebuild
                .as_ref()
                .map(|rebuild| rebuild.images.keys().map(ToString::to_string).collect::<Vec<_>>());
            format!(
                "job {} of {} at {} {:?} ({}) {:?} {images:?} wave {} atomic {:?} {stage:?}, waits: {:?}\n",
                job.id,
                job.project,
                job.commit.short(),
                job.state,
                job.note,
                job.reason,
                job.wave,
                job.atomic,
                waits.get(&job.id)
            )
        });
        let graph = self.graph();
        let edges = graph.nodes().iter().enumerate().map(|(place, node)| {
            let ups: BTreeSet<String> = graph
                .edges(place)
                .map(|edge| graph.nodes()[edge.to].image.to_string())
                .collect();
            format!(
                "{} on {ups:?} known at {:?}; ",
                node.image,
                self.state()
                    .updates
                    .links
                    .get(node)
                    .map(|links| &links.commit.short()[6..])
            )
        });
        let stands = self
            .stand()
            .into_iter()
            .map(|(node, stand)| format!("{} {stand:?}; ", node.image));
        jobs.chain(edges).chain(stands).collect()
    }

    /// Nothing runs: what is queued waits for a time, or for something that failed.
    pub(super) fn check_rest(&self) {
        let ours = Ours::of(self.state(), self.config());
        let waits = Sight::new(self.state(), self.config(), &ours).waits();
        let is_later = |job: &Job| matches!(job.state, JobState::Queued { not_before: Some(at) } if at > self.now());
        if self.state().jobs.values().any(is_later) {
            return;
        }
        let is_blocked = |job: &Job| waits.get(&job.id).is_some_and(|why| why.starts_with("blocked: "));
        for job in self.state().jobs.values() {
            // The others of its ref wait behind it.
            let mut beside = self.state().live(&job.project, &job.reference);
            assert!(beside.any(is_blocked), "left over: {}", self.told());
        }
    }

    /// Every image that is released stands on exactly the content that its bases have.
    pub fn check_fresh(&self) {
        let graph = self.graph();
        let circles: BTreeSet<usize> = graph.circles().iter().flatten().copied().collect();
        for (node, standing) in self.state().updates.standings.iter() {
            let Some(place) = graph.place(node).filter(|place| !circles.contains(place)) else {
                continue;
            };
            // Its turn is taken by a commit that is blocked.
            if self.state().live(&node.project, &node.reference).next().is_some() {
                continue;
            }
            let tree = &self.trees[&(node.project.clone(), standing.commit.clone())];
            let Some(file) = tree.files.get(node.image.as_str()) else {
                continue;
            };
            let bases: Vec<u64> = file
                .bases
                .iter()
                .map(|base| self.contents[&self.registry[&at(base)]])
                .collect();
            let needed: Vec<&Needed> = standing.bases.iter().flat_map(|base| &base.needed).collect();
            let needs: Vec<u64> = needed.iter().map(|needed| self.content_of_need(needed)).collect();
            let expected = Self::content(node.image.as_str(), file, &bases, &needs);
            let is = self.contents[&self.registry[&at(node.image.as_str())]];
            assert_eq!(is, expected, "{node:?} is old: {standing:#?}");
            for needed in needed
                .iter()
                .filter(|needed| graph.ups(place).any(|up| graph.nodes()[up.to] == needed.node))
            {
                let now = match (&needed.digest, self.state().updates.things.get(&needed.node)) {
                    (Some(_), _) => self.contents[&self.registry[&at(needed.node.image.as_str())]],
                    (None, Some(thing)) => hash(&thing.commit),
                    (None, None) => 0,
                };
                assert_eq!(
                    self.content_of_need(needed),
                    now,
                    "{node:?} relies on an old {:?}",
                    needed.node
                );
            }
        }
    }
}

fn is_held(state: &State, job: JobId) -> bool {
    let plan = state.releasing.get(&job);
    plan.is_some_and(|plan| plan.stage == ReleaseStage::Held)
}
