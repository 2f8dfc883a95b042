//! What was chosen is built, and nothing else, whatever it watches and stands on.

use crate::common::*;
use crate::support::podman::BUSYBOX;
use crate::support::servers::registry::Registry;
use pipelined::model::Reason;
use serde_json::json;

/// `below` is the same whenever it is built, and `above`, which stands on it, never is.
fn stack(below: &str) -> (Bench, Registry) {
    let bench = Bench::new("ARG BASE\nFROM $BASE\nCOPY data /data\n");
    let registry = Registry::start(&bench.scratch);
    let host = registry.host();
    bench.put(BUSYBOX, &format!("{host}/base:1"));
    let above = format!("FROM {host}/below:1\nRUN head -c 9 /dev/urandom >/random\n");
    bench.repo.commit(&[("above.containerfile", above)]);
    bench.repo.push_to(&bench.origin);
    bench.config(
        &insecure(std::slice::from_ref(&host)),
        &format!(
            "[projects.p.images.below]\nfile = 'Containerfile'\nbuild_args = {{ BASE = '{host}/base:1' }}\nrelease = '{host}/below:1'\n{below}\
             [projects.p.images.above]\nfile = 'above.containerfile'\nrelease = '{host}/above:1'\n\
             watch = ['above.containerfile']\n"
        ),
    );
    (bench, registry)
}

#[test]
fn exactly_these() {
    let (bench, registry) = stack("watch = ['Containerfile']\n");
    let host = registry.host();
    let first = bench.released();
    let tag = |name: &str| seen(&format!("{host}/{name}:1")).unwrap();
    let before = ["below", "above"].map(tag);
    let commit = bench.repo.head();
    // Neither watches what has changed.
    let done = bench.rebuild(Reason::PackagesUpdated, &commit, &[("below", Some(first))]);
    assert_eq!(done.outcome, "succeeded", "{}", done.log);
    assert_eq!(
        (done.status("below"), done.status("above")),
        ("released", "skipped"),
        "{}",
        done.log
    );
    assert_eq!(done.why("above"), "not rebuilt: this job rebuilds below");
    assert_eq!(done.log.matches("STEP 1/").count(), 1, "{}", done.log);
    assert!(done.log.contains("below is built: packages updated"), "{}", done.log);
    assert_ne!(tag("below"), before[0]);
    assert_eq!(tag("above"), before[1]);
    // The one above alone is built on what is released, and not on what the other one was.
    let below = tag("below");
    let done = bench.rebuild(Reason::BaseUpdated, &commit, &[("above", Some(first))]);
    assert_eq!(
        (done.status("below"), done.status("above")),
        ("skipped", "released"),
        "{}",
        done.log
    );
    assert_eq!(
        done.image("above")["bases"][0]["digests"][0],
        *below,
        "{:#}",
        done.report
    );
    assert_eq!(
        done.image("above")["bases"][0]["sibling"],
        json!(null),
        "{:#}",
        done.report
    );
    // What is gone from the config cannot be rebuilt, and harms nobody.
    let gone = [("gone", Some(first)), ("zzz", None)];
    let done = bench.rebuild(Reason::Schedule, &commit, &gone);
    assert_eq!(done.outcome, "succeeded", "{}", done.log);
    for name in ["gone", "zzz"] {
        let note = format!("{name} is not rebuilt: the config does not have it any more");
        assert!(done.log.contains(&note), "{}", done.log);
    }
    assert_eq!(done.why("below"), "not rebuilt: this job rebuilds gone, zzz");
    assert!(!done.log.contains("STEP 1/"), "{}", done.log);
    assert_eq!(tag("below"), below);
}

/// The one below comes out the same, and stays; the one above stands on it, and is new.
#[test]
fn a_new_one_on_one_that_is_unchanged() {
    let (bench, registry) = stack("source_date_epoch = 'commit'\nlabels = { by = 'p' }\n");
    let host = registry.host();
    let first = bench.released();
    let tag = |name: &str| seen(&format!("{host}/{name}:1")).unwrap();
    let before = ["below", "above"].map(tag);
    // Only the label with its digest tells it from what it was.
    bench.put_list(BUSYBOX, &format!("{host}/base:1"));
    let images = [("below", Some(first)), ("above", Some(first))];
    let done = bench.rebuild(Reason::PackagesUpdated, &bench.repo.head(), &images);
    assert_eq!(done.outcome, "succeeded", "{}", done.log);
    assert_eq!(
        (done.status("below"), done.status("above")),
        ("unchanged", "released"),
        "{}",
        done.log
    );
    assert_eq!(tag("below"), before[0]);
    assert_ne!(tag("above"), before[1]);
    assert_ne!(done.image("below")["digest"], *before[0], "{:#}", done.report);
    let base = &done.image("above")["bases"][0];
    assert_eq!(base["sibling"], "below", "{base}");
    // By this it is found again.
    assert_eq!(base["digests"][0], *before[0], "{base}");
}
