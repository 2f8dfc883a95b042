//! Ten thousand released images, each of a project of its own, that stand on each other: a state and a config for the
//! planner.

use crate::released;
use crate::support::scratch::Scratch;
use jiff::{SignedDuration, Timestamp};
use pipelined::config::{Config, Overrides, load};
use pipelined::model::{
    BaseKey, BaseUsed, Check, CommitId, Content, Digest, Evidence, ImageName, ImageRef, ImageResult, ImageStatus, Job,
    JobId, JobState, Learned, Links, Look, Node, PlannedRelease, ProjectName, Reason, RefName, ReleasePlan, Seen,
    Standing, State,
};
use pipelined::reconcile::{Effect, Event, handle, selection};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// How many there are.
pub const IMAGES: usize = 10_000;
/// Of the trees, from the roots down.
const LEVELS: [usize; 6] = [20, 60, 200, 700, 2300, 6720];
/// Has no divisor in common with [`IMAGES`]: names are not in the order of the graph.
const STEP: usize = 7919;
const HOST: &str = "registry.example";
const BASE: &str = "base.example/debian:12";

/// How they stand on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 20 roots, and five levels of images below.
    Trees,
    /// Each on the one before.
    Chain,
    /// All on the first.
    Star,
}

/// The images, the roots first.
pub struct Forest {
    shape: Shape,
    pub config: Config,
    begin: Timestamp,
    names: Vec<String>,
    numbers: HashMap<String, usize>,
}

/// What was released, of each image one after the other.
fn digest(generation: usize, n: usize) -> Digest {
    Digest::new(format!("sha256:{generation:032x}{n:032x}")).unwrap()
}

impl Forest {
    pub fn new(shape: Shape) -> Self {
        let scratch = Scratch::new();
        let toml = released::config(IMAGES, Path::new("/srv/remote.git"), HOST, "30days", "");
        let toml = format!("workdir = '/nowhere'\nlimit = 4\n{toml}");
        let file = scratch.write("pipelined.toml", toml);
        let names: Vec<String> = (0..IMAGES).map(|n| released::project(n * STEP % IMAGES)).collect();
        Self {
            shape,
            config: load(&file, &Overrides::default()).unwrap().config,
            begin: "2026-01-01T00:00:00Z".parse().unwrap(),
            numbers: names.iter().cloned().zip(0..).collect(),
            names,
        }
    }

    pub fn name(&self, n: usize) -> String {
        self.names[n].clone()
    }

    /// What an image stands on; none: the base that is not ours.
    pub fn parent(&self, n: usize) -> Option<usize> {
        match self.shape {
            Shape::Trees => {
                let mut first = 0;
                for levels in LEVELS.windows(2) {
                    let next = first + levels[0];
                    if (next..next + levels[1]).contains(&n) {
                        return Some(first + (n - next) * levels[0] / levels[1]);
                    }
                    first = next;
                }
                None
            }
            Shape::Chain => n.checked_sub(1),
            Shape::Star => (n > 0).then_some(0),
        }
    }

    /// A moment so many seconds after everything was released.
    pub fn now(&self, seconds: i64) -> Timestamp {
        self.begin + SignedDuration::from_secs(3600 + seconds)
    }

    fn node(&self, n: usize) -> Node {
        Node {
            project: ProjectName::new(self.name(n)).unwrap(),
            reference: RefName::new(released::MAIN).unwrap(),
            image: ImageName::new(self.name(n)).unwrap(),
        }
    }

    fn commit() -> CommitId {
        CommitId::new("1".repeat(40)).unwrap()
    }

    fn target(&self, n: usize) -> ImageRef {
        ImageRef::parse(&format!("{HOST}/{}:latest", self.names[n])).unwrap()
    }

    fn used(&self, n: usize, state: &State) -> BaseUsed {
        let (reference, known, id) = match self.parent(n) {
            Some(up) => {
                let standing = state.updates.standings.get(&self.node(up));
                let known = standing.map(|it| (it.digest.clone().unwrap(), it.id.clone().unwrap()));
                let (known, id) = known.unwrap_or_else(|| (digest(1, up), digest(2, up)));
                (self.target(up), known, id)
            }
            None => {
                let reference = ImageRef::parse(BASE).unwrap();
                let key = BaseKey {
                    reference: reference.clone(),
                    project: None,
                };
                let check = state.updates.bases.get(&key).and_then(|check| check.last.as_ref());
                let head = check.map_or_else(|| digest(1, IMAGES), |look| look.head.clone());
                (reference, head.clone(), head)
            }
        };
        BaseUsed {
            name: reference.to_string(),
            reference: Some(reference),
            digests: vec![known],
            id: Some(id),
            diff_ids: (0..5).map(|layer| digest(10 + layer, n)).collect(),
            platform: Some("linux/amd64".to_owned()),
            sibling: None,
            needed: None,
        }
    }

    fn links(&self, n: usize) -> Links {
        let base = self
            .parent(n)
            .map_or_else(|| ImageRef::parse(BASE).unwrap(), |up| self.target(up));
        Links {
            commit: Self::commit(),
            bases: [base].into(),
            siblings: BTreeSet::new(),
            targets: [self.target(n)].into(),
            remotes: BTreeSet::new(),
            default: Some(true),
            needs: Vec::new(),
            failed: None,
            failed_waves: Vec::new(),
        }
    }

    /// All are released, nothing is new.
    pub fn state(&self) -> State {
        let mut state = State {
            next_id: IMAGES as i64 + 1,
            ..State::default()
        };
        let commit = Self::commit();
        for n in 0..IMAGES {
            let node = self.node(n);
            let seen = Seen {
                refs: [(node.reference.clone(), commit.clone())].into(),
                selection: Some(selection(&self.config.projects[&node.project])),
                last_number: 1,
            };
            state.projects.insert(node.project.clone(), seen);
            state.updates.links.insert(node.clone(), self.links(n));
            let standing = Standing {
                job: Some(JobId(n as i64 + 1)),
                commit: commit.clone(),
                id: Some(digest(2, n)),
                digest: Some(digest(1, n)),
                released: vec![self.target(n)],
                bases: vec![self.used(n, &State::default())],
                verified: self.begin,
                evidence: Evidence::Record,
                layers: Vec::new(),
                since: self.begin,
                wave: Some(JobId(1)),
                alike: BTreeSet::new(),
            };
            state.updates.standings.insert(node, standing);
        }
        let key = BaseKey {
            reference: ImageRef::parse(BASE).unwrap(),
            project: None,
        };
        let look = Look {
            head: digest(1, IMAGES),
            since: self.begin,
            checked: self.begin,
            compared: Vec::new(),
        };
        let check = Check {
            last: Some(look),
            trouble: None,
            next: self.now(20 * 86_400),
        };
        state.updates.bases.insert(key, check);
        state
    }

    fn number(&self, job: &Job) -> usize {
        self.numbers[job.project.as_str()]
    }

    /// What an attempt of this job learns.
    pub fn learned(&self, job: &Job) -> Event {
        let n = self.number(job);
        let image = self.node(n).image;
        let learned = Learned {
            links: [(image.clone(), self.links(n))].into(),
            builds: [image].into(),
        };
        Event::Learned { job: job.id, learned }
    }

    fn result(&self, job: &Job, state: &State, status: ImageStatus) -> ImageResult {
        let n = self.number(job);
        let built = usize::try_from(job.id.0).unwrap() + 100;
        let released = match status {
            ImageStatus::Released => vec![self.target(n)],
            _ => Vec::new(),
        };
        ImageResult {
            image: self.node(n).image,
            status,
            note: String::new(),
            fingerprint: "f".to_owned(),
            id: Some(digest(built, IMAGES + n)),
            digest: Some(digest(built, n)),
            bases: vec![self.used(n, state)],
            released,
            alike: BTreeSet::new(),
        }
    }

    /// What it announces.
    pub fn releasing(&self, job: &Job, state: &State) -> Event {
        let planned = PlannedRelease {
            result: self.result(job, state, ImageStatus::Built),
            content: Content::Registry(self.target(self.number(job))),
            targets: vec![self.target(self.number(job))],
        };
        let plan = ReleasePlan {
            images: vec![planned],
            ..ReleasePlan::default()
        };
        Event::Releasing { job: job.id, plan }
    }

    /// That it has released something new.
    pub fn ended(&self, job: &Job, state: &State) -> Event {
        Event::AttemptEnded {
            job: job.id,
            result: Ok(()),
            image_id: None,
            images: vec![self.result(job, state, ImageStatus::Released)],
            void: false,
            last: true,
        }
    }

    /// A person wants an image built.
    pub fn asked_for(&self, n: usize) -> Event {
        let node = self.node(n);
        Event::BuildRequested {
            project: node.project,
            reference: node.reference,
            commit: Self::commit(),
        }
    }

    /// Images that stand on none of ours.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        (0..IMAGES).filter(|n| self.parent(*n).is_none())
    }

    /// A person has the first root built; the end of its attempt.
    pub fn root_is_built(&self, state: &mut State) -> Event {
        let decision = handle(state, &self.config, self.now(1), self.asked_for(0));
        let started = decision.effects.iter().find_map(|effect| match effect {
            Effect::Start(job) => Some(*job),
            _ => None,
        });
        let job = state.jobs[&started.unwrap()].clone();
        assert!(matches!(
            (&job.state, job.reason),
            (JobState::Running { .. }, Reason::Manual)
        ));
        let learned = handle(state, &self.config, self.now(2), self.learned(&job));
        assert!(
            learned.effects.iter().any(|effect| matches!(effect, Effect::Go { .. })),
            "{:?}",
            learned.effects
        );
        let plan = self.releasing(&job, state);
        handle(state, &self.config, self.now(3), plan);
        self.ended(&job, state)
    }
}
