//! What is new below released images is built again: once, and only that.

use crate::world::{World, commit, config, patterns, project, reference};
use jiff::{SignedDuration, Timestamp};
use pipelined::config::{Cron, Image, PackageCheck, Pull, Update};
use pipelined::model::Failure;
use pipelined::model::{
    BaseUsed, CheckError, Compared, Digest, FailureKind, ImageName, ImageRef, ImageResult, ImageStatus, Job, JobId,
    Node, Outcome, PackageUpdate, Packages, Reason, Step, Template,
};
use pipelined::reconcile::{Decision, Effect, Event, base_key, held, judge, next_wake, watched};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const HOUR: i64 = 3600;
const QUIET: i64 = 300;

fn digest(kind: u32, n: u32) -> Digest {
    Digest::new(format!("sha256:{kind:032x}{n:032x}")).unwrap()
}

pub fn image(name: &str, release: &str) -> Image {
    Image {
        chain: pipelined::config::Chain::Rolling,
        upstreams: std::collections::BTreeSet::new(),
        name: ImageName::new(name).unwrap(),
        file: None,
        context: ".".into(),
        target: None,
        pull: Pull::Newer,
        cache: true,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        tags: Vec::new(),
        watch: Vec::new(),
        depends_on: Vec::new(),
        secrets: BTreeMap::new(),
        source_date_epoch: false,
        test: None,
        test_network: "none".to_owned(),
        staging: None,
        release: vec![Template::new(release).unwrap()],
        release_refs: Some(patterns(&["main"])),
        update: Update {
            every: Duration::from_secs(HOUR as u64),
            quiet: Duration::from_secs(QUIET as u64),
            ..Update::default()
        },
        schedule: None,
        poke: Vec::new(),
    }
}

/// A base on a registry: what is in it, and by which digest it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Base {
    content: u32,
    push: u32,
}

/// A world with images: each project has one of its name, on the base that `of` says.
struct Fleet {
    world: World,
    bases: BTreeMap<&'static str, Base>,
    of: BTreeMap<&'static str, &'static str>,
    down: bool,
    /// Packages that are new, by project.
    packages: BTreeMap<&'static str, u32>,
    looks: usize,
    rebuilds: BTreeMap<(JobId, String), ()>,
}

impl Fleet {
    fn new(limit: usize, of: &[(&'static str, &'static str)]) -> Self {
        let names: Vec<&str> = of.iter().map(|(project, _)| *project).collect();
        let mut config = config(limit, &names);
        for name in &names {
            let images = &mut config.projects.get_mut(&project(name)).unwrap().images;
            images.push(image(name, &format!("r.io/{name}:1")));
        }
        let mut fleet = Self {
            world: World::new(config),
            bases: of
                .iter()
                .map(|(_, base)| (*base, Base { content: 1, push: 1 }))
                .collect(),
            of: of.iter().copied().collect(),
            down: false,
            packages: BTreeMap::new(),
            looks: 0,
            rebuilds: BTreeMap::new(),
        };
        fleet.world.event(Event::Recovered);
        for name in names {
            fleet.world.push(name, "main", 1);
            fleet.poll(name);
        }
        fleet
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Image)) {
        let project = self.world.config.projects.get_mut(&project(name)).unwrap();
        change(&mut project.images[0]);
        let decision = self.world.reload();
        self.answer(decision);
    }

    fn poll(&mut self, name: &str) {
        let decision = self.world.poll(name);
        self.answer(decision);
    }

    fn move_base(&mut self, name: &'static str) {
        let base = self.bases.get_mut(name).unwrap();
        base.content += 1;
        base.push += 1;
    }

    /// The same content by another digest.
    fn push_again(&mut self, name: &'static str) {
        self.bases.get_mut(name).unwrap().push += 1;
    }

    fn used(&self, name: &str) -> BaseUsed {
        let base = self.of[name];
        let Base { content, push } = self.bases[base];
        BaseUsed {
            name: base.to_owned(),
            reference: ImageRef::parse(&format!("r.io/{base}")).ok(),
            digests: vec![digest(1, push)],
            id: Some(digest(2, content)),
            diff_ids: vec![digest(3, content)],
            platform: Some("linux/amd64".to_owned()),
            sibling: None,
            needed: None,
        }
    }

    /// Answers everything that the planner wants to know, and what that leads to.
    fn answer(&mut self, decision: Decision) {
        for effect in decision.effects {
            match effect {
                Effect::LookAtBase { base, used } => {
                    self.looks += 1;
                    let there = self
                        .bases
                        .iter()
                        .find(|(name, _)| ImageRef::parse(&format!("r.io/{name}")).unwrap() == base.reference);
                    let there = *there.unwrap().1;
                    let head = digest(1, there.push);
                    let moved = used.iter().filter(|used| !used.is_at(&head));
                    let compared = moved.map(|used| Compared {
                        used: used.key(),
                        present: Some(digest(2, there.content)),
                        same: used.base.id == Some(digest(2, there.content)),
                        absent: false,
                        how: "layers differ".to_owned(),
                    });
                    let result = match self.down {
                        true => Err(down()),
                        false => Ok((head.clone(), compared.collect())),
                    };
                    let event = Event::BaseSeen {
                        base,
                        result,
                        failed_tips: BTreeSet::new(),
                    };
                    let decision = self.world.event(event);
                    self.answer(decision);
                }
                Effect::LookInside(node) => {
                    let standing = &self.world.state.updates.standings[&node];
                    let new = self.packages.get(node.project.as_str()).copied();
                    let found = Packages {
                        image: standing.known_by().unwrap().clone(),
                        checked: Timestamp::MIN,
                        needed: new.is_some(),
                        updates: new.into_iter().map(package).collect(),
                    };
                    let result = if self.down { Err(down()) } else { Ok(found) };
                    let decision = self.world.event(Event::PackagesSeen { node, result });
                    self.answer(decision);
                }
                Effect::LookElsewhere { node, .. } => {
                    let decision = self.world.event(Event::ElsewhereSeen { node, result: Ok(None) });
                    self.answer(decision);
                }
                _ => {}
            }
        }
    }

    fn pass(&mut self, seconds: i64) {
        let decision = self.world.pass(seconds);
        self.answer(decision);
    }

    /// Time passes, and the planner is woken whenever it wants to be.
    fn wait(&mut self, seconds: i64) {
        let end = self.world.now + SignedDuration::from_secs(seconds);
        while self.world.now < end {
            let next = next_wake(&self.world.state, self.world.now).unwrap_or(end).min(end);
            let step = next.duration_since(self.world.now).max(SignedDuration::from_millis(1));
            self.world.now += step;
            self.pass(0);
        }
    }

    fn result(&self, job: &Job, status: ImageStatus) -> ImageResult {
        let name = job.project.as_str();
        let content = self.bases[self.of[name]].content;
        let of_job = job.id.0 as u32;
        ImageResult {
            alike: std::collections::BTreeSet::new(),
            image: ImageName::new(name).unwrap(),
            status,
            note: String::new(),
            fingerprint: String::new(),
            id: Some(digest(4, of_job * 1000 + content)),
            digest: Some(digest(5, of_job * 1000 + content)),
            bases: vec![self.used(name)],
            released: match status {
                ImageStatus::Released => vec![ImageRef::parse(&format!("r.io/{name}:1")).unwrap()],
                _ => Vec::new(),
            },
        }
    }

    fn end_with(&mut self, id: JobId, result: Result<(), FailureKind>, status: ImageStatus) {
        let job = self.world.state.jobs[&id].clone();
        if let Some(rebuild) = &job.rebuild
            && !matches!(result, Err(FailureKind::Errored | FailureKind::Cancelled))
        {
            // Counted once an attempt has come to an end of its own.
            self.rebuilds.insert((id, rebuild.key.clone()), ());
        }
        let images = vec![self.result(&job, status)];
        let decision = self.world.event(Event::AttemptEnded {
            job: id,
            result: result.map_err(|kind| (Step::Build, Failure::new(kind, "no"))),
            image_id: None,
            images,
            void: false,
            last: job.attempts + 1 >= self.world.config.retry.attempts,
        });
        self.answer(decision);
    }

    /// All that runs ends well, and what follows from it too. A rebuild comes to the same if its base has the same
    /// content as before.
    fn succeed(&mut self) {
        while let Some(id) = self.world.running().first().copied() {
            let job = self.world.state.jobs[&id].clone();
            let standing = self.world.state.updates.standings.get(&node(job.project.as_str()));
            let now = self.used(job.project.as_str()).id;
            let same = job.rebuild.is_some() && standing.is_some_and(|s| s.bases[0].id == now);
            let status = if same {
                ImageStatus::Unchanged
            } else {
                ImageStatus::Released
            };
            self.end_with(id, Ok(()), status);
        }
    }

    fn fail(&mut self, kind: FailureKind) {
        for id in self.world.running() {
            self.end_with(id, Err(kind), ImageStatus::Failed);
        }
    }

    /// `project reason outcome` of every job but those of new commits.
    fn rebuilds(&self) -> Vec<String> {
        let records = self.world.records();
        let jobs = records
            .iter()
            .map(|record| &record.job)
            .filter(|job| job.reason != Reason::NewCommit);
        jobs.map(|job| {
            let state = match &job.state {
                pipelined::model::JobState::Done(outcome) => outcome.as_str(),
                pipelined::model::JobState::Running { .. } => "running",
                pipelined::model::JobState::Queued { .. } => "queued",
            };
            format!("{} {} {state}", job.project, job.reason.as_str())
        })
        .collect()
    }
}

fn down() -> CheckError {
    CheckError {
        message: "the registry is down".to_owned(),
        not_before: None,
    }
}

fn package(version: u32) -> PackageUpdate {
    PackageUpdate {
        name: "openssl".to_owned(),
        old: Some("1".to_owned()),
        new: Some(format!("1.{version}")),
    }
}

fn node(name: &str) -> Node {
    Node {
        project: project(name),
        reference: reference("main"),
        image: ImageName::new(name).unwrap(),
    }
}

/// One image, released.
fn released() -> Fleet {
    let mut fleet = Fleet::new(1, &[("a", "debian:12")]);
    fleet.succeed();
    assert_eq!(fleet.world.story(), ["1 main 1 succeeded"]);
    fleet
}

#[test]
fn a_base_that_moved_counts_after_the_quiet_period() {
    let mut fleet = released();
    fleet.move_base("debian:12");
    fleet.wait(HOUR / 2);
    assert_eq!(fleet.looks, 0, "not before its time");
    fleet.wait(HOUR * 61 / 100);
    assert_eq!(fleet.looks, 1);
    assert_eq!(fleet.rebuilds(), [""; 0]);
    fleet.wait(QUIET + 60);
    assert_eq!(fleet.looks, 2, "looked at again after the quiet period, and not before");
    assert_eq!(fleet.rebuilds(), ["a base updated running"]);
    let job = fleet.world.job(2);
    assert!(job.cause.starts_with("debian:12 0000"), "{}", job.cause);
    assert_eq!(job.commit, commit(1));
    assert_eq!(
        job.rebuild.unwrap().images[&ImageName::new("a").unwrap()],
        Some(JobId(1))
    );
    fleet.succeed();
    fleet.wait(24 * HOUR);
    assert_eq!(fleet.rebuilds(), ["a base updated succeeded"], "once");
}

#[test]
fn a_base_that_goes_back_within_the_quiet_period_is_no_update() {
    let mut fleet = released();
    let before = fleet.bases["debian:12"];
    fleet.move_base("debian:12");
    fleet.wait(HOUR * 111 / 100);
    fleet.bases.insert("debian:12", before);
    fleet.wait(24 * HOUR);
    assert_eq!(fleet.rebuilds(), [""; 0]);
}

#[test]
fn a_base_that_moves_on_within_the_quiet_period_is_waited_for() {
    let mut fleet = released();
    fleet.move_base("debian:12");
    fleet.wait(HOUR * 111 / 100);
    fleet.move_base("debian:12");
    let looks = fleet.looks;
    while fleet.looks == looks {
        fleet.pass(60);
    }
    assert_eq!(fleet.rebuilds(), [""; 0], "the second look has seen another digest");
    fleet.wait(QUIET + 60);
    assert_eq!(fleet.rebuilds(), ["a base updated running"]);
}

#[test]
fn the_same_content_by_another_digest_is_no_update() {
    let mut fleet = released();
    fleet.push_again("debian:12");
    fleet.wait(24 * HOUR);
    assert_eq!(fleet.rebuilds(), [""; 0]);
    assert!(fleet.looks < 30, "{}", fleet.looks);
}

#[test]
fn one_look_for_all_that_stand_on_a_base() {
    let names: Vec<String> = (0..50).map(|n| format!("p{n}")).collect();
    let of: Vec<(&'static str, &'static str)> = names
        .iter()
        .map(|name| (&*Box::leak(name.clone().into_boxed_str()), "debian:12"))
        .collect();
    let mut fleet = Fleet::new(4, &of);
    fleet.succeed();
    fleet.wait(HOUR * 111 / 100);
    assert_eq!(fleet.looks, 1);
    fleet.move_base("debian:12");
    fleet.wait(2 * HOUR);
    fleet.succeed();
    assert_eq!(fleet.rebuilds().len(), 50);
}

#[test]
fn a_failed_rebuild_holds_until_the_inputs_move_again() {
    let mut fleet = released();
    fleet.move_base("debian:12");
    fleet.wait(2 * HOUR);
    fleet.fail(FailureKind::Failed);
    fleet.wait(72 * HOUR);
    assert_eq!(fleet.rebuilds(), ["a base updated failed"], "no loop");
    let watched = watched(&fleet.world.state, &fleet.world.config).next().unwrap();
    let key = judge(
        watched,
        &fleet.world.state.updates,
        &pipelined::reconcile::Ours::of(&fleet.world.state, &fleet.world.config),
    )
    .key;
    let why = held(&node("a"), &key, &fleet.world.state.updates, &fleet.world.config).unwrap();
    assert!(why.contains("job 2 was built for the same and failed"), "{why}");
    assert_eq!(
        fleet.world.state.updates.standings[&node("a")].job,
        Some(JobId(1)),
        "as it was"
    );
    fleet.world.crash();
    fleet.wait(2 * HOUR);
    assert_eq!(fleet.rebuilds().len(), 1, "not after a restart either");
    fleet.move_base("debian:12");
    fleet.wait(2 * HOUR);
    fleet.succeed();
    fleet.wait(24 * HOUR);
    assert_eq!(fleet.rebuilds(), ["a base updated failed", "a base updated succeeded"]);
}

#[test]
fn trouble_of_our_own_is_tried_again_after_the_next_check() {
    let mut fleet = released();
    fleet.move_base("debian:12");
    fleet.wait(2 * HOUR);
    for _ in 0..3 {
        fleet.fail(FailureKind::Errored);
        fleet.pass(61);
    }
    assert_eq!(fleet.rebuilds(), ["a base updated errored"]);
    let looks = fleet.looks;
    fleet.world.crash();
    assert_eq!(fleet.rebuilds().len(), 1, "not at once");
    while fleet.looks == looks {
        assert_eq!(fleet.rebuilds().len(), 1, "not before the next look");
        fleet.pass(60);
    }
    assert_eq!(fleet.rebuilds(), ["a base updated errored", "a base updated running"]);
}

#[test]
fn what_is_queued_or_running_for_the_ref_comes_first() {
    let mut fleet = released();
    fleet.world.push("a", "main", 2);
    fleet.poll("a");
    fleet.move_base("debian:12");
    fleet.wait(3 * HOUR);
    assert_eq!(fleet.rebuilds(), [""; 0], "commit 2 is being built, on what is new");
    fleet.fail(FailureKind::Failed);
    assert_eq!(
        fleet.rebuilds(),
        ["a base updated running"],
        "commit 2 failed: what is released is built again"
    );
    assert_eq!(fleet.world.job(3).commit, commit(1));
    fleet.world.push("a", "main", 3);
    fleet.poll("a");
    fleet.fail(FailureKind::Errored);
    fleet.pass(31);
    assert_eq!(
        fleet.rebuilds(),
        ["a base updated superseded"],
        "a newer commit takes its place"
    );
    fleet.succeed();
    fleet.wait(24 * HOUR);
    assert_eq!(fleet.world.story().last().unwrap(), "4 main 3 succeeded");
}

#[test]
fn a_tip_that_failed_is_built_first_when_a_base_changes() {
    let mut fleet = released();
    fleet.world.push("a", "main", 2);
    fleet.poll("a");
    fleet.fail(FailureKind::Failed);
    let seen = |fleet: &mut Fleet| {
        let (content, push) = (fleet.bases["debian:12"].content, fleet.bases["debian:12"].push);
        let standing = &fleet.world.state.updates.standings[&node("a")];
        let base = base_key(&node("a"), &standing.bases[0]).unwrap();
        let used = pipelined::model::Used {
            base: standing.bases[0].clone(),
            layers: None,
        };
        let compared = Compared {
            used: used.key(),
            present: Some(digest(2, content)),
            same: false,
            absent: false,
            how: "layers differ".to_owned(),
        };
        fleet.world.event(Event::BaseSeen {
            base,
            result: Ok((digest(1, push), vec![compared])),
            failed_tips: [(project("a"), reference("main"))].into(),
        });
    };
    fleet.move_base("debian:12");
    seen(&mut fleet);
    fleet.world.now += SignedDuration::from_secs(QUIET);
    seen(&mut fleet);
    assert_eq!(
        fleet.world.story(),
        ["1 main 1 succeeded", "2 main 2 failed", "3 main 2 running"]
    );
    assert_eq!(fleet.world.job(3).rebuild, None, "as its config says, all of it");
    fleet.fail(FailureKind::Failed);
    assert_eq!(fleet.world.story()[3..], ["4 main 1 running"], "then what is released");
    fleet.succeed();
    seen(&mut fleet);
    fleet.wait(24 * HOUR);
    assert_eq!(fleet.world.story().len(), 4);
}

#[test]
fn packages_are_a_reason_once() {
    let mut fleet = released();
    fleet.change("a", |image| image.update.packages = PackageCheck::Auto);
    fleet.packages.insert("a", 1);
    fleet.wait(HOUR * 111 / 100);
    assert_eq!(fleet.rebuilds(), ["a packages updated running"]);
    assert_eq!(fleet.world.job(2).cause, "openssl 1 → 1.1");
    // It cures nothing.
    fleet.succeed();
    fleet.wait(24 * HOUR);
    assert_eq!(
        fleet.rebuilds(),
        ["a packages updated succeeded"],
        "reported, and not rebuilt"
    );
    let watched = watched(&fleet.world.state, &fleet.world.config).next().unwrap();
    let judgement = judge(
        watched,
        &fleet.world.state.updates,
        &pipelined::reconcile::Ours::of(&fleet.world.state, &fleet.world.config),
    );
    assert!(judgement.is_stale());
    assert!(
        held(
            &node("a"),
            &judgement.key,
            &fleet.world.state.updates,
            &fleet.world.config
        )
        .unwrap()
        .contains("did not change it")
    );
    // Until the set changes,
    fleet.packages.insert("a", 2);
    fleet.wait(2 * HOUR);
    assert_eq!(fleet.rebuilds().len(), 2);
    fleet.succeed();
    // or a base.
    fleet.move_base("debian:12");
    fleet.wait(2 * HOUR);
    assert_eq!(fleet.rebuilds().len(), 3);
}

#[test]
fn a_registry_that_is_down_is_asked_less_and_less_often_and_starts_nothing() {
    let mut fleet = released();
    fleet.down = true;
    fleet.move_base("debian:12");
    fleet.wait(25 * HOUR);
    assert_eq!(fleet.rebuilds(), [""; 0]);
    assert!((24..36).contains(&fleet.looks), "{}", fleet.looks);
    let check = fleet.world.state.updates.bases.values().next().unwrap();
    assert_eq!(check.trouble.as_ref().unwrap().error, "the registry is down");
    fleet.down = false;
    fleet.wait(HOUR + QUIET + 120);
    assert_eq!(fleet.rebuilds(), ["a base updated running"]);
    assert!(
        fleet
            .world
            .state
            .updates
            .bases
            .values()
            .all(|check| check.trouble.is_none())
    );
}

#[test]
fn whoever_asks_to_be_left_alone_is() {
    let mut fleet = released();
    let standing = &fleet.world.state.updates.standings[&node("a")];
    let base = base_key(&node("a"), &standing.bases[0]).unwrap();
    let not_before = fleet.world.now + SignedDuration::from_hours(7);
    fleet.world.event(Event::BaseSeen {
        base,
        result: Err(CheckError {
            message: "slow down".to_owned(),
            not_before: Some(not_before),
        }),
        failed_tips: BTreeSet::new(),
    });
    fleet.wait(6 * HOUR);
    assert_eq!(fleet.looks, 0);
    fleet.wait(HOUR + 120);
    assert_eq!(fleet.looks, 1);
}

#[test]
fn a_schedule_that_was_missed_is_due_once() {
    let mut fleet = released();
    fleet.change("a", |image| {
        image.schedule = Some(Cron::new("0 * * * * UTC").unwrap());
        image.update.base = false;
    });
    assert_eq!(fleet.rebuilds(), [""; 0], "not when it is written");
    fleet.world.now += SignedDuration::from_hours(30);
    fleet.world.crash();
    fleet.pass(1);
    assert_eq!(fleet.rebuilds(), ["a schedule running"]);
    fleet.succeed();
    fleet.pass(1);
    assert_eq!(fleet.rebuilds(), ["a schedule succeeded"]);
    fleet.wait(HOUR);
    assert_eq!(fleet.rebuilds(), ["a schedule succeeded", "a schedule running"]);
    fleet.wait(3 * HOUR);
    assert_eq!(fleet.rebuilds().len(), 2, "while it runs, nothing is added");
    fleet.succeed();
    fleet.pass(1);
    assert_eq!(fleet.rebuilds().len(), 3);
    fleet.succeed();
    fleet.change("a", |image| {
        image.schedule = Some(Cron::new("*/30 * * * * UTC").unwrap())
    });
    fleet.pass(1);
    assert_eq!(fleet.rebuilds().len(), 3, "another schedule begins anew");
}

#[test]
fn tags_are_kept_up_to_date_only_if_they_are_named() {
    for named in [false, true] {
        let mut fleet = released();
        fleet.change("a", |image| image.release_refs = Some(patterns(&["v*"])));
        if named {
            fleet.change("a", |image| image.update.tags = patterns(&["v1"]));
        }
        fleet.world.push("a", "v1", 7);
        fleet.poll("a");
        fleet.succeed();
        assert_eq!(
            fleet.world.state.updates.standings.len(),
            1,
            "the tag has taken over the reference"
        );
        fleet.move_base("debian:12");
        fleet.wait(3 * HOUR);
        assert_eq!(fleet.rebuilds().len(), usize::from(named));
    }
}

#[test]
fn by_hand_what_is_held_is_built_again_and_what_settles_too() {
    let mut fleet = released();
    fleet.move_base("debian:12");
    fleet.wait(2 * HOUR);
    fleet.fail(FailureKind::Failed);
    let news = || {
        let watched = watched(&fleet.world.state, &fleet.world.config).next().unwrap();
        judge(
            watched,
            &fleet.world.state.updates,
            &pipelined::reconcile::Ours::of(&fleet.world.state, &fleet.world.config),
        )
        .news(pipelined::reconcile::Counting::All)
    };
    let wanted = vec![(node("a"), news())];
    let decision = fleet.world.event(Event::RebuildRequested { wanted: wanted.clone() });
    assert!(decision.effects.contains(&Effect::Rebuilt {
        node: node("a"),
        job: JobId(3)
    }));
    assert!(fleet.world.job(3).cause.ends_with(", asked for"));
    let decision = fleet.world.event(Event::RebuildRequested { wanted });
    assert_eq!(
        decision.effects,
        [Effect::NotRebuilt {
            node: node("a"),
            why: "job 3 of this ref is running".to_owned()
        }]
    );
}

#[test]
fn what_is_built_by_a_person_needs_no_rebuild() {
    let mut fleet = released();
    fleet.move_base("debian:12");
    fleet.wait(2 * HOUR);
    assert_eq!(fleet.rebuilds(), ["a base updated running"]);
    fleet.fail(FailureKind::Errored);
    fleet.world.build("a", "main");
    let job = fleet.world.job(2);
    assert_eq!((job.reason, job.rebuild), (Reason::Manual, None));
    fleet.succeed();
    fleet.wait(24 * HOUR);
    assert_eq!(fleet.rebuilds(), ["a manual succeeded"]);
}

#[derive(Debug, Clone)]
enum Op {
    Move(usize),
    PushAgain(usize),
    Push(usize, u32),
    Poll(usize),
    Down(bool),
    Packages(usize, Option<u32>),
    Succeed,
    End(Index, FailureKind),
    Pass(i64),
    Crash,
    Leap(i64),
    Cancel(Index),
    Enable(usize, bool),
}

const OF: [(&str, &str); 4] = [("a", "x:1"), ("b", "x:1"), ("c", "y:1"), ("d", "z:1")];
const BASES: [&str; 3] = ["x:1", "y:1", "z:1"];

fn op() -> impl Strategy<Value = Op> {
    let kind = select(vec![
        FailureKind::Failed,
        FailureKind::Errored,
        FailureKind::TimedOut,
        FailureKind::Superseded,
        FailureKind::Cancelled,
    ]);
    prop_oneof![
        4 => (0..3usize).prop_map(Op::Move),
        2 => (0..3usize).prop_map(Op::PushAgain),
        2 => (0..4usize, 1..6u32).prop_map(|(p, n)| Op::Push(p, n)),
        3 => (0..4usize).prop_map(Op::Poll),
        2 => any::<bool>().prop_map(Op::Down),
        2 => (0..4usize, prop::option::of(0..3u32)).prop_map(|(p, n)| Op::Packages(p, n)),
        5 => Just(Op::Succeed),
        4 => (any::<Index>(), kind).prop_map(|(i, k)| Op::End(i, k)),
        12 => select(vec![1i64, 60, QUIET, HOUR, 2 * HOUR, 30 * HOUR]).prop_map(Op::Pass),
        2 => Just(Op::Crash),
        1 => select(vec![-1i64, -HOUR, -48 * HOUR]).prop_map(Op::Leap),
        1 => any::<Index>().prop_map(Op::Cancel),
        1 => (0..4usize, any::<bool>()).prop_map(|(p, on)| Op::Enable(p, on)),
    ]
}

fn apply(fleet: &mut Fleet, op: Op) {
    match op {
        Op::Move(base) => fleet.move_base(BASES[base]),
        Op::PushAgain(base) => fleet.push_again(BASES[base]),
        Op::Push(p, n) => fleet.world.push(OF[p].0, "main", n),
        Op::Poll(p) => fleet.poll(OF[p].0),
        Op::Down(down) => fleet.down = down,
        Op::Packages(p, Some(n)) => drop(fleet.packages.insert(OF[p].0, n)),
        Op::Packages(p, None) => drop(fleet.packages.remove(OF[p].0)),
        Op::Succeed => fleet.succeed(),
        Op::End(i, kind) => {
            let running = fleet.world.running();
            if !running.is_empty() {
                fleet.end_with(*i.get(&running), Err(kind), ImageStatus::Failed);
            }
        }
        Op::Pass(seconds) => fleet.pass(seconds),
        Op::Leap(seconds) => fleet.world.now += SignedDuration::from_secs(seconds),
        Op::Crash => {
            let decision = fleet.world.crash();
            fleet.answer(decision);
        }
        Op::Cancel(i) => {
            let live = fleet.world.live();
            if !live.is_empty() {
                let decision = fleet.world.cancel(*i.get(&live));
                fleet.answer(decision);
            }
        }
        Op::Enable(p, on) => {
            fleet.world.config.projects.get_mut(&project(OF[p].0)).unwrap().enabled = on;
            let decision = fleet.world.reload();
            fleet.answer(decision);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: in the end everything stands on what is there, or was tried for it; and nothing was built twice
    /// for the same.
    #[test]
    fn everything_is_fresh_in_the_end(limit in 1..3usize, ops in prop::collection::vec(op(), 1..60)) {
        let mut fleet = Fleet::new(limit, &OF);
        for (name, _) in OF {
            fleet.change(name, |image| image.update.packages = PackageCheck::Auto);
        }
        for op in ops {
            apply(&mut fleet, op);
        }
        fleet.down = false;
        for (name, _) in OF {
            fleet.world.config.projects.get_mut(&project(name)).unwrap().enabled = true;
        }
        let decision = fleet.world.reload();
        fleet.answer(decision);
        for _ in 0..40 {
            for (name, _) in OF {
                fleet.poll(name);
            }
            fleet.succeed();
            fleet.wait(2 * HOUR);
        }
        prop_assert!(fleet.world.live().is_empty(), "{:?}", fleet.world.story());
        for image in watched(&fleet.world.state, &fleet.world.config) {
            let judgement = judge(image, &fleet.world.state.updates, &pipelined::reconcile::Ours::of(&fleet.world.state, &fleet.world.config));
            let why = held(image.node, &judgement.key, &fleet.world.state.updates, &fleet.world.config);
            prop_assert!(!judgement.is_stale() || why.is_some(), "{:?}: {judgement:?}", image.node);
            let base = fleet.bases[fleet.of[image.node.project.as_str()]];
            let fresh = image.standing.bases[0].id == Some(digest(2, base.content));
            prop_assert!(fresh || why.is_some(), "{:?} stands on {:?}, there is {base:?}", image.node, image.standing);
        }
        let mut built: BTreeMap<(String, String), usize> = BTreeMap::new();
        for record in fleet.world.records() {
            let settled = matches!(
                record.job.state,
                pipelined::model::JobState::Done(Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut | Outcome::Cancelled)
            );
            if let Some(rebuild) = record.job.rebuild.filter(|_| settled) {
                *built.entry((record.job.project.to_string() + record.job.commit.as_str(), rebuild.key)).or_default() += 1;
            }
        }
        // What is released meanwhile by a new commit may meet the same inputs again; nothing else may.
        let twice: Vec<_> = built.iter().filter(|(_, n)| **n > 1).collect();
        prop_assert!(twice.is_empty(), "{twice:?} {:?}", fleet.rebuilds());
        fleet.world.check_record();
    }
}
