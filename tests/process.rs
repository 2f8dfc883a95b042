//! Promise 2, at its root: whatever a command starts ends with it, and whatever it writes reaches the log.

use pipelined::model::{FailureKind, JobId, Step};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn runner(dir: &Path, instance: &str) -> Runner {
    Runner {
        supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
        marker: Marker::job(instance, JobId(1), 1),
        env: vec![("GREETING".into(), "hello".into())],
        cancel: Cancel::new(),
        grace: Duration::from_millis(300),
        log: Some((dir.join("build.log"), 1 << 30)),
        masks: Masks::default(),
    }
}

fn sh(script: &str) -> Vec<OsString> {
    ["sh", "-c", script].map(OsString::from).to_vec()
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("build.log")).unwrap()
}

/// Processes whose environment carries a marker of this instance.
fn marked(instance: &str) -> Vec<PathBuf> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| {
            let needle = format!("PIPELINED_JOB={instance}.");
            std::fs::read(p.join("environ")).is_ok_and(|env| env.windows(needle.len()).any(|w| w == needle.as_bytes()))
        })
        .collect()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn output_in_order_with_a_header_and_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "t1");
    let script = "echo $GREETING; echo err >&2; echo $PIPELINED_JOB; exit 7";
    let code = runner.logged(Step::Build, &sh(script), dir.path(), LONG).await.unwrap();
    assert_eq!(code, 7);
    let log = log(dir.path());
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines[0].starts_with("=== ") && lines[0].contains(" build: $ sh -c "),
        "{log}"
    );
    assert_eq!(lines[1..4], ["hello", "err", "t1.1.1"]);
    assert!(lines[4].contains("exit code 7"), "{log}");
}

#[tokio::test]
async fn a_timeout_ends_grandchildren_that_ignore_term_and_left_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "t2");
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & \
                  env -i setsid sleep 1000 & sleep 1000";
    let begin = Instant::now();
    let failure = runner
        .logged(Step::Build, &sh(script), dir.path(), Duration::from_millis(200))
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(marked("t2"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_command_that_exits_0_upon_term_was_cancelled_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "t3");
    let cancel = runner.cancel.clone();
    let path = dir.path().to_owned();
    let argv = sh("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let (result, ()) = tokio::join!(runner.logged(Step::Build, &argv, dir.path(), LONG), async {
        until("the command is up", || log(&path).contains("\nup\n")).await;
        cancel.ask();
    });
    assert_eq!(result.unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(marked("t3"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "t4");
    let script = "setsid sleep 1000 & echo done";
    assert_eq!(
        runner
            .logged(Step::Prepare, &sh(script), dir.path(), LONG)
            .await
            .unwrap(),
        0
    );
    assert_eq!(marked("t4"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_supervisor_that_is_killed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    pipelined::process::become_subreaper().unwrap();
    let runner = runner(dir.path(), "t5");
    let path = dir.path().to_owned();
    let argv = sh("echo $PPID; sleep 1000");
    let (result, ()) = tokio::join!(runner.logged(Step::Build, &argv, dir.path(), LONG), async {
        until("the command is up", || log(&path).lines().count() == 2).await;
        let pid = log(&path).lines().nth(1).unwrap().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    });
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored, "{failure}");
    assert_eq!(marked("t5"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_supervisor_that_is_killed_leaves_nothing_without_a_mark_either() {
    let dir = tempfile::tempdir().unwrap();
    pipelined::process::become_subreaper().unwrap();
    let runner = runner(dir.path(), "t10");
    let script = "env -i setsid sleep 4242 & echo $!; sleep 0.1; kill -9 $PPID; sleep 1000";
    let failure = runner
        .logged(Step::Prepare, &sh(script), dir.path(), LONG)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored, "{failure}");
    let pid = log(dir.path()).lines().nth(1).unwrap().to_owned();
    assert!(!std::path::Path::new("/proc").join(pid).exists());
    assert_eq!(marked("t10"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_supervisor_that_is_stopped_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    pipelined::process::become_subreaper().unwrap();
    let runner = runner(dir.path(), "t11");
    let cancel = runner.cancel.clone();
    let path = dir.path().to_owned();
    let argv = sh("kill -STOP $PPID; echo stopped; sleep 1000");
    let (result, ()) = tokio::join!(runner.logged(Step::Prepare, &argv, dir.path(), LONG), async {
        until("the supervisor is stopped", || {
            let supervisor = marked("t11")
                .into_iter()
                .find(|p| std::fs::read_to_string(p.join("cmdline")).is_ok_and(|c| c.contains("supervise")));
            supervisor.is_some_and(|p| std::fs::read_to_string(p.join("stat")).is_ok_and(|s| s.contains(") T ")))
        })
        .await;
        cancel.insist();
    });
    assert_eq!(result.unwrap_err().kind, FailureKind::Errored, "{}", path.display());
    assert_eq!(marked("t11"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_command_hears_signals() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "t12");
    let argv = ["grep", "SigBlk", "/proc/self/status"].map(OsString::from);
    assert_eq!(runner.logged(Step::Prepare, &argv, dir.path(), LONG).await.unwrap(), 0);
    assert!(
        log(dir.path()).contains("SigBlk:\t0000000000000000"),
        "{}",
        log(dir.path())
    );
    let begin = Instant::now();
    let argv = ["sleep", "1000"].map(OsString::from);
    let failure = runner
        .logged(Step::Prepare, &argv, dir.path(), Duration::from_millis(50))
        .await;
    assert_eq!(failure.unwrap_err().kind, FailureKind::TimedOut);
    // Not after the grace of 300 ms: TERM was enough.
    assert!(begin.elapsed() < Duration::from_millis(300), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_dropped_future_ends_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "t6");
    let argv = sh("echo up; sleep 1000");
    tokio::select! {
        _ = runner.logged(Step::Build, &argv, dir.path(), LONG) => unreachable!(),
        () = until("the command is up", || dir.path().join("build.log").exists() && log(dir.path()).contains("\nup\n")) => {}
    }
    until("all is gone", || marked("t6").is_empty()).await;
}

#[tokio::test]
async fn the_log_stops_at_its_limit_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = runner(dir.path(), "t7");
    runner.log = Some((dir.path().join("build.log"), 100_000));
    let script = "head -c 1000000 /dev/zero | tr '\\0' x";
    assert_eq!(
        runner.logged(Step::Build, &sh(script), dir.path(), LONG).await.unwrap(),
        0
    );
    let log = log(dir.path());
    assert!((100_000..100_200).contains(&log.len()), "{}", log.len());
    assert!(log.contains("bytes left out"));
}

#[tokio::test]
async fn captures_up_to_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "t8");
    let script = "printf '\\377abc'; echo first >&2; echo last words >&2; exit 3";
    let done = runner
        .capture(Step::Checkout, &sh(script), dir.path(), LONG, 3)
        .await
        .unwrap();
    assert_eq!(
        (done.code, done.stdout.as_slice(), done.truncated),
        (Some(3), &b"\xffab"[..], true)
    );
    assert_eq!(done.last_words(), "last words");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "t9");
    std::fs::write(dir.path().join("script"), "#!/bin/sh\n").unwrap();
    let script = dir.path().join("script").into_os_string();
    for (step, argv, kind, word) in [
        (
            Step::Prepare,
            OsString::from("/nowhere/x"),
            FailureKind::Failed,
            "No such file",
        ),
        (Step::Prepare, script, FailureKind::Failed, "executable"),
        (
            Step::Build,
            OsString::from("no-such-engine"),
            FailureKind::Errored,
            "installed",
        ),
    ] {
        let failure = runner.logged(step, &[argv], dir.path(), LONG).await.unwrap_err();
        assert_eq!(failure.kind, kind);
        assert!(failure.message.contains(word), "{failure}");
    }
}
