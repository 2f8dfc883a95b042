//! Registries in trouble: what passes is waited for, what is a lie is never believed, and nobody else waits.

use crate::common::*;
use crate::support::jobs::{wait_job, wait_outcome};
use crate::support::scratch::{SOON, wait_for_state};
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::Registry;
use rstest::rstest;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// Each kind of request fails once, and goes well when it is asked again.
#[rstest]
#[case(Fault::Answer(500, String::new()))]
#[case(Fault::Lose)]
#[case(Fault::Answer(429, "Retry-After: 0\r\n".to_owned()))]
fn what_passes(#[case] fault: Fault) {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let met = Mutex::new(BTreeSet::new());
    let proxy = Faults::start(registry.port(), move |r| {
        let kind = ["/uploads/", "/blobs/", "/manifests/"].map(|part| r.path.contains(part));
        let first = met.lock().unwrap().insert((r.method.clone(), kind));
        first.then(|| fault.clone())
    });
    let host = proxy.host();
    // What is staged is copied from there, so that manifests and blobs are read too.
    let image = format!(
        "image = {{ staging = '{host}/s:1', release = ['{}/a:1', '{}/b:1'] }}\n",
        host,
        registry.host()
    );
    bench.config(&insecure(&[host, registry.host()]), &image);
    let daemon = bench.site.start();
    let job = wait_outcome(&bench.site, &bench.repo.head(), "succeeded");
    let tags: BTreeSet<_> = ["s", "a", "b"]
        .map(|name| seen(&format!("{}/{name}:1", registry.host())))
        .into();
    assert_eq!(tags.len(), 1, "{tags:?}");
    whole(&bench.scratch, &format!("{}/a:1", registry.host()));
    whole(&bench.scratch, &format!("{}/b:1", registry.host()));
    assert_eq!(job.attempts.len(), 1, "{job:?} {}", daemon.log());
    drop(daemon);
}

/// A registry that says that it has another thing than what it was given, or gives another thing than it says.
#[rstest]
#[case("PUT", "/s/manifests/", Fault::Digest(format!("sha256:{}", "0".repeat(64))))]
#[case("HEAD", "/a/manifests/1", Fault::Digest(format!("sha256:{}", "0".repeat(64))))]
#[case("GET", "/s/manifests/", Fault::Digest(format!("sha256:{}", "0".repeat(64))))]
#[case("GET", "/s/manifests/", Fault::Twist)]
#[case("GET", "/s/blobs/", Fault::Twist)]
#[case("GET", "/s/blobs/", Fault::Truncate)]
fn what_is_not_believed(#[case] method: &'static str, #[case] part: &'static str, #[case] fault: Fault) {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    // On another registry, so that all is read and sent.
    let target = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), {
        let fault = fault.clone();
        move |r| r.is(method, part).then(|| fault.clone())
    });
    let second = Faults::start(target.port(), move |r| r.is(method, part).then(|| fault.clone()));
    let (from, to) = (proxy.host(), second.host());
    let image = format!("image = {{ staging = '{from}/s:1', release = ['{to}/a:1', '{to}/b:1'] }}\n");
    bench.config(&format!("retry.attempts = 1\n{}", insecure(&[from, to])), &image);
    let daemon = bench.site.start();
    let report = report(&bench.site, &bench.repo.head(), "errored");
    let error = report["error"].as_str().unwrap();
    let step = if part.starts_with("/s/manifests/") && method == "PUT" {
        "stage"
    } else {
        "release"
    };
    assert_eq!(report["failed_step"], step, "{report}");
    assert!(error.contains("127.0.0.1:"), "{error}");
    let moved = seen(&format!("{}/b:1", target.host()));
    assert_eq!(moved, None, "{error}");
    assert_ne!(report["images"][0]["status"], "released", "{report}");
    drop(daemon);
}

#[test]
fn who_wants_to_be_left_alone_is() {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |r| {
        (r.number == 2).then(|| Fault::Answer(429, "Retry-After: 3\r\n".to_owned()))
    });
    let host = proxy.host();
    bench.config(
        &insecure(std::slice::from_ref(&host)),
        &format!("image.release = ['{host}/a:1']\n"),
    );
    let daemon = bench.site.start();
    let status = wait_for_state("the pause in the status", SOON, || {
        let status = bench.site.json(&["status", "--json"]);
        let registries = status["daemon"]["registries"].as_array().cloned().unwrap_or_default();
        let paused = registries.into_iter().find(|r| !r["paused_until"].is_null());
        paused.ok_or_else(|| status.to_string())
    });
    assert_eq!(status["registry"], *host, "{status}");
    let asked = proxy.requests().len();
    assert_eq!(asked, 3, "{:?}", proxy.requests());
    wait_outcome(&bench.site, &bench.repo.head(), "succeeded");
    assert!(seen(&format!("{}/a:1", registry.host())).is_some());
    drop(daemon);
}

#[test]
fn who_hangs_delays_only_its_own() {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |r| r.is("PUT", "").then_some(Fault::Hang));
    let (host, there) = (proxy.host(), registry.host());
    let remote = bench.origin.path().display();
    let other = format!("[projects.q]\nremote = '{remote}'\nimage.release = ['{there}/q:1']\n");
    bench.config(
        &format!("limit = 2\n{}{other}", insecure(&[host.clone(), there.clone()])),
        &format!("image.release = ['{host}/p:1']\n"),
    );
    let daemon = bench.site.start();
    let commit = bench.repo.head();
    let hangs = || proxy.requests().iter().any(|r| r.method == "PUT");
    crate::support::scratch::wait_for("a hanging upload", SOON, || hangs().then_some(()));
    bench.site.wait_built("q", MAIN, &commit);
    assert!(seen(&format!("{there}/q:1")).is_some());
    // Nothing of it is in the way of a cancel either.
    assert!(bench.site.cli(&["cancel", "p", "main"]).status.success());
    let ended = |jobs: Vec<crate::support::jobs::Row>| jobs.into_iter().find(|j| j.project == "p" && j.state == "done");
    let job = wait_for_state("the cancel", SOON, || {
        ended(crate::support::jobs::jobs(&bench.site.workdir)).ok_or_else(String::new)
    });
    assert_eq!(job.outcome(), "cancelled");
    assert_eq!(seen(&format!("{there}/p:1")), None);
    // It comes back: the next commit is released.
    proxy.set(|_| None);
    let commit = bench.push("second\n");
    wait_job(&bench.site, &commit, "the next", |job| job.outcome() == "succeeded");
    bench.site.wait_built("p", MAIN, &commit);
    assert!(seen(&format!("{there}/p:1")).is_some());
    drop(daemon);
}
