//! A workdir with a record of chains: what stands on what, and what became of it.

use assert_cmd::Command;
use jiff::Timestamp;
use pipelined::config::{Config, Overrides, load};
use pipelined::model::{
    BaseUsed, CommitId, Culprit, Digest, FailedWave, ImageName, ImageRef, ImageResult, ImageStatus, Job, JobId,
    JobState, Links, Needed, Node, Outcome, ProjectName, Reason, Rebuild, RefName, ReleasePlan, ReleaseStage, Thing,
    Tried, Write,
};
use pipelined::reconcile::{Ours, judge, watched};
use pipelined::store::Store;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

const RUNNING: JobState = JobState::Running { cancelling: false };
pub const MAIN: &str = "refs/heads/main";

/// base → ruby → app, base → tools, app relies on lib; `one` and `two` stand on each other; `new` was never built.
const CONFIG: &str = "workdir = 'w'\n\
    [projects.base]\nremote = './b'\nimage.release = 'r.invalid/base:1'\n\
    [projects.ruby]\nremote = './r'\nimage.release = 'r.invalid/ruby:1'\n\
    [projects.app]\nremote = './a'\ndepends_on = ['lib']\nimage.release = 'r.invalid/app:1'\n\
    [projects.tools]\nremote = './t'\n[projects.tools.images.full]\nrelease = 'r.invalid/tools/full:1'\n\
    [projects.tools.images.slim]\nfile = 'slim'\nrelease = 'r.invalid/tools/slim:1'\n\
    [projects.lib]\nremote = './l'\n\
    [projects.one]\nremote = './1'\nimage.release = 'r.invalid/one:1'\n\
    [projects.two]\nremote = './2'\nimage.release = 'r.invalid/two:1'\n\
    [projects.new]\nremote = './n'\nimage.release = 'r.invalid/new:1'\n";

pub struct Scene {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub config: Config,
    next: i64,
    now: Timestamp,
}

impl Scene {
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("w")).unwrap();
        let path = dir.path().join("p.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let config = load(&path, &Overrides::default()).unwrap().config;
        let store = Store::open(&dir.path().join("w")).unwrap();
        let now = Timestamp::now();
        Self {
            dir,
            store,
            config,
            next: 1,
            now,
        }
    }

    /// All are released and fresh, but for `new`.
    pub fn released() -> Self {
        let mut scene = Self::empty();
        scene.release("base", "base", '1', &[("debian:12", 'd')]);
        scene.thing("lib", 'a');
        scene.release("ruby", "ruby", '2', &[("r.invalid/base:1", '1')]);
        scene.release("app", "app", '3', &[("r.invalid/ruby:1", '2')]);
        scene.release("tools", "full", '4', &[("r.invalid/base:1", '1')]);
        scene.release("tools", "slim", '5', &[("debian:12", 'd')]);
        scene.release("one", "one", '6', &[("r.invalid/two:1", '7')]);
        scene.release("two", "two", '7', &[("r.invalid/one:1", '6')]);
        scene.tip("new");
        scene
    }

    pub fn write(&mut self, writes: &[Write]) {
        self.now += Duration::from_secs(1);
        self.store.commit(writes, self.now, &|_, _, _| true).unwrap();
    }

    pub fn tip(&mut self, name: &str) {
        let selection = pipelined::reconcile::selection(&self.config.projects[&project(name)]);
        self.write(&[
            Write::Selection {
                project: project(name),
                selection,
            },
            Write::Ref {
                project: project(name),
                reference: main(),
                commit: Some(commit('a')),
            },
        ]);
    }

    fn job(&mut self, name: &str, state: JobState) -> Job {
        let id = JobId(self.next);
        self.next += 1;
        Job {
            id,
            project: project(name),
            reference: main(),
            commit: commit('a'),
            number: id.0,
            reason: Reason::NewCommit,
            cause: "first sight".to_owned(),
            place: id.0,
            created: self.now,
            state,
            attempts: 0,
            note: String::new(),
            failure: None,
            rebuild: None,
            wave: id,
            atomic: None,
        }
    }

    /// A job has released an image with this digest, built FROM these.
    pub fn release(&mut self, name: &str, image: &str, digit: char, bases: &[(&str, char)]) -> JobId {
        self.release_alike(name, image, digit, bases, "")
    }

    /// The content is that of these digests as well.
    pub fn release_alike(
        &mut self,
        name: &str,
        image: &str,
        digit: char,
        bases: &[(&str, char)],
        alike: &str,
    ) -> JobId {
        self.tip(name);
        let running = self.job(name, JobState::Running { cancelling: false });
        let config = &self.config.projects[&project(name)];
        let own = config.images.iter().find(|own| own.name.as_str() == image).unwrap();
        let target = own.expected(config, &main())[0].exactly().unwrap().clone();
        let mut used: Vec<BaseUsed> = bases.iter().map(|(name, digit)| base(name, *digit)).collect();
        if name == "app" {
            used.push(BaseUsed {
                name: "lib".to_owned(),
                reference: None,
                digests: Vec::new(),
                needed: Some(Needed {
                    node: node("lib", "lib"),
                    digest: None,
                    commit: Some(commit('a')),
                }),
                ..base("lib", 'f')
            });
        }
        let result = ImageResult {
            image: own.name.clone(),
            status: ImageStatus::Released,
            note: String::new(),
            fingerprint: own.fingerprint(&config.env),
            id: Some(digest(digit)),
            digest: Some(digest(digit)),
            bases: used,
            released: vec![target.clone()],
            alike: alike.chars().map(digest).collect(),
        };
        let links = links(bases.iter().map(|(name, _)| *name), Some(target));
        let id = running.id;
        let done = Job {
            state: JobState::Done(Outcome::Succeeded),
            ..running.clone()
        };
        self.write(&[put(&running), Write::Attempt(id)]);
        let ended = Write::AttemptEnd {
            job: id,
            failure: None,
            image_id: None,
            images: vec![result],
            void: false,
        };
        let links = Write::Links {
            node: node(name, image),
            links: Some(links),
        };
        self.write(&[ended, put(&done), links]);
        id
    }

    /// A project without images is built.
    pub fn thing(&mut self, name: &str, digit: char) {
        self.tip(name);
        let job = self.job(name, JobState::Done(Outcome::Succeeded));
        let (job_id, since) = (job.id, self.now);
        let links = Links {
            default: Some(true),
            ..links([].into_iter(), None)
        };
        let thing = Thing {
            job: job_id,
            commit: commit(digit),
            needs: Vec::new(),
            wave: job_id,
            since,
        };
        let node = node(name, name);
        self.write(&[
            put(&job),
            Write::Links {
                node: node.clone(),
                links: Some(links),
            },
            Write::Thing {
                node,
                thing: Some(thing),
            },
        ]);
    }

    /// A live job that builds an image again.
    pub fn rebuild(&mut self, name: &str, image: &str, state: JobState) -> JobId {
        let job = Job {
            reason: Reason::Manual,
            cause: "asked for".to_owned(),
            rebuild: Some(Rebuild {
                images: BTreeMap::from([(ImageName::new(image).unwrap(), Some(JobId(1)))]),
                key: String::new(),
                force: false,
            }),
            ..self.job(name, state)
        };
        self.write(&[put(&job)]);
        job.id
    }

    /// Its ref goes on to a commit that fails, and what is released is built again after that: the jobs.
    pub fn broken_tip(&mut self, name: &str) -> (JobId, JobId) {
        let failed = Job {
            commit: commit('b'),
            note: "build: no such file".to_owned(),
            ..self.job(name, JobState::Done(Outcome::Failed))
        };
        let again = self.job(name, JobState::Done(Outcome::Succeeded));
        let tip = Write::Ref {
            project: project(name),
            reference: main(),
            commit: Some(commit('b')),
        };
        self.write(&[put(&failed), put(&again), tip]);
        (failed.id, again.id)
    }

    /// It was decided that a job need not run, or that it cannot.
    pub fn skipped(&mut self, name: &str, note: &str) {
        let job = Job {
            note: note.to_owned(),
            ..self.job(name, JobState::Done(Outcome::Skipped))
        };
        self.write(&[put(&job)]);
    }

    /// A job worked for 15 seconds, with a minute of waiting in between.
    pub fn waited(&mut self, name: &str) -> JobId {
        let running = self.job(name, RUNNING);
        let id = running.id;
        let begun = self.now;
        self.store
            .commit(&[put(&running), Write::Attempt(id)], begun, &|_, _, _| true)
            .unwrap();
        let mut commit = |second: u64, writes: &[Write]| {
            let at = begun + Duration::from_secs(second);
            self.store.commit(writes, at, &|_, _, _| false).unwrap();
        };
        commit(10, &[Write::AttemptWaits(id)]);
        commit(70, &[Write::Attempt(id)]);
        let ended = Write::AttemptEnd {
            job: id,
            failure: None,
            image_id: None,
            images: Vec::new(),
            void: false,
        };
        let done = Job {
            state: JobState::Done(Outcome::Succeeded),
            ..running
        };
        commit(75, &[ended, put(&done)]);
        id
    }

    /// Its only commit failed, and what stands on it has a job that waits for it.
    pub fn never_released(&mut self) -> JobId {
        let failed = self.job("base", JobState::Done(Outcome::Failed));
        self.tip("base");
        self.tip("ruby");
        let waiting = self.job("ruby", JobState::Queued { not_before: None });
        let of_base = Links {
            failed: Some((commit('a'), failed.id, Outcome::Failed)),
            ..links([].into_iter(), Some(ImageRef::parse("r.invalid/base:1").unwrap()))
        };
        let of_ruby = links(
            ["r.invalid/base:1"].into_iter(),
            Some(ImageRef::parse("r.invalid/ruby:1").unwrap()),
        );
        let link = |name: &str, links: Links| Write::Links {
            node: node(name, name),
            links: Some(links),
        };
        self.write(&[
            put(&failed),
            put(&waiting),
            link("base", of_base),
            link("ruby", of_ruby),
        ]);
        failed.id
    }

    /// What is new below it was tried, and failed.
    pub fn failed(&mut self, name: &str) -> JobId {
        let job = self.job(name, JobState::Done(Outcome::Failed));
        let state = self.store.load_state().unwrap();
        let ours = Ours::of(&state, &self.config);
        let image = watched(&state, &self.config)
            .find(|w| w.node.project == project(name))
            .unwrap();
        let tried = Tried {
            key: judge(image, &state.updates, &ours).key,
            job: job.id,
            ended: Some((Outcome::Failed, self.now)),
        };
        let node = image.node.clone();
        self.write(&[
            put(&job),
            Write::Tried {
                node,
                tried: Some(tried),
            },
        ]);
        job.id
    }

    /// An atomic wave of `base` has failed by `app`: that of a new commit `b`, or of the released one that was built again.
    /// Both jobs.
    pub fn failed_wave(&mut self, is_new: bool) -> (JobId, JobId) {
        let root = match is_new {
            true => self.broken_tip("base").0,
            false => self.failed("base"),
        };
        let by = self.job("app", JobState::Done(Outcome::Failed));
        let culprit = Culprit {
            node: node("app", "app"),
            job: by.id,
            commit: commit('a'),
            released: Some(commit('a')),
            by_any_success: false,
        };
        let wave = FailedWave {
            root,
            by: vec![culprit],
        };
        let base = node("base", "base");
        let before = self.store.load_state().unwrap().updates.links[&base].clone();
        let links = Links {
            failed: is_new.then(|| (commit('b'), root, Outcome::Failed)),
            failed_waves: vec![wave],
            ..before
        };
        let links = Write::Links {
            node: base,
            links: Some(links),
        };
        self.write(&[put(&by), links]);
        (root, by.id)
    }

    /// Its ref goes on to a commit that nothing is known of yet.
    pub fn moves(&mut self, name: &str, digit: char) {
        self.write(&[Write::Ref {
            project: project(name),
            reference: main(),
            commit: Some(commit(digit)),
        }]);
    }

    /// It is built again, and held back with the wave that it began itself.
    pub fn held(&mut self, name: &str, digit: char) -> JobId {
        let id = self.rebuild(name, name, JobState::Queued { not_before: None });
        let mut job = self.store.job(id).unwrap().unwrap().job;
        job.atomic = Some(id);
        let config = &self.config.projects[&project(name)];
        let target = config.images[0].expected(config, &main())[0].exactly().unwrap().clone();
        let result = ImageResult {
            image: ImageName::new(name).unwrap(),
            status: ImageStatus::Built,
            note: String::new(),
            fingerprint: String::new(),
            id: Some(digest(digit)),
            digest: Some(digest(digit)),
            bases: Vec::new(),
            released: Vec::new(),
            alike: BTreeSet::new(),
        };
        let plan = ReleasePlan {
            images: vec![pipelined::model::PlannedRelease {
                result,
                content: pipelined::model::Content::Engine(digest(digit)),
                targets: vec![target],
            }],
            others: Vec::new(),
            failure: None,
            stage: ReleaseStage::Held,
            env: BTreeMap::new(),
        };
        self.write(&[put(&job), Write::Attempt(id), Write::Releasing { job: id, plan }]);
        id
    }

    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipelined"));
        command.env_remove("PIPELINED_CONFIG").timeout(Duration::from_secs(30));
        command.args(args).arg("-c").arg(self.path()).output().unwrap()
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("p.toml")
    }

    #[track_caller]
    pub fn out(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?}: {stdout}{stderr}");
        stdout
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.out(args)).unwrap()
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn put(job: &Job) -> Write {
    Write::Job {
        job: job.clone(),
        lasting: true,
    }
}

fn links<'a>(bases: impl Iterator<Item = &'a str>, target: Option<ImageRef>) -> Links {
    Links {
        commit: commit('a'),
        bases: bases.map(|name| ImageRef::parse(name).unwrap()).collect(),
        siblings: BTreeSet::new(),
        targets: target.into_iter().collect(),
        remotes: BTreeSet::new(),
        default: None,
        needs: Vec::new(),
        failed: None,
        failed_waves: Vec::new(),
    }
}

fn base(name: &str, digit: char) -> BaseUsed {
    BaseUsed {
        name: name.to_owned(),
        reference: ImageRef::parse(name).ok(),
        digests: vec![digest(digit)],
        id: None,
        diff_ids: Vec::new(),
        platform: Some("linux/amd64".to_owned()),
        sibling: None,
        needed: None,
    }
}

pub fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

pub fn main() -> RefName {
    RefName::new(MAIN).unwrap()
}

pub fn node(name: &str, image: &str) -> Node {
    Node {
        project: project(name),
        reference: main(),
        image: ImageName::new(image).unwrap(),
    }
}

pub fn commit(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40)).unwrap()
}

pub fn digest(digit: char) -> Digest {
    Digest::new(sha(digit)).unwrap()
}

pub fn sha(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

#[track_caller]
pub fn contains(shown: &str, words: &[&str]) {
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
}
