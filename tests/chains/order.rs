//! In order, and each once.

use crate::scene::{Farm, ROOT, on};
use rstest::rstest;

/// Their names are in the wrong order.
fn chain() -> Farm {
    Farm::new(&[("app", &on(&["ruby"])), ("base", ROOT), ("ruby", &on(&["base"]))])
}

#[rstest]
#[case::one_slot(1)]
#[case::two_slots(2)]
fn all_new_at_once(#[case] limit: usize) {
    let mut farm = chain();
    farm.top = format!("limit = {limit}\n");
    let (holder, app_stands) = farm.holder("app");
    farm.project("app", &holder);
    let (holder, base_stands) = farm.holder("base");
    farm.project("base", &holder);
    for file in [&app_stands, &base_stands] {
        std::fs::write(file, "").unwrap();
    }
    // The first one comes first.
    farm.disable(&["base", "ruby"]);
    farm.start();
    farm.wait("the last one to run", |jobs| {
        (jobs.len() == 1 && jobs[0].state == "running").then_some(())
    });
    farm.disable(&[]);
    farm.reload();
    farm.wait("all of them", |jobs| (jobs.len() == 3).then_some(()));
    std::fs::remove_file(app_stands).unwrap();
    farm.wait("the last one to wait", |jobs| (jobs[0].state == "queued").then_some(()));
    std::fs::remove_file(base_stands).unwrap();

    let jobs = farm.wait_built(0, &["base", "ruby", "app"]);
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    // What waited did so in one directory.
    let app = &jobs[2];
    assert_eq!(app.dirs.len(), 1, "{}", farm.story());
    assert_eq!(farm.dirs("app"), app.dirs, "{}", farm.story());
    let log = farm.build_log(app);
    assert!(log.contains("waits: ruby: job "), "{log}");
    assert_eq!(log.matches("goes on where it waited").count(), 1, "{log}");
    assert_eq!(log.matches(" checkout: $ git -c checkout.workers").count(), 1, "{log}");
    assert_eq!(log.matches(" prepare_callback: $ ").count(), 1, "{log}");
    farm.assert_quiet("base");
}

#[test]
fn a_commit_at_the_root_goes_all_the_way_down() {
    let mut farm = chain();
    farm.start();
    farm.wait_jobs(3);
    farm.change("base", "2\n");
    let jobs = farm.wait_built(3, &["base", "ruby", "app"]);
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    for name in ["base", "ruby", "app"] {
        assert_eq!(farm.wave(name), jobs[0].id, "{name}: {}", farm.story());
    }
    assert!(jobs.iter().all(|job| job.wave == jobs[0].id), "{jobs:#?}");
    farm.assert_quiet("base");

    // In the middle: what is above it stays.
    let base = farm.at("base");
    farm.change("ruby", "2\n");
    let jobs = farm.wait_built(6, &["ruby", "app"]);
    assert_eq!(farm.at("base"), base);
    farm.assert_on("app", "ruby");
    assert_eq!(farm.wave("app"), jobs[0].id);
    farm.assert_quiet("base");
}

#[rstest]
#[case::one_slot(1)]
#[case::three_slots(3)]
fn a_diamond_is_built_once(#[case] limit: usize) {
    let mut farm = Farm::new(&[
        ("a-top", &on(&["left", "right"])),
        ("base", ROOT),
        ("left", &on(&["base"])),
        ("right", &on(&["base"])),
    ]);
    farm.top = format!("limit = {limit}\n");
    farm.start();
    let of = |jobs: &[crate::scene::Job]| -> Vec<String> { jobs.iter().map(|job| job.project.clone()).collect() };
    let first = farm.wait_jobs(4);
    let mut names = of(&first);
    names.sort();
    assert_eq!(names, ["a-top", "base", "left", "right"]);
    farm.change("base", "2\n");
    let jobs = farm.wait_jobs(8).split_off(4);
    assert!(jobs.iter().all(|job| job.outcome == "succeeded"), "{}", farm.story());
    let names = of(&jobs);
    assert_eq!(
        (names[0].as_str(), names[3].as_str()),
        ("base", "a-top"),
        "{}",
        farm.story()
    );
    assert!(jobs.iter().all(|job| job.wave == jobs[0].id), "{jobs:#?}");
    farm.assert_on("left", "base");
    farm.assert_on("right", "base");
    farm.assert_on("a-top", "left");
    let bases = farm.label("a-top", "pipelined.bases");
    assert!(bases.contains(&farm.at("right")), "{bases}");
    farm.assert_quiet("base");
}

#[test]
fn commits_follow_each_other_faster_than_builds() {
    let mut farm = chain();
    farm.start();
    farm.wait_jobs(3);
    for content in ["2\n", "3\n"] {
        let commit = farm.change("base", content);
        // While what stands on it is built.
        farm.wait("the release", |jobs| {
            let is_released = jobs
                .iter()
                .any(|job| job.commit == commit && job.outcome == "succeeded");
            (is_released && jobs.iter().any(|job| job.state == "running")).then_some(())
        });
    }
    let newest = farm.change("base", "4\n");
    farm.wait("all to be over", |jobs| {
        let newest = jobs
            .iter()
            .any(|job| job.commit == newest && job.outcome == "succeeded");
        (newest && jobs.iter().all(|job| job.state == "done")).then_some(())
    });
    assert_eq!(farm.label("base", "org.opencontainers.image.revision"), newest);
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    let of = |name: &str| farm.jobs().iter().filter(|job| job.project == name).count();
    // Once for each generation at most.
    assert!(of("ruby") <= 4 && of("app") <= 4, "{}", farm.story());
    farm.assert_quiet("base");
}
