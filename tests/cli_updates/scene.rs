//! A workdir with a record of releases, and with what was found out about them.

use crate::{pipelined, sha, text};
use jiff::Timestamp;
use pipelined::config::{Config, Overrides, load};
use pipelined::model::{
    BaseKey, BaseUsed, Check, CheckTrouble, CommitId, Compared, Digest, ImageRef, ImageResult, ImageStatus, Job, JobId,
    JobState, Look, Outcome, ProjectName, Reason, RefName, Tried, Used, Write,
};
use pipelined::reconcile::{Ours, judge, watched};
use pipelined::store::Store;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const MAIN: &str = "refs/heads/main";

/// `ruby` stands on debian:12, `slim` on that and on an image that is named by its digest; `tool` was never built here.
pub struct Scene {
    pub dir: tempfile::TempDir,
    pub store: Store,
    config: Config,
    next: i64,
    pub now: Timestamp,
}

impl Scene {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("w")).unwrap();
        let toml = "workdir = 'w'\n\
            [projects.ruby]\nremote = './r'\ntags = ['v*']\n\
            [projects.ruby.images.full]\nrelease = ['registry.invalid/ruby:latest']\n\
            [projects.ruby.images.slim]\nfile = 'slim'\nrelease = ['registry.invalid/slim:latest']\n\
            [projects.tool]\nremote = './t'\n[projects.tool.image]\nrelease = ['registry.invalid/tool:1']\n";
        let path = dir.path().join("p.toml");
        std::fs::write(&path, toml).unwrap();
        let config = load(&path, &Overrides::default()).unwrap().config;
        let store = Store::open(&dir.path().join("w")).unwrap();
        Self {
            dir,
            store,
            config,
            next: 1,
            now: Timestamp::now(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("p.toml")
    }

    pub fn write(&mut self, ago: Duration, writes: &[Write]) {
        self.store.commit(writes, self.now - ago, &|_, _, _| true).unwrap();
    }

    /// A job on main of `ruby` with these results.
    pub fn job(&mut self, reason: Reason, ago: Duration, results: &[(&str, ImageStatus)], digit: char) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        let mut job = Job {
            atomic: None,
            wave: id,
            id,
            project: ruby(),
            reference: main(),
            commit: commit('a'),
            number: id.0,
            reason,
            cause: format!("debian:12 {} → x", "1".repeat(12)),
            place: id.0,
            created: self.now - ago,
            state: JobState::Running { cancelling: false },
            attempts: 0,
            note: String::new(),
            failure: None,
            rebuild: None,
        };
        let project = &self.config.projects[&ruby()];
        let images = results.iter().map(|(name, status)| {
            let config = project
                .images
                .iter()
                .find(|image| image.name.as_str() == *name)
                .unwrap();
            ImageResult {
                alike: std::collections::BTreeSet::new(),
                image: config.name.clone(),
                status: *status,
                note: String::new(),
                fingerprint: config.fingerprint(&project.env),
                id: Some(digest('e')),
                digest: Some(digest('f')),
                bases: vec![debian(digit)],
                released: match status {
                    ImageStatus::Released => vec![reference(&format!(
                        "registry.invalid/{}:latest",
                        if *name == "full" { "ruby" } else { name }
                    ))],
                    _ => Vec::new(),
                },
            }
        });
        let images = images.collect();
        let tip = Write::Ref {
            project: ruby(),
            reference: main(),
            commit: Some(commit('a')),
        };
        let put = |job: &Job| Write::Job {
            job: job.clone(),
            lasting: true,
        };
        let begin = [put(&job), Write::Attempt(id), tip];
        let ended = Write::AttemptEnd {
            job: id,
            failure: None,
            image_id: None,
            images,
            void: false,
        };
        job.state = JobState::Done(Outcome::Succeeded);
        let end = [ended, put(&job)];
        self.write(ago, &begin);
        self.write(ago, &end);
        id
    }

    /// Both images, released two hours ago.
    pub fn released() -> Self {
        let mut scene = Self::new();
        let both = [("full", ImageStatus::Released), ("slim", ImageStatus::Released)];
        scene.job(Reason::NewCommit, 2 * HOUR, &both, '1');
        scene
    }

    /// debian:12 is at this digest since then, and was looked at a minute ago.
    pub fn look(&mut self, digit: char, since: Duration) {
        let compared = Compared {
            used: Used {
                base: debian('1'),
                layers: None,
            }
            .key(),
            present: Some(digest('c')),
            same: false,
            absent: false,
            how: "its layers differ".to_owned(),
        };
        let look = Look {
            head: digest(digit),
            since: self.now - since,
            checked: self.now - MINUTE,
            compared: vec![compared],
        };
        self.base(Some(look), None);
    }

    pub fn base(&mut self, last: Option<Look>, trouble: Option<CheckTrouble>) {
        let check = Check {
            last,
            trouble,
            next: self.now + 4 * MINUTE + MINUTE / 2,
        };
        let base = BaseKey {
            reference: reference("debian:12"),
            project: None,
        };
        let check = Some(check);
        self.write(MINUTE, &[Write::Base { base, check }]);
    }

    /// The last rebuild of `full` for what is new now.
    pub fn tried(&mut self, job: JobId, ended: Option<Outcome>) {
        let state = self.store.load_state().unwrap();
        let full = watched(&state, &self.config)
            .find(|w| w.node.image.as_str() == "full")
            .unwrap();
        let tried = Tried {
            key: judge(full, &state.updates, &Ours::of(&state, &self.config)).key,
            job,
            ended: ended.map(|outcome| (outcome, self.now - MINUTE)),
        };
        let node = full.node.clone();
        let tried = Some(tried);
        self.write(MINUTE, &[Write::Tried { node, tried }]);
    }

    pub fn out(&self, args: &[&str]) -> String {
        let output = pipelined(args, &self.path());
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?}: {stdout}{stderr}");
        stdout
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.out(args)).unwrap()
    }

    /// Of one image, from `images --json`.
    pub fn image(&self, name: &str) -> Value {
        let all = self.json(&["images", "--json"]);
        let all = all.as_array().unwrap().iter();
        let mut named = all.filter(|image| image["name"] == name).cloned();
        named.next().unwrap_or_else(|| panic!("no {name}"))
    }
}

pub fn ruby() -> ProjectName {
    ProjectName::new("ruby").unwrap()
}

pub fn main() -> RefName {
    RefName::new(MAIN).unwrap()
}

pub fn commit(digit: char) -> CommitId {
    CommitId::new(digit.to_string().repeat(40)).unwrap()
}

pub fn digest(digit: char) -> Digest {
    Digest::new(sha(digit)).unwrap()
}

pub fn reference(text: &str) -> ImageRef {
    ImageRef::parse(text).unwrap()
}

pub fn debian(digit: char) -> BaseUsed {
    BaseUsed {
        name: "debian:12".to_owned(),
        reference: Some(reference("debian:12")),
        digests: vec![digest(digit)],
        id: None,
        diff_ids: Vec::new(),
        platform: Some("linux/amd64".to_owned()),
        sibling: None,
        needed: None,
    }
}

#[track_caller]
pub fn contains(shown: &str, words: &[&str]) {
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
}
