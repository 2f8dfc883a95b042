//! A rebuild gives way to every release since the one that it renews, and what cuts it off does not leave half of it.

use crate::common::*;
use crate::support::servers::faults::{Fault, Faults, Gate};
use crate::support::servers::registry::Registry;
use pipelined::model::Reason;
use serde_json::json;

const RANDOM: &str = "FROM localhost/busybox\nCOPY data /data\nRUN head -c 9 /dev/urandom >/random\n";

#[test]
fn an_older_commit_never_takes_the_place_of_a_newer_release() {
    let bench = Bench::new(RANDOM);
    let registry = Registry::start(&bench.scratch);
    let host = registry.host();
    bench.config(
        &insecure(std::slice::from_ref(&host)),
        &format!("image.release = ['{host}/a:1', '{host}/b:1']\n"),
    );
    let tags = || ["a", "b"].map(|name| seen(&format!("{host}/{name}:1")).unwrap());
    let older = bench.repo.head();
    let first = bench.released();
    let newer = bench.push("second\n");
    let second = bench.released();
    let before = tags();
    // It is newer than both, and what it renews is not.
    let done = bench.rebuild(Reason::PackagesUpdated, &older, &[("p", Some(first))]);
    assert_eq!(done.outcome, "succeeded", "{}", done.log);
    assert_eq!(tags(), before, "{}", done.log);
    for name in ["a", "b"] {
        let note = format!("{host}/{name}:1 stays as it is: a newer job");
        assert!(done.log.contains(&note), "{}", done.log);
    }
    assert_eq!(
        (done.status("p"), &done.image("p")["released"]),
        ("skipped", &json!([]))
    );
    assert!(done.why("p").contains("a newer job's"), "{}", done.why("p"));
    // Nor one of what was built elsewhere.
    let done = bench.rebuild(Reason::PackagesUpdated, &newer, &[("p", None)]);
    assert_eq!((done.status("p"), tags()), ("skipped", before.clone()), "{}", done.log);
    // The one that renews the newest release may move it.
    let done = bench.rebuild(Reason::PackagesUpdated, &newer, &[("p", Some(second))]);
    assert_eq!(done.status("p"), "released", "{}", done.log);
    assert_ne!(tags(), before);
    assert_eq!(tags()[0], tags()[1]);
    // And a new commit comes after all of them.
    bench.push("third\n");
    let before = tags();
    bench.released();
    assert_ne!(tags(), before);
}

#[test]
fn killed_in_the_middle_of_its_release() {
    let bench = Bench::new(RANDOM);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let host = proxy.host();
    bench.config(
        &insecure(std::slice::from_ref(&host)),
        &format!("image.release = ['{host}/a:1', '{host}/b:1']\n"),
    );
    let tags = || ["a", "b"].map(|name| seen(&format!("{}/{name}:1", registry.host())).unwrap());
    let first = bench.released();
    let before = tags();
    let gate = Gate::default();
    let held = gate.clone();
    proxy.set(move |r| r.is("PUT", "/b/manifests/1").then(|| Fault::Hold(held.clone())));
    let commit = bench.repo.head();
    let (mut daemon, id) = bench.start_rebuild(Reason::PackagesUpdated, &commit, &[("p", Some(first))]);
    gate.wait_came();
    daemon.kill_9();
    let half = tags();
    assert!(half[0] != before[0] && half[1] == before[1]);
    proxy.set(|_| None);
    let _daemon = bench.site.start();
    let done = bench.done(id);
    assert_eq!(
        (done.outcome.as_str(), done.status("p")),
        ("succeeded", "released"),
        "{}",
        done.log
    );
    // What is half of its own is no newer job's.
    assert_eq!(tags(), [half[0].clone(), half[0].clone()], "{}", done.log);
    assert_eq!(done.log.matches("STEP 1/").count(), 1, "{}", done.log);
    assert_eq!(done.image("p")["released"].as_array().unwrap().len(), 2);
}
