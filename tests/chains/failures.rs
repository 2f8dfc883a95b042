//! What fails stops what is below it, until it is mended.

use crate::scene::{Farm, ROOT, on, wants};

fn fragile() -> Farm {
    let mut farm = Farm::new(&[
        ("app", &on(&["ruby"])),
        ("base", ROOT),
        ("ruby", &wants("base", "/needed")),
    ]);
    farm.push("base", &[("root/needed", "1\n")]);
    farm.top = "limit = 2\n".to_owned();
    farm
}

#[test]
fn what_is_below_waits_for_a_mend() {
    let mut farm = fragile();
    farm.start();
    farm.wait_jobs(3);
    let before = farm.all_at(&["ruby", "app"]);
    farm.repo("base").git(&["rm", "--quiet", "root/needed"]);
    farm.change("base", "2\n");
    let jobs = farm.wait_jobs(5);
    assert_eq!(
        (jobs[3].project.as_str(), jobs[3].outcome.as_str()),
        ("base", "succeeded")
    );
    assert_eq!((jobs[4].project.as_str(), jobs[4].outcome.as_str()), ("ruby", "failed"));
    farm.assert_quiet("base");
    assert_eq!(farm.all_at(&["ruby", "app"]), before);
    let explained = farm.run(&["explain", "ruby"]);
    assert!(explained.contains("failed"), "{explained}");

    // Not by a restart either.
    farm.stop();
    farm.start_again();
    farm.assert_quiet("base");

    let containerfile = farm.text(&on(&["base"]));
    farm.push("ruby", &[("Containerfile", &containerfile)]);
    farm.wait_built(5, &["ruby", "app"]);
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    farm.assert_quiet("base");
}

#[test]
fn what_was_never_released_blocks_what_is_new() {
    let mut farm = fragile();
    farm.repo("base").git(&["rm", "--quiet", "root/needed"]);
    farm.change("base", "2\n");
    farm.start();
    // Nothing of it can be built yet.
    let jobs = farm.wait("the failure", |jobs| {
        let failed = jobs.iter().any(|job| job.project == "ruby" && job.outcome == "failed");
        let waits = jobs
            .iter()
            .any(|job| job.project == "app" && job.state == "queued" && !job.dirs.is_empty());
        (failed && waits).then(|| jobs.to_vec())
    });
    assert_eq!(jobs.len(), 3);
    for told in [farm.run(&["status"]), farm.run(&["explain", "app"])] {
        assert!(told.contains("blocked: ruby failed (job "), "{told}\n{}", farm.story());
        assert!(!told.contains("interrupted"), "{told}");
    }
    assert_eq!(farm.find("app"), None);
    // The base is mended.
    farm.push("base", &[("root/needed", "2\n")]);
    farm.wait("all to be good", |jobs| {
        let last = |name: &str| jobs.iter().rev().find(|job| job.project == name).unwrap();
        let good = ["base", "ruby", "app"]
            .iter()
            .all(|name| last(name).outcome == "succeeded");
        good.then_some(())
    });
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    let jobs = farm.jobs();
    assert_eq!(
        jobs.iter().filter(|job| job.project == "app").count(),
        1,
        "{}",
        farm.story()
    );
}

/// What stands above an image is followed later than itself.
#[test]
fn what_comes_later_is_built_on() {
    let mut farm = fragile();
    farm.disable(&["base", "ruby"]);
    farm.start();
    let jobs = farm.wait_jobs(1);
    assert_ne!(jobs[0].outcome, "succeeded");
    farm.disable(&[]);
    farm.reload();
    farm.wait("all to be good", |jobs| {
        let last = |name: &str| jobs.iter().rev().find(|job| job.project == name);
        let is_good = |name: &&str| last(name).is_some_and(|job| job.outcome == "succeeded");
        ["base", "ruby", "app"].iter().all(is_good).then_some(())
    });
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
}
