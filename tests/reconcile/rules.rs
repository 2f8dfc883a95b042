//! The settled questions, one by one. A story has a line a job: number, ref, commit, where it stands.

use crate::world::{MAX_DELAY, World, config, patterns, project, reference};
use jiff::Timestamp;
use pipelined::config::Initial;
use pipelined::model::{
    Content, Digest, FailureKind, ImageName, ImageRef, ImageResult, ImageStatus, JobId, Outcome, PlannedRelease,
    Release, ReleasePlan,
};
use pipelined::reconcile::{Effect, Event, overtaken};
use rstest::rstest;

/// One project, `p`, and one slot.
fn one() -> World {
    World::new(config(1, &["p"]))
}

/// A project that was looked at while it was empty, so that nothing is first sight.
fn looked_at() -> World {
    let mut world = one();
    world.poll("p");
    world
}

fn set_initial(world: &mut World, initial: Initial) {
    world.config.projects.get_mut(&project("p")).unwrap().initial = initial;
}

fn set_patterns(world: &mut World, branches: &[&str], tags: &[&str]) {
    let p = world.config.projects.get_mut(&project("p")).unwrap();
    (p.branches, p.tags) = (patterns(branches), patterns(tags));
    world.reload();
}

#[rstest]
#[case::heads(Initial::Heads, ["1 main 1 running", "0 v1 1 skipped"])]
#[case::all(Initial::All, ["1 main 1 running", "2 v1 1 queued"])]
#[case::none(Initial::None, ["0 main 1 skipped", "0 v1 1 skipped"])]
fn first_sight(#[case] initial: Initial, #[case] story: [&str; 2]) {
    let mut world = one();
    set_initial(&mut world, initial);
    world.push("p", "main", 1);
    world.push("p", "v1", 1);
    world.poll("p");
    assert_eq!(world.story(), story);
}

#[rstest]
fn what_comes_after_the_first_look_is_built(
    #[values(Initial::Heads, Initial::All, Initial::None)] initial: Initial,
    #[values("main", "v1")] short: &str,
) {
    let mut world = one();
    set_initial(&mut world, initial);
    world.poll("p");
    world.push("p", short, 1);
    world.poll("p");
    assert_eq!(world.story(), [format!("1 {short} 1 running")]);
}

#[test]
fn a_ref_that_a_changed_pattern_brings_in_is_seen_first_then() {
    let mut world = one();
    set_patterns(&mut world, &["main"], &[]);
    world.poll("p");
    world.push("p", "v1", 1);
    world.push("p", "dev", 1);
    world.poll("p");
    assert_eq!(world.story(), [""; 0]);
    set_patterns(&mut world, &["*"], &["*"]);
    world.poll("p");
    assert_eq!(world.story(), ["1 dev 1 running", "0 v1 1 skipped"]);
}

#[test]
fn a_tag_that_the_patterns_before_selected_too_is_new_and_not_older_than_the_watch() {
    let mut world = looked_at();
    world.push("p", "v1", 1);
    set_patterns(&mut world, &["main"], &["*"]);
    world.poll("p");
    assert_eq!(world.story(), ["1 v1 1 running"]);
}

#[test]
fn a_moved_tag_is_built_though_a_pattern_changed() {
    let mut world = one();
    world.push("p", "v1", 1);
    world.poll("p");
    world.push("p", "v1", 2);
    set_patterns(&mut world, &["main"], &["v*"]);
    world.poll("p");
    assert_eq!(world.story(), ["0 v1 1 skipped", "1 v1 2 running"]);
}

#[test]
fn a_ref_that_is_not_selected_any_more_loses_its_queued_job_and_gets_it_back() {
    let mut world = looked_at();
    world.push("p", "dev", 1);
    world.push("p", "main", 2);
    world.poll("p");
    set_patterns(&mut world, &["dev"], &[]);
    world.poll("p");
    assert_eq!(world.story(), ["1 dev 1 running", "2 main 2 skipped"]);
    assert_eq!(world.job(2).note, "the ref is not selected any more");
    set_patterns(&mut world, &["*"], &[]);
    world.poll("p");
    assert_eq!(world.story()[2..], ["3 main 2 queued"]);
}

#[test]
fn a_deleted_ref() {
    let mut world = looked_at();
    world.push("p", "dev", 1);
    world.push("p", "main", 2);
    world.poll("p");
    world.delete("p", "dev");
    world.delete("p", "main");
    world.poll("p");
    assert_eq!(world.story(), ["1 dev 1 running", "2 main 2 skipped"]);
    assert_eq!(world.job(2).note, "the ref was deleted");
    world.end_ok(JobId(1));
    // What has an outcome of its own is not built again; what was only skipped is.
    world.push("p", "dev", 1);
    world.push("p", "main", 2);
    world.poll("p");
    assert_eq!(
        world.story(),
        ["1 dev 1 succeeded", "2 main 2 skipped", "3 main 2 running"]
    );
}

#[test]
fn the_same_commit_on_two_refs_is_two_jobs() {
    let mut world = looked_at();
    world.push("p", "dev", 1);
    world.push("p", "main", 1);
    world.poll("p");
    world.end_ok(JobId(1));
    world.end_ok(JobId(2));
    assert_eq!(world.story(), ["1 dev 1 succeeded", "2 main 1 succeeded"]);
}

#[rstest]
#[case(None)]
#[case(Some(FailureKind::Failed))]
#[case(Some(FailureKind::TimedOut))]
fn a_force_push_back_builds_nothing_again_unless_asked(#[case] failure: Option<FailureKind>) {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    match failure {
        Some(kind) => world.end(JobId(1), kind),
        None => world.end_ok(JobId(1)),
    };
    world.push("p", "main", 2);
    world.poll("p");
    world.end_ok(JobId(2));
    world.push("p", "main", 1);
    world.poll("p");
    assert_eq!(world.live(), []);
    world.build("p", "main");
    assert_eq!(world.running(), [JobId(3)]);
}

#[test]
fn a_force_push_back_to_what_was_superseded_builds_it() {
    let mut world = looked_at();
    world.push("p", "dev", 9);
    world.poll("p");
    for n in [1, 2, 1] {
        world.push("p", "main", n);
        world.poll("p");
    }
    assert_eq!(
        world.story(),
        [
            "1 dev 9 running",
            "2 main 1 superseded",
            "3 main 2 superseded",
            "4 main 1 queued"
        ]
    );
    assert_eq!(world.job(2).note, "the ref moved to 00000002");
}

#[test]
fn a_newer_commit_inherits_the_place_in_the_queue() {
    let mut world = World::new(config(1, &["p", "q"]));
    world.poll("p");
    world.poll("q");
    for (name, short, n) in [("p", "dev", 1), ("p", "main", 2), ("q", "main", 3), ("p", "main", 4)] {
        world.push(name, short, n);
        world.poll(name);
    }
    world.end_ok(JobId(1));
    assert_eq!(world.running(), [JobId(4)]);
    assert_eq!(world.job(4).place, 2);
}

#[test]
fn an_errored_job_is_tried_again_later_each_time_and_not_for_ever() {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    for wait in [30, 60] {
        world.end(JobId(1), FailureKind::Errored);
        world.pass(wait - 1);
        assert_eq!(world.story(), ["1 main 1 backoff"]);
        world.pass(1);
        assert_eq!(world.story(), ["1 main 1 running"]);
    }
    world.end(JobId(1), FailureKind::Errored);
    assert_eq!(world.story(), ["1 main 1 errored"]);
    assert_eq!(world.job(1).note, "after 3 attempts: no");
    world.poll("p");
    assert_eq!(world.live(), []);
}

#[test]
fn a_clock_that_jumps_back_does_not_hold_a_retry() {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    world.end(JobId(1), FailureKind::Errored);
    world.pass(-86_400);
    assert_eq!(world.running(), [JobId(1)]);
}

#[test]
fn cancel_while_queued() {
    let mut world = looked_at();
    world.push("p", "dev", 1);
    world.push("p", "main", 1);
    world.poll("p");
    assert_eq!(world.cancel(JobId(2)).effects, []);
    assert_eq!(world.story(), ["1 dev 1 running", "2 main 1 cancelled"]);
    world.end_ok(JobId(1));
    world.poll("p");
    assert_eq!(world.live(), []);
}

#[rstest]
#[case::in_time(Some(FailureKind::Cancelled), Outcome::Cancelled)]
#[case::racing_with_success(None, Outcome::Succeeded)]
#[case::racing_with_a_failure(Some(FailureKind::Failed), Outcome::Failed)]
#[case::racing_with_an_error_is_not_tried_again(Some(FailureKind::Errored), Outcome::Errored)]
fn cancel_while_running(#[case] failure: Option<FailureKind>, #[case] outcome: Outcome) {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    assert_eq!(world.cancel(JobId(1)).effects, [Effect::Cancel(JobId(1))]);
    match failure {
        Some(kind) => world.end(JobId(1), kind),
        None => world.end_ok(JobId(1)),
    };
    assert_eq!(world.story(), [format!("1 main 1 {outcome}")]);
}

#[test]
fn a_crash_does_not_undo_a_cancel() {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    world.cancel(JobId(1));
    world.crash();
    assert_eq!(world.story(), ["1 main 1 cancelled"]);
}

#[test]
fn a_newer_commit_takes_the_place_of_a_retry() {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    world.push("p", "main", 2);
    world.poll("p");
    assert_eq!(world.story(), ["1 main 1 running", "2 main 2 queued"]);
    world.end(JobId(1), FailureKind::Errored);
    assert_eq!(world.story(), ["1 main 1 superseded", "2 main 2 running"]);
}

#[test]
fn nothing_takes_the_place_of_a_release_that_has_begun() {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    world.release(JobId(1));
    world.crash();
    world.end(JobId(1), FailureKind::Errored);
    world.push("p", "main", 2);
    world.poll("p");
    assert_eq!(world.story(), ["1 main 1 backoff", "2 main 2 running"]);
    world.end_ok(JobId(2));
    world.delete("p", "main");
    world.poll("p");
    world.pass(MAX_DELAY);
    assert_eq!(world.story(), ["1 main 1 running", "2 main 2 succeeded"]);
    world.end_ok(JobId(1));
    assert!(world.state.releasing.is_empty());
}

#[test]
fn an_older_job_does_not_move_what_a_newer_one_has_moved() {
    let reference = |text: &str| ImageRef::parse(text).unwrap();
    let digest = Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap();
    let result = ImageResult {
        alike: std::collections::BTreeSet::new(),
        image: ImageName::new("a").unwrap(),
        status: ImageStatus::Built,
        note: String::new(),
        fingerprint: String::new(),
        id: Some(digest.clone()),
        digest: Some(digest.clone()),
        bases: Vec::new(),
        released: Vec::new(),
    };
    let plan = ReleasePlan {
        images: vec![PlannedRelease {
            result,
            content: Content::Engine(digest.clone()),
            targets: ["r.io/a:new", "r.io/a:old", "r.io/a:own", "r.io/a:none"]
                .map(reference)
                .into(),
        }],
        ..ReleasePlan::default()
    };
    let release = |text: &str, job| {
        let release = Release {
            reference: reference(text),
            digest: digest.clone(),
            job: JobId(job),
            at: Timestamp::UNIX_EPOCH,
        };
        (release.reference.clone(), release)
    };
    let releases = [
        release("r.io/a:new", 8),
        release("r.io/a:old", 6),
        release("r.io/a:own", 7),
    ]
    .into();
    let none = std::collections::BTreeMap::new();
    assert_eq!(
        overtaken(&plan, &releases, &none, JobId(7), None),
        [reference("r.io/a:new")].into()
    );
    // What a newer job is about to move, or has moved and not recorded yet, is its own too.
    let of = |name: &str| {
        let mut plan = plan.clone();
        plan.images[0].targets = vec![reference(name)];
        plan
    };
    let releasing = [
        (JobId(6), of("r.io/a:old")),
        (JobId(7), plan.clone()),
        (JobId(8), of("r.io/a:none")),
    ]
    .into();
    assert_eq!(
        overtaken(&plan, &releases, &releasing, JobId(7), None),
        [reference("r.io/a:new"), reference("r.io/a:none")].into()
    );
}

#[test]
fn a_stop_is_no_outcome_and_a_newer_commit_runs_after_the_start() {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    assert_eq!(world.event(Event::Stop).effects, [Effect::Interrupt(JobId(1))]);
    assert!(!world.state.is_finished());
    world.end(JobId(1), FailureKind::Cancelled);
    assert!(world.state.is_finished());
    assert_eq!(world.story(), ["1 main 1 queued"]);
    world.push("p", "main", 2);
    world.crash();
    assert_eq!(world.story(), ["1 main 1 running"]);
    assert_eq!(world.job(1).attempts, 0);
    world.poll("p");
    world.crash();
    assert_eq!(world.story(), ["1 main 1 superseded", "2 main 2 running"]);
}

#[rstest]
fn a_project_that_goes_and_comes_back_is_built(#[values(true, false)] removed: bool) {
    let mut world = looked_at();
    world.push("p", "dev", 1);
    world.push("p", "main", 1);
    world.poll("p");
    let kept = world.config.projects.clone();
    if removed {
        world.config.projects.clear();
    } else {
        world.config.projects.get_mut(&project("p")).unwrap().enabled = false;
    }
    world.reload();
    assert_eq!(world.story(), ["1 dev 1 running", "2 main 1 skipped"]);
    // The one that runs comes back to a queue where nobody waits for it.
    world.end(JobId(1), FailureKind::Errored);
    assert_eq!(world.story(), ["1 dev 1 skipped", "2 main 1 skipped"]);
    world.config.projects = kept;
    world.reload();
    world.poll("p");
    assert_eq!(world.story()[2..], ["3 dev 1 running", "4 main 1 queued"]);
}

#[test]
fn a_commit_that_is_gone_is_looked_for_anew() {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    world.end(JobId(1), FailureKind::Superseded);
    assert!(
        !world.state.projects[&project("p")]
            .refs
            .contains_key(&reference("main"))
    );
    world.push("p", "main", 2);
    world.poll("p");
    assert_eq!(world.story(), ["1 main 1 superseded", "2 main 2 running"]);
}

#[test]
fn what_a_person_asked_for_is_not_superseded() {
    let mut world = looked_at();
    world.push("p", "dev", 9);
    world.push("p", "main", 1);
    world.poll("p");
    // The waiting job becomes the one that was asked for.
    assert_eq!(world.build("p", "main").effects, [Effect::Queued(JobId(2))]);
    world.push("p", "main", 2);
    world.poll("p");
    world.delete("p", "main");
    world.poll("p");
    assert_eq!(
        world.story(),
        ["1 dev 9 running", "2 main 1 queued", "3 main 2 skipped"]
    );
}

#[test]
fn a_drain_finishes_what_is_there_and_takes_nothing_new() {
    let mut world = looked_at();
    world.push("p", "dev", 1);
    world.push("p", "main", 1);
    world.poll("p");
    world.event(Event::Drain);
    world.push("p", "main", 2);
    world.poll("p");
    assert_eq!(world.build("p", "main").effects, []);
    world.end_ok(JobId(1));
    assert!(!world.state.is_finished());
    world.end_ok(JobId(2));
    assert!(world.state.is_finished());
    assert_eq!(world.story(), ["1 dev 1 succeeded", "2 main 1 succeeded"]);
    world.crash();
    world.poll("p");
    assert_eq!(world.story()[2..], ["3 main 2 running"]);
}

#[test]
fn a_lower_limit_stops_nothing_and_starts_nothing() {
    let mut world = World::new(config(2, &["p"]));
    world.poll("p");
    for short in ["dev", "main", "v1"] {
        world.push("p", short, 1);
    }
    world.poll("p");
    world.config.limit = 1;
    assert_eq!(world.reload().effects, []);
    assert_eq!(world.running(), [JobId(1), JobId(2)]);
    world.end_ok(JobId(1));
    assert_eq!(world.running(), [JobId(2)]);
    world.end_ok(JobId(2));
    assert_eq!(world.running(), [JobId(3)]);
}

#[test]
fn the_end_of_an_attempt_is_not_written_to_one_that_a_crash_cut_off() {
    let mut world = looked_at();
    world.push("p", "main", 1);
    world.poll("p");
    world.crash();
    world.end_ok(JobId(1));
    let attempts = &world.records()[0].attempts;
    let told: Vec<_> = attempts
        .iter()
        .map(|a| (a.dir.as_str(), a.ended.is_some(), a.image_id.as_deref()))
        .collect();
    assert_eq!(
        told,
        [("00000001", false, None), ("00000001.2", true, Some("sha256:1"))]
    );
}
