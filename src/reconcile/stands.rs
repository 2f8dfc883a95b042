//! How an image stands in its chain, in one word and with the reason: for `graph`, `explain`, `status` and `images` alike.
//!
//! It must never decide anything: what it says is what the planner's own functions say of the same state.

use super::above::{Above, Freshness, Sight};
use super::judge::{Counting, judge, watch};
use super::mends::{failed_waves, waits_for_mend};
use super::ours::Ours;
use super::tries::held;
use crate::config::Config;
use crate::model::{Graph, JobId, Node, State, full_name};
use serde::Serialize;
use std::collections::BTreeMap;

/// What stands in front of why a job does not start, if that is no mere waiting.
const BLOCKED: &str = "blocked: ";

/// Where an image stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Word {
    /// Nothing is new below it.
    #[serde(rename = "fresh")]
    Fresh,
    /// Something is new below it.
    #[serde(rename = "stale")]
    Stale,
    /// A job runs.
    #[serde(rename = "building")]
    Building,
    /// It is to be built, but not yet.
    #[serde(rename = "waits")]
    Waits,
    /// It is to be built, but something that it stands on failed.
    #[serde(rename = "blocked")]
    Blocked,
    /// It was built, and that failed.
    #[serde(rename = "failed")]
    Failed,
    /// No job came to it yet.
    #[serde(rename = "never built")]
    NeverBuilt,
    /// It is built, and is released with the rest of its wave.
    #[serde(rename = "held back")]
    Held,
    /// It stands on itself.
    #[serde(rename = "in a circle")]
    Circle,
    /// It is not released on this ref.
    #[serde(rename = "not released")]
    NotReleased,
    /// It is released, and not kept up to date.
    #[serde(rename = "not kept up to date")]
    NotKept,
}

impl Word {
    /// As people and scripts see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Building => "building",
            Self::Waits => "waits",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
            Self::NeverBuilt => "never built",
            Self::Held => "held back",
            Self::Circle => "in a circle",
            Self::NotReleased => "not released",
            Self::NotKept => "not kept up to date",
        }
    }
}

/// How an image stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stands {
    /// In one word.
    pub state: Word,
    /// Why; empty if that goes without saying.
    pub why: String,
    /// The job that this is about: the live one, else the one that released or failed it.
    pub job: Option<JobId>,
    /// Its wave.
    pub wave: Option<JobId>,
    /// The job that began the atomic wave with which it is held back.
    pub held: Option<JobId>,
    /// The circle that it is a part of, by names: each stands on the next, and the last on the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub circle: Vec<String>,
}

impl Stands {
    /// `stale: debian:12 moved`
    pub fn line(&self) -> String {
        match self.why.is_empty() {
            true => self.state.as_str().to_owned(),
            false => format!("{}: {}", self.state.as_str(), self.why),
        }
    }
}

/// Looks at chains in one state.
pub struct Chains<'a> {
    state: &'a State,
    config: &'a Config,
    sight: Sight<'a>,
    waits: BTreeMap<JobId, String>,
    /// What waves failed by that are not released since.
    culprits: BTreeMap<&'a Node, Vec<String>>,
}

impl<'a> Chains<'a> {
    /// As the state is now.
    pub fn new(state: &'a State, config: &'a Config, ours: &'a Ours) -> Self {
        let sight = Sight::new(state, config, ours);
        let waits = sight.waits();
        let mut culprits: BTreeMap<&Node, Vec<String>> = BTreeMap::new();
        for (node, root, culprit) in failed_waves(state) {
            let (name, at) = (full_name(&node.project, &node.image), culprit.commit.short());
            let until = if culprit.by_any_success {
                "good"
            } else {
                "mended by a commit"
            };
            let why = format!(
                "the wave of {name} (job {root}) failed by this at {at} (job {}): it is tried again once this is {until}",
                culprit.job
            );
            culprits.entry(&culprit.node).or_default().push(why);
        }
        Self {
            state,
            config,
            sight,
            waits,
            culprits,
        }
    }

    /// What our own releases say, and the graph.
    pub fn ours(&self) -> &'a Ours {
        self.sight.ours
    }

    /// Why a queued job does not start, if that is because of another image.
    pub fn wait_of(&self, job: JobId) -> Option<&str> {
        self.waits.get(&job).map(String::as_str)
    }

    /// How a node stands; none if it is in no graph.
    pub fn of(&self, node: &Node) -> Option<Stands> {
        self.sight.ours.graph.place(node).map(|place| self.stands(place))
    }

    /// Whether it is stale because of this wave, and will yet be built for that.
    pub fn is_to_come(&self, place: usize, wave: JobId) -> bool {
        if self.sight.freshness(place) != Freshness::Stale || matches!(self.sight.above(place), Above::Blocked(_)) {
            return false;
        }
        let graph = &self.sight.ours.graph;
        let node = &graph.nodes()[place];
        let standing = self.state.updates.standings.get(node);
        match standing.and_then(|standing| watch(self.state, self.config, node, standing)) {
            Some(watched) => {
                let judgement = judge(watched, &self.state.updates, self.sight.ours);
                let own = judgement.news(Counting::Settled).own;
                own.iter().map(|own| own.wave).max() == Some(wave)
            }
            None => super::things::stale(node, self.state, self.sight.ours)
                .is_some_and(|(_, changes)| changes.iter().map(|change| change.wave).max() == Some(wave)),
        }
    }

    /// How the node at a place of the graph stands.
    pub fn stands(&self, place: usize) -> Stands {
        let graph = &self.sight.ours.graph;
        let node = &graph.nodes()[place];
        let updates = &self.state.updates;
        let standing = updates.standings.get(node);
        let thing = updates.things.get(node);
        let (job, wave) = match (standing, thing) {
            (Some(standing), _) => (standing.job, standing.wave.or(standing.job)),
            (None, Some(thing)) => (Some(thing.job), Some(thing.wave)),
            (None, None) => (None, None),
        };
        let mut stands = Stands {
            state: Word::Fresh,
            why: String::new(),
            job,
            wave,
            held: self.sight.ours.root_of(node),
            circle: self.circle(place),
        };
        if self.live(node, &mut stands) {
            return stands;
        }
        if !stands.circle.is_empty() {
            stands.state = Word::Circle;
            let circle = graph.circles().iter().find(|circle| circle.contains(&place));
            stands.why = circle.map(|circle| around(graph, circle)).unwrap_or_default();
            return stands;
        }
        if standing.is_none() && thing.is_none() {
            self.unreleased(node, &mut stands);
            return stands;
        }
        self.released(place, &mut stands);
        stands
    }

    /// Of one that a job is about.
    fn live(&self, node: &Node, stands: &mut Stands) -> bool {
        let jobs = self.sight.live(node);
        let Some(job) = jobs
            .filter(|job| super::above::covers(job, node))
            .min_by_key(|job| (!job.is_running(), job.place, job.id))
        else {
            return false;
        };
        (stands.job, stands.wave) = (Some(job.id), Some(job.wave));
        (stands.state, stands.why) = match (stands.held, self.waits.get(&job.id)) {
            (Some(root), _) => (
                Word::Held,
                format!("it is built, and released with the wave of job {root}"),
            ),
            (None, _) if job.is_running() => (Word::Building, format!("job {}", job.id)),
            (None, Some(why)) => match why.strip_prefix(BLOCKED) {
                Some(why) => (Word::Blocked, why.to_owned()),
                None => (Word::Waits, why.clone()),
            },
            (None, None) => (Word::Waits, format!("job {} is queued", job.id)),
        };
        true
    }

    /// Of one that nobody could stand on yet.
    fn unreleased(&self, node: &Node, stands: &mut Stands) {
        let links = self.state.updates.links.get(node);
        let failed = links.and_then(|links| links.failed.as_ref());
        let is_image = self
            .config
            .projects
            .get(&node.project)
            .is_some_and(|project| !project.images.is_empty());
        (stands.state, stands.why) = match (failed, links) {
            (Some((_, job, outcome)), _) => {
                stands.job = Some(*job);
                (Word::Failed, format!("job {job} {outcome}, and it was never released"))
            }
            (None, Some(links)) if is_image && links.targets.is_empty() => (Word::NotReleased, String::new()),
            (None, Some(links)) if !is_image && links.default != Some(true) => (Word::NotReleased, String::new()),
            (None, _) => (Word::NeverBuilt, String::new()),
        };
    }

    fn released(&self, place: usize, stands: &mut Stands) {
        let node = &self.sight.ours.graph.nodes()[place];
        let updates = &self.state.updates;
        let standing = updates.standings.get(node);
        let watched = standing.and_then(|standing| watch(self.state, self.config, node, standing));
        let (news, key) = match watched {
            Some(watched) => {
                let judgement = judge(watched, updates, self.sight.ours);
                let news = judgement.news(Counting::Settled);
                let all = news.upstreams.into_iter().chain(news.bases).chain(news.packages);
                (all.collect::<Vec<_>>().join(", "), judgement.key)
            }
            None => super::things::stale(node, self.state, self.sight.ours).map_or_else(Default::default, |found| {
                let names = found
                    .1
                    .iter()
                    .map(|change| format!("{} (job {})", change.name, change.job));
                (names.collect::<Vec<_>>().join(", "), found.0)
            }),
        };
        let tip = self.failed_tip(node);
        (stands.state, stands.why) = match self.sight.freshness(place) {
            Freshness::Fresh if standing.is_some() && watched.is_none() => (Word::NotKept, String::new()),
            Freshness::Fresh => match self.sight.above(place) {
                // It will be stale as soon as that is mended.
                Above::Blocked(why) => (Word::Blocked, why),
                Above::Settled | Above::Waits(_) => {
                    let of_waves = self.culprits.get(node).into_iter().flatten().cloned();
                    (
                        Word::Fresh,
                        tip.into_iter().chain(of_waves).collect::<Vec<_>>().join("; "),
                    )
                }
            },
            Freshness::Stale => match self.sight.above(place) {
                Above::Waits(why) => (Word::Waits, why),
                Above::Blocked(why) => (Word::Blocked, why),
                Above::Settled => (Word::Stale, news),
            },
            Freshness::Failed(job) => {
                stands.job = Some(job);
                (Word::Failed, held(node, &key, updates, self.config).unwrap_or_default())
            }
            Freshness::Uncured => {
                let held = held(node, &key, updates, self.config).map(|held| format!("; {held}"));
                (Word::Stale, format!("{news}{}", held.unwrap_or_default()))
            }
        };
    }

    /// What is released is good, and the tip of the ref is another commit, which is not.
    fn failed_tip(&self, node: &Node) -> Option<String> {
        let (commit, job, outcome) = self.state.failed_tip(node)?;
        let wave = waits_for_mend(node, *job, &self.state.updates);
        let wave = wave.map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!("its tip {} {outcome} (job {job}){wave}", commit.short()))
    }

    /// By names, from the node on.
    fn circle(&self, place: usize) -> Vec<String> {
        let graph = &self.sight.ours.graph;
        let mut circles = graph.circles().iter();
        let Some(circle) = circles.find(|circle| circle.contains(&place)) else {
            return Vec::new();
        };
        let names = circle.iter().map(|place| {
            let node = &graph.nodes()[*place];
            full_name(&node.project, &node.image)
        });
        names.collect()
    }
}

/// `a → b → a`, and those that lie beside this way.
pub fn around(graph: &Graph, circle: &[usize]) -> String {
    let name = |place: &usize| {
        let node = &graph.nodes()[*place];
        full_name(&node.project, &node.image)
    };
    let leads = |from: usize, to: usize| graph.edges(from).any(|edge| edge.to == to);
    let Some(first) = circle.first() else {
        return String::new();
    };
    // It is the shortest way: it ends where it can.
    let end = circle.iter().position(|place| leads(*place, *first));
    let end = end.map_or(circle.len(), |last| last + 1);
    let way: Vec<String> = circle[..end].iter().chain([first]).map(name).collect();
    let beside: Vec<String> = circle[end..].iter().map(name).collect();
    match beside.is_empty() {
        true => way.join(" → "),
        false => format!("{}, and with them {}", way.join(" → "), beside.join(", ")),
    }
}
