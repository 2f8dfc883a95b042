//! The daemon is not there when something happens, or goes at a bad moment.

use crate::scene::{Farm, ROOT, on};
use crate::support::scratch::{SOON, wait_for_state};
use nix::sys::signal::Signal;

fn chain() -> Farm {
    Farm::new(&[("app", &on(&["ruby"])), ("base", ROOT), ("ruby", &on(&["base"]))])
}

#[test]
fn killed_when_the_release_was_recorded() {
    let mut farm = chain();
    let (holder, stands) = farm.holder("ruby");
    farm.project("ruby", &holder);
    farm.start();
    farm.wait_jobs(3);
    std::fs::write(&stands, "").unwrap();
    farm.change("base", "2\n");
    farm.wait("the release", |jobs| {
        (jobs.len() > 3 && jobs[3].outcome == "succeeded").then_some(())
    });
    farm.crash();
    std::fs::remove_file(stands).unwrap();
    farm.start_again();
    farm.wait_built(3, &["base", "ruby", "app"]);
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");
    farm.assert_quiet("base");
}

#[test]
fn killed_or_stopped_while_one_waits() {
    let mut farm = chain();
    let (holder, stands) = farm.holder("base");
    farm.project("base", &holder);
    std::fs::write(&stands, "").unwrap();
    farm.start();
    let waits = |farm: &Farm| {
        farm.wait("the others to wait", |jobs| {
            let waits = |name: &str| {
                let job = jobs.iter().find(|job| job.project == name);
                job.is_some_and(|job| job.state == "queued" && job.note.contains(": job "))
            };
            (waits("app") && waits("ruby")).then_some(())
        });
    };
    waits(&farm);
    farm.crash();
    farm.start_again();
    farm.wait("the first one to run", |jobs| {
        let base = jobs.iter().find(|job| job.project == "base");
        base.is_some_and(|job| job.state == "running").then_some(())
    });
    // In an orderly way.
    farm.stop();
    std::fs::remove_file(stands).unwrap();
    farm.start_again();
    let jobs = farm.wait_built(0, &["base", "ruby", "app"]);
    farm.assert_on("app", "ruby");
    for job in jobs.iter().filter(|job| job.project != "base") {
        assert_eq!(job.dirs.len(), 1, "{}", farm.story());
        assert_eq!(farm.dirs(&job.project), job.dirs, "{}", farm.story());
    }
}

#[test]
fn drains_what_waits() {
    let mut farm = chain();
    let (holder, stands) = farm.holder("base");
    farm.project("base", &holder);
    std::fs::write(&stands, "").unwrap();
    farm.start();
    farm.wait("the others to wait", |jobs| {
        let waits = jobs
            .iter()
            .filter(|job| job.state == "queued" && job.note.contains(": job "))
            .count();
        (waits == 2).then_some(())
    });
    farm.signal(Signal::SIGINT);
    wait_for_state("the drain to begin", SOON, || {
        let log = crate::common::text(&farm.site.log);
        log.contains("INT: taking no new jobs").then_some(()).ok_or(log)
    });
    std::fs::remove_file(stands).unwrap();
    farm.wait_end();
    // What was there was finished; what follows from it later comes with the next start.
    let built = farm.jobs().iter().filter(|job| job.outcome == "succeeded").count();
    assert_eq!(built, 3, "{}", farm.story());
    farm.start_again();
    farm.wait_built(0, &["base", "ruby", "app"]);
    farm.assert_on("app", "ruby");
    farm.assert_quiet("base");
}
