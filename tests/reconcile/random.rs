//! Whatever happens in whatever order.

use crate::world::{MAX_DELAY, World, config, patterns, project, reference, watched};
use pipelined::config::Initial;
use pipelined::model::{FailureKind, Mode};
use pipelined::reconcile::{Event, is_selected};
use proptest::prelude::*;
use proptest::sample::{Index, select};

const PROJECTS: [&str; 3] = ["a", "b", "c"];
const REFS: [&str; 4] = ["main", "dev", "v1", "v2"];

#[derive(Debug, Clone)]
enum Op {
    Push(&'static str, &'static str, u32),
    Delete(&'static str, &'static str),
    Poll(&'static str),
    Build(&'static str, &'static str),
    Cancel(Index),
    Release(Index),
    Succeed(Index),
    Fail(Index, FailureKind),
    Pass(i64),
    Limit(usize),
    Select(&'static str, usize),
    First(&'static str, Initial),
    Enable(&'static str, bool),
    Remove(&'static str),
    Add(&'static str),
    Drain,
    Stop,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let p = || select(&PROJECTS[..]);
    let r = || select(&REFS[..]);
    let kind = select(vec![
        FailureKind::Failed,
        FailureKind::Errored,
        FailureKind::Errored,
        FailureKind::TimedOut,
        FailureKind::Superseded,
        FailureKind::Cancelled,
    ]);
    prop_oneof![
        12 => (p(), r(), 1..5u32).prop_map(|(p, r, n)| Op::Push(p, r, n)),
        2 => (p(), r()).prop_map(|(p, r)| Op::Delete(p, r)),
        14 => p().prop_map(Op::Poll),
        3 => (p(), r()).prop_map(|(p, r)| Op::Build(p, r)),
        2 => any::<Index>().prop_map(Op::Cancel),
        3 => any::<Index>().prop_map(Op::Release),
        6 => any::<Index>().prop_map(Op::Succeed),
        8 => (any::<Index>(), kind).prop_map(|(i, k)| Op::Fail(i, k)),
        4 => select(vec![1i64, 29, 31, 61, 86_400, -1, -31, -86_400]).prop_map(Op::Pass),
        1 => (1..4usize).prop_map(Op::Limit),
        2 => (p(), 0..4usize).prop_map(|(p, i)| Op::Select(p, i)),
        1 => (p(), select(vec![Initial::Heads, Initial::All, Initial::None])).prop_map(|(p, i)| Op::First(p, i)),
        1 => (p(), any::<bool>()).prop_map(|(p, on)| Op::Enable(p, on)),
        1 => p().prop_map(Op::Remove),
        2 => p().prop_map(Op::Add),
        1 => Just(Op::Drain),
        1 => Just(Op::Stop),
        2 => Just(Op::Crash),
    ]
}

fn apply(world: &mut World, op: Op) {
    match op {
        Op::Push(p, r, n) => world.push(p, r, n),
        Op::Delete(p, r) => world.delete(p, r),
        Op::Poll(p) => drop(world.poll(p)),
        Op::Build(p, r) => drop(world.build(p, r)),
        Op::Cancel(i) => {
            let live = world.live();
            if !live.is_empty() {
                world.cancel(*i.get(&live));
            }
        }
        Op::Release(i) => {
            let running = world.running();
            if !running.is_empty() {
                world.release(*i.get(&running));
            }
        }
        Op::Succeed(i) => {
            let running = world.running();
            if !running.is_empty() {
                world.end_ok(*i.get(&running));
            }
        }
        Op::Fail(i, kind) => {
            let running = world.running();
            if !running.is_empty() {
                world.end(*i.get(&running), kind);
            }
        }
        Op::Pass(seconds) => drop(world.pass(seconds)),
        Op::Limit(limit) => {
            world.config.limit = limit;
            world.reload();
        }
        Op::Select(p, i) => {
            let (branches, tags): (&[&str], &[&str]) = [
                (&["*"][..], &["*"][..]),
                (&["main"], &[]),
                (&["dev"], &["v1"]),
                (&["main", "dev"], &["*"]),
            ][i];
            if let Some(project) = world.config.projects.get_mut(&project(p)) {
                (project.branches, project.tags) = (patterns(branches), patterns(tags));
            }
            world.reload();
        }
        Op::First(p, initial) => {
            if let Some(project) = world.config.projects.get_mut(&project(p)) {
                project.initial = initial;
            }
            world.reload();
        }
        Op::Enable(p, on) => {
            if let Some(project) = world.config.projects.get_mut(&project(p)) {
                project.enabled = on;
            }
            world.reload();
        }
        Op::Remove(p) => {
            world.config.projects.remove(&project(p));
            world.reload();
        }
        Op::Add(p) => {
            world.config.projects.entry(project(p)).or_insert_with(|| watched(p));
            world.reload();
        }
        Op::Drain => drop(world.event(Event::Drain)),
        Op::Stop => drop(world.event(Event::Stop)),
        Op::Crash => drop(world.crash()),
    }
}

/// Polls answer, attempts succeed, time passes: all comes to rest, and nothing was missed.
fn come_to_rest(world: &mut World) {
    if world.state.mode != Mode::Normal {
        world.crash();
    }
    for p in PROJECTS {
        world.poll(p);
    }
    let mut steps = world.live().len() + 1;
    while !world.live().is_empty() {
        assert!(steps > 0, "does not come to rest: {:?}", world.state.jobs);
        steps -= 1;
        for id in world.running() {
            world.end_ok(id);
        }
        for p in PROJECTS {
            world.poll(p);
        }
        world.pass(MAX_DELAY);
    }
    for (name, watched) in world.config.projects.iter().filter(|(_, p)| p.enabled) {
        for tip in world.remotes.get(name).into_iter().flatten() {
            if is_selected(watched, tip.0) {
                assert!(
                    world.is_settled(name, tip),
                    "missed: {name} {tip:?} {:#?}",
                    world.story()
                );
            }
        }
    }
    world.check_record();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_holds_whatever_happens(limit in 1..3usize, ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::new(config(limit, &PROJECTS));
        for op in ops {
            apply(&mut world, op);
        }
        world.check_record();
        come_to_rest(&mut world);
    }

    /// Fewer things, so that their orders are met more often.
    #[test]
    fn every_order_of_few_things(ops in prop::collection::vec(op(), 1..250)) {
        let mut world = World::new(config(1, &["a"]));
        for op in ops {
            let op = match op {
                Op::Push(_, r, n) => Op::Push("a", if r == "v1" { r } else { "main" }, 1 + n % 3),
                Op::Delete(_, _) => Op::Delete("a", "main"),
                Op::Poll(_) => Op::Poll("a"),
                Op::Build(_, _) => Op::Build("a", "main"),
                Op::Select(_, i) => Op::Select("a", i),
                Op::First(_, i) => Op::First("a", i),
                Op::Enable(_, on) => Op::Enable("a", on),
                Op::Remove(_) => Op::Remove("a"),
                Op::Add(_) => Op::Add("a"),
                Op::Limit(_) | Op::Drain | Op::Stop => continue,
                other => other,
            };
            apply(&mut world, op);
        }
        come_to_rest(&mut world);
    }
}

#[test]
fn refs_are_what_they_seem() {
    assert_eq!(reference("v1").as_bytes(), b"refs/tags/v1");
    assert_eq!(reference("main").as_bytes(), b"refs/heads/main");
}
