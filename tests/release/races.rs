//! Two refs that release to the same reference: what the newer job has put there stays, whoever is late.

use crate::common::*;
use crate::support::daemon::{Daemon, build_log};
use crate::support::jobs::{Row, wait_job, wait_outcome};
use crate::support::servers::faults::{Fault, Faults, Gate};
use crate::support::servers::registry::Registry;
use std::path::Path;

struct Race {
    bench: Bench,
    registry: Registry,
    proxy: Faults,
}

impl Race {
    /// `main` and `release/1` are built at the same time, by a callback that waits for a file of the ref's and step's name.
    fn new() -> (Self, Daemon) {
        let bench = Bench::new(SCRATCH);
        let registry = Registry::start(&bench.scratch);
        let proxy = Faults::start(registry.port(), |_| None);
        let dir = bench.scratch.mkdir("gates");
        let body = format!("while test -e {}/$1-$CI_COMMIT_SHA; do sleep 0.02; done", dir.display());
        let wait = bench.scratch.script("wait", &body).display().to_string();
        let host = proxy.host();
        let project = format!(
            "prepare_callback = '{wait} prepare'\nsuccess_callback = '{wait} success'\n\
             image = {{ release = ['{host}/a:1', '{host}/b:1'], release_refs = ['**'] }}\n"
        );
        bench.config(&format!("limit = 2\n{}", insecure(&[host])), &project);
        let daemon = bench.site.start();
        bench.site.wait_built("p", MAIN, &bench.repo.head());
        let race = Self { bench, registry, proxy };
        (race, daemon)
    }

    fn tags(&self) -> [String; 2] {
        ["a", "b"].map(|name| seen(&format!("{}/{name}:1", self.registry.host())).unwrap())
    }

    fn close(&self, step: &str, commit: &str) {
        self.bench.scratch.write(format!("gates/{step}-{commit}"), "");
    }

    fn open(&self, step: &str, commit: &str) {
        std::fs::remove_file(self.bench.scratch.join(format!("gates/{step}-{commit}"))).unwrap();
    }

    /// A commit on `main` and then one on `release/1`, with what the test does in between.
    fn push(&self, between: impl Fn(&str)) -> [String; 2] {
        let main = self.bench.repo.commit(&[("data", "older\n")]);
        self.close("prepare", &main);
        self.bench.repo.push_to(&self.bench.origin);
        wait_job(&self.bench.site, &main, "the older job to run", |job| {
            job.state == "running"
        });
        between(&main);
        self.bench.repo.branch("release/1");
        let newer = self.bench.repo.commit(&[("data", "newer\n")]);
        self.close("success", &newer);
        self.bench.repo.push_to(&self.bench.origin);
        [main, newer]
    }

    fn dir(&self, job: &Row) -> std::path::PathBuf {
        let place = Path::new(&job.reference);
        let name = job.attempts.last().unwrap();
        self.bench.site.wait_latest("p", place.to_str().unwrap(), name)
    }
}

#[test]
fn the_older_job_comes_late() {
    let (race, daemon) = Race::new();
    let [older, newer] = race.push(|_| ());
    // The newer one has moved its references, and is not at its end.
    let running = crate::support::scratch::wait_for_state("the newer release", crate::support::scratch::SOON, || {
        let dir = race
            .bench
            .site
            .job_dir("p", "refs/heads/release/1", &format!("{}.tmp", &newer[..8]));
        let log = text(&dir.join("build.log"));
        if log.contains("success_callback: $") {
            Ok(dir)
        } else {
            Err(log)
        }
    });
    let digest = race.tags()[0].clone();
    assert_eq!(race.tags()[1], digest);
    assert!(running.exists());
    race.open("prepare", &older);
    let job = wait_outcome(&race.bench.site, &older, "succeeded");
    let log = build_log(&race.dir(&job));
    assert_eq!(race.tags(), [&*digest, &*digest], "{log}");
    let host = race.proxy.host();
    for name in ["a", "b"] {
        let note = format!("{host}/{name}:1 stays as it is: a newer job");
        assert!(log.contains(&note), "{log}");
    }
    race.open("success", &newer);
    wait_outcome(&race.bench.site, &newer, "succeeded");
    assert_eq!(race.tags(), [&*digest, &*digest]);
    let images = [MAIN, "refs/heads/release/1"].map(|name| race.bench.image(name));
    assert_eq!(images[1]["digest"], digest, "{images:?}");
    assert_eq!(images[1]["released"].as_array().unwrap().len(), 2, "{images:?}");
    assert_eq!(images[0]["released"], serde_json::json!([]), "{images:?}");
    drop(daemon);
}

#[test]
fn the_newer_job_waits_for_its_turn() {
    let (race, daemon) = Race::new();
    let gate = Gate::default();
    let held = gate.clone();
    // The older one is held up in the middle of its tags.
    race.proxy
        .set(move |r| r.is("PUT", "/b/manifests/1").then(|| Fault::Hold(held.clone())));
    let [older, newer] = race.push(|older| {
        race.open("prepare", older);
        gate.wait_came();
    });
    race.open("success", &newer);
    let dir = race
        .bench
        .site
        .job_dir("p", "refs/heads/release/1", &format!("{}.tmp", &newer[..8]));
    // It has built, and pushes nothing yet.
    crate::support::scratch::wait_for("the newer archive", crate::support::scratch::SOON, || {
        dir.join(".release/p.tar").exists().then_some(())
    });
    gate.open();
    wait_outcome(&race.bench.site, &older, "succeeded");
    wait_outcome(&race.bench.site, &newer, "succeeded");
    let image = race.bench.image("refs/heads/release/1");
    let digest = image["digest"].as_str().unwrap();
    assert_eq!(race.tags(), [digest, digest], "{image}");
    // Of the older one it is known that it was moved on.
    let image = race.bench.image(MAIN);
    assert_eq!(image["released"][0]["now"], digest, "{image}");
    drop(daemon);
}
