//! A person's cancel: before the first reference moves it keeps all where they are, after that all of them move.

use crate::common::*;
use crate::support::jobs::wait_job;
use crate::support::servers::faults::{Fault, Faults, Gate};
use crate::support::servers::registry::Registry;
use rstest::rstest;

#[rstest]
#[case("PUT", "/b/manifests/sha256:", false)]
#[case("PUT", "/b/manifests/1", true)]
#[case("HEAD", "/a/manifests/1", true)]
fn all_or_none_move(#[case] method: &'static str, #[case] part: &'static str, #[case] moves: bool) {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let (host, there) = (proxy.host(), registry.host());
    let project = format!("success_callback = 'true'\nimage.release = ['{host}/a:1', '{host}/b:1']\n");
    bench.config(&insecure(&[host]), &project);
    let daemon = bench.site.start();
    bench.site.wait_built("p", MAIN, &bench.repo.head());
    let tag = |name: &str| seen(&format!("{there}/{name}:1")).unwrap();
    let before = tag("a");
    let gate = Gate::default();
    let held = gate.clone();
    proxy.set(move |r| r.is(method, part).then(|| Fault::Hold(held.clone())));
    let commit = bench.push("second\n");
    gate.wait_came();
    let output = bench.site.cli(&["cancel", "p", "main"]);
    assert!(output.status.success(), "{output:?}");
    if moves {
        // It goes on where it was asked to end.
        wait_job(&bench.site, &commit, "the cancel on record", |job| {
            job.state == "cancelling"
        });
        gate.open();
    }
    let job = wait_job(&bench.site, &commit, "an end", |job| job.state == "done");
    assert_eq!(job.outcome(), "cancelled", "{job:?}");
    assert_eq!(tag("a"), tag("b"), "{job:?}");
    assert_eq!(tag("a") != before, moves, "{job:?}");
    // The record knows what moved although the job did not succeed.
    let image = bench.image(MAIN);
    assert_eq!(image["released"].as_array().unwrap().len(), 2, "{image}");
    assert_eq!(image["digest"], *tag("a"), "{image}");
    assert_eq!(image["commit"] == commit.as_str(), moves, "{image}");
    assert_eq!(image["state"], if moves { "current" } else { "failed" }, "{image}");
    // Nothing of it waits any more: the next one goes its own way.
    proxy.set(|_| None);
    let next = bench.push("third\n");
    bench.site.wait_built("p", MAIN, &next);
    assert_eq!(tag("a"), tag("b"));
    assert_ne!(tag("a"), before);
    assert!(!bench.running(&commit).join(".release").exists());
    drop(daemon);
}
