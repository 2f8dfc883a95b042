//! A release that is cut off at any point is finished to the same digests, without a second build.

use crate::common::*;
use crate::support::daemon::{Daemon, build_log, wait_no_strays};
use crate::support::jobs::{job_of, wait_job, wait_outcome};
use crate::support::scratch::{SOON, wait_for_state};
use crate::support::servers::faults::{Fault, Faults, Gate};
use crate::support::servers::registry::Registry;
use nix::sys::signal::Signal;
use rstest::rstest;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two repositories behind a proxy, each with a tag, at an older image by now.
struct Release {
    bench: Bench,
    registry: Registry,
    proxy: Faults,
    old: String,
}

impl Release {
    fn new(staging: bool) -> (Self, Daemon) {
        let bench = Bench::new(SCRATCH);
        let registry = Registry::start(&bench.scratch);
        let proxy = Faults::start(registry.port(), |_| None);
        let (host, there) = (proxy.host(), registry.host());
        let mut image = format!("[projects.p.image]\nrelease = ['{host}/a:1', '{host}/b:1']\n");
        if staging {
            image += &format!("staging = '{there}/staging:1'\n");
        }
        bench.config(&insecure(&[host, there.clone()]), &image);
        let daemon = bench.site.start();
        bench.site.wait_built("p", MAIN, &bench.repo.head());
        let old = seen(&format!("{there}/a:1")).unwrap();
        let release = Self {
            bench,
            registry,
            proxy,
            old,
        };
        (release, daemon)
    }

    fn tag(&self, name: &str) -> Option<String> {
        seen(&format!("{}/{name}:1", self.registry.host()))
    }

    /// Holds up a request of those that come from now on.
    fn hold(&self, number: usize) -> Gate {
        let gate = Gate::default();
        let held = gate.clone();
        self.proxy.forget();
        self.proxy
            .set(move |r| (r.number == number).then(|| Fault::Hold(held.clone())));
        gate
    }

    /// Holds up the first request of the release itself. Before it what was built is compared with what is there.
    fn hold_the_first(&self) -> Gate {
        let gate = Gate::default();
        let held = gate.clone();
        self.proxy.forget();
        self.proxy
            .set(move |r| (r.method != "GET").then(|| Fault::Hold(held.clone())));
        gate
    }

    /// Holds up the request that moves the second tag.
    fn hold_second_tag(&self) -> Gate {
        let gate = Gate::default();
        let held = gate.clone();
        self.proxy
            .set(move |r| r.is("PUT", "/b/manifests/1").then(|| Fault::Hold(held.clone())));
        gate
    }

    /// The digest that was recorded before anything was pushed.
    fn planned(&self) -> String {
        let db = rusqlite::Connection::open(self.bench.site.workdir.join("pipelined.db")).unwrap();
        let plan: String = db
            .query_row("SELECT plan FROM release_plans ORDER BY job DESC", [], |row| row.get(0))
            .unwrap();
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        plan["images"][0]["result"]["digest"].as_str().unwrap().to_owned()
    }

    /// All is where it belongs, and was built as often as that.
    #[track_caller]
    fn finished(&self, commit: &str, digest: &str, builds: usize, what: &str) {
        let job = wait_outcome(&self.bench.site, commit, "succeeded");
        let name = job.attempts.last().unwrap();
        let dir = self.bench.site.wait_latest("p", MAIN, name);
        let log = build_log(&dir);
        for name in ["a", "b"] {
            assert_eq!(self.tag(name).as_deref(), Some(digest), "{what}, {name}: {log}");
        }
        assert_eq!(log.matches("STEP 1/").count(), builds, "{what}: {log}");
        let image = self.bench.image(MAIN);
        assert_eq!(image["digest"], digest, "{what}: {image}");
        assert_eq!(image["released"].as_array().unwrap().len(), 2, "{what}: {image}");
        assert_eq!(image["commit"], commit, "{what}: {image}");
        assert!(!dir.join(".release").exists(), "{what}");
        // Questions to the remote that the start has begun.
        wait_no_strays(&self.bench.site.workdir, SOON);
    }
}

/// A copy of a directory, in place of what is there.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// Each point is tried from the same start: the workdir and the registry as they were when the release began.
#[rstest]
#[case::of_an_archive(false, 1)]
#[case::of_what_was_staged(true, 2)]
fn killed_at_each_request(#[case] staging: bool, #[case] step: usize) {
    let (release, mut daemon) = Release::new(staging);
    let (bench, there) = (&release.bench, release.registry.host());
    let gate = release.hold_the_first();
    let commit = bench.push("second\n");
    gate.wait_came();
    daemon.kill_9();
    let digest = release.planned();
    assert_ne!(digest, release.old);
    let places = [bench.site.workdir.clone(), release.registry.data()];
    let kept: Vec<PathBuf> = (0..2).map(|n| bench.scratch.join(format!("kept-{n}"))).collect();
    for (place, kept) in places.iter().zip(&kept) {
        copy(place, kept);
    }
    let mut halves = 0;
    let points = (0..).step_by(step).find(|&point| {
        for (place, kept) in places.iter().zip(&kept) {
            copy(kept, place);
        }
        let gate = release.hold(point);
        let mut daemon = bench.site.start();
        let held = wait_for_state("a request, or the end", SOON, || {
            let job = job_of(&bench.site.workdir, &commit);
            let done = job.as_ref().is_some_and(|job| job.state == "done");
            (gate.came() || done)
                .then(|| gate.came())
                .ok_or_else(|| format!("{job:?} {}", daemon.log()))
        });
        let what = format!("point {point}, {:?}", release.proxy.requests().last());
        if held {
            if point % 5 == 4 {
                daemon.signal(Signal::SIGTERM);
                assert!(daemon.wait_exit(SOON).success(), "{what}");
            } else {
                daemon.kill_9();
            }
            let tags = ["a", "b"].map(|name| release.tag(name).unwrap());
            let moved = tags.each_ref().map(|tag| *tag == digest);
            assert!(tags.iter().all(|tag| *tag == digest || *tag == release.old), "{what}");
            if moved[0] {
                // The content was everywhere before the first tag moved.
                whole(&bench.scratch, &format!("{there}/b@{digest}"));
            }
            halves += usize::from(moved[0] != moved[1]);
            release.proxy.set(|_| None);
            drop(daemon);
            daemon = bench.site.start();
        }
        release.finished(&commit, &digest, 1, &what);
        drop(daemon);
        !held
    });
    assert!(points > Some(10), "{points:?}");
    assert!(halves > 0);
}

/// The last moment at which a daemon may die: the attempt is over, and its end is not on record.
#[rstest]
#[case::of_an_archive(false)]
#[case::of_what_was_staged(true)]
fn killed_before_the_end_is_on_record(#[case] staging: bool) {
    let (release, mut daemon) = Release::new(staging);
    let bench = &release.bench;
    let gate = release.hold_second_tag();
    let commit = bench.push("second\n");
    gate.wait_came();
    let digest = release.planned();
    let db = rusqlite::Connection::open(bench.site.workdir.join("pipelined.db")).unwrap();
    db.busy_timeout(SOON).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    release.proxy.set(|_| None);
    gate.open();
    let report = bench.running(&commit).join("build.json");
    wait_for_state("the end of the attempt", SOON, || {
        let report = std::fs::read_to_string(&report).unwrap_or_default();
        let over = report.contains("\"succeeded\"");
        over.then_some(()).ok_or(report)
    });
    daemon.kill_9();
    db.execute_batch("ROLLBACK").unwrap();
    drop(daemon);
    let _daemon = bench.site.start();
    release.finished(&commit, &digest, 1, "at the end");
}

/// What a release needs is gone when it goes on: it is built anew, and both tags are the same again.
#[rstest]
fn what_waits_is_removed_meanwhile(#[values("", ".release/p.tar")] gone: &str) {
    let (release, mut daemon) = Release::new(false);
    let gate = release.hold_second_tag();
    let commit = release.bench.push("second\n");
    gate.wait_came();
    daemon.kill_9();
    let before = release.planned();
    assert_eq!(release.tag("a").as_ref(), Some(&before));
    assert_eq!(release.tag("b").as_ref(), Some(&release.old));
    let running = release.bench.running(&commit);
    let path = if gone.is_empty() { running } else { running.join(gone) };
    match path.is_dir() {
        true => std::fs::remove_dir_all(&path).unwrap(),
        false => std::fs::remove_file(&path).unwrap(),
    }
    release.proxy.set(|_| None);
    let _daemon = release.bench.site.start();
    wait_outcome(&release.bench.site, &commit, "succeeded");
    // Within the same second it comes to the same image, by podman's cache.
    let after = release.tag("a").unwrap();
    release.finished(&commit, &after, 1, gone);
}

/// An attempt that errors in the middle of its release is gone on with, and nothing is built again.
#[test]
fn a_registry_that_is_down_for_a_while() {
    let (release, daemon) = Release::new(false);
    let put = |name: &'static str| move |r: &crate::support::servers::faults::Request| r.is("PUT", name);
    // First nothing works at all, then the second tag cannot be moved.
    release.proxy.set(|_| Some(Fault::Answer(403, String::new())));
    let commit = release.bench.push("second\n");
    let errored = |n: usize| {
        let what = format!("attempt {n} of 3 errored");
        wait_job(&release.bench.site, &commit, &what, |job| job.note.contains(&what))
    };
    errored(1);
    let digest = release.planned();
    let refuses = put("/b/manifests/1");
    release
        .proxy
        .set(move |r| refuses(r).then_some(Fault::Answer(403, String::new())));
    let job = errored(2);
    assert!(job.note.contains("release: "), "{job:?}");
    assert_eq!(release.tag("a").as_ref(), Some(&digest));
    assert_eq!(release.tag("b").as_ref(), Some(&release.old));
    release.proxy.set(|_| None);
    release.finished(&commit, &digest, 1, "after two errors");
    drop(daemon);
}
