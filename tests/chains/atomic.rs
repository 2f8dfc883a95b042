//! Waves that are released together, or not at all.

use crate::scene::{Farm, ROOT, on, wants};
use crate::support::scratch::{SOON, wait_for_state};
use crate::support::servers::faults::{Fault, Gate};
use rstest::rstest;
use std::path::PathBuf;

const ALL: [&str; 3] = ["base", "ruby", "app"];

/// Everything is released once.
fn farm() -> Farm {
    let mut farm = Farm::new(&[
        ("app", &on(&["ruby"])),
        ("base", ROOT),
        ("ruby", &wants("base", "/needed")),
    ]);
    farm.push("base", &[("root/needed", "1\n")]);
    farm.image("base", "chain = 'atomic'");
    farm
}

fn released(farm: &mut Farm) {
    farm.start();
    farm.wait_built(0, &ALL);
}

/// Waits until the releases of so many jobs are held back, and nothing else happens.
fn wait_held(farm: &Farm, count: usize) {
    wait_for_state("what is held back", SOON, || {
        let stages = farm.stages();
        let held = stages.len() == count && stages.iter().all(|(_, stage)| stage == "held");
        held.then_some(()).ok_or_else(|| farm.story())
    });
}

#[track_caller]
fn assert_consistent(farm: &Farm) {
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    let wave = farm.wave("base");
    assert_eq!((farm.wave("ruby"), farm.wave("app")), (wave, wave), "{}", farm.story());
}

/// No tag moved before all content was where it belongs, since the proxy has begun to count.
#[track_caller]
fn assert_moved_last(farm: &Farm) {
    let requests = farm.proxy.requests();
    let moves = requests.iter().filter(|r| r.is("PUT", "/manifests/1"));
    let first = moves.map(|r| r.number).min().unwrap();
    for name in ALL {
        let mut content = requests
            .iter()
            .filter(|r| r.is("PUT", &format!("/v2/{name}/manifests/sha256")));
        assert!(
            content.next().is_some_and(|r| r.number < first),
            "{name}: {requests:#?}"
        );
    }
    let late = requests[first..].iter().filter(|r| r.is("POST", "/blobs/uploads/"));
    assert_eq!(late.count(), 0, "{requests:#?}");
}

/// A wave of which the last image is kept from its end as long as a file stands: with what was released before it, and that
/// file.
fn held() -> (Farm, Vec<Option<String>>, PathBuf) {
    let mut farm = farm();
    let (holder, stands) = farm.holder("app");
    farm.project("app", &holder);
    released(&mut farm);
    let before = farm.all_at(&ALL);
    farm.proxy.forget();
    std::fs::write(&stands, "").unwrap();
    farm.change("base", "2\n");
    wait_held(&farm, 2);
    (farm, before, stands)
}

#[test]
fn all_at_once() {
    let (mut farm, before, stands) = held();
    assert_eq!(farm.all_at(&ALL), before, "{}", farm.story());
    assert_eq!(farm.proxy.count("PUT", "/manifests/1"), 0);
    // What is held is so after the power went, and nothing of it is built again.
    farm.crash();
    farm.start_again();
    farm.wait("the last one to run", |jobs| {
        let app = jobs.iter().rev().find(|job| job.project == "app")?;
        (app.state == "running").then_some(())
    });
    wait_held(&farm, 2);
    assert_eq!(farm.all_at(&ALL), before, "{}", farm.story());
    std::fs::remove_file(stands).unwrap();
    farm.wait_jobs(6);
    assert!(
        farm.jobs().iter().all(|job| job.outcome == "succeeded"),
        "{}",
        farm.story()
    );
    assert_moved_last(&farm);
    assert_consistent(&farm);
    assert!(farm.all_at(&ALL).iter().zip(&before).all(|(now, before)| now != before));
    assert_eq!(farm.stages(), []);
    farm.assert_quiet("base");
}

#[test]
fn none_if_one_fails() {
    let mut farm = farm();
    let told: Vec<_> = ["base", "ruby", "app"]
        .map(|name| {
            let (callback, file) = farm.teller("error_callback", name);
            farm.project(name, &callback);
            file
        })
        .into();
    released(&mut farm);
    let before = farm.all_at(&ALL);
    farm.repo("base").git(&["rm", "--quiet", "root/needed"]);
    farm.change("base", "2\n");
    let jobs = farm.wait_jobs(5);
    let outcomes: Vec<_> = jobs[3..]
        .iter()
        .map(|job| (job.project.as_str(), job.outcome.as_str()))
        .collect();
    assert_eq!(outcomes, [("base", "failed"), ("ruby", "failed")], "{}", farm.story());
    assert!(jobs[3].note.contains("ruby"), "{:?}", jobs[3]);
    assert_eq!(farm.all_at(&ALL), before, "{}", farm.story());
    let heard = |at: usize| crate::common::text(&told[at]);
    assert_eq!(heard(0).lines().count(), 1, "{}", heard(0));
    assert!(heard(0).contains("ruby"), "{}", heard(0));
    assert_eq!(heard(1).lines().count(), 1, "{}", heard(1));
    assert_eq!(heard(2), "");
    farm.assert_quiet("base");

    let by = &jobs[4];
    let failed_at = &by.commit[..8];
    let told = farm.run(&["explain", "base"]);
    let why = format!(
        "its wave failed by ruby at {failed_at} (job {}), and is tried again once that is mended, or by hand",
        by.id
    );
    assert!(told.contains(&why), "{told}");
    let told = farm.run(&["explain", "ruby"]);
    let why = format!(
        "the wave of base (job {}) failed by this at {failed_at} (job {})",
        jobs[3].id, by.id
    );
    assert!(told.contains(&why), "{told}");

    let told = farm.run(&["status"]);
    let why = format!(
        "  base main: {} reaches nobody: its wave (job {}) failed by ruby at {failed_at} (job {})\n",
        &jobs[3].commit[..8],
        jobs[3].id,
        by.id
    );
    assert!(told.contains(&why), "{told}");

    // It is mended for what is released, and then the wave begins again by itself.
    let containerfile = farm.text(&on(&["base"]));
    let mended = farm.push("ruby", &[("Containerfile", &containerfile)]);
    farm.wait("the wave that is tried again", |jobs| {
        let last = jobs.iter().rfind(|job| job.project == "base")?;
        (last.outcome == "succeeded" && last.id > by.id && jobs.iter().all(|job| job.state == "done")).then_some(())
    });
    let good = farm.jobs()[5..].iter().all(|job| job.outcome == "succeeded");
    assert!(good, "{}", farm.story());
    // The last one was queued for the mend: its label names the wave of that.
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    assert!(farm.all_at(&ALL).iter().zip(&before).all(|(now, before)| now != before));
    let told = farm.run(&["explain", "base"]);
    let why = format!(
        "it failed before: its wave failed by ruby at {failed_at}, which is at {} now",
        &mended[..8]
    );
    assert!(told.contains(&why), "{told}");
    assert!(!farm.run(&["status"]).contains("Failed waves"), "{}", farm.story());
    farm.assert_quiet("base");
}

#[test]
fn what_began_to_move_is_finished() {
    let mut farm = farm();
    released(&mut farm);
    let before = farm.all_at(&ALL);
    let gate = Gate::default();
    let held = gate.clone();
    // The second tag is not let through; the first one may have been.
    farm.proxy
        .set(move |r| (r.is("PUT", "/v2/ruby/manifests/1")).then(|| Fault::Hold(held.clone())));
    farm.change("base", "2\n");
    gate.wait_came();
    farm.crash();
    farm.proxy.set(|_| None);
    let cut = farm.all_at(&ALL);
    assert_eq!(cut[1], before[1]);
    farm.start_again();
    farm.wait_jobs(6);
    assert!(
        farm.jobs().iter().all(|job| job.outcome == "succeeded"),
        "{}",
        farm.story()
    );
    assert_consistent(&farm);
    assert!(farm.all_at(&ALL).iter().zip(&before).all(|(now, before)| now != before));
    farm.assert_quiet("base");
}

/// A project that is taken out of the config while the references move: by a reload, or while the daemon is down.
#[rstest]
#[case::by_a_reload(false)]
#[case::while_it_is_down(true)]
fn what_is_removed_leaves_no_half_wave(#[case] crashes: bool) {
    let mut farm = farm();
    farm.top = "limit = 1\n".to_owned();
    let (callback, told) = farm.teller("success_callback", "ruby");
    farm.project("ruby", &callback);
    released(&mut farm);
    let before = farm.all_at(&ALL);
    let gate = Gate::default();
    let held = gate.clone();
    // The first one stands before the gate, and the others behind it.
    farm.proxy
        .set(move |r| (r.is("PUT", "/v2/base/manifests/1")).then(|| Fault::Hold(held.clone())));
    farm.change("base", "2\n");
    gate.wait_came();
    let moving = farm.stages();
    assert!(
        moving.len() == 3 && moving.iter().all(|(_, stage)| stage == "moving"),
        "{moving:?}"
    );
    // Too late, and whoever wants that hears it.
    let cancel = farm.site.cli(&["cancel", "app", "main"]);
    let said = String::from_utf8_lossy(&cancel.stdout);
    assert!(
        said.starts_with("not cancelled: job ") && said.contains("is finished"),
        "{cancel:?}"
    );
    assert_eq!(cancel.status.code(), Some(1));
    farm.remove("ruby");
    match crashes {
        true => {
            farm.crash();
            farm.proxy.set(|_| None);
            farm.start();
        }
        false => {
            farm.reload();
            gate.open();
        }
    }
    let jobs = farm.wait_jobs(6);
    assert!(jobs.iter().all(|job| job.outcome == "succeeded"), "{}", farm.story());
    assert_consistent(&farm);
    assert!(farm.all_at(&ALL).iter().zip(&before).all(|(now, before)| now != before));
    // Of its first job only: nothing else is done for what is not in the config.
    assert_eq!(crate::common::text(&told).lines().count(), 1);
    let log = crate::common::text(&farm.site.log);
    assert!(
        log.contains("was removed from the config: the release of its wave is finished"),
        "{log}"
    );
    // And then it is gone.
    let graph = farm.run(&["graph"]);
    assert!(!graph.contains("ruby"), "{graph}");
    farm.change("ruby", "2\n");
    farm.assert_quiet("ruby");
}

/// Nothing that does not belong to the wave is in its way, and it is in nobody's.
#[test]
fn an_end_by_hand_ends_all_of_it() {
    let (farm, before, stands) = held();
    farm.wait("the last one to run", |jobs| {
        jobs.iter()
            .find(|job| job.project == "app" && job.state == "running")
            .map(|_| ())
    });
    farm.run(&["cancel", "app", "main"]);
    farm.wait_jobs(6);
    assert_eq!(farm.all_at(&ALL), before, "{}", farm.story());
    let outcomes: Vec<_> = farm.jobs()[3..].iter().map(|job| job.outcome.clone()).collect();
    assert_eq!(outcomes, ["failed", "failed", "cancelled"], "{}", farm.story());
    std::fs::remove_file(stands).unwrap();
    // A new commit begins anew.
    farm.change("base", "3\n");
    farm.wait("all of them", |jobs| {
        (jobs.len() == 9 && jobs.iter().all(|job| job.state == "done")).then_some(())
    });
    assert_consistent(&farm);
    assert!(farm.all_at(&ALL).iter().zip(&before).all(|(now, before)| now != before));
}

#[test]
fn a_newer_commit_while_it_is_held() {
    let (farm, before, stands) = held();
    let newest = farm.change("base", "3\n");
    farm.wait("the newer commit", |jobs| {
        jobs.iter().any(|job| job.commit == newest).then_some(())
    });
    assert_eq!(farm.all_at(&ALL), before, "{}", farm.story());
    std::fs::remove_file(stands).unwrap();
    farm.wait("all to be over", |jobs| {
        let newest = jobs
            .iter()
            .any(|job| job.commit == newest && job.outcome == "succeeded");
        (newest && jobs.iter().all(|job| job.state == "done")).then_some(())
    });
    assert_eq!(
        farm.label("base", "org.opencontainers.image.revision"),
        newest,
        "{}",
        farm.story()
    );
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    assert_eq!(farm.stages(), []);
    farm.assert_quiet("base");
}

/// Two ways lead down to the last one.
#[test]
fn a_diamond() {
    let mut farm = Farm::new(&[
        ("a-top", &on(&["left", "right"])),
        ("base", ROOT),
        ("left", &on(&["base"])),
        ("right", &on(&["base"])),
    ]);
    farm.image("base", "chain = 'atomic'");
    farm.start();
    farm.wait_jobs(4);
    let all = ["base", "left", "right", "a-top"];
    let before = farm.all_at(&all);
    farm.proxy.forget();
    farm.change("base", "2\n");
    farm.wait_jobs(8);
    assert!(
        farm.jobs().iter().all(|job| job.outcome == "succeeded"),
        "{}",
        farm.story()
    );
    let moves = farm.proxy.requests();
    let first = moves.iter().find(|r| r.is("PUT", "/manifests/1")).unwrap().number;
    assert!(
        moves[first..].iter().all(|r| !r.is("POST", "/blobs/uploads/")),
        "{moves:#?}"
    );
    farm.assert_on("left", "base");
    farm.assert_on("right", "base");
    farm.assert_on("a-top", "left");
    assert!(farm.label("a-top", "pipelined.bases").contains(&farm.at("right")));
    assert!(farm.all_at(&all).iter().zip(&before).all(|(now, before)| now != before));
    // What changes nothing needs no wave.
    farm.push("base", &[("README", "1\n")]);
    farm.wait_built(8, &["base"]);
    farm.assert_quiet("base");
}
