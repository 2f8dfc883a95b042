//! Dependents that live elsewhere are told of each release with new content: at least once, and of nothing else.

use crate::updates::image;
use crate::world::{World, config, project, reference};
use jiff::{SignedDuration, Timestamp};
use pipelined::config::PokeTarget;
use pipelined::model::{
    Digest, ImageName, ImageRef, ImageResult, ImageStatus, JobId, Node, Poke, PokeAnswer, PokeError, PokeId,
    PokeOutcome, Write,
};
use pipelined::reconcile::{Decision, Effect, Event, next_wake};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::{BTreeMap, BTreeSet};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const PROJECTS: [&str; 3] = ["a", "b", "c"];

fn digest(n: u32) -> Digest {
    Digest::new(format!("sha256:{n:064x}")).unwrap()
}

fn hook(path: &str) -> PokeTarget {
    PokeTarget::Webhook {
        url: format!("https://hooks.invalid/{path}"),
        secret_file: None,
    }
}

/// An image on a ref, and where it is told of.
type Key = (Node, String);

/// Projects with an image each, and whoever is poked.
struct Scene {
    world: World,
    commits: u32,
    contents: u32,
    /// What was sent and not answered yet.
    on_their_way: BTreeMap<PokeId, Poke>,
    /// What was received: the numbers with what they told, in order.
    received: Vec<(PokeId, Key, Option<Digest>)>,
    /// The last release with new content, where it must arrive.
    due: BTreeMap<Key, Digest>,
    /// Every release with new content.
    told: BTreeSet<Digest>,
    rejected: BTreeSet<PokeId>,
    last_id: i64,
}

impl Scene {
    fn new(projects: &[&str], targets: &[PokeTarget]) -> Self {
        let mut config = config(projects.len(), projects);
        for name in projects {
            let mut image = image(name, &format!("r.io/{name}:1"));
            image.poke = targets.to_vec();
            config.projects.get_mut(&project(name)).unwrap().images.push(image);
        }
        let mut scene = Self {
            world: World::new(config),
            commits: 0,
            contents: 0,
            on_their_way: BTreeMap::new(),
            received: Vec::new(),
            due: BTreeMap::new(),
            told: BTreeSet::new(),
            rejected: BTreeSet::new(),
            last_id: 0,
        };
        let decision = scene.world.event(Event::Recovered);
        scene.take(decision);
        scene
    }

    /// Sends what is to be sent, and holds each decision to its promises.
    fn take(&mut self, decision: Decision) {
        for write in &decision.writes {
            let Write::Poke(poke) = write else { continue };
            // What a person wants sent again keeps its number, and what was wrong with it.
            if poke.attempts == 0 && poke.end.is_none() && poke.error.is_none() {
                assert!(poke.id.0 > self.last_id, "a number for the second time: {poke:?}");
                self.last_id = poke.id.0;
            }
            let key = (poke.node.clone(), poke.place.key.clone());
            let is_the_last = self.due.get(&key) == poke.digest.as_ref();
            match poke.end.as_ref().map(|end| &end.how) {
                None | Some(PokeOutcome::Delivered(_)) => {}
                Some(PokeOutcome::Superseded(by)) => {
                    assert!(
                        *by > poke.id && !is_the_last,
                        "not told, and nothing newer is: {poke:?}"
                    );
                }
                Some(PokeOutcome::Rejected) => assert!(self.rejected.contains(&poke.id), "{poke:?}"),
                Some(PokeOutcome::GivenUp) => assert!(poke.attempts >= 12, "{poke:?}"),
                Some(PokeOutcome::Dropped) => assert!(!self.names(&key), "{poke:?}"),
            }
            let is_lost = poke.end.as_ref().is_some_and(|end| {
                matches!(
                    end.how,
                    PokeOutcome::Rejected | PokeOutcome::GivenUp | PokeOutcome::Dropped
                )
            });
            if is_lost && is_the_last {
                self.due.remove(&key);
            }
        }
        for effect in decision.effects {
            let Effect::Poke(id) = effect else { continue };
            let poke = self.world.state.pokes[&id].clone();
            assert_eq!(self.world.state.mode, pipelined::model::Mode::Normal);
            assert!(poke.end.is_none());
            let places: BTreeSet<&str> = self.on_their_way.values().map(|p| p.place.key.as_str()).collect();
            assert!(!places.contains(poke.place.key.as_str()), "two to one place at once");
            assert_eq!(self.on_their_way.insert(id, poke), None, "sent twice at once");
            assert!(self.on_their_way.len() <= 4);
        }
    }

    /// Whether the config has this place.
    fn names(&self, (node, key): &Key) -> bool {
        let project = self.world.config.projects.get(&node.project);
        let images = project.into_iter().flat_map(|project| &project.images);
        images
            .filter(|image| image.name == node.image)
            .any(|image| image.poke_places().any(|(place, _)| place.key == *key))
    }

    fn build(&mut self, name: &str) -> JobId {
        self.commits += 1;
        self.world.push(name, "main", self.commits);
        let decision = self.world.poll(name);
        self.take(decision);
        let jobs = self.world.state.jobs.values();
        let running = jobs.filter(|job| job.is_running() && job.project == project(name));
        running.map(|job| job.id).next().unwrap()
    }

    fn end(&mut self, name: &str, job: JobId, status: ImageStatus, alike: &[Digest]) {
        self.contents += 1;
        let digest = digest(self.contents);
        let place = ImageRef::parse(&format!("r.io/{name}:1")).unwrap();
        let is_released = status == ImageStatus::Released;
        let result = ImageResult {
            alike: alike.iter().cloned().collect(),
            image: ImageName::new(name).unwrap(),
            status,
            note: String::new(),
            fingerprint: String::new(),
            id: None,
            digest: Some(digest.clone()),
            bases: Vec::new(),
            released: if is_released { vec![place] } else { Vec::new() },
        };
        if is_released && alike.is_empty() {
            self.told.insert(digest.clone());
            let node = node(name);
            let images = &self.world.config.projects[&project(name)].images;
            for (place, _) in images.iter().flat_map(|image| image.poke_places()) {
                self.due.insert((node.clone(), place.key), digest.clone());
            }
        }
        let decision = self.world.event(Event::AttemptEnded {
            job,
            result: Ok(()),
            image_id: None,
            images: vec![result],
            void: false,
            last: false,
        });
        self.take(decision);
    }

    fn release(&mut self, name: &str) {
        let job = self.build(name);
        self.end(name, job, ImageStatus::Released, &[]);
    }

    /// It is received, and answered; a person may kill the daemon before it hears of that.
    fn receive(&mut self, id: PokeId) {
        let poke = &self.on_their_way[&id];
        let key = (poke.node.clone(), poke.place.key.clone());
        self.received.push((id, key, poke.digest.clone()));
    }

    fn answer(&mut self, id: PokeId, result: Result<PokeAnswer, PokeError>) {
        if result.is_ok() {
            self.receive(id);
        }
        self.on_their_way.remove(&id);
        let decision = self.world.event(Event::Poked { poke: id, result });
        self.take(decision);
    }

    fn fail(&mut self, id: PokeId) {
        self.answer(id, Err(away(None)));
    }

    fn pass(&mut self, seconds: i64) {
        let decision = self.world.pass(seconds);
        self.take(decision);
    }

    /// Goes to when the planner wants to be woken.
    #[track_caller]
    fn wake(&mut self) -> i64 {
        let next = next_wake(&self.world.state, self.world.now).expect("it wants to be woken");
        let wait = next.duration_since(self.world.now);
        self.world.now = next;
        self.pass(0);
        wait.as_secs()
    }

    fn crash(&mut self) {
        self.on_their_way.clear();
        let decision = self.world.crash();
        self.take(decision);
    }

    fn reload(&mut self) {
        let decision = self.world.reload();
        self.take(decision);
    }

    fn targets(&mut self, name: &str) -> &mut Vec<PokeTarget> {
        &mut self.world.config.projects.get_mut(&project(name)).unwrap().images[0].poke
    }

    fn only(&self) -> PokeId {
        let ids: Vec<PokeId> = self.on_their_way.keys().copied().collect();
        let [id] = ids.as_slice() else { panic!("{ids:?}") };
        *id
    }

    /// Whoever is poked answers well from now on: all that must arrive does.
    fn come_to_rest(&mut self) {
        self.crash();
        let mut steps = 500;
        while !self.world.state.pokes.is_empty() {
            steps -= 1;
            assert!(steps > 0, "it never comes to rest: {:?}", self.world.state.pokes);
            if let Some(id) = self.on_their_way.keys().next().copied() {
                self.answer(id, Ok(taken()));
            } else {
                self.wake();
            }
        }
        assert_eq!(next_wake_of_pokes(self), None);
        for (key, digest) in &self.due {
            let mut told = self.received.iter().filter(|(_, to, _)| to == key);
            let last = told.next_back().map(|(_, _, digest)| digest.clone());
            assert_eq!(
                last,
                Some(Some(digest.clone())),
                "the last release is not the last that was told"
            );
        }
        let mut meant: BTreeMap<PokeId, &Option<Digest>> = BTreeMap::new();
        let mut newest: BTreeMap<&Key, PokeId> = BTreeMap::new();
        for (id, key, digest) in &self.received {
            assert_eq!(
                meant.entry(*id).or_insert(digest),
                &digest,
                "a number with two meanings"
            );
            assert!(self.told.contains(digest.as_ref().unwrap()), "told of what was not new");
            let before = newest.insert(key, *id);
            assert!(before <= Some(*id), "told of an older release after a newer one");
        }
    }
}

fn next_wake_of_pokes(scene: &Scene) -> Option<Timestamp> {
    scene.world.state.checking.poke_at
}

fn node(name: &str) -> Node {
    Node {
        project: project(name),
        reference: reference("main"),
        image: ImageName::new(name).unwrap(),
    }
}

fn taken() -> PokeAnswer {
    PokeAnswer {
        status: 201,
        text: "{}".to_owned(),
        web_url: None,
    }
}

fn away(not_before: Option<Timestamp>) -> PokeError {
    PokeError {
        rejected: false,
        message: "it answers 503".to_owned(),
        not_before,
    }
}

fn refused() -> PokeError {
    PokeError {
        rejected: true,
        message: "it answers 401".to_owned(),
        not_before: None,
    }
}

#[test]
fn each_place_is_told_once_of_what_is_new() {
    let mut scene = Scene::new(&["a"], &[hook("1"), hook("2")]);
    scene.release("a");
    assert_eq!(scene.on_their_way.len(), 2);
    let poke = scene.on_their_way.values().next().unwrap().clone();
    assert_eq!(
        (poke.image.to_string().as_str(), poke.digest),
        ("r.io/a:1", Some(digest(1)))
    );
    assert_eq!((poke.job, poke.wave, poke.attempts), (JobId(1), JobId(1), 0));
    for id in scene.on_their_way.keys().copied().collect::<Vec<_>>() {
        scene.answer(id, Ok(taken()));
    }
    assert_eq!(scene.world.state.pokes.len(), 0);
    scene.pass(DAY);
    assert_eq!((scene.on_their_way.len(), scene.received.len()), (0, 2));
}

#[test]
fn nobody_is_told_of_what_is_not_new_or_not_released() {
    let mut scene = Scene::new(&["a"], &[hook("1")]);
    scene.release("a");
    scene.answer(scene.only(), Ok(taken()));
    let job = scene.build("a");
    scene.end("a", job, ImageStatus::Released, &[digest(1)]);
    for status in [
        ImageStatus::Unchanged,
        ImageStatus::Built,
        ImageStatus::Skipped,
        ImageStatus::Failed,
    ] {
        let job = scene.build("a");
        scene.end("a", job, status, &[]);
    }
    assert_eq!(scene.world.state.pokes.len(), 0);
    assert_eq!(scene.received.len(), 1);
}

#[test]
fn it_is_tried_again_less_and_less_often_and_given_up_after_days() {
    let mut scene = Scene::new(&["a"], &[hook("1")]);
    scene.release("a");
    let begun = scene.world.now;
    let id = scene.only();
    let mut waits = Vec::new();
    while scene.world.state.pokes.contains_key(&id) {
        scene.fail(id);
        if scene.world.state.pokes.contains_key(&id) {
            waits.push(scene.wake());
        }
    }
    assert_eq!(waits[..4], [2, 4, 8, 16]);
    assert_eq!(waits.last(), Some(&HOUR));
    let took = scene.world.now.duration_since(begun).as_secs();
    assert!((3 * DAY..3 * DAY + 2 * HOUR).contains(&took), "{took}");
    assert_eq!(next_wake_of_pokes(&scene), None);
}

#[test]
fn a_daemon_that_was_away_for_a_week_has_not_tried_for_a_week() {
    let mut scene = Scene::new(&["a"], &[hook("1")]);
    scene.release("a");
    scene.fail(scene.only());
    scene.world.now += SignedDuration::from_secs(7 * DAY);
    scene.crash();
    scene.fail(scene.only());
    assert_eq!(scene.wake(), 4);
    scene.answer(scene.only(), Ok(taken()));
    assert_eq!(scene.received.len(), 1);
}

#[test]
fn who_wants_to_be_left_alone_is_for_a_day_at_most() {
    for (asked, waited) in [(1, 2), (100, 100), (365 * DAY, DAY)] {
        let mut scene = Scene::new(&["a"], &[hook("1")]);
        scene.release("a");
        let until = scene.world.now + SignedDuration::from_secs(asked);
        scene.answer(scene.only(), Err(away(Some(until))));
        assert_eq!(scene.wake(), waited, "{asked}");
        scene.only();
    }
}

#[test]
fn a_clock_that_jumped_back_does_not_hold_a_poke_for_years() {
    let mut scene = Scene::new(&["a"], &[hook("1")]);
    scene.release("a");
    scene.fail(scene.only());
    scene.world.now -= SignedDuration::from_secs(365 * DAY);
    scene.pass(0);
    scene.answer(scene.only(), Ok(taken()));
}

#[test]
fn a_refusal_is_final_and_holds_for_one_release_only() {
    let mut scene = Scene::new(&["a"], &[hook("1")]);
    scene.release("a");
    let id = scene.only();
    scene.rejected.insert(id);
    scene.answer(id, Err(refused()));
    scene.pass(DAY);
    assert_eq!(scene.on_their_way.len(), 0);
    scene.release("a");
    assert_ne!(scene.only(), id);
}

#[test]
fn a_person_has_a_refusal_sent_again_with_its_number() {
    let mut scene = Scene::new(&["a"], &[hook("1")]);
    scene.release("a");
    let id = scene.only();
    let on_record = Poke {
        error: Some(refused().message),
        ..scene.on_their_way[&id].clone()
    };
    scene.rejected.insert(id);
    scene.answer(id, Err(refused()));
    let again = |scene: &mut Scene, poke: &Poke| {
        let pokes = vec![poke.clone()];
        let decision = scene.world.event(Event::PokeAgain { pokes });
        scene.take(decision);
    };
    again(&mut scene, &on_record);
    assert_eq!(scene.only(), id);
    // What is on its way is not sent a second time at once.
    let decision = scene.world.event(Event::PokeAgain {
        pokes: vec![on_record.clone()],
    });
    assert_eq!(decision, Decision::default());
    // What waits for its next try does not wait any longer.
    scene.fail(id);
    assert_eq!(scene.on_their_way.len(), 0);
    again(&mut scene, &on_record);
    assert_eq!(scene.only(), id);
    scene.answer(id, Ok(taken()));
    scene.pass(DAY);
    assert_eq!(scene.on_their_way.len(), 0);
    // A later release is what counts.
    scene.release("a");
    let later = scene.only();
    scene.fail(later);
    again(&mut scene, &on_record);
    assert!(!scene.world.state.pokes.contains_key(&id));
    scene.pass(DAY);
    assert!(!scene.on_their_way.contains_key(&id));
}

#[test]
fn only_the_newest_release_is_told_of_what_did_not_get_through() {
    let mut scene = Scene::new(&["a"], &[hook("1")]);
    scene.release("a");
    let first = scene.only();
    scene.fail(first);
    scene.release("a");
    let second = scene.only();
    assert_ne!(second, first);
    // What is on its way is not overtaken.
    scene.release("a");
    assert_eq!(scene.only(), second);
    scene.fail(second);
    let third = scene.only();
    assert!(third > second);
    scene.answer(third, Ok(taken()));
    assert_eq!(scene.world.state.pokes.len(), 0);
    scene.come_to_rest();
}

#[test]
fn a_place_that_the_config_does_not_name_any_more_is_dropped() {
    let mut scene = Scene::new(&["a"], &[hook("1"), hook("2")]);
    scene.release("a");
    for id in scene.on_their_way.keys().copied().collect::<Vec<_>>() {
        scene.fail(id);
    }
    scene.targets("a").remove(0);
    scene.reload();
    assert_eq!(scene.world.state.pokes.len(), 1);
    scene.pass(2);
    scene.targets("a").clear();
    scene.reload();
    // On its way, and heard of all the same.
    scene.answer(scene.only(), Ok(taken()));
    assert_eq!(scene.received.len(), 1);
}

#[test]
fn what_is_disabled_keeps_its_pokes() {
    let mut scene = Scene::new(&["a"], &[hook("1")]);
    scene.release("a");
    scene.fail(scene.only());
    scene.world.config.projects.get_mut(&project("a")).unwrap().enabled = false;
    scene.reload();
    scene.pass(HOUR);
    assert_eq!(scene.on_their_way.len(), 0);
    assert_eq!(next_wake_of_pokes(&scene), None, "nothing to be woken for");
    scene.world.config.projects.get_mut(&project("a")).unwrap().enabled = true;
    scene.reload();
    scene.only();
}

#[test]
fn nothing_is_sent_while_the_daemon_ends() {
    for end in [Event::Drain, Event::Stop] {
        let mut scene = Scene::new(&["a"], &[hook("1")]);
        let job = scene.build("a");
        let decision = scene.world.event(end);
        scene.take(decision);
        scene.end("a", job, ImageStatus::Released, &[]);
        scene.pass(HOUR);
        assert_eq!(scene.on_their_way.len(), 0);
        assert_eq!(next_wake(&scene.world.state, scene.world.now), None);
        scene.crash();
        scene.only();
    }
}

#[test]
fn one_at_a_time_to_a_place_and_four_in_all() {
    let places: Vec<PokeTarget> = (0..6).map(|n| hook(&n.to_string())).collect();
    let mut scene = Scene::new(&["a", "b"], &places);
    scene.release("a");
    scene.release("b");
    assert_eq!((scene.on_their_way.len(), scene.world.state.pokes.len()), (4, 12));
    while let Some(id) = scene.on_their_way.keys().next().copied() {
        scene.answer(id, Ok(taken()));
    }
    assert_eq!(scene.received.len(), 12);
}

#[derive(Debug, Clone)]
enum Op {
    Release(&'static str),
    Alike(&'static str),
    Unchanged(&'static str),
    Take(Index),
    Fail(Index),
    Refuse(Index),
    /// It was taken, and the daemon dies before it hears of that.
    TakeAndCrash(Index),
    /// A person wants sent again what was not taken.
    Again,
    Pass(i64),
    Targets(&'static str, usize),
    Enable(&'static str, bool),
    Drain,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let p = || select(&PROJECTS[..]);
    let i = any::<Index>;
    prop_oneof![
        6 => p().prop_map(Op::Release),
        1 => p().prop_map(Op::Alike),
        1 => p().prop_map(Op::Unchanged),
        5 => i().prop_map(Op::Take),
        8 => i().prop_map(Op::Fail),
        1 => i().prop_map(Op::Refuse),
        2 => i().prop_map(Op::TakeAndCrash),
        2 => Just(Op::Again),
        6 => select(vec![1, 2, 5, 60, HOUR, 4 * DAY, -HOUR, -30 * DAY]).prop_map(Op::Pass),
        1 => (p(), 0..4usize).prop_map(|(p, n)| Op::Targets(p, n)),
        1 => (p(), any::<bool>()).prop_map(|(p, on)| Op::Enable(p, on)),
        1 => Just(Op::Drain),
        2 => Just(Op::Crash),
    ]
}

fn apply(scene: &mut Scene, op: Op) {
    let some = |scene: &Scene, index: Index| {
        let ids: Vec<PokeId> = scene.on_their_way.keys().copied().collect();
        (!ids.is_empty()).then(|| *index.get(&ids))
    };
    let built = |scene: &mut Scene, name: &'static str, status, alike: &[Digest]| {
        let is_on = scene.world.config.projects[&project(name)].enabled;
        if is_on && scene.world.state.mode == pipelined::model::Mode::Normal {
            let job = scene.build(name);
            scene.end(name, job, status, alike);
        }
    };
    match op {
        Op::Release(name) => built(scene, name, ImageStatus::Released, &[]),
        Op::Alike(name) => built(scene, name, ImageStatus::Released, &[digest(999_999)]),
        Op::Unchanged(name) => built(scene, name, ImageStatus::Unchanged, &[]),
        Op::Take(index) => {
            if let Some(id) = some(scene, index) {
                scene.answer(id, Ok(taken()));
            }
        }
        Op::Again if scene.world.state.mode == pipelined::model::Mode::Normal => {
            let mut seen = BTreeSet::new();
            let mut pokes = scene.world.store.pokes(None).unwrap();
            // The newest come first.
            pokes.retain(|poke| seen.insert((poke.node.clone(), poke.place.key.clone())) && poke.is_trouble());
            let decision = scene.world.event(Event::PokeAgain { pokes });
            scene.take(decision);
        }
        Op::Again => {}
        Op::Fail(index) => {
            if let Some(id) = some(scene, index) {
                scene.fail(id);
            }
        }
        Op::Refuse(index) => {
            if let Some(id) = some(scene, index) {
                scene.rejected.insert(id);
                scene.answer(id, Err(refused()));
            }
        }
        Op::TakeAndCrash(index) => {
            if let Some(id) = some(scene, index) {
                scene.receive(id);
                scene.crash();
            }
        }
        Op::Pass(seconds) => scene.pass(seconds),
        Op::Targets(name, count) => {
            *scene.targets(name) = (0..count).map(|n| hook(&n.to_string())).collect();
            let decision = scene.world.reload();
            scene.take(decision);
            // What is named again later is told of the next release.
            let gone: Vec<Key> = scene.due.keys().filter(|key| !scene.names(key)).cloned().collect();
            for key in gone {
                scene.due.remove(&key);
            }
        }
        Op::Enable(name, on) => {
            scene.world.config.projects.get_mut(&project(name)).unwrap().enabled = on;
            scene.reload();
        }
        Op::Drain => {
            let decision = scene.world.event(Event::Drain);
            scene.take(decision);
        }
        Op::Crash => scene.crash(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_last_release_arrives_whatever_happens(ops in prop::collection::vec(op(), 1..80)) {
        let mut scene = Scene::new(&PROJECTS, &[hook("0"), hook("1")]);
        for op in ops {
            apply(&mut scene, op);
        }
        for name in PROJECTS {
            scene.world.config.projects.get_mut(&project(name)).unwrap().enabled = true;
        }
        scene.come_to_rest();
    }
}
