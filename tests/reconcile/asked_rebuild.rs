//! What a person wants built again is one wave: each image once, after what it stands on, and what failed stops only what
//! is below it.

use crate::updates::image;
use crate::world::{World, commit, config, project, reference};
use pipelined::model::{
    BaseUsed, Digest, Failure, FailureKind, Ground, ImageName, ImageRef, ImageResult, ImageStatus, JobId, Learned,
    Links, Node, Outcome, Step,
};
use pipelined::reconcile::{Decision, Effect, Event};
use std::collections::{BTreeMap, BTreeSet};

/// Who stands on whom.
const CHAIN: [(&str, &str); 4] = [
    ("base", "debian:12"),
    ("ruby", "base:1"),
    ("app", "ruby:1"),
    ("side", "base:1"),
];

struct Chain {
    world: World,
    built: u32,
    /// Builds end like this.
    bad: BTreeMap<&'static str, FailureKind>,
    /// What comes out is what is released.
    same: BTreeSet<&'static str>,
    /// In order.
    done: Vec<String>,
}

fn node(name: &str) -> Node {
    Node {
        project: project(name),
        reference: reference("main"),
        image: ImageName::new(name).unwrap(),
    }
}

fn target(name: &str) -> ImageRef {
    ImageRef::parse(&format!("r.io/{name}")).unwrap()
}

fn digest(n: u32) -> Digest {
    Digest::new(format!("sha256:{n:064x}")).unwrap()
}

impl Chain {
    /// All released.
    fn new(limit: usize) -> Self {
        let mut chain = Self::unbuilt(limit);
        for (name, _) in CHAIN {
            chain.world.push(name, "main", 1);
            chain.world.poll(name);
            chain.settle();
        }
        assert_eq!(chain.world.live(), []);
        chain.done.clear();
        chain
    }

    fn unbuilt(limit: usize) -> Self {
        let mut config = config(limit, &CHAIN.map(|(name, _)| name));
        for (name, _) in CHAIN {
            let image = image(name, &format!("r.io/{name}:1"));
            config.projects.get_mut(&project(name)).unwrap().images.push(image);
        }
        let mut world = World::new(config);
        world.event(Event::Recovered);
        Self {
            world,
            built: 0,
            bad: BTreeMap::new(),
            same: BTreeSet::new(),
            done: Vec::new(),
        }
    }

    fn ask(&mut self, names: &[&str], force: bool) -> Decision {
        let nodes = names.iter().map(|name| node(name)).collect();
        self.world.event(Event::RebuildAsked { nodes, force })
    }

    /// The job of each, as the answer says.
    fn asked(&mut self, names: &[&str]) -> Vec<i64> {
        let decision = self.ask(names, false);
        let of = |name: &&str| {
            let is_it =
                |effect: &&Effect| matches!(effect, Effect::Rebuilt { node, .. } if node.project == project(name));
            match decision.effects.iter().find(is_it) {
                Some(Effect::Rebuilt { job, .. }) => job.0,
                other => panic!("{name}: {other:?} in {decision:?}"),
            }
        };
        names.iter().map(of).collect()
    }

    fn running(&self) -> Vec<String> {
        let running = self.world.state.jobs.values().filter(|job| job.is_running());
        running.map(|job| job.project.to_string()).collect()
    }

    /// Runs one job to its end.
    fn run(&mut self, id: JobId) {
        let job = self.world.state.jobs[&id].clone();
        let (name, base) = *CHAIN.iter().find(|(name, _)| project(name) == job.project).unwrap();
        let links = Links {
            commit: job.commit.clone(),
            bases: [target(base)].into(),
            siblings: BTreeSet::new(),
            targets: [target(&format!("{name}:1"))].into(),
            remotes: BTreeSet::new(),
            default: None,
            needs: Vec::new(),
            failed: None,
            failed_waves: Vec::new(),
        };
        let image = ImageName::new(name).unwrap();
        let learned = Learned {
            links: [(image.clone(), links)].into(),
            builds: [image].into(),
        };
        let decision = self.world.event(Event::Learned { job: id, learned });
        let answer = decision.effects.into_iter().find_map(|effect| match effect {
            Effect::Wait { job, why } if job == id => Some(Err(why)),
            Effect::Go { job, ground } if job == id => Some(Ok(ground)),
            _ => None,
        });
        match answer.expect("an answer") {
            Err(why) => self.end(
                id,
                Err((Step::Checkout, Failure::new(FailureKind::Waiting, why))),
                Vec::new(),
            ),
            Ok(ground) => self.build(id, name, base, &ground),
        }
    }

    fn build(&mut self, id: JobId, name: &'static str, base: &str, ground: &Ground) {
        if let Some(kind) = self.bad.get(name) {
            self.done.push(format!("{name} {kind:?}"));
            return self.end(id, Err((Step::Build, Failure::new(*kind, "no"))), Vec::new());
        }
        self.done.push(name.to_owned());
        self.built += 1;
        let parent = ground.parents.get(&target(base)).map(|parent| parent.digest.clone());
        let standings = &self.world.state.updates.standings;
        let above = standings
            .values()
            .find(|standing| standing.released.contains(&target(base)));
        let now = above.and_then(|standing| standing.digest.clone());
        let used = parent.or(now).unwrap_or_else(|| digest(0));
        let image = ImageName::new(name).unwrap();
        let result = ImageResult {
            alike: match self.same.contains(name) {
                true => ground.released.get(&image).cloned().unwrap_or_default(),
                false => BTreeSet::new(),
            },
            image,
            status: ImageStatus::Released,
            note: String::new(),
            fingerprint: String::new(),
            id: Some(digest(1000 + self.built)),
            digest: Some(digest(self.built)),
            bases: vec![BaseUsed {
                name: base.to_owned(),
                reference: Some(target(base)),
                digests: vec![used],
                id: None,
                diff_ids: Vec::new(),
                platform: None,
                sibling: None,
                needed: None,
            }],
            released: vec![target(&format!("{name}:1"))],
        };
        self.end(id, Ok(()), vec![result]);
    }

    fn end(&mut self, job: JobId, result: Result<(), (Step, Failure)>, images: Vec<ImageResult>) {
        self.world.event(Event::AttemptEnded {
            job,
            result,
            image_id: None,
            images,
            void: false,
            last: true,
        });
    }

    /// Runs jobs until there are none.
    fn settle(&mut self) {
        for _ in 0..100 {
            match self.world.running().first() {
                Some(id) => self.run(*id),
                None => return,
            }
        }
        panic!("it never settles: {:?}", self.world.story());
    }

    fn outcome(&self, job: i64) -> String {
        let job = self.world.job(job);
        format!("{:?} {}", job.state, job.note)
    }
}

#[test]
fn all_of_it_is_one_wave_in_order_and_each_once() {
    for limit in [1, 10] {
        let mut chain = Chain::new(limit);
        let jobs = chain.asked(&["app", "side", "ruby", "base"]);
        // The first one is what nothing of the others is below of.
        let [app, side, ruby, base] = jobs[..] else {
            panic!("{jobs:?}")
        };
        assert!(base < ruby && ruby < app && ruby < side, "{jobs:?}");
        for job in [app, side, ruby, base] {
            assert_eq!(chain.world.job(job).wave, JobId(base));
        }
        assert_eq!(chain.running(), ["base"]);
        chain.run(JobId(base));
        assert!(!chain.running().contains(&"app".to_owned()));
        chain.settle();
        assert_eq!(
            chain.done,
            ["base", "ruby", "app", "side"][..].to_vec(),
            "limit {limit}"
        );
        // Nothing follows: all of it was built on what there is.
        assert_eq!(chain.world.records().len(), 8);
        assert!(
            chain
                .world
                .state
                .updates
                .tried
                .values()
                .all(|tried| tried.ended.is_some())
        );
    }
}

#[test]
fn what_is_below_is_built_also_if_nothing_has_changed() {
    let mut chain = Chain::new(4);
    chain.same = ["base", "ruby"].into();
    chain.asked(&["base", "ruby", "app"]);
    chain.settle();
    assert_eq!(chain.done, ["base", "ruby", "app"]);
    assert_eq!(chain.world.records().len(), 7);
}

#[test]
fn alone_it_brings_what_stands_on_it_only_with_new_content() {
    let mut chain = Chain::new(4);
    chain.same.insert("base");
    chain.asked(&["base"]);
    chain.settle();
    assert_eq!(chain.done, ["base"]);
    chain.same.clear();
    let [base] = chain.asked(&["base"])[..] else { panic!() };
    chain.settle();
    assert_eq!(chain.done[1..], ["base", "ruby", "side", "app"]);
    let followers = chain
        .world
        .records()
        .into_iter()
        .map(|record| record.job)
        .filter(|job| job.id.0 > base);
    assert!(followers.into_iter().all(|job| job.wave == JobId(base)));
}

#[test]
fn a_failure_stops_what_is_below_it_and_nothing_else_and_holds() {
    for limit in [1, 10] {
        let mut chain = Chain::new(limit);
        chain.bad.insert("ruby", FailureKind::Failed);
        let jobs = chain.asked(&["base", "ruby", "app", "side"]);
        chain.settle();
        assert_eq!(chain.done, ["base", "ruby Failed", "side"], "limit {limit}");
        let why = format!("blocked: job {} of ruby did not succeed", jobs[1]);
        assert_eq!(chain.outcome(jobs[2]), format!("Done(Skipped) {why}"));
        // It was built on what there is: for that it is not tried again by itself.
        assert_eq!(chain.world.records().len(), 8);
        // By hand it is, and what is below it follows.
        chain.bad.clear();
        chain.done.clear();
        chain.asked(&["ruby"]);
        chain.settle();
        assert_eq!(chain.done, ["ruby", "app"]);
    }
}

#[test]
fn a_root_that_fails_stops_all_of_it() {
    let mut chain = Chain::new(4);
    chain.bad.insert("base", FailureKind::Failed);
    let jobs = chain.asked(&["base", "ruby", "app", "side"]);
    chain.settle();
    assert_eq!(chain.done, ["base Failed"]);
    for job in &jobs[1..] {
        assert_eq!(
            chain.world.job(*job).state,
            pipelined::model::JobState::Done(Outcome::Skipped)
        );
    }
}

#[test]
fn what_waits_is_not_queued_twice_and_what_runs_is() {
    let mut chain = Chain::new(4);
    let first = chain.asked(&["base", "ruby"]);
    let decision = chain.ask(&["ruby", "base", "app"], true);
    let jobs: BTreeMap<String, JobId> = decision
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Rebuilt { node, job } => Some((node.project.to_string(), *job)),
            _ => None,
        })
        .collect();
    assert_eq!(jobs["ruby"], JobId(first[1]));
    assert!(
        jobs["base"] > JobId(first[1]),
        "it runs: what was asked for since comes after it"
    );
    // One wave: that of the job which waited.
    let waves: BTreeSet<JobId> = jobs.values().map(|job| chain.world.state.jobs[job].wave).collect();
    assert_eq!(waves, [JobId(first[0])].into());
    for job in jobs.values() {
        assert!(chain.world.state.jobs[job].rebuild.as_ref().unwrap().force);
    }
    assert_eq!(chain.running(), ["base"]);
    chain.settle();
    // What nobody has asked for follows, as base came out new.
    assert_eq!(chain.done, ["base", "base", "ruby", "app", "side"]);
}

#[test]
fn what_is_not_released_is_refused_and_the_rest_is_built() {
    let mut chain = Chain::unbuilt(4);
    chain.world.push("base", "main", 1);
    chain.world.poll("base");
    chain.settle();
    let decision = chain.ask(&["base", "ruby"], false);
    let refused = decision.effects.iter().find_map(|effect| match effect {
        Effect::NotRebuilt { node, why } => Some((node.clone(), why.clone())),
        _ => None,
    });
    let why = "it is not released yet: `pipelined build ruby` builds its tip";
    assert_eq!(refused, Some((node("ruby"), why.to_owned())));
    assert_eq!(chain.running(), ["base"]);
    chain.world.event(Event::Stop);
    let decision = chain.ask(&["base"], false);
    assert!(matches!(&decision.effects[..], [Effect::NotRebuilt { why, .. }] if why.contains("stopping")));
}

#[test]
fn a_new_commit_that_comes_meanwhile_is_built_after_it() {
    let mut chain = Chain::new(1);
    chain.asked(&["base", "ruby"]);
    chain.world.push("ruby", "main", 2);
    chain.world.poll("ruby");
    chain.settle();
    let last = chain
        .world
        .records()
        .into_iter()
        .rfind(|record| record.job.project == project("ruby"));
    assert_eq!(last.unwrap().job.commit, commit(2));
    let of_ruby = chain.done.iter().filter(|name| *name == "ruby").count();
    assert_eq!(of_ruby, 2, "{:?}", chain.done);
}
