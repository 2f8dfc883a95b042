//! What somebody says of a base makes it be looked at now, and nothing more than a look would do that comes by itself.

use crate::updates::image;
use crate::world::{World, config, project};
use jiff::{SignedDuration, Timestamp};
use pipelined::model::{BaseKey, BaseUsed, CheckError, Digest, ImageName, ImageRef, ImageResult, ImageStatus, JobId};
use pipelined::reconcile::{Decision, Effect, Event, bases_at, next_wake};
use std::collections::BTreeSet;

fn digest(n: u32) -> Digest {
    Digest::new(format!("sha256:{n:064x}")).unwrap()
}

fn reference(text: &str) -> ImageRef {
    ImageRef::parse(text).unwrap()
}

/// `a` and `b` are released, on `debian` and on `alpine`.
fn released() -> World {
    let mut config = config(2, &["a", "b"]);
    for name in ["a", "b"] {
        let images = &mut config.projects.get_mut(&project(name)).unwrap().images;
        images.push(image(name, &format!("r.io/{name}:1")));
    }
    let mut world = World::new(config);
    world.event(Event::Recovered);
    for (name, base) in [("a", "r.io/debian:12"), ("b", "r.io/alpine:3")] {
        world.push(name, "main", 1);
        world.poll(name);
        let [job] = world.running()[..] else {
            panic!("{:?}", world.running())
        };
        ended(&mut world, job, name, base);
    }
    world
}

fn ended(world: &mut World, job: JobId, name: &str, base: &str) {
    let base = BaseUsed {
        name: base.to_owned(),
        reference: Some(reference(base)),
        digests: vec![digest(1)],
        id: Some(digest(2)),
        diff_ids: vec![digest(3)],
        platform: Some("linux/amd64".to_owned()),
        sibling: None,
        needed: None,
    };
    let image = ImageResult {
        alike: BTreeSet::new(),
        image: ImageName::new(name).unwrap(),
        status: ImageStatus::Released,
        note: String::new(),
        fingerprint: String::new(),
        id: Some(digest(4)),
        digest: Some(digest(5)),
        bases: vec![base],
        released: vec![reference(&format!("r.io/{name}:1"))],
    };
    world.event(Event::AttemptEnded {
        job,
        result: Ok(()),
        image_id: None,
        images: vec![image],
        void: false,
        last: false,
    });
}

fn look_now(world: &mut World, references: &[&str]) -> Vec<String> {
    let bases = references.iter().map(|text| reference(text)).collect();
    let decision = world.event(Event::LookNow { bases });
    assert_eq!(decision.writes, [], "what somebody says is not recorded");
    looks(&decision)
}

/// The bases that are looked at.
fn looks(decision: &Decision) -> Vec<String> {
    let base = |effect: &Effect| match effect {
        Effect::LookAtBase { base, used } => {
            assert!(!used.is_empty());
            Some(base.reference.to_string())
        }
        _ => None,
    };
    decision.effects.iter().filter_map(base).collect()
}

/// The answer to a look: the same as ever, or that error.
fn seen(world: &mut World, base: &str, error: Option<CheckError>) -> Vec<String> {
    let base = BaseKey {
        reference: reference(base),
        project: None,
    };
    let result = match error {
        Some(error) => Err(error),
        None => Ok((digest(1), Vec::new())),
    };
    looks(&world.event(Event::BaseSeen {
        base,
        result,
        failed_tips: BTreeSet::new(),
    }))
}

/// When the next look is made, seconds from now, and at what.
fn next_look(world: &mut World) -> (i64, Vec<String>) {
    let begin = world.now;
    for _ in 0..100 {
        let next = next_wake(&world.state, world.now).unwrap();
        world.now = next.max(world.now + SignedDuration::from_millis(1));
        let looks = looks(&world.event(Event::Tick));
        if !looks.is_empty() {
            return (world.now.duration_since(begin).as_secs(), looks);
        }
    }
    panic!("no look is ever made")
}

const DEBIAN: &str = "r.io/debian:12";

#[test]
fn now_and_not_when_it_is_its_turn() {
    let mut world = released();
    assert_eq!(
        bases_at(&world.state, &world.config, &[reference(DEBIAN)].into()).len(),
        1
    );
    assert_eq!(look_now(&mut world, &[DEBIAN]), [DEBIAN]);
    assert_eq!(seen(&mut world, DEBIAN, None), Vec::<String>::new());
    let (wait, bases) = next_look(&mut world);
    assert!(wait > 3000, "{bases:?} in {wait} s");
}

#[test]
fn what_nothing_stands_on_changes_nothing() {
    let mut world = released();
    let before = world.state.clone();
    for other in ["r.io/debian:13", "q.io/debian:12", "r.io/a:1", "localhost/debian:12"] {
        assert!(bases_at(&world.state, &world.config, &[reference(other)].into()).is_empty());
        assert_eq!(look_now(&mut world, &[other]), Vec::<String>::new());
    }
    assert_eq!(world.state, before);
    // Nor what is not to be kept up to date.
    world.config.projects.get_mut(&project("a")).unwrap().images[0]
        .update
        .base = false;
    assert_eq!(look_now(&mut world, &[DEBIAN]), Vec::<String>::new());
}

#[test]
fn an_answer_that_is_under_way_is_too_old() {
    let mut world = released();
    assert_eq!(look_now(&mut world, &[DEBIAN]), [DEBIAN]);
    world.now += SignedDuration::from_secs(2);
    for _ in 0..10 {
        assert_eq!(
            look_now(&mut world, &[DEBIAN]),
            Vec::<String>::new(),
            "it is being looked at"
        );
    }
    assert_eq!(
        seen(&mut world, DEBIAN, None),
        Vec::<String>::new(),
        "not without a gap"
    );
    assert_eq!(next_look(&mut world), (5, vec![DEBIAN.to_owned()]));
    assert_eq!(seen(&mut world, DEBIAN, None), Vec::<String>::new());
    assert!(next_look(&mut world).0 > 3000, "and once is enough");
}

#[test]
fn however_often_it_is_said_there_is_a_gap() {
    let mut world = released();
    let begin = world.now;
    let mut made = 0;
    while world.now.duration_since(begin).as_secs() < 100 {
        let bases = [reference(DEBIAN)].into();
        let decision = world.event(Event::LookNow { bases });
        for base in looks(&decision) {
            made += 1;
            seen(&mut world, &base, None);
        }
        world.now += SignedDuration::from_millis(100);
    }
    assert_eq!(made, 20);
}

#[test]
fn a_registry_that_wants_to_be_left_alone_is() {
    let mut world = released();
    let until: Timestamp = world.now + SignedDuration::from_secs(600);
    assert_eq!(look_now(&mut world, &[DEBIAN]), [DEBIAN]);
    let error = CheckError {
        message: "too many requests".to_owned(),
        not_before: Some(until),
    };
    seen(&mut world, DEBIAN, Some(error));
    for second in 0..599 {
        world.now = until - SignedDuration::from_secs(599 - second);
        // Also what was never asked for there.
        let both = look_now(&mut world, &[DEBIAN, "r.io/alpine:3"]);
        assert_eq!(both, Vec::<String>::new(), "{second}");
    }
    assert_eq!(
        next_look(&mut world),
        (1, vec!["r.io/alpine:3".to_owned(), DEBIAN.to_owned()])
    );
}

#[test]
fn what_was_not_there_is_looked_for_when_it_comes() {
    let mut world = released();
    let missing = || {
        Some(CheckError {
            message: "there is no such image".to_owned(),
            not_before: None,
        })
    };
    assert_eq!(look_now(&mut world, &[DEBIAN]), [DEBIAN]);
    seen(&mut world, DEBIAN, missing());
    for _ in 0..6 {
        for base in next_look(&mut world).1 {
            let error = missing().filter(|_| base == DEBIAN);
            seen(&mut world, &base, error);
        }
    }
    // By now it is asked for less and less often.
    world.now += SignedDuration::from_secs(60);
    assert_eq!(look_now(&mut world, &[DEBIAN]), [DEBIAN]);
    seen(&mut world, DEBIAN, None);
    assert!(world.state.updates.bases.values().all(|check| check.trouble.is_none()));
}

#[test]
fn who_drains_or_stops_looks_at_nothing() {
    for event in [Event::Drain, Event::Stop] {
        let mut world = released();
        world.event(event);
        assert_eq!(look_now(&mut world, &[DEBIAN]), Vec::<String>::new());
    }
}

/// Whatever was said is forgotten by a crash, and what is due by itself comes all the same.
#[test]
fn what_was_said_is_not_needed() {
    let mut world = released();
    look_now(&mut world, &[DEBIAN]);
    world.crash();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let begin = world.now;
    while seen.len() < 2 {
        seen.extend(next_look(&mut world).1);
    }
    assert!(world.now.duration_since(begin).as_secs() < 4000);
}
