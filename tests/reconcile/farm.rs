//! Repositories whose images stand on each other, a registry, and attempts that are played step by step: what a build
//! comes to is a pure function of its commit and of what it stands on.

mod hand;
mod play;
mod promises;
mod seed;

use crate::updates::image;
use crate::world::{World, check_memory, commit, config, project, reference, watched};
use jiff::{SignedDuration, Timestamp};
use pipelined::config::{Chain, Config, Project, Upstream};
use pipelined::model::{
    BaseUsed, CommitId, Compared, Content, Digest, Failure, FailureKind, Graph, Ground, ImageName, ImageRef,
    ImageResult, ImageStatus, Job, JobId, JobState, Learned, Links, Needed, Node, Outcome, PlannedRelease, ProjectName,
    Release, ReleasePlan, ReleaseStage, State, Step,
};
use pipelined::reconcile::{
    Above, Decision, Effect, Event, Freshness, Ours, Sight, graph, handle, judge, next_wake, overtaken, watched as all,
};
use proptest::prelude::ProptestConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What a repository has of one image.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// Names of what it is built FROM: see [`at`].
    pub bases: Vec<String>,
    /// What the commit itself brings.
    pub salt: u32,
    /// It comes to the same whatever it stands on.
    pub is_deaf: bool,
    pub fails: bool,
    /// It fails on whatever is not released yet.
    pub is_shy: bool,
    /// It fails on whatever is released already.
    pub is_bold: bool,
}

/// A commit.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub files: BTreeMap<String, File>,
    /// `.gitlab-deps`: names of projects.
    pub deps: BTreeSet<String>,
    pub fails: bool,
}

/// How a step of an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    Well,
    /// Trouble of our own; in a release after the first reference was moved.
    Errs,
    /// What was about to be released is gone.
    Void,
}

/// How far an attempt has come.
#[derive(Debug, Clone)]
enum Phase {
    Begun,
    Waits(String),
    Builds(Ground),
    /// It has announced a release, to all targets but those that are a newer job's.
    Releases(BTreeSet<ImageRef>),
    Refused(String),
}

enum Mind {
    /// With a store, and every promise of [`World`] checked at each event.
    Kept(Box<World>),
    /// For many images.
    Bare {
        state: Box<State>,
        config: Box<Config>,
        settled: BTreeSet<(ProjectName, CommitId)>,
        now: Timestamp,
    },
}

pub struct Farm {
    mind: Mind,
    pub trees: BTreeMap<(ProjectName, CommitId), Tree>,
    pub tips: BTreeMap<ProjectName, u32>,
    pub registry: BTreeMap<ImageRef, Digest>,
    pub contents: BTreeMap<Digest, u64>,
    releases: BTreeMap<ImageRef, Release>,
    attempts: BTreeMap<JobId, Phase>,
    cancels: BTreeSet<JobId>,
    /// Looks that are not answered yet, each with what the reference is at.
    looks: Vec<Effect>,
    /// Whether looks are answered at once.
    pub is_prompt: bool,
    /// What was built, in order, how often.
    pub built: Vec<(JobId, Node)>,
    /// How each job ended, and its wave.
    pub done: BTreeMap<JobId, (Job, Outcome)>,
    /// Jobs that have moved references with an atomic wave, with its root.
    moved: BTreeMap<JobId, JobId>,
    /// Jobs that were of an atomic wave once.
    members: BTreeMap<JobId, JobId>,
    digests: u32,
    /// Every project that the config has had, as it was last there: attempts go on with what they began with.
    ever: BTreeMap<ProjectName, Project>,
    /// The same content has the same digest.
    pub is_reproducible: bool,
    events: usize,
    is_looking: bool,
    pub most_running: usize,
    /// What is above a job that builds has settled, and the longest way down goes first.
    pub is_strict: bool,
}

/// So many, unless `PROPTEST_CASES` says otherwise.
pub fn cases(few: u32) -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: wanted.unwrap_or(few),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    }
}

/// Where `a` is released: `r.io/a:1`.
pub fn at(name: &str) -> ImageRef {
    ImageRef::parse(&format!("r.io/{name}:1")).unwrap()
}

pub fn node(project_name: &str, image: &str) -> Node {
    Node {
        project: project(project_name),
        reference: reference("main"),
        image: ImageName::new(image).unwrap(),
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Farm {
    /// Projects, each with its images, which are released under their own names.
    pub fn new(limit: usize, is_kept: bool, projects: &[(&str, &[&str])]) -> Self {
        let mut config = config(limit, &[]);
        for (name, images) in projects {
            let mut it = watched(name);
            for name in *images {
                let mut image = image(name, &format!("r.io/{name}:1"));
                image.update.quiet = Duration::ZERO;
                it.images.push(image);
            }
            config.projects.insert(it.name.clone(), it);
        }
        let mind = match is_kept {
            true => Mind::Kept(Box::new(World::new(config))),
            false => Mind::Bare {
                state: Box::default(),
                config: Box::new(config),
                settled: BTreeSet::new(),
                now: Timestamp::from_second(1_800_000_000).unwrap(),
            },
        };
        let mut farm = Self {
            mind,
            trees: BTreeMap::new(),
            tips: BTreeMap::new(),
            registry: BTreeMap::new(),
            contents: BTreeMap::new(),
            releases: BTreeMap::new(),
            attempts: BTreeMap::new(),
            cancels: BTreeSet::new(),
            looks: Vec::new(),
            is_prompt: true,
            built: Vec::new(),
            done: BTreeMap::new(),
            moved: BTreeMap::new(),
            members: BTreeMap::new(),
            digests: 0,
            ever: BTreeMap::new(),
            is_reproducible: false,
            events: 0,
            is_looking: false,
            most_running: 0,
            is_strict: false,
        };
        farm.ever = farm.config().projects.clone();
        farm.event(Event::Recovered);
        farm
    }

    pub fn state(&self) -> &State {
        match &self.mind {
            Mind::Kept(world) => &world.state,
            Mind::Bare { state, .. } => state,
        }
    }

    pub fn config(&self) -> &Config {
        match &self.mind {
            Mind::Kept(world) => &world.config,
            Mind::Bare { config, .. } => config,
        }
    }

    /// Another config.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        match &mut self.mind {
            Mind::Kept(world) => change(&mut world.config),
            Mind::Bare { config, .. } => change(config),
        }
        self.ever.extend(self.config().projects.clone());
        self.event(Event::ConfigChanged);
    }

    pub fn image(&mut self, project_name: &str, index: usize, change: impl FnOnce(&mut pipelined::config::Image)) {
        self.configure(|config| change(&mut config.projects.get_mut(&project(project_name)).unwrap().images[index]));
    }

    pub fn depends(&mut self, project_name: &str, index: usize, on: &str) {
        let upstream = Upstream {
            project: project(on),
            image: None,
        };
        self.image(project_name, index, |image| image.upstreams.extend([upstream]));
    }

    pub fn atomic(&mut self, project_name: &str) {
        self.image(project_name, 0, |image| image.chain = Chain::Atomic);
    }

    fn now(&self) -> Timestamp {
        match &self.mind {
            Mind::Kept(world) => world.now,
            Mind::Bare { now, .. } => *now,
        }
    }

    /// A new content of something that nobody here builds.
    pub fn outside(&mut self, name: &str, content: u64) {
        let digest = self.digest(content);
        self.registry.insert(at(name), digest);
    }

    fn digest(&mut self, content: u64) -> Digest {
        let same = self
            .contents
            .iter()
            .find(|(_, is)| self.is_reproducible && **is == content);
        if let Some((digest, _)) = same {
            return digest.clone();
        }
        self.digests += 1;
        let digest = Digest::new(format!("sha256:{:064x}", self.digests)).unwrap();
        self.contents.insert(digest.clone(), content);
        digest
    }

    /// A commit at the tip of main.
    pub fn push(&mut self, name: &str, tree: Tree) {
        let next = self.tips.entry(project(name)).or_default();
        *next += 1;
        let n = *next;
        self.trees.insert((project(name), commit(n)), tree);
        if let Mind::Kept(world) = &mut self.mind {
            world.push(name, "main", n);
        }
    }

    pub fn tree(&self, name: &ProjectName) -> Tree {
        let n = self.tips.get(name).copied().unwrap_or_default();
        self.trees.get(&(name.clone(), commit(n))).cloned().unwrap_or_default()
    }

    pub fn poll(&mut self, name: &str) {
        let name = project(name);
        let decision = match &mut self.mind {
            Mind::Kept(world) => world.poll(name.as_str()),
            Mind::Bare { settled, .. } => {
                let Some(n) = self.tips.get(&name).copied() else { return };
                let is_settled = settled.contains(&(name.clone(), commit(n)));
                let event = Event::RefsListed {
                    project: name,
                    refs: BTreeMap::from([(reference("main"), commit(n))]).into(),
                    settled: is_settled.then(|| reference("main")).into_iter().collect(),
                };
                return self.event(event);
            }
        };
        self.take(decision);
    }

    pub fn poll_all(&mut self) {
        let names: Vec<ProjectName> = self.tips.keys().cloned().collect();
        names.iter().for_each(|name| self.poll(name.as_str()));
    }

    /// `kill -9` and a start.
    pub fn crash(&mut self) {
        self.attempts.clear();
        self.cancels.clear();
        self.looks.clear();
        match &mut self.mind {
            Mind::Kept(world) => {
                let decision = world.crash();
                self.take(decision);
            }
            Mind::Bare { state, .. } => {
                state.checking = Default::default();
                self.event(Event::Recovered);
            }
        }
    }

    pub fn pass(&mut self, seconds: i64) {
        let now = match &mut self.mind {
            Mind::Kept(world) => &mut world.now,
            Mind::Bare { now, .. } => now,
        };
        *now += SignedDuration::from_secs(seconds);
        self.event(Event::Tick);
    }

    fn event(&mut self, event: Event) {
        let decision = match &mut self.mind {
            Mind::Kept(world) => {
                world.now += SignedDuration::from_millis(1);
                world.event(event)
            }
            Mind::Bare {
                state,
                config,
                settled,
                now,
            } => {
                *now += SignedDuration::from_millis(1);
                self.events += 1;
                // Of many images at some events.
                let is_checked = self.trees.len() < 100 || self.events.is_multiple_of(2003);
                let before = is_checked.then(|| (state.clone(), event.clone()));
                let decision = handle(state, config, *now, event);
                if let Some((before, event)) = before {
                    check_memory(*before, config, *now, event, (&decision, state));
                }
                for write in &decision.writes {
                    if let pipelined::model::Write::Job { job, lasting } = write
                        && let JobState::Done(outcome) = job.state
                        && pipelined::model::settles(outcome, *lasting)
                    {
                        settled.insert((job.project.clone(), job.commit.clone()));
                    }
                }
                decision
            }
        };
        self.take(decision);
    }

    fn take(&mut self, decision: Decision) {
        for write in &decision.writes {
            let pipelined::model::Write::Job { job, .. } = write else {
                continue;
            };
            if let Some(root) = job.atomic {
                self.members.insert(job.id, root);
            } else {
                self.members.remove(&job.id);
            }
            if let JobState::Done(outcome) = job.state {
                self.done.insert(job.id, (job.clone(), outcome));
                self.attempts.remove(&job.id);
                self.cancels.remove(&job.id);
            }
        }
        // To look at all that there are is dear: of many now and then.
        let is_strict = self.is_strict && (self.trees.len() < 100 || self.events.is_multiple_of(31));
        if is_strict && decision.effects.iter().any(|effect| matches!(effect, Effect::Start(_))) {
            self.check_longest(&decision.effects);
        }
        let mut asked = Vec::new();
        for effect in decision.effects {
            match effect {
                Effect::Start(id) => drop(self.attempts.insert(id, Phase::Begun)),
                Effect::Cancel(id) => drop(self.cancels.insert(id)),
                Effect::Wait { job, why } => drop(self.attempts.insert(job, Phase::Waits(why))),
                Effect::Go { job, ground } => {
                    self.check_ground(job, &ground);
                    if is_strict {
                        self.check_settled(job);
                    }
                    self.attempts.insert(job, Phase::Builds(ground));
                }
                Effect::Refuse { job, why, .. } => drop(self.attempts.insert(job, Phase::Refused(why))),
                Effect::LookAtBase { .. } | Effect::LookInside(_) | Effect::LookElsewhere { .. } => asked.push(effect),
                Effect::Poke(_)
                | Effect::Interrupt(_)
                | Effect::Queued(_)
                | Effect::Rebuilt { .. }
                | Effect::NotRebuilt { .. } => {}
            }
        }
        self.most_running = self.most_running.max(self.running().len());
        if self.trees.len() < 100 {
            self.check_memo();
            self.check_waves();
        }
        self.looks.extend(asked);
        // What an answer leads to be asked comes in turn, not deeper and deeper.
        if !std::mem::replace(&mut self.is_looking, true) {
            while self.is_prompt && !self.looks.is_empty() {
                self.look(0);
            }
            self.is_looking = false;
        }
    }

    /// Answers a look.
    pub fn look(&mut self, index: usize) {
        let event = match self.looks.remove(index) {
            Effect::LookAtBase { base, used } => {
                let head = self.registry.get(&base.reference).cloned();
                let result = head.map(|head| {
                    let moved = used.iter().filter(|used| !used.is_at(&head));
                    let content = |digest: &Digest| self.contents.get(digest);
                    let compared = moved.map(|used| Compared {
                        used: used.key(),
                        present: Some(head.clone()),
                        same: used.base.id.as_ref().and_then(content) == content(&head),
                        absent: false,
                        how: "layers differ".to_owned(),
                    });
                    (head.clone(), compared.collect())
                });
                Event::BaseSeen {
                    base,
                    result: result.ok_or(pipelined::model::CheckError {
                        message: "no such image".to_owned(),
                        not_before: None,
                    }),
                    failed_tips: BTreeSet::new(),
                }
            }
            Effect::LookElsewhere { node, .. } => Event::ElsewhereSeen { node, result: Ok(None) },
            other => unreachable!("{other:?}"),
        };
        self.event(event);
    }

    pub fn looks(&self) -> usize {
        self.looks.len()
    }

    pub fn running(&self) -> Vec<JobId> {
        self.attempts.keys().copied().collect()
    }

    /// Runs until nothing runs; every step goes well. What happens at each start is looked at.
    pub fn run(&mut self) {
        let mut steps = 40 + 40 * self.state().jobs.len() + 60 * self.state().updates.links.len();
        while let Some(id) = self.running().first().copied() {
            assert!(steps > 0, "it does not end: {}", self.told());
            steps -= 1;
            self.step(id, Luck::Well);
        }
        self.check_rest();
    }

    /// All comes to rest, with time for what is tried again and for looks.
    pub fn settle(&mut self) {
        self.settle_in(8);
    }

    /// The same, with so many looks at all that there is.
    pub fn settle_in(&mut self, rounds: usize) {
        self.is_prompt = true;
        while !self.looks.is_empty() {
            self.look(0);
        }
        for _ in 0..rounds {
            self.poll_all();
            self.run();
            while self
                .state()
                .jobs
                .values()
                .any(|job| matches!(job.state, JobState::Queued { not_before: Some(at) } if at > self.now()))
            {
                self.pass(61);
                self.run();
            }
            if next_wake(self.state(), self.now()).is_some() {
                self.pass(2 * 3600);
            }
            self.run();
        }
    }

    /// How each image stands, and what is above it.
    pub fn stand(&self) -> BTreeMap<Node, (Freshness, Above)> {
        let ours = Ours::of(self.state(), self.config());
        let sight = Sight::new(self.state(), self.config(), &ours);
        let nodes = ours.graph.nodes().iter().enumerate();
        nodes
            .map(|(place, node)| (node.clone(), (sight.freshness(place), sight.above(place))))
            .collect()
    }

    pub fn waits(&self) -> BTreeMap<JobId, String> {
        let ours = Ours::of(self.state(), self.config());
        Sight::new(self.state(), self.config(), &ours).waits()
    }

    pub fn graph(&self) -> Graph {
        graph(self.state(), self.config())
    }
}
