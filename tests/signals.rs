//! Signals that end the daemon: TERM, QUIT and INT, once and twice.

#![cfg(test)]

mod support;

use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use support::daemon::{Daemon, Site, build_json, build_log, strays, wait_log};
use support::jobs::{Row, job_of, jobs, wait_job, wait_outcome};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for_state};

const MAIN: &str = "refs/heads/main";

/// Holds until there is a file `go`, in the manner of `HOLD`: `deaf` ignores TERM.
const HOLD: &str = r#"[ "$HOLD" = deaf ] && trap '' TERM
echo held
while [ ! -e go ]; do sleep 0.05; done
exit 0"#;

struct Bench {
    site: Site,
    repo: Repo,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        scratch.script("hold", &format!("cd {}\n{HOLD}", scratch.path().display()));
        scratch.script(
            "told",
            &format!(
                "echo $BUILD_OUTCOME $BUILD_COMMIT >>{}/told.log",
                scratch.path().display()
            ),
        );
        let repo = Repo::new(scratch.join("repo"));
        let site = Site::new(&scratch, "");
        Self { site, repo, scratch }
    }

    fn config(&self, hold: &str, grace: &str) {
        let path = self.scratch.path().display();
        self.site.write_config(&format!(
            "interval = \"100ms\"\ngrace = \"{grace}\"\n[projects.p]\nremote = \"{path}/repo\"\n\
             env = {{ HOLD = \"{hold}\" }}\nprepare_callback = \"{path}/hold\"\nerror_callback = \"{path}/told\"\n"
        ));
    }

    /// A daemon with a new commit whose job is held.
    #[track_caller]
    fn held(&self, hold: &str, grace: &str) -> (Daemon, String) {
        let _ = std::fs::remove_file(self.scratch.join("go"));
        self.config(hold, grace);
        let commit = self.repo.commit(&[("f", format!("{hold} {grace}"))]);
        let daemon = self.site.start();
        wait_job(&self.site, &commit, "the job to run", |job| job.state == "running");
        wait_log(&self.newest_dir(&commit), "\nheld\n");
        (daemon, commit)
    }

    fn newest_dir(&self, commit: &str) -> std::path::PathBuf {
        let job = job_of(&self.site.workdir, commit).unwrap();
        self.site
            .job_dir("p", MAIN, &format!("{}.tmp", job.attempts.last().unwrap()))
    }

    fn go(&self) {
        self.scratch.write("go", "");
    }

    /// After a stop: back in the queue, nothing told, nothing left; and after a start it runs again.
    #[track_caller]
    fn assert_interrupted_and_runs_again(&self, commit: &str) {
        let job = job_of(&self.site.workdir, commit).unwrap();
        assert_eq!((job.state.as_str(), job.outcome()), ("queued", ""), "{job:?}");
        assert_eq!(job.attempts.len(), 1);
        assert_eq!(strays(&self.site.workdir), []);
        let dir = self.newest_dir(commit);
        assert_eq!(build_json(&dir)["state"], "interrupted");
        assert!(build_log(&dir).contains("interrupted: the daemon stops"));
        assert!(!self.scratch.join("told.log").exists(), "the error_callback was called");
        self.go();
        let mut daemon = self.site.start();
        self.site.wait_latest("p", MAIN, &format!("{}.2", short(commit)));
        let of_commit = |job: &&Row| job.commit == commit;
        assert_eq!(jobs(&self.site.workdir).iter().filter(of_commit).count(), 1);
        stop(&mut daemon, Signal::SIGTERM);
    }
}

/// Ends it, which must end well; how long that took.
#[track_caller]
fn stop(daemon: &mut Daemon, signal: Signal) -> Duration {
    let begin = Instant::now();
    daemon.signal(signal);
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0), "{}", daemon.log());
    begin.elapsed()
}

/// Waits until the log of all daemons here has this so many times.
#[track_caller]
fn wait_logged(daemon: &Daemon, text: &str, times: usize) {
    wait_for_state(text, SOON, || {
        let log = daemon.log();
        (log.matches(text).count() >= times).then_some(()).ok_or(log)
    });
}

#[test]
fn term_and_quit_interrupt() {
    let bench = Bench::new();
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let (mut daemon, commit) = bench.held("polite", "30s");
        assert!(stop(&mut daemon, signal) < Duration::from_secs(10));
        bench.assert_interrupted_and_runs_again(&commit);
    }
    let (mut daemon, commit) = bench.held("deaf", "700ms");
    let took = stop(&mut daemon, Signal::SIGTERM);
    assert!(
        Duration::from_millis(700) < took && took < Duration::from_secs(10),
        "{took:?}"
    );
    bench.assert_interrupted_and_runs_again(&commit);
    // The second one does not wait for the grace.
    let (mut daemon, commit) = bench.held("deaf", "10m");
    daemon.signal(Signal::SIGTERM);
    wait_logged(&daemon, "stopping: running jobs are interrupted", 7);
    assert!(stop(&mut daemon, Signal::SIGTERM) < Duration::from_secs(10));
    bench.assert_interrupted_and_runs_again(&commit);
}

#[test]
fn int_drains_and_int_again_stops() {
    let bench = Bench::new();
    let (mut daemon, running) = bench.held("polite", "500ms");
    // The branch appears with its commit, or a poll in between would see it at the old one.
    bench.repo.git(&["checkout", "-q", "--detach"]);
    let queued = bench.repo.commit(&[("f", "queued")]);
    bench.repo.set_ref("refs/heads/other", &queued);
    bench.repo.switch("other");
    wait_job(&bench.site, &queued, "the job to be queued", |job| {
        job.state == "queued"
    });
    daemon.signal(Signal::SIGINT);
    wait_logged(&daemon, "INT: taking no new jobs", 1);
    let late = bench.repo.commit(&[("f", "late")]);
    let refused = bench.site.cli(&["build", "p", "main"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    bench.go();
    assert_eq!(daemon.wait_exit(SOON).code(), Some(0), "{}", daemon.log());
    let outcome = |commit: &str| job_of(&bench.site.workdir, commit).map(|job| job.outcome().to_owned());
    assert_eq!(outcome(&running).as_deref(), Some("succeeded"));
    assert_eq!(outcome(&queued).as_deref(), Some("succeeded"));
    assert_eq!(outcome(&late), None, "a push during the drain is for the next start");
    let mut daemon = bench.site.start();
    wait_outcome(&bench.site, &late, "succeeded");
    stop(&mut daemon, Signal::SIGINT);

    bench.repo.switch("main");
    let (mut daemon, commit) = bench.held("polite", "500ms");
    daemon.signal(Signal::SIGINT);
    wait_logged(&daemon, "INT: taking no new jobs", 3);
    stop(&mut daemon, Signal::SIGINT);
    bench.assert_interrupted_and_runs_again(&commit);
}
