//! A ref that is pushed to all the time, and errs as it likes, does not keep others from their turn.

use crate::world::{MAX_DELAY, World, config, project, reference};
use pipelined::model::{FailureKind, JobId};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum End {
    Ok,
    Bad(FailureKind),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Ok),
        Just(End::Bad(FailureKind::Failed)),
        Just(End::Bad(FailureKind::Errored)),
        Just(End::Bad(FailureKind::TimedOut)),
        Just(End::Bad(FailureKind::Superseded)),
    ]
}

/// Two refs of one project and one of another are pushed to before every end of an attempt; how many attempts end
/// before the victim's job starts?
fn ends_until_started(warm_up: &[End], ends: &[End], waits: bool) -> usize {
    let mut world = World::new(config(1, &["busy", "calm"]));
    let mut n = 1;
    let mut turn = |world: &mut World, end: End| {
        n += 1;
        for (name, short) in [("busy", "main"), ("busy", "dev"), ("calm", "dev")] {
            world.push(name, short, n);
        }
        world.poll("busy");
        world.poll("calm");
        for id in world.running() {
            match end {
                End::Ok => world.end_ok(id),
                End::Bad(kind) => world.end(id, kind),
            };
        }
        if waits {
            world.pass(MAX_DELAY);
        }
    };
    for end in warm_up {
        turn(&mut world, *end);
    }
    world.push("calm", "main", 1);
    world.poll("calm");
    let (calm, main) = (project("calm"), reference("main"));
    let victim: JobId = world.state.live(&calm, &main).map(|job| job.id).next().unwrap();
    for (count, end) in ends.iter().enumerate() {
        if !world.state.jobs.get(&victim).is_some_and(|job| job.is_queued()) {
            return count;
        }
        turn(&mut world, *end);
    }
    panic!("starved: {:#?}", world.story());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_job_has_its_turn_soon(
        warm_up in prop::collection::vec(end(), 0..6),
        ends in prop::collection::vec(end(), 12),
        waits: bool,
    ) {
        // The one that runs, and each of the three others once.
        prop_assert!(ends_until_started(&warm_up, &ends, waits) <= 4);
    }
}

#[test]
fn a_ref_that_errs_forever_gives_up_its_place_each_time() {
    let errs = [End::Bad(FailureKind::Errored); 12];
    assert!(ends_until_started(&errs[..3], &errs, true) <= 4);
    assert!(ends_until_started(&errs[..3], &errs, false) <= 4);
}
