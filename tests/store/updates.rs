//! The record of updates: what is known comes back, and what is released is told apart from what was.

use super::chains::{bare_links, links, needed, thing};
use super::*;
use pipelined::model::{
    BaseKey, Check, CheckTrouble, Compared, Elsewhere, Evidence, Heeded, Look, Node, PackageUpdate, Packages, Rebuild,
    Standing, Tried, Updates,
};
use std::collections::BTreeSet;

pub fn node_of(short: &[u8], image: &str) -> Node {
    Node {
        project: project(),
        reference: reference(short),
        image: ImageName::new(image).unwrap(),
    }
}

pub fn node(short: &[u8]) -> Node {
    node_of(short, "app")
}

pub fn opened() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// A job of a ref that ends with these results.
pub fn ends_with(store: &mut Store, id: i64, short: &[u8], images: Vec<ImageResult>, second: i64) {
    let job = queued(id, short, &id.to_string());
    let writes = [put(&job), Write::Attempt(job.id), ended(id, images, false)];
    store.commit(&writes, at(second), &|_, _, _| true).unwrap();
}

pub fn released(n: u8, references: &[&str]) -> ImageResult {
    image(ImageStatus::Released, n, references)
}

pub fn unchanged(n: u8) -> ImageResult {
    image(ImageStatus::Unchanged, n, &[])
}

pub fn refs(references: &[&str]) -> Vec<ImageRef> {
    references.iter().map(|r| ImageRef::parse(r).unwrap()).collect()
}

/// What a release of this result stands on.
pub fn standing(id: i64, result: &ImageResult, references: &[&str], second: i64) -> Standing {
    Standing {
        job: Some(JobId(id)),
        commit: commit(&id.to_string()),
        id: result.id.clone(),
        digest: result.digest.clone(),
        released: refs(references),
        bases: result.bases.clone(),
        verified: at(second),
        evidence: Evidence::Record,
        layers: Vec::new(),
        since: at(second),
        wave: Some(JobId(id)),
        alike: result.alike.clone(),
    }
}

fn elsewhere(found: Option<Standing>) -> Elsewhere {
    Elsewhere { checked: at(6), found }
}

pub fn found_elsewhere(n: u8) -> Standing {
    Standing {
        job: None,
        wave: None,
        evidence: Evidence::Layers,
        layers: vec![digest(n), digest(n + 1)],
        ..standing(7, &released(n, &[]), &["r.io/a:1"], 3)
    }
}

fn check<T>(last: Option<T>) -> Check<T> {
    Check {
        last,
        trouble: Some(CheckTrouble {
            since: at(1),
            failures: 3,
            error: "no \"route\"\nat all".to_owned(),
        }),
        next: at(9),
    }
}

pub fn known(store: &Store) -> Updates {
    store.load_state().unwrap().updates
}

/// Everything of one kind for each of these, with one that is looked at without an answer so far.
pub fn everything() -> Updates {
    let nodes = [node(b"main"), node(b"odd-\xff"), node_of(b"main", "other")];
    let base = |text: &str, project: Option<ProjectName>| BaseKey {
        reference: ImageRef::parse(text).unwrap(),
        project,
    };
    let look = |n: u8| Look {
        head: digest(n),
        since: at(1),
        checked: at(2),
        compared: vec![Compared {
            used: "linux/amd64 x".to_owned(),
            present: Some(digest(n + 1)),
            same: true,
            absent: false,
            how: "its layers are the same".to_owned(),
        }],
    };
    let packages = Packages {
        image: digest(1),
        checked: at(5),
        needed: true,
        updates: vec![PackageUpdate {
            name: "openssl".to_owned(),
            old: Some("3.0.1".to_owned()),
            new: None,
        }],
    };
    let tried = |outcome| Tried {
        key: "k".to_owned(),
        job: JobId(3),
        ended: outcome,
    };
    let heeded = |text: &str| Heeded {
        cron: text.to_owned(),
        until: at(4),
    };
    let [a, b, c] = nodes;
    let strangers = [
        (a.clone(), check(Some(elsewhere(Some(found_elsewhere(1)))))),
        // Looked for, and not found; and not looked for yet.
        (b.clone(), check(Some(elsewhere(None)))),
        (c.clone(), check(None)),
    ];
    Updates {
        links: [(a.clone(), links()), (b.clone(), bare_links())].into(),
        things: [(a.clone(), thing(vec![needed(1)])), (c.clone(), thing(Vec::new()))].into(),
        standings: [(a.clone(), found_elsewhere(1))].into(),
        bases: [
            (base("docker.io/library/debian:12", None), check(Some(look(1)))),
            (base("localhost/x", Some(project())), check(Some(look(5)))),
            (base("localhost/x", None), check(None)),
        ]
        .into(),
        packages: [(a.clone(), check(Some(packages))), (b.clone(), check(None))].into(),
        elsewhere: strangers.into(),
        scheduled: [
            (a.clone(), heeded("0 4 * * 1 Europe/Berlin")),
            (c.clone(), heeded("0 4 * * *")),
        ]
        .into(),
        tried: [(a, tried(None)), (b, tried(Some((Outcome::TimedOut, at(6)))))].into(),
    }
}

/// Puts everything, or takes it away.
pub fn writes(all: &Updates, put: bool) -> Vec<Write> {
    let mut writes = Vec::new();
    for (base, check) in all.bases.clone() {
        let check = put.then_some(check);
        writes.push(Write::Base { base, check });
    }
    for (node, check) in all.packages.clone() {
        let check = put.then_some(check);
        writes.push(Write::Packages { node, check });
    }
    for (node, links) in all.links.clone() {
        let links = put.then_some(links);
        writes.push(Write::Links { node, links });
    }
    for (node, thing) in all.things.clone() {
        let thing = put.then_some(thing);
        writes.push(Write::Thing { node, thing });
    }
    for (node, check) in all.elsewhere.clone() {
        let check = put.then_some(check);
        writes.push(Write::Elsewhere { node, check });
    }
    for (node, heeded) in all.scheduled.clone() {
        let heeded = put.then_some(heeded);
        writes.push(Write::Scheduled { node, heeded });
    }
    for (node, tried) in all.tried.clone() {
        let tried = put.then_some(tried);
        writes.push(Write::Tried { node, tried });
    }
    writes
}

#[test]
fn what_is_known_of_updates_comes_back_and_is_forgotten() {
    let (dir, mut store) = opened();
    let all = everything();
    record(&mut store, &writes(&all, true));
    assert_eq!(known(&store), all);
    // Put again, it is there once; and a reader sees the same.
    record(&mut store, &writes(&all, true));
    assert_eq!(known(&Store::open_read(dir.path()).unwrap()), all);
    for write in writes(&all, false) {
        // Only the one is forgotten.
        let before = known(&store);
        record(&mut store, std::slice::from_ref(&write));
        assert_ne!(known(&store), before, "{write:?}");
    }
    assert_eq!(known(&store), Updates::default());
    // What is not there may be forgotten.
    record(&mut store, &writes(&all, false));
}

#[test]
fn what_is_known_is_replaced() {
    let (_dir, mut store) = opened();
    record(&mut store, &writes(&everything(), true));
    let next = Write::Packages {
        node: node(b"main"),
        check: Some(Check {
            last: None,
            trouble: None,
            next: at(77),
        }),
    };
    record(&mut store, &[next]);
    let packages = known(&store).packages;
    assert_eq!(packages[&node(b"main")].next, at(77));
    assert_eq!((packages[&node(b"main")].last.as_ref(), packages.len()), (None, 2));
}

#[test]
fn what_a_job_builds_again_is_kept() {
    let (_dir, mut store) = opened();
    let name = |text: &str| ImageName::new(text).unwrap();
    let job = Job {
        reason: Reason::BaseUpdated,
        rebuild: Some(Rebuild {
            force: false,
            images: [(name("app"), Some(JobId(3))), (name("other"), None)].into(),
            key: "debian:12 \"new\"".to_owned(),
        }),
        ..queued(4, b"main", "4")
    };
    record(&mut store, &[put(&job)]);
    assert_eq!(store.load_state().unwrap().jobs[&job.id], job);
    // A newer commit takes its place in the queue.
    let other = Job {
        rebuild: None,
        reason: Reason::NewCommit,
        ..job
    };
    record(&mut store, &[put(&other)]);
    assert_eq!(store.job(other.id).unwrap().unwrap().job, other);
}

#[test]
fn the_newest_release_of_an_image_on_a_ref_stands() {
    let (_dir, mut store) = opened();
    let (first, second, third) = (
        released(1, &["r.io/a:1"]),
        released(10, &["r.io/a:1"]),
        released(20, &["r.io/a:dev"]),
    );
    ends_with(&mut store, 1, b"main", vec![first], 1);
    ends_with(&mut store, 2, b"main", vec![second.clone()], 2);
    ends_with(&mut store, 3, b"dev", vec![third.clone()], 3);
    // None of these is a release of it.
    for (id, status) in (4..).zip([
        ImageStatus::Built,
        ImageStatus::Skipped,
        ImageStatus::Failed,
        ImageStatus::Blocked,
    ]) {
        ends_with(&mut store, id, b"main", vec![image(status, 30, &[])], id);
    }
    let expected = [
        (node(b"main"), standing(2, &second, &["r.io/a:1"], 2)),
        (node(b"dev"), standing(3, &third, &["r.io/a:dev"], 3)),
    ];
    assert_eq!(known(&store).standings, expected.into());
}

#[test]
fn the_images_of_a_job_stand_each_for_itself() {
    let (_dir, mut store) = opened();
    let app = released(1, &["r.io/a:1", "r.io/both"]);
    let other = ImageResult {
        image: ImageName::new("other").unwrap(),
        ..released(10, &["r.io/o:1", "r.io/both"])
    };
    // Their names came out the same: the second one is there.
    ends_with(&mut store, 1, b"main", vec![app.clone(), other.clone()], 1);
    let expected = [
        (node(b"main"), standing(1, &app, &["r.io/a:1"], 1)),
        (
            node_of(b"main", "other"),
            standing(1, &other, &["r.io/o:1", "r.io/both"], 1),
        ),
    ];
    assert_eq!(known(&store).standings, expected.into());
}

#[test]
fn a_build_that_came_to_the_same_verifies_what_stands() {
    let (_dir, mut store) = opened();
    let first = released(1, &["r.io/a:1"]);
    // Before anything is released there is nothing to verify.
    ends_with(&mut store, 1, b"main", vec![unchanged(40)], 1);
    assert!(known(&store).standings.is_empty());
    ends_with(&mut store, 2, b"main", vec![first.clone()], 2);
    assert_eq!(
        known(&store).standings[&node(b"main")],
        standing(2, &first, &["r.io/a:1"], 2)
    );
    // Of another ref, it says nothing of this one.
    ends_with(&mut store, 3, b"dev", vec![unchanged(50)], 3);
    assert_eq!(known(&store).standings[&node(b"main")].verified, at(2));
    for id in [4, 5] {
        let again = unchanged(60 + id as u8);
        ends_with(&mut store, id, b"main", vec![again.clone()], id);
        let expected = Standing {
            bases: again.bases,
            verified: at(id),
            ..standing(2, &first, &["r.io/a:1"], 2)
        };
        assert_eq!(known(&store).standings, [(node(b"main"), expected)].into());
    }
    // Another release stands on what it was built on, until that is verified in its turn.
    let second = released(90, &["r.io/a:1"]);
    ends_with(&mut store, 6, b"main", vec![second.clone()], 6);
    assert_eq!(
        known(&store).standings[&node(b"main")],
        standing(6, &second, &["r.io/a:1"], 6)
    );
}

#[test]
fn what_another_has_released_is_its_own_no_more() {
    let (_dir, mut store) = opened();
    let first = released(1, &["r.io/a:1", "r.io/a:2"]);
    ends_with(&mut store, 1, b"main", vec![first.clone()], 1);
    let second = released(10, &["r.io/a:2"]);
    ends_with(&mut store, 2, b"dev", vec![second.clone()], 2);
    let both = [
        (node(b"main"), standing(1, &first, &["r.io/a:1"], 1)),
        (node(b"dev"), standing(2, &second, &["r.io/a:2"], 2)),
    ];
    assert_eq!(known(&store).standings, both.into());
    // Half of a release takes over too: what is there is not what stood there.
    let half = image(ImageStatus::Failed, 20, &["r.io/a:1"]);
    ends_with(&mut store, 3, b"half", vec![half], 3);
    assert_eq!(
        known(&store).standings.keys().cloned().collect::<Vec<_>>(),
        [node(b"dev")],
        "nothing is left of main"
    );
    // Nor does it stand again because a build of it came to the same.
    ends_with(&mut store, 4, b"main", vec![unchanged(30)], 4);
    assert!(!known(&store).standings.contains_key(&node(b"main")));
    // A job that is older and ends later has not moved what is there.
    ends_with(&mut store, 6, b"late", vec![released(50, &["r.io/z"])], 6);
    ends_with(&mut store, 5, b"early", vec![released(40, &["r.io/z"])], 7);
    let standings = known(&store).standings;
    assert!(standings.contains_key(&node(b"late")) && !standings.contains_key(&node(b"early")));
}

#[test]
fn what_is_on_record_is_known_better_than_what_was_found_elsewhere() {
    let (_dir, mut store) = opened();
    let found = Write::Elsewhere {
        node: node(b"main"),
        check: Some(check(Some(elsewhere(Some(found_elsewhere(1)))))),
    };
    record(&mut store, &[found]);
    assert_eq!(known(&store).standings[&node(b"main")], found_elsewhere(1));
    // A build of it that came to the same has no release of ours to verify.
    ends_with(&mut store, 1, b"main", vec![unchanged(30)], 1);
    assert_eq!(known(&store).standings[&node(b"main")], found_elsewhere(1));
    let own = released(50, &["r.io/a:1"]);
    ends_with(&mut store, 2, b"main", vec![own.clone()], 2);
    let state = known(&store);
    assert_eq!(
        state.standings,
        [(node(b"main"), standing(2, &own, &["r.io/a:1"], 2))].into()
    );
    assert_eq!(state.elsewhere.len(), 1);
}

#[rstest]
#[case("UPDATE updates SET known = '{}' WHERE kind = 'packages'")]
#[case("UPDATE bases SET seen = 'x'")]
#[case("UPDATE bases SET reference = 'A B' WHERE reference LIKE '%debian%'")]
#[case("UPDATE updates SET image = '' WHERE kind = 'scheduled' AND image = 'other'")]
fn what_no_version_of_ours_writes_is_told(#[case] damage: &str) {
    let (dir, mut store) = opened();
    record(&mut store, &writes(&everything(), true));
    let connection = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    connection.execute_batch(damage).unwrap();
    assert!(matches!(store.load_state(), Err(StoreError::Row(_))), "{damage}");
}

/// As versions recorded it that had no room for what came to the same.
fn alone(n: u8, references: &[&str]) -> ImageResult {
    ImageResult {
        alike: BTreeSet::new(),
        ..released(n, references)
    }
}

/// Written by the last code that had schema 2: releases of five refs, one of which another has taken over wholly and one
/// in part, and a release that has begun.
#[test]
fn what_the_second_version_wrote_is_read_and_stands() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = fixture().with_file_name("v2.db");
    fs::copy(fixture, dir.path().join(DATABASE)).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let state = store.load_state().unwrap();
    let (main, dev) = (alone(1, &[]), alone(20, &[]));
    let new = alone(80, &[]);
    let expected = Updates {
        standings: [
            (node(b"main"), standing(1, &main, &["r.io/a:1"], 100)),
            (node(b"dev"), standing(2, &dev, &["r.io/a:2"], 100)),
            (node(b"new"), standing(5, &new, &["localhost/a:4"], 100)),
        ]
        .into(),
        ..Updates::default()
    };
    assert_eq!(state.updates, expected);
    let live = job(6, b"main", "6", JobState::Running { cancelling: false });
    assert_eq!(*state.jobs, [(live.id, live.clone())].into());
    assert_eq!(state.releasing[&live.id].images[0].targets, refs(&["r.io/a:1"]));
    assert_eq!(state.next_id, 7);
    // And it goes on.
    let last = released(120, &["r.io/a:1"]);
    let writes = [put(&live), ended(6, vec![last.clone()], true)];
    store.commit(&writes, at(200), &|_, _, _| true).unwrap();
    let (base, seen) = everything().bases.pop_first().unwrap();
    let check = Some(seen);
    record(&mut store, &[Write::Base { base, check }]);
    let updates = known(&Store::open_read(dir.path()).unwrap());
    assert_eq!(
        updates.standings[&node(b"main")],
        standing(6, &last, &["r.io/a:1"], 200)
    );
    assert_eq!(updates.bases.len(), 1);
}

/// Written by the last code that had schema 3: the record of updates as it was, a job that builds images again, and a
/// release that has begun.
#[test]
fn what_the_third_version_wrote_is_read_and_stands() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = fixture().with_file_name("v3.db");
    fs::copy(fixture, dir.path().join(DATABASE)).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let state = store.load_state().unwrap();
    let found = Standing {
        since: Timestamp::UNIX_EPOCH,
        alike: BTreeSet::new(),
        ..found_elsewhere(1)
    };
    let (main, dev) = (alone(1, &["r.io/a:1"]), alone(20, &["r.io/a:dev"]));
    let mut expected = everything();
    expected.links.clear();
    expected.things.clear();
    let of_main = expected.elsewhere.get_mut(&node(b"main")).unwrap();
    of_main.last.as_mut().unwrap().found = Some(found);
    let verified = Standing {
        bases: unchanged(60).bases,
        verified: at(2),
        ..standing(1, &main, &["r.io/a:1"], 1)
    };
    expected.standings = [
        (node(b"main"), verified),
        (node(b"dev"), standing(3, &dev, &["r.io/a:dev"], 3)),
    ]
    .into();
    assert_eq!(state.updates, expected);
    let name = |text: &str| ImageName::new(text).unwrap();
    let again = Job {
        reason: Reason::BaseUpdated,
        rebuild: Some(Rebuild {
            force: false,
            images: [(name("app"), Some(JobId(1))), (name("other"), None)].into(),
            key: "debian:12 \"new\"".to_owned(),
        }),
        ..queued(4, b"main", "4")
    };
    let live = job(5, b"odd-\xff", "5", JobState::Running { cancelling: false });
    // Each began its own wave, and moves by itself.
    assert_eq!((again.wave, live.wave, live.atomic), (JobId(4), JobId(5), None));
    assert_eq!(*state.jobs, [(again.id, again), (live.id, live.clone())].into());
    assert_eq!(state.releasing[&live.id].stage, ReleaseStage::Moving);
    assert_eq!(store.images_of_job(JobId(1)).unwrap()[0].result, main);
    // And it goes on: what has begun is finished in its directory, though it never waited.
    let begun = store
        .commit(&[Write::Attempt(live.id)], at(200), &|_, _, _| false)
        .unwrap();
    assert_eq!(
        (begun[0].n, begun[0].goes_on, begun[0].resume.is_some()),
        (2, false, true)
    );
    let writes: Vec<Write> = writes(&everything(), true);
    record(&mut store, &writes);
    assert_eq!(known(&Store::open_read(dir.path()).unwrap()).links, everything().links);
}
