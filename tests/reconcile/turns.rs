//! Jobs of one ref that take turns while other images move: what random storms have found, step by step.

use crate::farm::{Farm, File, Luck, Tree, node};
use crate::world::{commit, project};
use pipelined::model::{JobId, Outcome};
use pipelined::reconcile::Freshness;

/// A commit whose images stand on what is said of each.
fn tree(images: &[(&str, &[&str])], salt: u32) -> Tree {
    let files = images.iter().map(|(name, bases)| {
        let file = File {
            bases: bases.iter().map(ToString::to_string).collect(),
            salt,
            ..File::default()
        };
        ((*name).to_owned(), file)
    });
    Tree {
        files: files.collect(),
        ..Tree::default()
    }
}

fn push(farm: &mut Farm, name: &str, tree: Tree) {
    farm.push(name, tree);
    farm.poll(name);
}

/// The one job that runs.
#[track_caller]
fn running(farm: &Farm) -> JobId {
    let [job] = farm.running()[..] else {
        panic!("not one job runs: {}", farm.told())
    };
    job
}

#[track_caller]
fn steps(farm: &mut Farm, lucks: &[Luck]) {
    let job = running(farm);
    lucks.iter().for_each(|luck| farm.step(job, *luck));
}

#[track_caller]
fn assert_at_rest(farm: &Farm) {
    assert!(farm.state().jobs.is_empty(), "{}", farm.told());
    for (node, (freshness, _)) in farm.stand() {
        assert_eq!(freshness, Freshness::Fresh, "{node:?}: {}", farm.told());
    }
    farm.check_fresh();
}

#[test]
fn a_job_that_waits_for_the_turn_of_one_that_waits_for_it_does_not_start_again_and_again() {
    let two: &[(&str, &[&str])] = &[("two-a", &["one"]), ("two-b", &["three"])];
    let one: &[(&str, &[&str])] = &[("one", &["outside"])];
    let three: &[(&str, &[&str])] = &[("three", &["two-a"])];
    let mut farm = Farm::new(
        1,
        true,
        &[("one", &["one"]), ("two", &["two-a", "two-b"]), ("three", &["three"])],
    );
    farm.outside("outside", 1);
    for (name, images) in [("one", one), ("two", two), ("three", three)] {
        farm.push(name, tree(images, 1));
    }
    farm.poll_all();
    farm.settle();
    assert_at_rest(&farm);

    // By hand, and it errs: it is tried again later, before or after the commit that comes next.
    farm.rebuild(&node("two", "two-a"));
    steps(&mut farm, &[Luck::Well, Luck::Errs]);
    push(&mut farm, "one", tree(one, 2));
    steps(&mut farm, &[Luck::Well, Luck::Errs]);
    push(&mut farm, "two", tree(two, 2));
    steps(&mut farm, &[Luck::Well, Luck::Well]);
    // This one stands on the first, and the last on this one.
    push(&mut farm, "three", tree(three, 2));
    let job = running(&farm);
    steps(&mut farm, &[Luck::Well; 3]);
    assert!(!farm.running().contains(&job), "{}", farm.told());
    assert!(farm.done.contains_key(&job), "{}", farm.told());
    farm.settle();
    assert_at_rest(&farm);
}

#[test]
fn what_came_too_late_with_its_release_was_no_try_of_the_newer_one() {
    let mut farm = Farm::new(1, true, &[("base", &["base"]), ("app", &["app"])]);
    farm.outside("outside", 1);
    farm.push("base", tree(&[("base", &["outside"])], 1));
    farm.push("app", tree(&[("app", &["base"])], 1));
    farm.poll_all();
    farm.settle();
    assert_at_rest(&farm);

    // What was asked for errs, and a newer commit is released before it is tried again.
    farm.rebuild(&node("app", "app"));
    let late = running(&farm);
    steps(&mut farm, &[Luck::Well, Luck::Errs]);
    push(&mut farm, "app", tree(&[("app", &["base"])], 2));
    farm.run();
    assert!(farm.state().jobs.contains_key(&late), "{}", farm.told());
    // It is built on another base than that one was.
    push(&mut farm, "base", tree(&[("base", &["outside"])], 2));
    farm.run();
    farm.settle();
    assert_eq!(farm.done[&late].1, Outcome::Succeeded);
    assert_at_rest(&farm);
}

#[test]
fn a_wave_waits_for_what_somebody_has_asked_for_already() {
    for asked in ["two-a", "two-b"] {
        let mut farm = Farm::new(1, true, &[("two", &["two-a", "two-b"]), ("three", &["three"])]);
        farm.image("two", 1, |image| image.chain = pipelined::config::Chain::Atomic);
        farm.atomic("three");
        farm.outside("outside", 1);
        let two: &[(&str, &[&str])] = &[("two-a", &["outside"]), ("two-b", &["two-a", "outside"])];
        let later: &[(&str, &[&str])] = &[("two-a", &["outside"]), ("two-b", &["two-a", "three"])];
        farm.push("two", tree(two, 1));
        farm.push("three", tree(&[("three", &["two-a", "outside"])], 1));
        farm.poll_all();
        farm.settle();
        push(&mut farm, "two", tree(later, 2));
        steps(&mut farm, &[Luck::Well; 3]);
        farm.rebuild(&node("two", asked));
        let before = farm.registry.clone();
        // It is built for the commit, and what was asked for begins: it is of the wave, which waits for it.
        steps(&mut farm, &[Luck::Well; 4]);
        steps(&mut farm, &[Luck::Well; 3]);
        assert_eq!(farm.registry, before, "{asked}: {}", farm.told());
        farm.settle();
        assert_ne!(farm.registry, before);
        assert_at_rest(&farm);
    }
}

#[test]
fn a_commit_that_was_asked_for_is_the_tip_also_before_the_next_look() {
    let mut farm = Farm::new(1, true, &[("one", &["one"]), ("two", &["two-a", "two-b"])]);
    let two: &[(&str, &[&str])] = &[("two-a", &["one", "outside"]), ("two-b", &["outside"])];
    farm.outside("outside", 1);
    farm.push("one", tree(&[("one", &["outside"])], 1));
    // Half of it is released, and the rest fails for want of what it stands on.
    push(&mut farm, "two", tree(two, 1));
    steps(&mut farm, &[Luck::Well, Luck::Well, Luck::Errs]);
    farm.poll("one");
    farm.run();
    farm.push("two", tree(two, 2));
    farm.build("two");
    farm.run();
    farm.outside("outside", 2);
    farm.pass(4000);
    farm.run();
    farm.settle();
    assert_at_rest(&farm);
    for image in ["two-a", "two-b"] {
        let standing = &farm.state().updates.standings[&node("two", image)];
        assert_eq!(standing.commit, commit(2), "{image}: {}", farm.told());
    }
}

#[test]
fn a_wave_does_not_wait_for_what_is_stale_and_blocked() {
    let images = [
        ("app", ["base", "mid"]),
        ("base", ["outside", "outside"]),
        ("mid", ["ruby", "beside"]),
    ];
    let ruby = ("ruby", ["outside", "outside"]);
    let all: Vec<(&str, [&str; 2])> = images.into_iter().chain([ruby]).collect();
    let names: Vec<[&str; 1]> = all.iter().map(|(name, _)| [*name]).collect();
    let projects: Vec<(&str, &[&str])> = names.iter().map(|own| (own[0], &own[..])).collect();
    let mut farm = Farm::new(1, true, &projects);
    farm.outside("outside", 1);
    farm.outside("beside", 1);
    for (name, bases) in &all {
        farm.push(name, tree(&[(name, bases)], 1));
    }
    farm.poll_all();
    farm.settle();
    assert_at_rest(&farm);

    // What is above `mid` fails, and then something else is new below `mid`.
    farm.outside("outside", 2);
    farm.pass(8000);
    for name in ["base", "ruby"] {
        let mut jobs = farm.state().jobs.values();
        let job = jobs.find(|job| job.project == project(name)).unwrap().id;
        farm.cancel(job);
    }
    farm.run();
    farm.outside("beside", 2);
    farm.pass(8000);
    farm.run();
    assert_eq!(farm.stand()[&node("mid", "mid")].0, Freshness::Stale, "{}", farm.told());

    farm.atomic("base");
    push(&mut farm, "base", tree(&[("base", &["outside"])], 2));
    farm.run();
    let last = farm.done.values().rfind(|(job, _)| job.project == project("base"));
    let (job, outcome) = last.unwrap();
    assert_eq!(*outcome, Outcome::Failed);
    assert!(
        job.note.starts_with("its wave is not released: blocked: ruby failed"),
        "{}",
        job.note
    );
    push(&mut farm, "ruby", tree(&[("ruby", &["outside"])], 2));
    farm.settle();
    assert_at_rest(&farm);
    assert_eq!(farm.state().updates.standings[&node("base", "base")].commit, commit(2));
}

/// An atomic `root`, `left` and `right` on it, and `leaf` on both; all released.
fn diamond() -> Farm {
    let mut farm = Farm::new(1, true, &DIAMOND.map(|(name, _)| (name, NAMES_OF[name_at(name)])));
    farm.outside("outside", 1);
    for (name, bases) in DIAMOND {
        farm.push(name, tree(&[(name, bases)], 1));
    }
    farm.poll_all();
    farm.settle();
    assert_at_rest(&farm);
    farm.atomic("root");
    farm.built.clear();
    farm
}

const DIAMOND: [(&str, &[&str]); 4] = [
    ("root", &["outside"]),
    ("left", &["root", "outside"]),
    ("right", &["root", "outside"]),
    ("leaf", &["left", "right"]),
];
const NAMES_OF: [&[&str]; 4] = [&["root"], &["left"], &["right"], &["leaf"]];

fn name_at(name: &str) -> usize {
    DIAMOND.iter().position(|(known, _)| *known == name).unwrap()
}

fn commit_of(farm: &mut Farm, name: &str) {
    push(farm, name, tree(&[(name, DIAMOND[name_at(name)].1)], 2));
}

#[track_caller]
fn assert_one_wave(farm: &Farm) {
    assert_at_rest(farm);
    let standings = &farm.state().updates.standings;
    let wave = standings[&node("root", "root")].wave;
    for (name, _) in DIAMOND {
        assert_eq!(standings[&node(name, name)].wave, wave, "{name}");
    }
    let mut built: Vec<_> = farm.built.iter().map(|(_, node)| node.image.to_string()).collect();
    built.sort();
    assert_eq!(built, ["leaf", "left", "right", "root"]);
    assert!(farm.done.values().all(|(_, outcome)| *outcome != Outcome::Failed));
}

#[test]
fn a_commit_in_the_middle_of_a_wave_is_released_with_it() {
    let mut farm = diamond();
    commit_of(&mut farm, "root");
    while farm.state().jobs[&running(&farm)].project != project("left") {
        steps(&mut farm, &[Luck::Well]);
    }
    // The rebuild of its image waits for a slot, and gives way.
    commit_of(&mut farm, "right");
    farm.settle();
    assert_one_wave(&farm);
}

#[test]
fn parents_move_their_references_first() {
    let mut farm = diamond();
    // It is there before all others, and waits for them.
    commit_of(&mut farm, "leaf");
    commit_of(&mut farm, "root");
    farm.settle();
    assert_one_wave(&farm);
    let moved = |name: &str| farm.state().updates.standings[&node(name, name)].since;
    assert!(moved("root") < moved("left") && moved("left") < moved("right") && moved("right") < moved("leaf"));
}
