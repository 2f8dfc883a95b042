//! The same with what kaniko's executor makes, by the stand-in: in an archive, and staged.

use crate::common::*;
use crate::support::executor::{self, EXECUTOR};
use crate::support::servers::faults::Faults;
use crate::support::servers::registry::Registry;
use pipelined::model::Reason;
use rstest::rstest;

#[rstest]
#[case::in_an_archive(false)]
#[case::staged(true)]
fn by_the_executor(#[case] staged: bool) {
    let bench = Bench::new("FROM scratch\n");
    bench.podman.load_busybox();
    executor::load(&bench.podman, &bench.scratch);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let (host, there) = (proxy.host(), registry.host());
    let staging = if staged {
        format!("staging = '{there}/staging:1'\n")
    } else {
        String::new()
    };
    bench.config(
        &format!(
            "engine = 'kaniko'\n[kaniko]\nimage = '{EXECUTOR}'\ncache_repo = '{there}/cache'\n{}",
            insecure(&[host.clone(), there.clone()])
        ),
        &format!("[projects.p.image]\nrelease = '{host}/a:1'\n{staging}"),
    );
    let first = bench.released();
    let before = seen(&format!("{there}/a:1"));
    proxy.forget();
    let commit = bench.repo.head();
    for reason in [Reason::BaseUpdated, Reason::Schedule] {
        let done = bench.rebuild(reason, &commit, &[("p", Some(first))]);
        assert_eq!(
            (done.outcome.as_str(), done.status("p")),
            ("succeeded", "unchanged"),
            "{}",
            done.log
        );
        assert_eq!(
            done.log.contains("--cache=true"),
            !reason.needs_no_cache(),
            "{}",
            done.log
        );
        assert_eq!(seen(&format!("{there}/a:1")), before);
        assert_eq!(
            (proxy.count("PUT", ""), proxy.count("POST", "")),
            (0, 0),
            "{}",
            done.log
        );
    }
    // What it makes of other data is released.
    bench.push("second\n");
    let second = bench.released();
    let newer = seen(&format!("{there}/a:1"));
    assert_ne!(newer, before);
    let done = bench.rebuild(Reason::BaseUpdated, &commit, &[("p", Some(second))]);
    assert_eq!(done.status("p"), "released", "{}", done.log);
    assert_ne!(seen(&format!("{there}/a:1")), newer);
}
