//! Chains by name: what each rule says of the smallest case that it is for.

use crate::farm::{Farm, File, Luck, Tree, at, node};
use crate::world::project;
use pipelined::model::{JobId, Node, Outcome, Reason, ReleaseStage};
use pipelined::reconcile::{Above, BaseVerdict, Counting, Freshness, Ours, judge, watched};
use std::collections::BTreeMap;

fn tree(files: &[(&str, &[&str], u32)]) -> Tree {
    let file = |(name, bases, salt): &(&str, &[&str], u32)| {
        let file = File {
            bases: bases.iter().map(ToString::to_string).collect(),
            salt: *salt,
            ..File::default()
        };
        (name.to_string(), file)
    };
    Tree {
        files: files.iter().map(file).collect(),
        ..Tree::default()
    }
}

fn one(name: &str, bases: &[&str], salt: u32) -> Tree {
    tree(&[(name, bases, salt)])
}

/// Projects of one image each, built and released; those without bases stand on something outside.
fn released(limit: usize, of: &[(&str, &[&str])]) -> Farm {
    let names: Vec<[&str; 1]> = of.iter().map(|(name, _)| [*name]).collect();
    let projects: Vec<(&str, &[&str])> = of
        .iter()
        .zip(&names)
        .map(|((name, _), own)| (*name, &own[..]))
        .collect();
    let mut farm = Farm::new(limit, true, &projects);
    farm.outside("outside", 1);
    for (name, bases) in of {
        let bases = if bases.is_empty() { &["outside"][..] } else { bases };
        farm.push(name, one(name, bases, 1));
    }
    farm.poll_all();
    farm.run();
    farm.check_fresh();
    farm.built.clear();
    farm
}

const CHAIN: [(&str, &[&str]); 3] = [("app", &["ruby"]), ("base", &[]), ("ruby", &["base"])];
const DIAMOND: [(&str, &[&str]); 4] = [
    ("top", &[]),
    ("left", &["top"]),
    ("right", &["top"]),
    ("bottom", &["left", "right"]),
];

/// The images that were built, in order.
fn built(farm: &mut Farm) -> Vec<String> {
    std::mem::take(&mut farm.built)
        .into_iter()
        .map(|(_, node)| node.image.to_string())
        .collect()
}

fn push(farm: &mut Farm, name: &str, bases: &[&str], salt: u32) {
    farm.push(name, one(name, bases, salt));
    farm.poll(name);
}

fn above(farm: &Farm, name: &str) -> (Freshness, Above) {
    farm.stand()[&node(name, name)].clone()
}

/// What people are told of what is new below an image.
fn news(farm: &Farm, node: &Node) -> Vec<String> {
    let ours = Ours::of(farm.state(), farm.config());
    let of = watched(farm.state(), farm.config())
        .find(|watched| watched.node == node)
        .unwrap();
    let news = judge(of, &farm.state().updates, &ours).news(Counting::All);
    news.upstreams.into_iter().chain(news.bases).collect()
}

#[test]
fn a_chain_is_built_in_order_and_once() {
    for limit in 1..4 {
        let mut farm = released(limit, &CHAIN);
        push(&mut farm, "base", &["outside"], 2);
        farm.run();
        assert_eq!(built(&mut farm), ["base", "ruby", "app"]);
        let waves: Vec<(JobId, Reason)> = farm
            .done
            .values()
            .skip(3)
            .map(|(job, _)| (job.wave, job.reason))
            .collect();
        let root = waves[0].0;
        let rebuilt = (root, Reason::UpstreamRebuilt);
        assert_eq!(waves, [(root, Reason::NewCommit), rebuilt, rebuilt]);
        farm.check_fresh();
    }
}

#[test]
fn a_diamond_is_built_once() {
    let mut farm = released(3, &DIAMOND);
    push(&mut farm, "top", &["outside"], 2);
    farm.run();
    let order = built(&mut farm);
    assert_eq!(
        (order.len(), order[0].as_str(), order[3].as_str()),
        (4, "top", "bottom"),
        "{order:?}"
    );
    farm.check_fresh();
}

#[test]
fn the_longest_way_down_goes_first() {
    let mut farm = released(
        1,
        &[
            ("root", &[]),
            ("a", &["root"]),
            ("b", &["root"]),
            ("c", &["b"]),
            ("d", &["c"]),
        ],
    );
    push(&mut farm, "root", &["outside"], 2);
    farm.run();
    assert_eq!(built(&mut farm)[..2], ["root", "b"]);
}

#[test]
fn what_comes_to_the_same_makes_nothing_stale() {
    let mut farm = released(2, &CHAIN);
    // Another commit, and the same content.
    push(&mut farm, "base", &["outside"], 1);
    farm.run();
    assert_eq!(built(&mut farm), ["base"]);
    let ours = Ours::of(farm.state(), farm.config());
    let ruby = node("ruby", "ruby");
    let of = watched(farm.state(), farm.config())
        .find(|watched| *watched.node == ruby)
        .unwrap();
    let judgement = judge(of, &farm.state().updates, &ours);
    let BaseVerdict::Same(Some(how)) = &judgement.bases[0].verdict else {
        panic!("{judgement:?}")
    };
    assert_eq!(how, "job 4 has released the same content");
}

#[test]
fn a_failure_blocks_what_is_below_it_and_goes_on_by_itself() {
    let mut farm = released(
        2,
        &[
            ("base", &[]),
            ("ruby", &["base"]),
            ("app", &["ruby"]),
            ("side", &["base"]),
        ],
    );
    let mut broken = one("ruby", &["base"], 1);
    broken.fails = true;
    farm.push("ruby", broken);
    farm.poll("ruby");
    farm.run();
    assert_eq!(built(&mut farm), Vec::<String>::new());
    push(&mut farm, "base", &["outside"], 2);
    farm.run();
    // What is released of ruby is built again from its own commit, then its tip is tried again: both are ruby's.
    let order = built(&mut farm);
    assert!(order.contains(&"side".to_owned()), "{order:?}");
    farm.check_fresh();
}

/// A released image whose rebuild fails.
fn blocked() -> Farm {
    let mut farm = released(
        2,
        &[
            ("base", &[]),
            ("ruby", &["base"]),
            ("app", &["ruby", "base"]),
            ("side", &["base"]),
        ],
    );
    let commit = crate::world::commit(1);
    farm.trees.get_mut(&(project("ruby"), commit)).unwrap().fails = true;
    push(&mut farm, "base", &["outside"], 2);
    farm.run();
    assert_eq!(built(&mut farm), ["base", "side"]);
    let failed = farm
        .done
        .iter()
        .find(|(_, (job, _))| job.project == project("ruby") && job.rebuild.is_some());
    let job = *failed.unwrap().0;
    assert_eq!(above(&farm, "ruby"), (Freshness::Failed(job), Above::Settled));
    let why = format!("ruby failed (job {job})");
    assert_eq!(above(&farm, "app"), (Freshness::Stale, Above::Blocked(why)));
    let of_base = news(&farm, &node("app", "app"));
    assert!(
        of_base[0].starts_with("base ") && of_base[0].ends_with("has released it)"),
        "{of_base:?}"
    );
    farm
}

#[test]
fn a_blocked_image_goes_on_after_a_new_commit() {
    let mut farm = blocked();
    push(&mut farm, "ruby", &["base"], 2);
    farm.run();
    assert_eq!(built(&mut farm), ["ruby", "app"]);
    farm.check_fresh();
}

#[test]
fn a_blocked_image_goes_on_after_a_rebuild_by_hand() {
    let mut farm = blocked();
    farm.trees
        .get_mut(&(project("ruby"), crate::world::commit(1)))
        .unwrap()
        .fails = false;
    farm.rebuild(&node("ruby", "ruby"));
    farm.run();
    assert_eq!(built(&mut farm), ["ruby", "app"]);
    farm.check_fresh();
}

#[test]
fn a_blocked_image_goes_on_after_another_change_above() {
    let mut farm = blocked();
    farm.trees
        .get_mut(&(project("ruby"), crate::world::commit(1)))
        .unwrap()
        .fails = false;
    push(&mut farm, "base", &["outside"], 3);
    farm.run();
    let mut order = built(&mut farm);
    assert_eq!(order.pop().as_deref(), Some("app"));
    order.sort();
    assert_eq!(order, ["base", "ruby", "side"]);
    farm.check_fresh();
}

#[test]
fn what_was_never_released_waits_for_a_failed_upstream() {
    let mut farm = Farm::new(1, true, &[("app", &["app"]), ("mid", &["mid"]), ("base", &["base"])]);
    farm.outside("outside", 1);
    let mut broken = one("base", &["outside"], 1);
    broken.fails = true;
    farm.push("base", broken);
    farm.push("mid", one("mid", &["base"], 1));
    farm.push("app", one("app", &["mid"], 1));
    farm.poll_all();
    farm.run();
    let waits: Vec<String> = farm.waits().into_values().collect();
    assert_eq!(waits, ["blocked: base failed (job 2) and was never released"; 2]);
    push(&mut farm, "base", &["outside"], 2);
    farm.run();
    assert_eq!(built(&mut farm), ["base", "mid", "app"]);
}

#[test]
fn what_failed_for_want_of_a_base_is_tried_again_when_it_comes() {
    let mut farm = Farm::new(1, true, &[("app", &["app"]), ("base", &["base"])]);
    farm.outside("outside", 1);
    farm.push("app", one("app", &["base"], 1));
    farm.poll_all();
    farm.run();
    assert_eq!(farm.done[&JobId(1)].1, Outcome::Failed);
    push(&mut farm, "base", &["outside"], 1);
    farm.run();
    assert_eq!(built(&mut farm), ["app", "base", "app"]);
    farm.check_fresh();
}

#[test]
fn projects_without_images_and_depends_on_are_followed() {
    let mut farm = Farm::new(2, true, &[("lib", &[]), ("app", &["app"]), ("tool", &["tool"])]);
    farm.outside("outside", 1);
    farm.depends("app", 0, "lib");
    farm.push("lib", Tree::default());
    farm.push("app", one("app", &["outside"], 1));
    let mut tool = one("tool", &["outside"], 1);
    tool.deps.insert("lib".to_owned());
    farm.push("tool", tool);
    farm.poll_all();
    farm.run();
    farm.built.clear();
    farm.push("lib", Tree::default());
    farm.poll("lib");
    farm.run();
    let mut order = built(&mut farm);
    order.sort();
    assert_eq!(order, ["app", "tool"]);
    assert_eq!(news(&farm, &node("app", "app")), Vec::<String>::new());
    farm.check_fresh();
}

#[test]
fn images_of_two_projects_in_turns_come_to_rest() {
    let mut farm = Farm::new(1, true, &[("one", &["a", "c"]), ("two", &["b", "d"])]);
    farm.outside("outside", 1);
    farm.push("one", tree(&[("a", &["outside"], 1), ("c", &["b"], 1)]));
    farm.push("two", tree(&[("b", &["a"], 1), ("d", &["c"], 1)]));
    farm.poll_all();
    farm.settle();
    assert!(farm.state().jobs.is_empty(), "{}", farm.told());
    farm.check_fresh();
    assert_eq!(farm.state().updates.standings.len(), 4, "{}", farm.told());
    farm.push("one", tree(&[("a", &["outside"], 2), ("c", &["b"], 1)]));
    farm.settle();
    assert!(farm.state().jobs.is_empty(), "{}", farm.told());
    farm.check_fresh();
}

#[test]
fn a_circle_is_named_and_not_built_by_chain() {
    let mut farm = released(2, &[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    push(&mut farm, "a", &["b"], 1);
    farm.run();
    let graph = farm.graph();
    let names: Vec<&str> = graph.circles()[0]
        .iter()
        .map(|place| graph.nodes()[*place].image.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(built(&mut farm), ["a"]);
    push(&mut farm, "b", &["a"], 2);
    farm.run();
    // What stands on it follows still.
    assert_eq!(built(&mut farm), ["b", "c"]);
    farm.settle();
    assert_eq!(built(&mut farm), Vec::<String>::new());
}

fn outcomes(farm: &Farm, since: i64) -> BTreeMap<String, Outcome> {
    let jobs = farm.done.range(JobId(since)..);
    jobs.map(|(_, (job, outcome))| (job.project.to_string(), *outcome))
        .collect()
}

#[test]
fn an_atomic_wave_moves_at_the_end_or_not_at_all() {
    for fails in [false, true] {
        let mut farm = released(2, &CHAIN);
        farm.atomic("base");
        farm.trees
            .get_mut(&(project("app"), crate::world::commit(1)))
            .unwrap()
            .fails = fails;
        let before = farm.registry.clone();
        push(&mut farm, "base", &["outside"], 2);
        while let Some(id) = farm.running().first().copied() {
            farm.step(id, Luck::Well);
            let moved = before
                .iter()
                .filter(|(reference, digest)| farm.registry[*reference] != **digest)
                .count();
            let is_left = farm
                .state()
                .jobs
                .values()
                .any(|job| job.rebuild.is_some() && job.atomic.is_none());
            assert!(moved == 0 || !fails && !is_left);
        }
        let outcome = if fails { Outcome::Failed } else { Outcome::Succeeded };
        assert!(
            outcomes(&farm, 4).values().all(|is| *is == outcome),
            "{:?}",
            outcomes(&farm, 4)
        );
        let all = ["app", "base", "ruby"].map(|name| farm.registry[&at(name)] != before[&at(name)]);
        assert_eq!(all, [!fails; 3]);
        assert!(farm.state().jobs.is_empty());
    }
}

#[test]
fn an_atomic_wave_is_finished_after_a_crash_at_any_event() {
    for crash in 0..30 {
        let mut farm = released(2, &CHAIN);
        farm.atomic("base");
        push(&mut farm, "base", &["outside"], 2);
        let mut steps = 0;
        while let Some(id) = farm.running().first().copied() {
            if steps == crash {
                farm.crash();
            } else {
                farm.step(id, Luck::Well);
            }
            steps += 1;
        }
        assert!(farm.state().jobs.is_empty(), "{}", farm.told());
        farm.check_fresh();
    }
}

#[test]
fn an_atomic_wave_does_not_wait_for_what_changes_above_it_meanwhile() {
    let mut farm = released(1, &CHAIN);
    farm.atomic("ruby");
    push(&mut farm, "ruby", &["base"], 2);
    while !farm
        .state()
        .releasing
        .values()
        .any(|plan| plan.stage == ReleaseStage::Held)
    {
        let id = farm.running()[0];
        farm.step(id, Luck::Well);
    }
    push(&mut farm, "base", &["outside"], 2);
    farm.settle();
    assert!(farm.state().jobs.is_empty(), "{}", farm.told());
    farm.check_fresh();
}

/// With a diamond, at every moment of its wave: what is held back of the older one keeps nobody waiting.
#[test]
fn a_newer_commit_at_the_root_of_a_wave_takes_its_place_at_any_event() {
    let diamond: [(&str, &[&str]); 4] = [
        ("x1", &["outside"]),
        ("x2", &["x1"]),
        ("x3", &["x1"]),
        ("x4", &["x2", "x3"]),
    ];
    for at_step in 0..30 {
        let mut farm = released(2, &diamond);
        farm.atomic("x1");
        push(&mut farm, "x1", &["outside"], 2);
        let mut steps = 0;
        while let Some(id) = farm.running().first().copied() {
            if steps == at_step {
                push(&mut farm, "x1", &["outside"], 3);
            }
            farm.step(id, Luck::Well);
            steps += 1;
        }
        assert!(farm.state().jobs.is_empty(), "after {at_step}: {}", farm.told());
        farm.check_fresh();
    }
}

#[test]
fn two_jobs_of_a_ref_in_a_circle_of_jobs_come_to_rest() {
    let mut farm = Farm::new(1, true, &[("one", &["a", "c"]), ("two", &["b", "d"])]);
    farm.outside("outside", 1);
    farm.push("one", tree(&[("a", &["outside"], 1), ("c", &["b"], 1)]));
    farm.push("two", tree(&[("b", &["a"], 1), ("d", &["c"], 1)]));
    farm.poll("one");
    farm.build("one");
    farm.poll("two");
    farm.settle();
    assert!(farm.state().jobs.is_empty(), "{}", farm.told());
    assert_eq!(farm.state().updates.standings.len(), 4, "{}", farm.told());
    farm.check_fresh();
}
