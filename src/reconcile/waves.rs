//! Atomic waves: an image and all that stands on it are released together, or none of them.
//!
//! Each job of the wave builds, brings its content to its places, and is held back. Once nothing is left to be built, all
//! of them may move their references, in one decision: from then on the wave is finished, whatever happens. Until then
//! anything that goes wrong ends all of it.

use super::above::{Above, Freshness, Sight, covers, is_held};
use super::event::Effect;
use super::handle::Turn;
use super::mends::{inside, outside};
use super::tries::tried_job;
use crate::config::Chain;
use crate::model::{
    Culprit, ImageName, Job, JobId, JobState, Node, Outcome, ReleasePlan, ReleaseStage, Write, full_name,
};
use std::collections::BTreeSet;

impl Turn<'_> {
    /// A plan is announced.
    pub(super) fn releasing(&mut self, id: JobId, mut plan: ReleasePlan) {
        if !self.state.jobs.get(&id).is_some_and(|job| job.is_running()) {
            return;
        }
        match self.stage(id, &plan) {
            Ok(stage) => plan.stage = stage,
            Err((again, why)) => return self.decision.effects.push(Effect::Refuse { job: id, again, why }),
        }
        if self.state.releasing.get(&id) != Some(&plan) {
            self.state.releasing.insert(id, plan.clone());
            self.state.jobs.touch(id);
            self.decision.writes.push(Write::Releasing { job: id, plan });
        }
    }

    /// Whether the references of a job may move now, or with its wave. Why not at all, if its wave has failed, and
    /// whether it is to be built again then.
    fn stage(&mut self, id: JobId, plan: &ReleasePlan) -> Result<ReleaseStage, (bool, String)> {
        if let Some(begun) = self.state.releasing.get(&id) {
            return Ok(begun.stage);
        }
        let Some(job) = self.state.jobs.get(&id).cloned() else {
            return Ok(ReleaseStage::Moving);
        };
        if let Some(root) = job.atomic {
            if root != id && !is_held(self.state, root) {
                let why = format!("it was built for the wave of job {root}, which is not released");
                return Err((job.rebuild.is_none(), why));
            }
            return match &plan.failure {
                Some((_, failure)) => Err((false, format!("its wave is not released: {failure}"))),
                None => Ok(ReleaseStage::Gathering),
            };
        }
        match plan.failure.is_none() && self.begins_atomic(&job, plan) {
            true => {
                self.put(id, |job| job.atomic = Some(id));
                Ok(ReleaseStage::Gathering)
            }
            false => Ok(ReleaseStage::Moving),
        }
    }

    /// Whether an image is to be released together with what stands on it, and something does.
    fn begins_atomic(&mut self, job: &Job, plan: &ReleasePlan) -> bool {
        let graph = self.graph();
        let Some(project) = self.config.projects.get(&job.project) else {
            return false;
        };
        plan.images.iter().any(|image| {
            let name = &image.result.image;
            let is_atomic = project
                .images
                .iter()
                .any(|own| own.name == *name && own.chain == Chain::Atomic);
            let place = graph.place(&node_of(job, name));
            let mut below = place.into_iter().flat_map(|place| graph.downs(place));
            let updates = &self.state.updates;
            is_atomic
                && image.result.alike.is_empty()
                && below.any(|down| {
                    let node = &graph.nodes()[down];
                    updates.standings.contains_key(node) || updates.things.contains_key(node)
                })
        })
    }

    /// The attempt of a job has brought its content to all of its places.
    pub(super) fn hold(&mut self, id: JobId) {
        self.put_stage(id, ReleaseStage::Held);
        self.put(id, |job| {
            job.state = JobState::Queued { not_before: None };
            job.note = "it is built, and waits for the rest of its wave".to_owned();
        });
    }

    /// How far a release has come that is on record.
    fn put_stage(&mut self, id: JobId, stage: ReleaseStage) {
        let Some(plan) = self.state.releasing.get_mut(&id) else {
            return;
        };
        plan.stage = stage;
        let plan = plan.clone();
        self.state.jobs.touch(id);
        self.decision.writes.push(Write::Releasing { job: id, plan });
    }

    /// Ends the waves of jobs that did not end well.
    pub(super) fn fail_waves(&mut self, ended: &[(Job, Option<ReleaseStage>)]) {
        for (job, stage) in ended {
            let JobState::Done(outcome) = job.state else { continue };
            let Some(root) = job.atomic else { continue };
            // In the place of what a newer commit has overtaken before its turn that commit is built, and released with the rest.
            let is_replaced = outcome == Outcome::Superseded && !job.is_gone() && job.id != root;
            // What was moving is finished; what came to nothing new is no failure.
            if outcome != Outcome::Succeeded && !is_replaced && *stage != Some(ReleaseStage::Moving) {
                let name = self.name_of(job);
                let by = self.culprits_of(job);
                self.note_culprits(root, by);
                self.fail_wave(root, &format!("job {} of {name} {}", job.id, outcome.as_str()));
            }
        }
    }

    /// What people call a job's work.
    fn name_of(&self, job: &Job) -> String {
        match job
            .rebuild
            .as_ref()
            .map(|rebuild| rebuild.images.keys().collect::<Vec<_>>())
        {
            Some(images) if images.len() == 1 => full_name(&job.project, images[0]),
            _ => job.project.to_string(),
        }
    }

    fn fail_wave(&mut self, root: JobId, why: &str) {
        let jobs = &self.state.jobs;
        let members: Vec<Job> = jobs.of_atomic(root).filter_map(|id| jobs.get(&id)).cloned().collect();
        for job in members {
            match self.state.releasing.get(&job.id).map(|plan| plan.stage) {
                // A commit of its own is built again, on what is released.
                Some(ReleaseStage::Held) if job.rebuild.is_none() && job.id != root => self.build_alone(job.id, why),
                Some(ReleaseStage::Held) => self.abandon(job.id, why),
                // Its own end finds out.
                _ if job.is_running() => {}
                None => self.end(job.id, Outcome::Skipped, format!("its wave is not released: {why}")),
                Some(_) => {}
            }
        }
    }

    /// What it has built stands on what is not released: that is forgotten.
    fn build_alone(&mut self, id: JobId, why: &str) {
        self.state.releasing.remove(&id);
        self.state.jobs.touch(id);
        self.decision.writes.push(Write::AttemptEnd {
            job: id,
            failure: None,
            image_id: None,
            images: Vec::new(),
            void: true,
        });
        self.put(id, |job| {
            job.atomic = None;
            job.note = format!("its wave is not released ({why}): it is built again on what is");
        });
    }

    /// Its last attempt only tells that it is not released.
    fn abandon(&mut self, id: JobId, why: &str) {
        self.put_stage(id, ReleaseStage::Abandoned);
        self.put(id, |job| job.note = format!("its wave is not released: {why}"));
    }

    /// Releases the waves of which nothing is left to be built.
    pub(super) fn release_waves(&mut self) {
        let roots: Vec<JobId> = self.state.jobs.roots().collect();
        for root in roots {
            if !self.state.jobs.of_atomic(root).all(|id| is_held(self.state, id)) {
                continue;
            }
            let members: Vec<JobId> = self.state.jobs.of_atomic(root).collect();
            // It was ended while these brought their content to its places.
            if !members.contains(&root) {
                self.fail_wave(root, &format!("job {root}, which began it, has ended"));
                continue;
            }
            match self.rest(root) {
                Rest::None => self.let_go(members),
                Rest::Some => {}
                Rest::Failed(why, by) => {
                    self.note_culprits(root, by);
                    self.fail_wave(root, &why);
                }
            }
        }
    }

    /// All of them move their references, in the order of the graph: a parent first, as far as there are slots.
    fn let_go(&mut self, mut members: Vec<JobId>) {
        let graph = self.graph();
        let jobs = &self.state.jobs;
        let height = |id: &JobId| {
            let job = jobs.get(id)?;
            let of_ref = graph.of_ref(&job.project, &job.reference);
            let own = of_ref.filter(|place| covers(job, &graph.nodes()[*place]));
            own.map(|place| graph.height(place)).max()
        };
        let mut places: Vec<i64> = members.iter().filter_map(|id| Some(jobs.get(id)?.place)).collect();
        places.sort_unstable();
        members.sort_by_cached_key(|id| (std::cmp::Reverse(height(id)), *id));
        for (id, place) in members.into_iter().zip(places) {
            self.put_stage(id, ReleaseStage::Moving);
            self.put(id, |job| {
                job.place = place;
                job.note = "all of its wave is good: it is released".to_owned();
            });
        }
    }

    /// What is left to be built of a wave.
    fn rest(&mut self, root: JobId) -> Rest {
        let ours = self.ours();
        let known = self.known();
        let sight = Sight::remembering(self.state, self.config, &ours, known);
        let rest = self.rest_in(root, &sight);
        self.state.graph.sighted = sight.into_known();
        rest
    }

    fn rest_in(&self, root: JobId, sight: &Sight<'_>) -> Rest {
        let ours = sight.ours;
        let held = ours.held().filter(|(_, wave)| *wave == root);
        let places = held.filter_map(|(node, _)| ours.graph.place(node));
        let below: BTreeSet<usize> = places.flat_map(|place| ours.graph.downs(place)).collect();
        for place in below {
            let node = &ours.graph.nodes()[place];
            if ours.root_of(node) == Some(root) {
                continue;
            }
            match sight.freshness(place) {
                // Somebody has asked for it: what its job makes of it is found out yet.
                Freshness::Uncured if tried_job(node, self.state).is_some() => return Rest::Some,
                Freshness::Fresh | Freshness::Uncured => continue,
                Freshness::Failed(job) => {
                    let name = full_name(&node.project, &node.image);
                    let commit = self.state.updates.standings.get(node).map(|standing| &standing.commit);
                    let by = commit.map(|commit| inside(node, job, commit, &self.state.updates));
                    return Rest::Failed(format!("job {job} of {name} failed"), by.into_iter().collect());
                }
                Freshness::Stale => {}
            }
            // The job that its ref has to do first may be blocked itself.
            let blocked = sight.live(node).find_map(|job| Some((sight.blocked(job)?, job)));
            if let Some((why, job)) = blocked {
                return Rest::Failed(why, outside(sight.nodes_of(job), sight, self.state));
            }
            match sight.above(place) {
                Above::Blocked(why) if sight.live(node).next().is_none() => {
                    return Rest::Failed(format!("blocked: {why}"), outside([place], sight, self.state));
                }
                _ => return Rest::Some,
            }
        }
        Rest::None
    }

    /// What was asked for together with something that it stands on, which has failed: nothing was tried of it.
    pub(super) fn skip_below_failed(&mut self, ended: &[(Job, Option<ReleaseStage>)]) {
        let failed = ended.iter().filter(|(job, _)| {
            let JobState::Done(outcome) = job.state else {
                return false;
            };
            outcome != Outcome::Succeeded && job.rebuild.is_some()
        });
        let failed: Vec<Job> = failed.map(|(job, _)| job.clone()).collect();
        for job in failed {
            let graph = self.graph();
            let images = job.rebuild.iter().flat_map(|rebuild| rebuild.images.keys());
            let mut below: BTreeSet<usize> = BTreeSet::new();
            let mut next: Vec<usize> = images.filter_map(|image| graph.place(&node_of(&job, image))).collect();
            while let Some(at) = next.pop() {
                next.extend(graph.downs(at).filter(|down| below.insert(*down)));
            }
            let is_it = |other: &&Job| {
                other.is_queued()
                    && other.wave == job.wave
                    && other.id != job.id
                    && !self.state.releasing.contains_key(&other.id)
            };
            let mut blocked: BTreeSet<JobId> = BTreeSet::new();
            for place in below {
                let node = &graph.nodes()[place];
                let asked = |other: &&Job| {
                    let rebuild = other.rebuild.as_ref();
                    rebuild.is_some_and(|rebuild| rebuild.images.contains_key(&node.image))
                };
                let live = self.state.live(&node.project, &node.reference);
                blocked.extend(live.filter(is_it).filter(asked).map(|other| other.id));
            }
            let why = format!("blocked: job {} of {} did not succeed", job.id, self.name_of(&job));
            for id in blocked {
                self.end(id, Outcome::Skipped, why.clone());
            }
        }
    }
}

/// What is left of a wave.
enum Rest {
    None,
    Some,
    /// Why, and by what.
    Failed(String, Vec<Culprit>),
}

/// An image of a job's ref.
pub(super) fn node_of(job: &Job, image: &ImageName) -> Node {
    Node {
        project: job.project.clone(),
        reference: job.reference.clone(),
        image: image.clone(),
    }
}
