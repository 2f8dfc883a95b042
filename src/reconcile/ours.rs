//! What our own releases say of references and of projects: no registry needs to be asked for that.
//!
//! It must never overrule what a registry has said since: somebody else may have moved a reference of ours.

use super::handle::Turn;
use crate::config::Config;
use crate::model::{
    BaseKey, CommitId, Digest, Graph, ImageRef, JobId, Needed, Node, ReleaseStage, Standing, State, Updates,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an upstream of ours is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Of its manifest, or its id; none of a project without images.
    pub digest: Option<Digest>,
    /// In the storage of the engine that built it.
    pub id: Option<Digest>,
    /// Digests of the same content.
    pub alike: BTreeSet<Digest>,
    /// Its commit.
    pub commit: CommitId,
    /// The job that has built it.
    pub job: JobId,
    /// Its wave.
    pub wave: JobId,
    /// When; of what is held back it does not matter.
    pub since: Timestamp,
    /// The job that began the atomic wave with which it will be released.
    pub held: Option<JobId>,
}

/// An image that is built and good, and whose references move with the rest of its wave.
#[derive(Debug, Clone)]
struct Held {
    root: JobId,
    at: At,
    targets: BTreeSet<ImageRef>,
    /// In the engine's storage it has another name than on registries.
    id: Option<Digest>,
    digest: Option<Digest>,
}

/// What our own releases say.
#[derive(Debug, Clone)]
pub struct Ours {
    /// Which image stands on which.
    pub graph: Arc<Graph>,
    held: BTreeMap<Node, Held>,
}

impl Ours {
    /// As the state has it.
    pub fn new(state: &State, graph: Arc<Graph>) -> Self {
        let mut held = BTreeMap::new();
        for (id, plan) in state
            .releasing
            .iter()
            .filter(|(_, plan)| plan.stage == ReleaseStage::Held)
        {
            let Some(job) = state.jobs.get(id) else { continue };
            let Some(root) = job.atomic else { continue };
            for image in &plan.images {
                let node = Node {
                    project: job.project.clone(),
                    reference: job.reference.clone(),
                    image: image.result.image.clone(),
                };
                let at = At {
                    digest: None,
                    id: image.result.id.clone(),
                    alike: image.result.alike.clone(),
                    commit: job.commit.clone(),
                    job: *id,
                    wave: job.wave,
                    since: Timestamp::MAX,
                    held: Some(root),
                };
                let it = Held {
                    root,
                    at,
                    targets: image.targets.iter().cloned().collect(),
                    id: image.result.id.clone(),
                    digest: image.result.digest.clone(),
                };
                held.insert(node, it);
            }
        }
        Self { graph, held }
    }

    /// The same for who asks once.
    pub fn of(state: &State, config: &Config) -> Self {
        Self::new(state, Arc::new(super::edges::graph(state, config)))
    }

    /// What a base of an image is at by our own releases; none if nobody of us is released there, or only images that
    /// stand on this one themselves.
    pub fn base(&self, node: &Node, reference: &ImageRef, updates: &Updates) -> Option<At> {
        let own = self.graph.place(node)?;
        let providers = self.graph.providers(reference).iter().copied();
        let others = providers.filter(|place| !self.graph.is_circle(own, *place));
        let known = others.filter_map(|place| {
            let provider = &self.graph.nodes()[place];
            let is_there = !reference.is_local() || self.graph.share_storage(own, place);
            is_there.then(|| self.released(provider, reference, updates)).flatten()
        });
        // Of what is held back the wave that began first, else the newest release.
        known.max_by_key(|at| (at.held.is_some(), at.held.map(std::cmp::Reverse), at.since, at.job))
    }

    fn released(&self, provider: &Node, reference: &ImageRef, updates: &Updates) -> Option<At> {
        if let Some(held) = self.held.get(provider).filter(|held| held.targets.contains(reference)) {
            let digest = match reference.is_local() {
                true => &held.id,
                false => &held.digest,
            };
            return Some(At {
                digest: Some(digest.clone()?),
                ..held.at.clone()
            });
        }
        let standing = updates.standings.get(provider)?;
        let digest = standing.known_at(reference)?;
        let is_there = standing.released.contains(reference);
        is_there.then(|| At::of(standing, Some(digest))).flatten()
    }

    /// Whether whoever is released there is the image itself, or stands on it.
    pub fn stands_on_it(&self, node: &Node, reference: &ImageRef) -> bool {
        let Some(own) = self.graph.place(node) else {
            return false;
        };
        let providers = self.graph.providers(reference);
        !providers.is_empty() && providers.iter().all(|place| self.graph.is_circle(own, *place))
    }

    /// What an upstream is at that an image relies on without building FROM it; none if it was never built. `None` in
    /// the outer option: it does not rely on it any more, or both rely on each other.
    pub fn needed(&self, node: &Node, upstream: &Node, updates: &Updates) -> Option<Option<At>> {
        let (own, place) = (self.graph.place(node)?, self.graph.place(upstream)?);
        self.graph.ups(own).find(|edge| edge.to == place)?;
        Some(self.any(upstream, updates))
    }

    /// What an upstream is at, wherever it is released.
    pub fn any(&self, upstream: &Node, updates: &Updates) -> Option<At> {
        if let Some(held) = self.held.get(upstream) {
            return Some(At {
                digest: held.digest.clone().or(held.id.clone()),
                ..held.at.clone()
            });
        }
        if let Some(standing) = updates.standings.get(upstream) {
            return At::of(standing, standing.known_by());
        }
        updates.things.get(upstream).map(|thing| At {
            digest: None,
            id: None,
            alike: BTreeSet::new(),
            commit: thing.commit.clone(),
            job: thing.job,
            wave: thing.wave,
            since: thing.since,
            held: None,
        })
    }

    /// Whether a look at a base that says otherwise than our own release was begun before that, and so does not count.
    pub(super) fn is_too_old(
        &self,
        base: &BaseKey,
        head: &Digest,
        asked: Option<Timestamp>,
        updates: &Updates,
    ) -> bool {
        let providers = self.graph.providers(&base.reference).iter();
        let nodes = providers.map(|place| &self.graph.nodes()[*place]);
        let mut released = nodes.filter_map(|node| updates.standings.get(node));
        released.any(|standing| {
            let at = standing.known_at(&base.reference);
            let is_ours = standing.job.is_some() && standing.released.contains(&base.reference);
            is_ours && at != Some(head) && asked.is_none_or(|asked| asked <= standing.since)
        })
    }

    /// The atomic wave that an image is held back with.
    pub fn root_of(&self, node: &Node) -> Option<JobId> {
        self.held.get(node).map(|held| held.root)
    }

    /// Images that are held back.
    pub fn held(&self) -> impl Iterator<Item = (&Node, JobId)> {
        self.held.iter().map(|(node, held)| (node, held.root))
    }
}

impl At {
    /// Of what is released; none of what was built elsewhere.
    fn of(standing: &Standing, digest: Option<&Digest>) -> Option<Self> {
        let job = standing.job?;
        Some(Self {
            digest: digest.cloned(),
            id: standing.id.clone(),
            alike: standing.alike.clone(),
            commit: standing.commit.clone(),
            job,
            wave: standing.wave.unwrap_or(job),
            since: standing.since,
            held: None,
        })
    }

    /// Whether this is what was relied on, by content; of a project without images by its commit.
    pub(super) fn is_what_was_needed(&self, needed: &Needed) -> bool {
        match (&self.digest, &needed.digest) {
            (Some(_), Some(digest)) => self.is(std::slice::from_ref(digest), None),
            (None, None) => needed.commit.as_ref() == Some(&self.commit),
            _ => false,
        }
    }

    /// By which it counts among inputs: its digest; of a project without images its commit.
    pub(super) fn as_input(&self) -> String {
        let digest = self.digest.as_ref().map(ToString::to_string);
        digest.unwrap_or_else(|| self.commit.to_string())
    }

    /// Whether this is what was used, by digest or by content.
    pub fn is(&self, digests: &[Digest], id: Option<&Digest>) -> bool {
        let known = || self.digest.iter().chain(&self.alike);
        known().any(|digest| digests.contains(digest) || id == Some(digest))
    }
}

impl Turn<'_> {
    /// Which image stands on which.
    pub(super) fn graph(&mut self) -> Arc<Graph> {
        let mut memo = std::mem::take(&mut self.state.graph);
        let graph = memo.get(|| super::edges::graph(self.state, self.config));
        self.state.graph = memo;
        graph
    }

    /// What our own releases say now.
    pub(super) fn ours(&mut self) -> Ours {
        let graph = self.graph();
        Ours::new(self.state, graph)
    }
}
