//! What a rebuild does beside its images: its run is a new one, and its checkout is not.

use crate::common::*;
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::Registry;
use pipelined::model::Reason;

#[test]
fn results_of_the_run_are_copied_also_of_an_unchanged_image() {
    let bench = Bench::new("FROM localhost/busybox\nCOPY data /data\n");
    let out = bench.scratch.mkdir("out");
    let project = format!(
        "image.release = 'localhost/p:1'\nrun = {{ command = ['sh', '-c', 'echo $BUILD_REASON >/drop/reason'] }}\n\
         rsync = {{ destination = '{}' }}\n",
        out.display()
    );
    bench.config("", &project);
    let first = bench.released();
    assert_eq!(text(&out.join("reason")), "new commit\n");
    let done = bench.rebuild(Reason::BaseUpdated, &bench.repo.head(), &[("p", Some(first))]);
    assert_eq!(
        (done.outcome.as_str(), done.status("p")),
        ("succeeded", "unchanged"),
        "{}",
        done.log
    );
    assert_eq!(text(&out.join("reason")), "base updated\n", "{}", done.log);
}

/// The destination has the tip, in which the image is not released.
#[test]
fn the_checkout_of_an_older_commit_is_not_copied_over_a_newer_one() {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let host = proxy.host();
    let out = bench.scratch.mkdir("out");
    let project = format!(
        "rsync = {{ destination = '{}' }}\nimage = {{ release = '{host}/a:1', watch = ['Containerfile'] }}\n",
        out.display()
    );
    bench.config(&insecure(std::slice::from_ref(&host)), &project);
    let older = bench.repo.head();
    let first = bench.released();
    bench.push("second\n");
    let second = bench.released();
    assert_eq!(bench.done(second).status("p"), "skipped");
    assert_eq!(text(&out.join("data")), "second\n");
    // Whatever an image watches is of no matter: the remote and the registry are asked for the release only.
    proxy.set(|r| r.is("PUT", "").then_some(Fault::Answer(403, String::new())));
    let done = bench.rebuild(Reason::BaseUpdated, &older, &[("p", Some(first))]);
    assert_eq!(
        (done.outcome.as_str(), done.status("p")),
        ("succeeded", "unchanged"),
        "{}",
        done.log
    );
    assert_eq!(text(&out.join("data")), "second\n");
    assert!(
        done.log.contains("nothing is copied: a rebuild is of images"),
        "{}",
        done.log
    );
}
