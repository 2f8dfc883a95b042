//! What chains put on record: edges, waves, and attempts that wait and go on.

use super::updates::{ends_with, known, node, node_of, opened, refs, released};
use super::*;
use pipelined::model::{Culprit, FailedWave, Links, Needed, Thing};
use pipelined::store::Attempt;
use std::collections::BTreeSet;

fn name(text: &str) -> ImageName {
    ImageName::new(text).unwrap()
}

/// With something in each of its fields.
pub fn links() -> Links {
    Links {
        commit: commit("a"),
        bases: refs(&["debian:12", "r.io/base"]).into_iter().collect(),
        siblings: [name("other")].into(),
        targets: refs(&["r.io/a:1", "localhost/a"]).into_iter().collect(),
        remotes: ["git.example.org/\"base\"".to_owned()].into(),
        default: Some(false),
        failed: Some((commit("b"), JobId(7), Outcome::TimedOut)),
        failed_waves: vec![FailedWave {
            root: JobId(7),
            by: vec![Culprit {
                node: crate::updates::node(b"main"),
                job: JobId(8),
                commit: commit("c"),
                released: Some(commit("d")),
                by_any_success: true,
            }],
        }],
        needs: Vec::new(),
    }
}

/// With nothing in any of them.
pub fn bare_links() -> Links {
    Links {
        commit: commit("a"),
        bases: BTreeSet::new(),
        siblings: BTreeSet::new(),
        targets: BTreeSet::new(),
        remotes: BTreeSet::new(),
        default: None,
        failed: None,
        failed_waves: Vec::new(),
        needs: Vec::new(),
    }
}

/// What an image relied on without building FROM it.
pub fn needed(n: u8) -> BaseUsed {
    BaseUsed {
        name: "lib".to_owned(),
        reference: None,
        digests: Vec::new(),
        id: None,
        diff_ids: Vec::new(),
        platform: None,
        sibling: None,
        needed: Some(Needed {
            node: node_of(b"odd-\xff", "lib"),
            digest: Some(digest(n)),
            commit: Some(commit("c")),
        }),
    }
}

pub fn thing(needs: Vec<BaseUsed>) -> Thing {
    Thing {
        job: JobId(9),
        commit: commit("d"),
        needs,
        wave: JobId(8),
        since: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn what_was_needed_is_among_the_bases_of_what_stands() {
    let (_dir, mut store) = opened();
    let mut result = released(1, &["r.io/a:1"]);
    let never = BaseUsed {
        needed: Some(Needed {
            node: node(b"main"),
            digest: None,
            commit: None,
        }),
        ..needed(1)
    };
    result.bases.extend([needed(40), never]);
    ends_with(&mut store, 1, b"main", vec![result.clone()], 1);
    assert_eq!(known(&store).standings[&node(b"main")].bases, result.bases);
    assert_eq!(store.images_of_job(JobId(1)).unwrap()[0].result, result);
}

#[test]
fn the_wave_of_a_job_stays_and_its_atomic_wave_is_told_later() {
    let (_dir, mut store) = opened();
    let mut job = Job {
        wave: JobId(1),
        reason: Reason::UpstreamRebuilt,
        ..queued(3, b"main", "3")
    };
    record(&mut store, &[put(&job)]);
    assert_eq!(store.load_state().unwrap().jobs[&job.id], job);
    job.atomic = Some(JobId(2));
    record(&mut store, &[put(&job)]);
    assert_eq!(store.load_state().unwrap().jobs[&job.id], job);
    // That it has begun to move with another wave, or by itself, is no reason to forget how it came to be.
    job.atomic = None;
    record(&mut store, &[put(&job)]);
    assert_eq!(store.job(job.id).unwrap().unwrap().job, job);
    let result = released(1, &["r.io/a:1"]);
    record(
        &mut store,
        &[Write::Attempt(job.id), ended(3, vec![result.clone()], false)],
    );
    assert_eq!(store.images_of_job(job.id).unwrap()[0].wave, JobId(1));
    let standing = &known(&store).standings[&node(b"main")];
    assert_eq!((standing.wave, standing.since), (Some(JobId(1)), at(100)));
    assert_eq!(standing.alike, result.alike);
}

#[test]
fn when_something_was_released_is_not_when_it_was_last_verified() {
    let (_dir, mut store) = opened();
    ends_with(&mut store, 1, b"main", vec![released(1, &["r.io/a:1"])], 1);
    ends_with(&mut store, 2, b"main", vec![super::updates::unchanged(30)], 2);
    let standing = &known(&store).standings[&node(b"main")];
    assert_eq!((standing.since, standing.verified), (at(1), at(2)));
    assert_eq!((standing.job, standing.wave), (Some(JobId(1)), Some(JobId(1))));
    assert_eq!(standing.alike, released(1, &[]).alike);
}

/// Begins an attempt of the first job where all directories are there, or none.
fn begin(store: &mut Store, are_there: bool) -> Attempt {
    let begun = store.commit(&[Write::Attempt(JobId(1))], at(1), &|_, _, _| !are_there);
    let [begun] = begun.unwrap().try_into().unwrap();
    begun
}

fn shown(attempt: &Attempt) -> (i64, &str, bool) {
    (attempt.n, &attempt.dir, attempt.goes_on)
}

/// A job whose first attempt runs.
fn running() -> (tempfile::TempDir, Store) {
    let (dir, mut store) = opened();
    record(&mut store, &[put(&queued(1, b"main", "aaaaaaaa"))]);
    let first = begin(&mut store, false);
    assert_eq!(shown(&first), (1, "aaaaaaaa", false));
    (dir, store)
}

fn wait(store: &mut Store) {
    record(store, &[Write::AttemptWaits(JobId(1))]);
}

#[test]
fn an_attempt_that_waits_goes_on_where_it_was_as_often_as_it_waits() {
    let (dir, mut store) = running();
    for _ in 0..3 {
        wait(&mut store);
        // Also after a start of the daemon.
        drop(store);
        store = Store::open(dir.path()).unwrap();
        assert_eq!(shown(&begin(&mut store, true)), (1, "aaaaaaaa", true));
    }
    let attempts = store.job(JobId(1)).unwrap().unwrap().attempts;
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].started, attempts[0].ended), (at(1), None));
    // It ends as any other one.
    record(&mut store, &[ended(1, vec![released(1, &["r.io/a:1"])], false)]);
    assert!(store.job(JobId(1)).unwrap().unwrap().attempts[0].ended.is_some());
    // The next one is another one.
    let writes = [Write::Attempt(JobId(1))];
    let taken = store.commit(&writes, at(2), &|_, _, dir| dir != "aaaaaaaa").unwrap();
    assert_eq!(shown(&taken[0]), (2, "aaaaaaaa.2", false));
}

#[test]
fn an_attempt_whose_directory_has_gone_while_it_waited_begins_anew() {
    let (_dir, mut store) = running();
    wait(&mut store);
    assert_eq!(shown(&begin(&mut store, false)), (2, "aaaaaaaa.2", false));
    // The new one has not waited: it does not go on either if it is cut off.
    let writes = [Write::Attempt(JobId(1))];
    let third = store.commit(&writes, at(1), &|_, _, dir| dir == "aaaaaaaa.3").unwrap();
    assert_eq!(shown(&third[0]), (3, "aaaaaaaa.3", false));
    // But it may wait in its turn.
    wait(&mut store);
    assert_eq!(shown(&begin(&mut store, true)), (3, "aaaaaaaa.3", true));
}

#[test]
fn an_attempt_that_was_cut_off_after_it_went_on_begins_anew() {
    let (dir, mut store) = running();
    wait(&mut store);
    assert!(begin(&mut store, true).goes_on);
    // It ran, and the daemon was killed: nobody knows how far it came.
    drop(store);
    let mut store = Store::open(dir.path()).unwrap();
    let again = store
        .commit(&[Write::Attempt(JobId(1))], at(1), &|_, _, dir| dir == "aaaaaaaa.2")
        .unwrap();
    assert_eq!(shown(&again[0]), (2, "aaaaaaaa.2", false));
    let attempts = store.job(JobId(1)).unwrap().unwrap().attempts;
    assert!(attempts.iter().all(|attempt| attempt.ended.is_none()));
}

#[test]
fn only_the_running_attempt_waits() {
    let (_dir, mut store) = running();
    record(&mut store, &[ended(1, Vec::new(), false)]);
    // It has ended: there is nothing to go on with.
    wait(&mut store);
    let writes = [Write::Attempt(JobId(1))];
    let next = store.commit(&writes, at(1), &|_, _, dir| dir == "aaaaaaaa.2").unwrap();
    assert_eq!(shown(&next[0]), (2, "aaaaaaaa.2", false));
    // Another job's attempt is its own.
    record(&mut store, &[put(&queued(2, b"dev", "b")), Write::Attempt(JobId(2))]);
    record(&mut store, &[Write::AttemptWaits(JobId(2))]);
    let next = store.commit(&writes, at(1), &|_, _, dir| dir == "aaaaaaaa.3").unwrap();
    assert_eq!(shown(&next[0]), (3, "aaaaaaaa.3", false));
    let other = store.commit(&[Write::Attempt(JobId(2))], at(1), &|_, _, _| false);
    assert_eq!(shown(&other.unwrap()[0]), (1, "b0000000", true));
}

#[test]
fn how_long_an_attempt_has_waited_is_on_record_whatever_the_clock_does() {
    let (_dir, mut store) = running();
    let write = |store: &mut Store, writes: &[Write], second| {
        store.commit(writes, at(second), &|_, _, _| false).unwrap();
    };
    let (waits, goes_on) = ([Write::AttemptWaits(JobId(1))], [Write::Attempt(JobId(1))]);
    let waited = |store: &Store| {
        let attempt = store.job(JobId(1)).unwrap().unwrap().attempts.remove(0);
        (attempt.waits, attempt.waited.as_secs())
    };
    assert_eq!(waited(&store), (false, 0));
    write(&mut store, &waits, 11);
    assert_eq!(waited(&store), (true, 0), "it is not known yet how long");
    write(&mut store, &goes_on, 16);
    assert_eq!(waited(&store), (false, 5));
    // Said twice, and a second time.
    write(&mut store, &waits, 20);
    assert_eq!(waited(&store), (true, 5));
    write(&mut store, &waits, 25);
    write(&mut store, &goes_on, 27);
    assert_eq!(waited(&store), (false, 5 + 7));
    // The clock was put back while it waited.
    write(&mut store, &waits, 30);
    write(&mut store, &goes_on, 10);
    assert_eq!(waited(&store), (false, 5 + 7), "never less than it was");
    // It ends while it waits: since then there was nothing but waiting.
    let (_dir, mut store) = running();
    write(&mut store, &waits, 11);
    let cancelled = Job {
        state: JobState::Done(Outcome::Cancelled),
        ..queued(1, b"main", "aaaaaaaa")
    };
    write(&mut store, &[put(&cancelled)], 40);
    assert_eq!(waited(&store), (true, 29));
}

fn plan(stage: ReleaseStage) -> ReleasePlan {
    ReleasePlan {
        stage,
        images: vec![PlannedRelease {
            result: image(ImageStatus::Built, 1, &[]),
            content: Content::Archive(".release/app.tar".to_owned()),
            targets: refs(&["r.io/a:1"]),
        }],
        others: vec![image(ImageStatus::Unchanged, 9, &[])],
        failure: None,
        env: [("HOME".to_owned(), "/srv/builder".to_owned())].into(),
    }
}

fn releasing(stage: ReleaseStage) -> Write {
    Write::Releasing {
        job: JobId(1),
        plan: plan(stage),
    }
}

#[test]
fn a_release_is_kept_with_its_stage_and_goes_on_with_its_attempt() {
    let (_dir, mut store) = running();
    for stage in [ReleaseStage::Gathering, ReleaseStage::Held, ReleaseStage::Moving] {
        record(&mut store, &[releasing(stage), Write::AttemptWaits(JobId(1))]);
        assert_eq!(store.release_plans().unwrap(), [(JobId(1), plan(stage))].into());
        let attempt = begin(&mut store, true);
        assert_eq!(shown(&attempt), (1, "aaaaaaaa", true));
        assert_eq!(attempt.resume, Some(plan(stage)), "nothing is built again");
    }
    // Cut off while it moves its references: a new attempt finishes that in the same directory.
    let next = begin(&mut store, true);
    assert_eq!(shown(&next), (2, "aaaaaaaa", false));
    assert_eq!(next.resume, Some(plan(ReleaseStage::Moving)));
    // Which may wait again, though the plan is the first one's.
    wait(&mut store);
    let on = begin(&mut store, true);
    assert_eq!((shown(&on), &on.resume), ((2, "aaaaaaaa", true), &next.resume));
}

#[test]
fn a_release_that_waited_in_a_directory_that_has_gone_is_built_again() {
    let (_dir, mut store) = running();
    record(
        &mut store,
        &[releasing(ReleaseStage::Held), Write::AttemptWaits(JobId(1))],
    );
    let anew = begin(&mut store, false);
    assert_eq!((shown(&anew), &anew.resume), ((2, "aaaaaaaa.2", false), &None));
    // The new attempt waits before it releases anything: what the old one was about to release is not its own.
    wait(&mut store);
    let on = begin(&mut store, true);
    assert_eq!((shown(&on), &on.resume), ((2, "aaaaaaaa.2", true), &None));
}
