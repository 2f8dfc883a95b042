//! What is built again because it is time.

use crate::made::Made;
use crate::scene::{COPY, QUICK, Scene};
use jiff::Timestamp;
use pipelined::model::{Heeded, Write};
use pipelined::store::Store;

const YEARLY: &str = "0 0 1 1 *";

#[test]
fn what_was_missed_is_built_once() {
    let mut scene = Scene::new(COPY, &format!("schedule = '{YEARLY} Europe/Berlin'\n{QUICK}"));
    scene.base().push(&Made::new(&["base"]));
    scene.released();
    let tag = scene.at("p:1");
    scene.assert_quiet(1);
    scene.stop();
    let workdir = &scene.bench.site.workdir;
    let mut store = Store::open(workdir).unwrap();
    let scheduled = store.load_state().unwrap().updates.scheduled;
    assert_eq!(scheduled.len(), 1, "{scheduled:?}");
    let (node, heeded) = scheduled.into_iter().next().unwrap();
    // Years of it.
    let heeded = Heeded {
        until: Timestamp::UNIX_EPOCH,
        ..heeded
    };
    let write = Write::Scheduled {
        node,
        heeded: Some(heeded),
    };
    store.commit(&[write], Timestamp::now(), &|_, _, _| true).unwrap();
    drop(store);

    scene.start();
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    let report = scene.report(&jobs[1]);
    assert_eq!(report["reason"], "schedule");
    let cause = report["cause"].as_str().unwrap();
    assert!(cause.starts_with(YEARLY), "{cause}");
    assert_eq!(scene.told()[0], "schedule");
    assert_ne!(scene.at("p:1"), tag, "its created label is another one");
    scene.assert_quiet(2);
    scene.crash();
    scene.start();
    scene.assert_quiet(1);
    let (_, out, _) = scene.run(&["explain", "p", "main"]);
    assert!(out.contains("schedule: built again in "), "{out}");
}
