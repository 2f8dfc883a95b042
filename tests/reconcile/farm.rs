//! Repositories whose images stand on each other, a registry, and attempts that are played step by step: what a build
//! comes to is a pure function of its commit and of what it stands on.

use crate::updates::image;
use crate::world::{World, commit, config, project, reference, watched};
use jiff::{SignedDuration, Timestamp};
use pipelined::config::{Chain, Config, Upstream};
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
            most_running: 0,
            is_strict: false,
        };
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

    /// By hand: the tip.
    pub fn build(&mut self, name: &str) {
        if let Some(n) = self.tips.get(&project(name)) {
            self.event(Event::BuildRequested {
                project: project(name),
                reference: reference("main"),
                commit: commit(*n),
            });
        }
    }

    /// By hand: what is released.
    pub fn rebuild(&mut self, node: &Node) {
        let ours = Ours::of(self.state(), self.config());
        let news = all(self.state(), self.config())
            .find(|watched| watched.node == node)
            .map(|watched| judge(watched, &self.state().updates, &ours).news(pipelined::reconcile::Counting::All));
        if let Some(news) = news {
            self.event(Event::RebuildRequested {
                wanted: vec![(node.clone(), news)],
            });
        }
    }

    pub fn cancel(&mut self, job: JobId) {
        self.event(Event::CancelRequested { job });
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
                let decision = handle(state, config, *now, event);
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
        if self.is_strict && decision.effects.iter().any(|effect| matches!(effect, Effect::Start(_))) {
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
                    if self.is_strict {
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
        while self.is_prompt && !self.looks.is_empty() {
            self.look(0);
        }
    }

    /// What is remembered of the graph is what it is.
    fn check_memo(&self) {
        let fresh = graph(self.state(), self.config());
        let remembered = self.state().graph.clone().get(|| fresh.clone());
        assert_eq!(*remembered, fresh, "the graph that is remembered");
    }

    /// Of an atomic wave all or nothing is released.
    fn check_waves(&self) {
        for (job, root) in &self.moved {
            for (other, _) in self.members.iter().filter(|(_, of)| *of == root) {
                let outcome = self.done.get(other).map(|(_, outcome)| *outcome);
                assert!(
                    outcome.is_none_or(|outcome| outcome == Outcome::Succeeded),
                    "job {job} of the wave of {root} was released, and {other} {outcome:?}"
                );
            }
        }
    }

    fn check_ground(&self, id: JobId, ground: &Ground) {
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

    fn memo(&self) -> std::sync::Arc<Graph> {
        self.state().graph.clone().get(|| self.graph())
    }

    /// Nothing above a job that builds is being built, or about to be.
    fn check_settled(&self, id: JobId) {
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
    fn check_longest(&self, effects: &[Effect]) {
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

    fn end(&mut self, job: JobId, result: Result<(), (FailureKind, String)>, images: Vec<ImageResult>, void: bool) {
        self.attempts.remove(&job);
        self.cancels.remove(&job);
        let attempts = self.state().jobs.get(&job).map_or(0, |job| job.attempts);
        let last = attempts + 1 >= self.config().retry.attempts;
        let result = result.map_err(|(kind, why)| (Step::Build, Failure::new(kind, why)));
        self.event(Event::AttemptEnded {
            job,
            result,
            image_id: None,
            images,
            void,
            last,
        });
    }

    fn fail(&mut self, job: JobId, kind: FailureKind, why: &str) {
        self.end(job, Err((kind, why.to_owned())), Vec::new(), false);
    }

    /// One step of a running attempt.
    pub fn step(&mut self, id: JobId, luck: Luck) {
        let Some(phase) = self.attempts.get(&id).cloned() else {
            return;
        };
        let is_releasing = self.state().releasing.contains_key(&id);
        if self.cancels.contains(&id) && !is_releasing {
            return self.fail(id, FailureKind::Cancelled, "cancelled");
        }
        match phase {
            Phase::Begun if is_releasing => self.release(id, &BTreeSet::new(), luck, true),
            Phase::Begun => {
                let learned = self.learned(id);
                self.event(Event::Learned { job: id, learned });
            }
            Phase::Waits(why) => self.fail(id, FailureKind::Waiting, &why),
            Phase::Refused(why) => self.fail(id, FailureKind::Failed, &why),
            Phase::Builds(_) if luck != Luck::Well => self.fail(id, FailureKind::Errored, "no network"),
            Phase::Builds(ground) => self.make(id, &ground),
            Phase::Releases(lost) => self.release(id, &lost, luck, false),
        }
    }

    fn learned(&self, id: JobId) -> Learned {
        let job = &self.state().jobs[&id];
        let tree = &self.trees[&(job.project.clone(), job.commit.clone())];
        let images = self
            .config()
            .projects
            .get(&job.project)
            .map(|project| project.images.clone());
        let images = images.unwrap_or_default();
        let own: BTreeSet<String> = images.iter().map(|image| image.name.to_string()).collect();
        let of = |name: &str, file: &File| {
            let siblings = file.bases.iter().filter(|base| own.contains(*base));
            Links {
                commit: job.commit.clone(),
                bases: file.bases.iter().map(|base| at(base)).collect(),
                siblings: siblings.map(|base| ImageName::new(base).unwrap()).collect(),
                targets: own.contains(name).then(|| at(name)).into_iter().collect(),
                remotes: tree.deps.iter().map(|name| format!("/srv/{name}")).collect(),
                default: Some(true),
                needs: Vec::new(),
                failed: None,
            }
        };
        let itself = ImageName::new(job.project.as_str()).unwrap();
        let names: Vec<ImageName> = match images.is_empty() {
            true => vec![itself],
            false => images.iter().map(|image| image.name.clone()).collect(),
        };
        let none = File::default();
        let links = names.iter().map(|name| {
            let file = tree.files.get(name.as_str()).unwrap_or(&none);
            (name.clone(), of(name.as_str(), file))
        });
        let builds = names.iter().filter(|name| {
            job.rebuild
                .as_ref()
                .is_none_or(|rebuild| rebuild.images.contains_key(*name))
        });
        Learned {
            links: links.collect(),
            builds: builds.cloned().collect(),
        }
    }

    /// What comes of a file on these contents.
    pub fn content(name: &str, file: &File, bases: &[u64], needs: &[u64]) -> u64 {
        match file.is_deaf {
            true => hash(&(name, file.salt)),
            false => hash(&(name, file.salt, bases, needs)),
        }
    }

    pub fn content_of_need(&self, needed: &Needed) -> u64 {
        match (&needed.digest, &needed.commit) {
            (Some(digest), _) => self.contents[digest],
            (None, Some(commit)) => hash(commit),
            (None, None) => 0,
        }
    }

    fn make(&mut self, id: JobId, ground: &Ground) {
        let job = self.state().jobs[&id].clone();
        let tree = self.trees[&(job.project.clone(), job.commit.clone())].clone();
        if tree.fails {
            return self.fail(id, FailureKind::Failed, "exit code 1");
        }
        let order = self
            .config()
            .projects
            .get(&job.project)
            .map(|project| project.images.clone());
        let mut made: BTreeMap<String, ImageResult> = BTreeMap::new();
        let mut failed = None;
        for image in order.unwrap_or_default() {
            let name = image.name.to_string();
            if job
                .rebuild
                .as_ref()
                .is_some_and(|rebuild| !rebuild.images.contains_key(&image.name))
            {
                continue;
            }
            self.built.push((id, node(job.project.as_str(), &name)));
            let file = tree.files.get(&name).cloned().unwrap_or_default();
            let result = self.make_one(&job, &name, &file, ground, &made);
            if let Err(why) = &result {
                failed = Some(why.clone());
            }
            let result = result.unwrap_or_else(|why| empty(&name, ImageStatus::Failed, &why));
            made.insert(name, result);
        }
        let failure = failed.map(|why| (Step::Build, Failure::new(FailureKind::Failed, why)));
        let is_new = |result: &&ImageResult| result.status == ImageStatus::Built;
        let images: Vec<PlannedRelease> = made
            .values()
            .filter(is_new)
            .map(|result| PlannedRelease {
                result: result.clone(),
                content: Content::Archive("a".to_owned()),
                targets: vec![at(result.image.as_str())],
            })
            .collect();
        let others: Vec<ImageResult> = made.values().filter(|result| !is_new(result)).cloned().collect();
        if images.is_empty() {
            let result = failure.map_or(Ok(()), |(_, failure)| Err((failure.kind, failure.message)));
            return self.end(id, result, others, false);
        }
        let plan = ReleasePlan {
            images,
            others,
            failure,
            stage: ReleaseStage::Moving,
        };
        let lost = overtaken(&plan, &self.releases, &self.state().releasing, id, job.rebuild.as_ref());
        self.attempts.insert(id, Phase::Releases(lost));
        self.event(Event::Releasing { job: id, plan });
    }

    fn make_one(
        &mut self,
        job: &Job,
        name: &str,
        file: &File,
        ground: &Ground,
        made: &BTreeMap<String, ImageResult>,
    ) -> Result<ImageResult, String> {
        if file.fails {
            return Err("exit code 1".to_owned());
        }
        let mut used = Vec::new();
        for base in &file.bases {
            let sibling = made.get(base);
            let digest = match (sibling, ground.parents.get(&at(base)), self.registry.get(&at(base))) {
                (Some(result), _, _) => result.digest.clone(),
                (None, Some(parent), _) => Some(parent.digest.clone()),
                (None, None, head) => head.cloned(),
            };
            let digest = digest.ok_or_else(|| format!("{base}: manifest unknown"))?;
            used.push(BaseUsed {
                name: base.clone(),
                reference: Some(at(base)),
                digests: vec![digest.clone()],
                id: Some(digest),
                diff_ids: Vec::new(),
                platform: None,
                sibling: sibling.map(|result| result.image.clone()),
                needed: None,
            });
        }
        let image = ImageName::new(name).unwrap();
        let bases: Vec<u64> = used.iter().map(|base| self.contents[&base.digests[0]]).collect();
        let needed: Vec<BaseUsed> = ground.needs.get(&image).cloned().unwrap_or_default();
        let needs: Vec<u64> = needed
            .iter()
            .flat_map(|base| &base.needed)
            .map(|n| self.content_of_need(n))
            .collect();
        let content = Self::content(name, file, &bases, &needs);
        used.extend(needed);
        let released = ground.released.get(&image).cloned().unwrap_or_default();
        let is_same = released.iter().any(|digest| self.contents[digest] == content);
        let digest = self.digest(content);
        let status = match (is_same, &job.rebuild) {
            (true, Some(rebuild)) if !rebuild.force => ImageStatus::Unchanged,
            _ => ImageStatus::Built,
        };
        Ok(ImageResult {
            id: Some(digest.clone()),
            digest: Some(digest),
            bases: used,
            alike: if is_same { released } else { BTreeSet::new() },
            ..empty(name, status, "")
        })
    }

    fn release(&mut self, id: JobId, lost: &BTreeSet<ImageRef>, luck: Luck, is_resumed: bool) {
        let plan = self.state().releasing[&id].clone();
        let job = self.state().jobs[&id].clone();
        let lost = match is_resumed {
            true => overtaken(&plan, &self.releases, &self.state().releasing, id, job.rebuild.as_ref()),
            false => lost.clone(),
        };
        match plan.stage {
            ReleaseStage::Held => panic!("job {id} runs while it is held back"),
            ReleaseStage::Abandoned => return self.fail(id, FailureKind::Failed, "its wave is not released"),
            _ if luck == Luck::Void && is_resumed => {
                return self.end(
                    id,
                    Err((FailureKind::Errored, "it is gone".to_owned())),
                    Vec::new(),
                    true,
                );
            }
            ReleaseStage::Gathering if luck == Luck::Errs => return self.fail(id, FailureKind::Errored, "no network"),
            ReleaseStage::Gathering => return self.fail(id, FailureKind::Waiting, "the rest of its wave"),
            ReleaseStage::Moving => {}
        }
        self.check_atomic(&job, &plan);
        let mut results = plan.others.clone();
        let mut is_half = false;
        for image in &plan.images {
            let mut result = image.result.clone();
            if is_half {
                result.status = ImageStatus::Failed;
                results.push(result);
                continue;
            }
            for target in image.targets.iter().filter(|target| !lost.contains(*target)) {
                let digest = result.digest.clone().unwrap();
                self.registry.insert(target.clone(), digest.clone());
                let release = Release {
                    reference: target.clone(),
                    digest,
                    job: id,
                    at: self.now(),
                };
                self.releases.insert(target.clone(), release);
                result.released.push(target.clone());
                if let Some(root) = job.atomic {
                    self.moved.insert(id, root);
                }
            }
            result.status = ImageStatus::Released;
            if luck == Luck::Errs {
                is_half = true;
                result.status = ImageStatus::Failed;
            }
            results.push(result);
        }
        let result = match (is_half, plan.failure) {
            (true, _) => Err((FailureKind::Errored, "no network".to_owned())),
            (false, Some((_, failure))) => Err((failure.kind, failure.message)),
            (false, None) if self.cancels.contains(&id) => Err((FailureKind::Cancelled, "cancelled".to_owned())),
            (false, None) => Ok(()),
        };
        self.end(id, result, results, false);
    }

    /// When references move, all of the wave moves.
    fn check_atomic(&self, job: &Job, plan: &ReleasePlan) {
        match job.atomic {
            Some(root) => {
                let members = self.state().jobs.values().filter(|other| other.atomic == Some(root));
                for other in members {
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
            None => {
                let _ = plan;
            }
        }
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
    fn check_rest(&self) {
        let ours = Ours::of(self.state(), self.config());
        let waits = Sight::new(self.state(), self.config(), &ours).waits();
        let is_later = |job: &Job| matches!(job.state, JobState::Queued { not_before: Some(at) } if at > self.now());
        if self.state().jobs.values().any(is_later) {
            return;
        }
        for job in self.state().jobs.values() {
            let is_blocked = waits.get(&job.id).is_some_and(|why| why.starts_with("blocked: "));
            assert!(is_blocked, "left over: {}", self.told());
        }
    }

    /// All comes to rest, with time for what is tried again and for looks.
    pub fn settle(&mut self) {
        self.is_prompt = true;
        while !self.looks.is_empty() {
            self.look(0);
        }
        for _ in 0..8 {
            self.poll_all();
            self.run();
            while self
                .state()
                .jobs
                .values()
                .any(|job| matches!(job.state, JobState::Queued { not_before: Some(_) }))
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

    /// Every image that is released stands on exactly the content that its bases have.
    pub fn check_fresh(&self) {
        let graph = self.graph();
        let circles: BTreeSet<usize> = graph.circles().iter().flatten().copied().collect();
        for (node, standing) in &self.state().updates.standings {
            let Some(place) = graph.place(node).filter(|place| !circles.contains(place)) else {
                continue;
            };
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

fn empty(name: &str, status: ImageStatus, note: &str) -> ImageResult {
    ImageResult {
        image: ImageName::new(name).unwrap(),
        status,
        note: note.to_owned(),
        fingerprint: String::new(),
        id: None,
        digest: None,
        bases: Vec::new(),
        released: Vec::new(),
        alike: BTreeSet::new(),
    }
}
