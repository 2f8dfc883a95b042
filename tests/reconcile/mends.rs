//! An atomic wave that failed begins again by itself once what it failed by is mended: once for each mend, and never
//! without one.

use crate::farm::{Farm, File, Luck, Tree, at, node};
use crate::world::project;
use pipelined::model::{JobId, Outcome, Reason, ReleaseStage};
use pipelined::reconcile::{Chains, Ours};
use std::collections::BTreeMap;

/// What an image of its own project stands on, its content, and whether it builds on what is released only.
fn tree(name: &str, bases: &[&str], salt: u32, is_shy: bool) -> Tree {
    let file = File {
        bases: bases.iter().map(ToString::to_string).collect(),
        salt,
        is_shy,
        ..File::default()
    };
    Tree {
        files: BTreeMap::from([(name.to_owned(), file)]),
        ..Tree::default()
    }
}

fn push(farm: &mut Farm, name: &str, bases: &[&str], salt: u32, is_shy: bool) {
    farm.push(name, tree(name, bases, salt, is_shy));
    farm.poll(name);
}

const NAMES: [&str; 4] = ["app", "base", "ruby", "side"];

/// `app` on `ruby` and `side`, `ruby` on `base`, which is atomic; `app` builds on what is released only.
fn farm(limit: usize) -> Farm {
    farm_of(limit, true, true)
}

/// The same with or without a store, and with an `app` that may build on anything.
fn farm_of(limit: usize, is_kept: bool, is_shy: bool) -> Farm {
    let projects = NAMES.map(|name| [name]);
    let projects: Vec<(&str, &[&str])> = projects.iter().map(|own| (own[0], &own[..])).collect();
    let mut farm = Farm::new(limit, is_kept, &projects);
    farm.outside("outside", 1);
    farm.outside("beside", 1);
    farm.push("base", tree("base", &["outside"], 1, false));
    farm.push("side", tree("side", &["beside"], 1, false));
    farm.push("ruby", tree("ruby", &["base"], 1, false));
    farm.push("app", tree("app", &["ruby", "side"], 1, is_shy));
    farm.poll_all();
    farm.run();
    farm.check_fresh();
    farm.atomic("base");
    farm.built.clear();
    farm
}

fn built(farm: &mut Farm) -> Vec<String> {
    let built = std::mem::take(&mut farm.built);
    built.into_iter().map(|(_, node)| node.image.to_string()).collect()
}

/// How the newest job of a project ended, and why it was.
fn last(farm: &Farm, name: &str) -> (Outcome, Reason, String) {
    let mut jobs = farm.done.values();
    let (job, outcome) = jobs.rfind(|(job, _)| job.project == project(name)).unwrap();
    (*outcome, job.reason, job.cause.clone())
}

fn why(farm: &Farm, name: &str) -> String {
    let ours = Ours::of(farm.state(), farm.config());
    Chains::new(farm.state(), farm.config(), &ours)
        .of(&node(name, name))
        .unwrap()
        .line()
}

/// A new commit of `base`, whose wave fails by `app`.
fn failed(limit: usize) -> Farm {
    let mut farm = farm(limit);
    let before = farm.registry.clone();
    push(&mut farm, "base", &["outside"], 2, false);
    farm.settle();
    assert_eq!(built(&mut farm), ["base", "ruby", "app"]);
    assert_eq!(last(&farm, "base").0, Outcome::Failed);
    assert_eq!(farm.registry, before);
    farm
}

/// All of them are what a wave of the newest `base` makes of them.
#[track_caller]
fn assert_all_released(farm: &Farm) {
    assert!(farm.state().jobs.is_empty(), "{}", farm.told());
    farm.check_fresh();
    for name in NAMES {
        let tip = farm.tips[&project(name)];
        let standing = &farm.state().updates.standings[&node(name, name)];
        assert_eq!(standing.commit, crate::world::commit(tip), "{name}: {}", farm.told());
    }
}

#[test]
fn a_commit_that_mends_it_begins_the_wave_again() {
    for is_reproducible in [false, true] {
        for limit in 1..3 {
            let mut farm = failed(limit);
            farm.is_reproducible = is_reproducible;
            push(&mut farm, "app", &["ruby", "side"], 2, false);
            farm.settle();
            assert_eq!(built(&mut farm), ["app", "base", "ruby", "app"]);
            let cause = "it failed before: its wave failed by app at 00000001, which is at 00000002 now";
            assert_eq!(
                last(&farm, "base"),
                (Outcome::Succeeded, Reason::NewCommit, cause.to_owned())
            );
            assert_all_released(&farm);
            assert!(
                farm.state()
                    .updates
                    .links
                    .values()
                    .all(|links| links.failed_waves.is_empty())
            );
        }
    }
}

#[test]
fn the_same_content_is_tried_with_the_mended_commit() {
    let mut farm = farm(1);
    farm.is_reproducible = true;
    push(&mut farm, "base", &["outside"], 2, false);
    farm.settle();
    assert_eq!(last(&farm, "base").0, Outcome::Failed);
    push(&mut farm, "app", &["ruby", "side"], 2, false);
    farm.settle();
    assert_all_released(&farm);
}

#[test]
fn each_mend_is_one_try() {
    let mut farm = failed(1);
    for salt in 2..5 {
        push(&mut farm, "app", &["ruby", "side"], salt, true);
        farm.settle();
        assert_eq!(built(&mut farm), ["app", "base", "ruby", "app"], "{salt}");
        assert_eq!(last(&farm, "base").0, Outcome::Failed);
        farm.crash();
        farm.settle();
        assert_eq!(built(&mut farm), Vec::<String>::new(), "{salt}");
    }
    push(&mut farm, "app", &["ruby", "side"], 5, false);
    farm.settle();
    assert_all_released(&farm);
}

#[test]
fn what_is_no_mend_begins_nothing() {
    let mut farm = failed(2);
    // The same commit is good on what is released, as ever.
    farm.rebuild(&node("app", "app"));
    farm.settle();
    assert_eq!(built(&mut farm), ["app"]);
    // Others of the wave were not to blame.
    push(&mut farm, "side", &["beside"], 2, false);
    farm.settle();
    assert_eq!(built(&mut farm), ["side", "app"]);
    let mut broken = tree("app", &["ruby", "side"], 2, false);
    broken.fails = true;
    farm.push("app", broken);
    farm.settle();
    // It might have been good on the new one only.
    assert_eq!(built(&mut farm), ["base", "ruby"]);
    assert_eq!(last(&farm, "base").0, Outcome::Failed);
    farm.crash();
    farm.settle();
    assert_eq!(built(&mut farm), Vec::<String>::new());
}

#[test]
fn what_is_good_on_the_new_one_only_is_tried_with_it() {
    for limit in 1..3 {
        let mut farm = failed(limit);
        let mut bold = tree("app", &["ruby"], 2, false);
        bold.files.get_mut("app").unwrap().is_bold = true;
        farm.push("app", bold);
        farm.poll("app");
        farm.settle();
        assert_eq!(built(&mut farm), ["app", "base", "ruby", "app"]);
        assert_all_released(&farm);
    }
}

#[test]
fn what_was_not_tried_to_its_end_is_mended_by_any_success() {
    let mut farm = farm_of(1, true, false);
    push(&mut farm, "base", &["outside"], 2, false);
    let of_app = |farm: &Farm| {
        let mut running = farm.state().jobs.values().filter(|job| job.is_running());
        running.find(|job| job.project == project("app")).map(|job| job.id)
    };
    while of_app(&farm).is_none() {
        let id = farm.running()[0];
        farm.step(id, Luck::Well);
    }
    let id = of_app(&farm).unwrap();
    farm.cancel(id);
    farm.settle();
    assert_eq!(last(&farm, "base").0, Outcome::Failed);
    built(&mut farm);
    farm.rebuild(&node("app", "app"));
    farm.settle();
    assert_eq!(built(&mut farm), ["app", "base", "ruby", "app"]);
    assert_all_released(&farm);
}

#[test]
fn a_wave_that_an_update_began_is_tried_again_too() {
    let mut farm = farm(2);
    farm.outside("outside", 2);
    farm.settle();
    assert_eq!(built(&mut farm), ["base", "ruby", "app"]);
    assert_eq!(last(&farm, "base").0, Outcome::Failed);
    assert!(
        why(&farm, "base").ends_with(
            "was not released: its wave failed by app at 00000001 (job 7), and is tried again once that is mended, or by hand"
        ),
        "{}",
        why(&farm, "base")
    );
    farm.settle();
    assert_eq!(built(&mut farm), Vec::<String>::new());
    push(&mut farm, "app", &["ruby", "side"], 2, false);
    farm.settle();
    assert_eq!(built(&mut farm), ["app", "base", "ruby", "app"]);
    let (outcome, reason, cause) = last(&farm, "base");
    assert_eq!((outcome, reason), (Outcome::Succeeded, Reason::BaseUpdated));
    assert!(
        cause.ends_with(", its wave failed by app at 00000001, which is at 00000002 now"),
        "{cause}"
    );
    assert_all_released(&farm);
}

#[test]
fn what_kept_a_member_from_its_build_is_to_be_mended() {
    let mut farm = farm(2);
    let broken = (project("side"), crate::world::commit(1));
    farm.trees.get_mut(&broken).unwrap().fails = true;
    farm.outside("beside", 2);
    farm.settle();
    assert_eq!(last(&farm, "side").0, Outcome::Failed);
    push(&mut farm, "app", &["ruby", "side"], 2, false);
    farm.settle();
    built(&mut farm);
    push(&mut farm, "base", &["outside"], 2, false);
    farm.settle();
    assert_eq!(built(&mut farm), ["base", "ruby"]);
    assert_eq!(last(&farm, "base").0, Outcome::Failed);
    // By hand, at the same commit.
    farm.trees.get_mut(&broken).unwrap().fails = false;
    farm.rebuild(&node("side", "side"));
    farm.settle();
    assert_all_released(&farm);
    assert!(
        last(&farm, "base")
            .2
            .contains("its wave failed by side (job 5), which was built again since")
    );
}

#[test]
fn a_mend_counts_whenever_it_comes() {
    for at_step in 0..18 {
        for crashes in [false, true] {
            let mut farm = farm_of(1, crashes, true);
            push(&mut farm, "base", &["outside"], 2, false);
            let mut steps = 0;
            while let Some(id) = farm.running().first().copied() {
                if steps == at_step {
                    push(&mut farm, "app", &["ruby", "side"], 2, false);
                    if crashes {
                        farm.crash();
                        steps += 1;
                        continue;
                    }
                }
                farm.step(id, Luck::Well);
                steps += 1;
            }
            if steps <= at_step {
                push(&mut farm, "app", &["ruby", "side"], 2, false);
            }
            farm.settle();
            assert_all_released(&farm);
        }
    }
}

#[test]
fn people_are_told_what_it_waits_for() {
    let farm = failed(1);
    assert_eq!(
        why(&farm, "base"),
        "fresh: its tip 00000002 failed (job 5): its wave failed by app at 00000001 (job 7), and is tried again once that is mended, or by hand"
    );
    assert_eq!(
        why(&farm, "app"),
        "fresh: the wave of base (job 5) failed by this at 00000001 (job 7): it is tried again once this is mended by a commit"
    );
    assert_eq!(why(&farm, "ruby"), "fresh");
}

/// Whatever is taken out of the config when, all references of the wave have moved, or none.
#[test]
fn a_project_that_is_removed_leaves_no_half_wave() {
    let mut moved_without = 0;
    for at_step in 0..16 {
        for name in ["base", "ruby", "app"] {
            for crashes in [false, true] {
                let mut farm = farm_of(1, crashes, false);
                let before = farm.registry.clone();
                push(&mut farm, "base", &["outside"], 2, false);
                let mut steps = 0;
                let mut wave: Vec<(JobId, JobId)> = Vec::new();
                while let Some(id) = farm.running().first().copied() {
                    if steps == at_step {
                        let members = farm.state().jobs.values();
                        wave.extend(members.filter_map(|job| Some((job.id, job.atomic?))));
                        let plans = farm.state().releasing.values();
                        let moving = plans.filter(|plan| plan.stage == ReleaseStage::Moving).count();
                        moved_without += usize::from(moving > 1);
                        farm.configure(|config| drop(config.projects.remove(&project(name))));
                        if crashes {
                            farm.crash();
                        }
                        steps += 1;
                        continue;
                    }
                    farm.step(id, Luck::Well);
                    steps += 1;
                    let moves = |id: &JobId| {
                        let plan = farm.state().releasing.get(id);
                        plan.is_some_and(|plan| plan.stage == ReleaseStage::Moving)
                    };
                    // Whoever is still at work must not be left behind.
                    for (job, root) in wave.iter().filter(|(job, _)| farm.state().jobs.contains_key(job)) {
                        assert!(!moves(root) || moves(job), "{name} after {at_step}: {}", farm.told());
                    }
                }
                farm.settle();
                let is_moved = |name: &str| farm.registry[&at(name)] != before[&at(name)];
                // The others go on without it.
                assert!(
                    name == "base" || is_moved("base"),
                    "{name} after {at_step}: {}",
                    farm.told()
                );
                assert!(farm.state().jobs.is_empty(), "{}", farm.told());
            }
        }
    }
    assert!(moved_without > 3, "no project was removed while its wave moved");
}

#[test]
fn a_wave_whose_root_was_cancelled_is_not_begun_again() {
    let mut farm = farm(1);
    push(&mut farm, "base", &["outside"], 2, false);
    let is_held = |farm: &Farm| {
        let mut plans = farm.state().releasing.values();
        plans.any(|plan| plan.stage == ReleaseStage::Held)
    };
    while !is_held(&farm) {
        let id = farm.running()[0];
        farm.step(id, Luck::Well);
    }
    farm.cancel(JobId(5));
    farm.settle();
    assert_eq!(last(&farm, "base").0, Outcome::Cancelled);
    built(&mut farm);
    push(&mut farm, "app", &["ruby", "side"], 2, false);
    farm.settle();
    assert_eq!(built(&mut farm), ["app"]);
}

/// At any moment of the wave: those below it may just bring their content to its places.
#[test]
fn what_ends_the_root_by_hand_ends_all_of_it() {
    for at_step in 0..20 {
        let mut farm = farm_of(2, false, false);
        let before = farm.registry.clone();
        push(&mut farm, "base", &["outside"], 2, false);
        let mut steps = 0;
        while let Some(id) = farm.running().last().copied() {
            if steps == at_step {
                farm.cancel(JobId(5));
            }
            farm.step(id, Luck::Well);
            steps += 1;
        }
        let is_moved = |name: &&str| farm.registry[&at(name)] != before[&at(name)];
        let moved = ["base", "ruby", "app"].iter().filter(|name| is_moved(name)).count();
        assert!(moved == 0 || moved == 3, "after {at_step}: {moved} {}", farm.told());
    }
}
