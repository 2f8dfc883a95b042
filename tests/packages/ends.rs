//! Looks that are cut off.

use crate::common::{Bench, block_on};
use crate::support::podman::BUSYBOX;
use crate::support::scratch::{SOON, wait_for};
use pipelined::engine::Scope;
use std::time::{Duration, Instant};

/// Says that it is there, and does not heed TERM.
const DEAF: &str = "trap '' TERM INT HUP; echo deaf; while :; do sleep 1; done";

#[test]
fn a_deaf_command_is_ended_after_the_timeout() {
    let mut bench = Bench::new();
    bench.image.update.timeout = Duration::from_secs(4);
    let image = bench.local(BUSYBOX);
    bench.script(DEAF);
    let begin = Instant::now();
    let error = bench.error(&image);
    assert!(
        error.contains("after its timeout of 4s (deaf): see update-check.log"),
        "{error}"
    );
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(
        bench
            .log()
            .contains("update check: error: it was ended after its timeout"),
        "{}",
        bench.log()
    );
}

#[test]
fn a_cancel_leaves_no_container() {
    let mut bench = Bench::new();
    let image = bench.local(BUSYBOX);
    bench.script(DEAF);
    let log = bench.dir.join("update-check.log");
    let cancel = bench.cancel.clone();
    let asks = std::thread::spawn(move || {
        wait_for("the command", SOON, || {
            std::fs::read_to_string(&log).ok()?.contains("\ndeaf\n").then_some(())
        });
        cancel.ask();
    });
    let error = bench.error(&image);
    asks.join().unwrap();
    assert!(error.contains("the daemon stops"), "{error}");
}

#[test]
fn what_a_killed_daemon_leaves_is_found() {
    let mut bench = Bench::new();
    let image = bench.local(BUSYBOX);
    bench.script(DEAF);
    block_on(async {
        // The future is dropped as soon as the container runs, as a daemon that dies does.
        let look = bench.look(&image);
        let running = async {
            while !bench.log().contains("\ndeaf\n") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            found = look => panic!("{found:?}"),
            () = running => {}
        }
        let (engine, runner) = (&bench.tools.engine, &bench.tools.runner);
        engine.cleanup(runner, Scope::Instance("packages")).await.unwrap();
        assert_eq!(bench.podman.containers(), Vec::<String>::new());
        assert!(
            !bench.tools.layout.checks().exists()
                || std::fs::read_dir(bench.tools.layout.checks()).unwrap().count() == 0
        );
    });
}
