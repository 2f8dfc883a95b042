//! Atomic waves that were not released, and what mends them: whatever a wave failed by is good at another commit.
//!
//! It must never bring about two tries for one mend, nor one without a mend: what a wave fails by is on record with the
//! commit that it failed at, anew for each wave.

use super::above::{Freshness, Sight, is_held};
use super::handle::Turn;
use super::waves::node_of;
use crate::config::Config;
use crate::model::{
    CommitId, Culprit, FailedWave, Job, JobId, JobState, Links, Node, Outcome, ProjectName, RefName, ReleaseStage,
    State, Updates, full_name,
};
use std::collections::BTreeSet;

/// What is mended of what the wave failed by that `root`, a job of this image, began; nothing if nothing is.
pub(super) fn mends(node: &Node, root: JobId, updates: &Updates, config: &Config) -> Vec<String> {
    culprits(node, root, updates)
        .iter()
        .filter_map(|culprit| mend(culprit, updates, config))
        .collect()
}

/// The tip whose wave was not released, with what is mended of that; none if nothing is.
pub(super) fn mended_tip(node: &Node, state: &State, config: &Config) -> Option<(CommitId, Vec<String>)> {
    let (tip, root, _) = state.failed_tip(node)?;
    let mends = mends(node, *root, &state.updates, config);
    (!mends.is_empty()).then(|| (tip.clone(), mends))
}

/// Why the wave that `root` began was not released, and what it is tried again for, if something of it is on record.
pub(super) fn waits_for_mend(node: &Node, root: JobId, updates: &Updates) -> Option<String> {
    let culprits = culprits(node, root, updates);
    let by: Vec<String> = culprits
        .iter()
        .map(|Culprit { node, job, commit, .. }| {
            let name = full_name(&node.project, &node.image);
            format!("{name} at {} (job {job})", commit.short())
        })
        .collect();
    let all = by.join(", ");
    (!by.is_empty()).then(|| format!("its wave failed by {all}, and is tried again once that is mended, or by hand"))
}

/// Images whose wave failed by this one and is not released since, each with the job that began it and the culprit.
pub fn failed_waves(state: &State) -> impl Iterator<Item = (&Node, JobId, &Culprit)> {
    state.updates.links.iter().flat_map(move |(node, links)| {
        let is_current = is_current(node, links, &state.updates);
        let current = links.failed_waves.iter().filter(move |wave| is_current(wave));
        current.flat_map(move |wave| wave.by.iter().map(move |culprit| (node, wave.root, culprit)))
    })
}

/// Of which waves something is asked still: that of the job in which the tip failed, and that of what was tried last.
fn is_current(node: &Node, links: &Links, updates: &Updates) -> impl Fn(&FailedWave) -> bool + use<> {
    let tip = links.failed.as_ref().map(|(_, job, _)| *job);
    let tried = updates.tried.get(node).map(|tried| tried.job);
    move |wave| Some(wave.root) == tip || Some(wave.root) == tried
}

fn culprits<'a>(node: &Node, root: JobId, updates: &'a Updates) -> &'a [Culprit] {
    let waves = updates
        .links
        .get(node)
        .into_iter()
        .flat_map(|links| &links.failed_waves);
    let mut wave = waves.filter(|wave| wave.root == root);
    wave.next().map_or(&[], |wave| wave.by.as_slice())
}

/// How a culprit is good by now, for people.
fn mend(culprit: &Culprit, updates: &Updates, config: &Config) -> Option<String> {
    let Culprit {
        node,
        job,
        commit,
        released,
        by_any_success,
    } = culprit;
    let name = full_name(&node.project, &node.image);
    if !config
        .projects
        .get(&node.project)
        .is_some_and(|project| project.enabled)
    {
        return Some(format!("its wave failed by {name}, which is not watched any more"));
    }
    // It may be good on the new content only, which it does not get by itself.
    let links = updates.links.get(node).and_then(|links| links.failed.as_ref());
    if let Some((tip, _, _)) = links.filter(|(tip, by, _)| tip != commit && by > job) {
        let (was, is) = (commit.short(), tip.short());
        return Some(format!(
            "its wave failed by {name} at {was}, which has {is} to be tried"
        ));
    }
    let (now, by) = at(node, updates)?;
    if now != commit && Some(now) != released.as_ref() {
        let (was, is) = (commit.short(), now.short());
        return Some(format!("its wave failed by {name} at {was}, which is at {is} now"));
    }
    let tried = updates.tried.get(node).filter(|tried| tried.job > *job);
    let is_cured = tried.is_some_and(|tried| matches!(tried.ended, Some((Outcome::Succeeded, _))));
    (*by_any_success && (by > Some(*job) || is_cured))
        .then(|| format!("its wave failed by {name} (job {job}), which was built again since"))
}

/// What is good of an image or a project: its commit, and the job that has built it.
fn at<'a>(node: &Node, updates: &'a Updates) -> Option<(&'a CommitId, Option<JobId>)> {
    let of_image = updates.standings.get(node).map(|it| (&it.commit, it.job));
    of_image.or_else(|| updates.things.get(node).map(|it| (&it.commit, Some(it.job))))
}

/// An image of the wave that did not end well.
pub(super) fn inside(node: &Node, job: JobId, commit: &CommitId, updates: &Updates) -> Culprit {
    Culprit {
        node: node.clone(),
        job,
        commit: commit.clone(),
        released: at(node, updates).map(|(commit, _)| commit.clone()),
        by_any_success: false,
    }
}

/// What is above these, however far, and failed: so that they were not built.
pub(super) fn outside(places: impl IntoIterator<Item = usize>, sight: &Sight<'_>, state: &State) -> Vec<Culprit> {
    let (graph, updates) = (&sight.ours.graph, &state.updates);
    let mut next: Vec<usize> = places.into_iter().collect();
    let mut seen: BTreeSet<usize> = next.iter().copied().collect();
    let mut found = Vec::new();
    while let Some(place) = next.pop() {
        for up in graph.ups(place).map(|edge| edge.to) {
            if !seen.insert(up) {
                continue;
            }
            next.push(up);
            let node = &graph.nodes()[up];
            let failed = match (at(node, updates), sight.freshness(up)) {
                (Some((commit, _)), Freshness::Failed(job)) => Some((commit, job)),
                (None, _) => state.failed_tip(node).map(|(commit, job, _)| (commit, *job)),
                (Some(_), _) => None,
            };
            found.extend(failed.map(|(commit, job)| Culprit {
                by_any_success: true,
                ..inside(node, job, commit, updates)
            }));
        }
    }
    found
}

impl Turn<'_> {
    /// What a member that has ended badly makes its wave fail by: itself, and of what was not even tried what kept it
    /// from that.
    pub(super) fn culprits_of(&mut self, job: &Job) -> Vec<Culprit> {
        let ours = self.ours();
        let updates = &self.state.updates;
        let nodes: Vec<Node> = match &job.rebuild {
            Some(rebuild) => rebuild.images.keys().map(|image| node_of(job, image)).collect(),
            None => {
                let of_ref = Node::of_ref(&updates.links, &job.project, &job.reference);
                of_ref.map(|(node, _)| node.clone()).collect()
            }
        };
        let by_any_success = !matches!(job.state, JobState::Done(Outcome::Failed | Outcome::TimedOut));
        let own = nodes.iter().map(|node| Culprit {
            by_any_success,
            ..inside(node, job.id, &job.commit, updates)
        });
        let mut culprits: Vec<Culprit> = own.collect();
        if job.state == JobState::Done(Outcome::Skipped) {
            let sight = Sight::new(self.state, self.config, &ours);
            let places = nodes.iter().filter_map(|node| ours.graph.place(node));
            culprits.extend(outside(places, &sight, self.state));
        }
        culprits
    }

    /// Puts on record what a wave fails by: of the images whose releases it was to be. What comes later, because it has
    /// failed, is none of it.
    pub(super) fn note_culprits(&mut self, root: JobId, by: Vec<Culprit>) {
        let Some(job) = self
            .state
            .jobs
            .get(&root)
            .filter(|job| is_held(self.state, job.id))
            .cloned()
        else {
            return;
        };
        let of_root =
            |culprit: &Culprit| (&culprit.node.project, &culprit.node.reference) == (&job.project, &job.reference);
        let by: Vec<Culprit> = by.into_iter().filter(|culprit| !of_root(culprit)).collect();
        if by.is_empty() {
            return;
        }
        let images = self
            .state
            .releasing
            .get(&root)
            .into_iter()
            .flat_map(|plan| &plan.images);
        let nodes: Vec<Node> = images.map(|image| node_of(&job, &image.result.image)).collect();
        for node in nodes {
            let Some(mut links) = self.state.updates.links.get(&node).cloned() else {
                continue;
            };
            let is_current = is_current(&node, &links, &self.state.updates);
            links.failed_waves.retain(is_current);
            links.failed_waves.push(FailedWave { root, by: by.clone() });
            self.put_links(&node, Some(links));
        }
    }

    /// What begins a wave that failed by something of this job's may begin it again.
    pub(super) fn reconsider_failed_waves(&mut self, job: &Job) {
        let waits = self.failed_by(|of| (&of.project, &of.reference) == (&job.project, &job.reference));
        self.reconsider.extend(waits);
    }

    /// Images whose wave failed by what is asked for.
    pub(super) fn failed_by(&mut self, is_asked: impl Fn(&Node) -> bool) -> Vec<Node> {
        let links = &self.state.updates.links;
        let nodes = self.state.graph.failed_waves.get_or_insert_with(|| {
            let failed = links.iter().filter(|(_, links)| !links.failed_waves.is_empty());
            failed.map(|(node, _)| node.clone()).collect()
        });
        let failed = nodes.iter().filter_map(|node| Some((node, links.get(node)?)));
        let by = failed.filter(|(_, links)| {
            let mut culprits = links.failed_waves.iter().flat_map(|wave| &wave.by);
            culprits.any(|culprit| is_asked(&culprit.node))
        });
        by.map(|(node, _)| node.clone()).collect()
    }

    /// The same of a ref that comes or goes: a mend may have come while nobody followed it.
    pub(super) fn reconsider_own_waves(&mut self, project: &ProjectName, reference: &RefName) {
        let waits = self.with_failed_waves(project, reference);
        self.reconsider.extend(waits.into_iter().map(|(node, _)| node));
    }

    /// The commit is not there any more: it is not tried again for a mend.
    pub(super) fn forget_failed_waves(&mut self, job: &Job) {
        for (node, mut links) in self.with_failed_waves(&job.project, &job.reference) {
            links.failed_waves.clear();
            self.put_links(&node, Some(links));
        }
    }

    /// The images of a ref whose waves were not released. A project has few images: this is asked of each ref that comes.
    fn with_failed_waves(&self, project: &ProjectName, reference: &RefName) -> Vec<(Node, Links)> {
        let images = self.config.projects.get(project).map(|project| &project.images);
        let nodes = images.into_iter().flatten().map(|image| Node {
            project: project.clone(),
            reference: reference.clone(),
            image: image.name.clone(),
        });
        let known = nodes.filter_map(|node| self.state.updates.links.get(&node).map(|links| (node, links.clone())));
        known.filter(|(_, links)| !links.failed_waves.is_empty()).collect()
    }

    /// Whether a job was of a wave that had failed before it ended.
    pub(super) fn is_of_failed_wave(&self, job: &Job, stage: Option<ReleaseStage>) -> bool {
        let is_failed = |root| root != job.id && !is_held(self.state, root);
        job.atomic.is_some_and(is_failed)
            && stage != Some(ReleaseStage::Moving)
            && job.state != JobState::Done(Outcome::Succeeded)
    }
}
