//! What is half released does not stay so, what is cut off leaves nothing behind, and nothing is built on what is old.

use crate::common::*;
use crate::support::jobs::{wait_job, wait_outcome};
use crate::support::podman::BUSYBOX;
use crate::support::servers::faults::{Fault, Faults, Gate};
use crate::support::servers::registry::Registry;

/// One reference moves and the other is refused: neither the number of attempts nor a cancel ends that.
#[test]
fn the_second_reference_is_tried_until_it_moves() {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |r| {
        r.is("PUT", "/b/manifests/1")
            .then_some(Fault::Answer(403, String::new()))
    });
    let (host, there) = (proxy.host(), registry.host());
    let told = bench.scratch.join("told");
    let callback = bench
        .scratch
        .script("tell", &format!("echo \"$BUILD_OUTCOME\" >>{}", told.display()));
    let image = format!(
        "error_callback = '{}'\nimage = {{ release = ['{host}/a:1', '{host}/b:1'] }}\n",
        callback.display()
    );
    bench.config(
        &format!(
            "retry.attempts = 1\nretry.delay = '1s'\nretry.max_delay = '1s'\n{}",
            insecure(&[host])
        ),
        &image,
    );
    let daemon = bench.site.start();
    let commit = bench.repo.head();
    let job = wait_job(&bench.site, &commit, "a third attempt", |job| job.attempts.len() > 2);
    assert_eq!(job.outcome, None, "{job:?}");
    // All of them in one directory.
    assert!(job.attempts.iter().all(|dir| *dir == job.attempts[0]), "{job:?}");
    let (a, b) = (seen(&format!("{there}/a:1")), seen(&format!("{there}/b:1")));
    assert!(a.is_some() && b.is_none());
    proxy.set(|_| None);
    wait_outcome(&bench.site, &commit, "succeeded");
    assert_eq!(seen(&format!("{there}/b:1")), a);
    assert_eq!(seen(&format!("{there}/a:1")), a);
    assert_eq!(bench.image(MAIN)["state"], "current");
    assert_eq!(text(&told), "");
    drop(daemon);
}

/// What could not be released at all is not current, and says why.
#[test]
fn what_is_not_released_does_not_pass_for_good() {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |r| {
        r.is("PUT", "/manifests/sha256")
            .then_some(Fault::Answer(403, String::new()))
    });
    let host = proxy.host();
    let image = format!("image = {{ release = '{host}/a:1' }}\n");
    bench.config(
        &format!("retry.attempts = 1\n{}", insecure(std::slice::from_ref(&host))),
        &image,
    );
    let daemon = bench.site.start();
    wait_outcome(&bench.site, &bench.repo.head(), "errored");
    let shown = bench.image(MAIN);
    assert_eq!(shown["state"], "failed", "{shown}");
    let why = shown["why"].as_str().unwrap();
    assert!(why.contains(&format!("not released as {host}/a:1")), "{why}");
    drop(daemon);
}

/// Killed while it stages: the next attempt has a directory of its own, and the image is not kept in the old one.
#[test]
fn what_is_cut_off_before_its_release_keeps_nothing() {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let gate = Gate::default();
    let held = gate.clone();
    let proxy = Faults::start(registry.port(), move |r| {
        r.is("POST", "/uploads/").then(|| Fault::Hold(held.clone()))
    });
    let host = proxy.host();
    let image = format!("image = {{ staging = '{host}/s:1', release = '{host}/a:1' }}\n");
    bench.config(&insecure(&[host]), &image);
    let mut daemon = bench.site.start();
    gate.wait_came();
    let commit = bench.repo.head();
    let first = bench.running(&commit);
    assert!(first.join(".release/p.tar").is_file());
    daemon.kill_9();
    proxy.set(|_| None);
    let _daemon = bench.site.start();
    let job = wait_outcome(&bench.site, &commit, "succeeded");
    assert_eq!(job.attempts.len(), 2, "{job:?}");
    let left: Vec<_> = std::fs::read_dir(&first)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    for name in [".release", ".pinned", ".auth", ".pull"] {
        assert!(!left.iter().any(|left| left == name), "{left:?}");
    }
}

/// The base is here, and its registry refuses to say whether there is a newer one.
#[test]
fn a_base_that_may_be_old_is_not_built_on() {
    let bench = Bench::new("ARG BASE\nFROM ${BASE}\nCOPY data /data\n");
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let (host, there) = (proxy.host(), registry.host());
    let base = format!("{host}/base:1");
    // podman sends bodies without a length, which the proxy does not take.
    let direct = format!("{there}/base:1");
    bench
        .podman
        .run(&["push", "--quiet", "--tls-verify=false", BUSYBOX, &direct]);
    let image = format!("image = {{ release = '{there}/a:1', build_args = {{ BASE = '{base}' }} }}\n");
    bench.config(
        &format!("retry.attempts = 1\n{}", insecure(&[host, there.clone()])),
        &image,
    );
    let daemon = bench.site.start();
    bench.site.wait_built("p", MAIN, &bench.repo.head());
    let released = seen(&format!("{there}/a:1"));
    proxy.set(|r| r.path.contains("/base/").then_some(Fault::Answer(403, String::new())));
    let commit = bench.push("second\n");
    bench.site.cli(&["poll"]);
    let report = report(&bench.site, &commit, "errored");
    assert_eq!(report["failed_step"], "pull", "{report}");
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("pull = \"missing\""), "{error}");
    assert_eq!(seen(&format!("{there}/a:1")), released);
    // One that no registry has was made here.
    let own = format!("{there}/own:1");
    bench.podman.run(&["tag", BUSYBOX, &own]);
    let toml = std::fs::read_to_string(&bench.site.config)
        .unwrap()
        .replace(&base, &own);
    std::fs::write(&bench.site.config, toml).unwrap();
    assert!(bench.site.cli(&["reload"]).status.success());
    let commit = bench.push("third\n");
    bench.site.cli(&["poll"]);
    bench.site.wait_built("p", MAIN, &commit);
    drop(daemon);
}
