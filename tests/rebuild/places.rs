//! An image is unchanged only if each of its references is there, and has its content.

use crate::common::*;
use crate::support::jobs::wait_job;
use crate::support::podman::BUSYBOX;
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::Registry;
use pipelined::model::Reason;

const COPY: &str = "FROM localhost/busybox\nCOPY data /data\n";

#[test]
fn what_is_gone_or_moved_at_the_registry_is_released_again() {
    let bench = Bench::new(COPY);
    let registry = Registry::start(&bench.scratch);
    let host = registry.host();
    bench.config(
        &insecure(std::slice::from_ref(&host)),
        &format!("image.release = ['{host}/a:1', '{host}/b:1']\n"),
    );
    let first = bench.released();
    let commit = bench.repo.head();
    let place = |name: &str| format!("{host}/{name}:1");
    let digest = seen(&place("a")).unwrap();
    let deleted = skopeo(&[
        "delete",
        "--tls-verify=false",
        "--no-creds",
        &format!("docker://{}", place("b")),
    ]);
    assert!(deleted.status.success(), "{deleted:?}");
    assert_eq!(seen(&place("b")), None);
    let done = bench.rebuild(Reason::BaseUpdated, &commit, &[("p", Some(first))]);
    assert_eq!(done.status("p"), "released", "{}", done.log);
    assert!(
        done.log.contains(&format!("{}: it is not there", place("b"))),
        "{}",
        done.log
    );
    let after = seen(&place("a")).unwrap();
    assert_eq!(seen(&place("b")).as_ref(), Some(&after));
    // Somebody else's image, and then a list of images, stand in the place.
    let elsewhere = || bench.put(BUSYBOX, &place("b"));
    let list = || bench.put_list(BUSYBOX, &place("b"));
    let mut renews = done.id;
    for (put, why) in [
        (&elsewhere as &dyn Fn() -> String, "its layers differ"),
        (&list, "no single image"),
    ] {
        put();
        let done = bench.rebuild(Reason::BaseUpdated, &commit, &[("p", Some(renews))]);
        assert_eq!(done.status("p"), "released", "{}", done.log);
        assert!(done.log.contains(why), "{why}: {}", done.log);
        assert_eq!(seen(&place("b")), seen(&place("a")));
        renews = done.id;
    }
    let done = bench.rebuild(Reason::BaseUpdated, &commit, &[("p", Some(renews))]);
    assert_eq!(done.status("p"), "unchanged", "{}", done.log);
    assert_ne!(digest, after);
}

#[test]
fn in_the_storage_and_on_a_registry() {
    let bench = Bench::new(COPY);
    let registry = Registry::start(&bench.scratch);
    let host = registry.host();
    let top = insecure(std::slice::from_ref(&host));
    bench.config(&top, &format!("image.release = ['localhost/p:1', '{host}/a:1']\n"));
    let first = bench.released();
    let commit = bench.repo.head();
    let id = || bench.podman.run(&["inspect", "--format={{.Id}}", "localhost/p:1"]);
    let (before, there) = (id(), seen(&format!("{host}/a:1")));
    let rebuild = |renews: i64| {
        let done = bench.rebuild(Reason::BaseUpdated, &commit, &[("p", Some(renews))]);
        assert_eq!(done.outcome, "succeeded", "{}", done.log);
        done
    };
    let done = rebuild(first);
    assert_eq!(done.status("p"), "unchanged", "{}", done.log);
    assert_eq!((id(), seen(&format!("{host}/a:1"))), (before.clone(), there));
    // The storage alone.
    bench.podman.run(&["tag", BUSYBOX, "localhost/p:1"]);
    let done = rebuild(first);
    assert_eq!(done.status("p"), "released", "{}", done.log);
    assert!(done.log.contains("localhost/p:1: its layers differ"), "{}", done.log);
    assert_eq!(format!("sha256:{}", id()), done.image("p")["id"].as_str().unwrap());
    bench.podman.run(&["untag", "localhost/p:1"]);
    let done = rebuild(done.id);
    assert_eq!(done.status("p"), "released", "{}", done.log);
    assert!(done.log.contains("localhost/p:1: it is not there"), "{}", done.log);
    // Without any registry.
    bench.config(&top, "image.release = 'localhost/p:1'\n");
    let before = id();
    let done = rebuild(done.id);
    assert_eq!(done.status("p"), "unchanged", "{}", done.log);
    assert_eq!(id(), before);
    assert_eq!(
        done.report["image"]["digest"],
        format!("sha256:{before}"),
        "{:#}",
        done.report
    );
}

/// A registry that does not say what it has is neither "the same" nor "another".
#[test]
fn a_registry_that_refuses_to_say() {
    let bench = Bench::new("FROM localhost/busybox\nCOPY data /data\nRUN head -c 9 /dev/urandom >/random\n");
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let host = proxy.host();
    bench.config(
        &insecure(std::slice::from_ref(&host)),
        &format!("image.release = ['{host}/a:1', '{host}/b:1']\n"),
    );
    let first = bench.released();
    let tags = || ["a", "b"].map(|name| seen(&format!("{}/{name}:1", registry.host())).unwrap());
    let before = tags();
    // The first one is another image by then, and the second one is not asked in vain either.
    for refused in ["/a/manifests/1", "/a/blobs/"] {
        let method = if refused.contains("blobs") { "GET" } else { "HEAD" };
        proxy.forget();
        proxy.set(move |r| r.is(method, refused).then_some(Fault::Answer(403, String::new())));
        let commit = bench.repo.head();
        let (daemon, id) = bench.start_rebuild(Reason::PackagesUpdated, &commit, &[("p", Some(first))]);
        wait_job(&bench.site, &commit, "an errored attempt", |job| {
            job.id == id && job.note.contains("errored")
        });
        assert_eq!(tags(), before, "{refused}");
        assert_eq!(proxy.count("PUT", ""), 0, "{refused}");
        assert_eq!(proxy.count("POST", ""), 0, "{refused}");
        proxy.set(|_| None);
        let done = bench.done(id);
        assert_eq!(
            (done.outcome.as_str(), done.status("p")),
            ("succeeded", "released"),
            "{}",
            done.log
        );
        assert_ne!(tags(), before);
        drop(daemon);
        // Back to where it was, so that the second round starts as the first.
        let place = |name: &str, at: &str| format!("docker://{}/{name}{at}", registry.host());
        for name in ["a", "b"] {
            let (from, to) = (place(name, &format!("@{}", before[0])), place(name, ":1"));
            let copied = skopeo(&["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]);
            assert!(copied.status.success(), "{copied:?}");
        }
        forget_release(&bench, first);
    }
}

/// As if the newer jobs had never released anything.
fn forget_release(bench: &Bench, job: i64) {
    let db = rusqlite::Connection::open(bench.site.workdir.join("pipelined.db")).unwrap();
    db.execute("UPDATE releases SET job = ?1", [job]).unwrap();
}
