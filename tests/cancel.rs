//! Promise 2: after a cancel or a timeout nothing of the job is left, and nothing of anybody else is gone.

#![cfg(test)]

mod support;

use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::daemon::{Site, wait_log};
use support::jobs::{Row, job_strays, wait_job, wait_outcome};
use support::podman::{BUSYBOX, Podman};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for};

const MAIN: &str = "refs/heads/main";

/// Starts every kind of process that likes to be overlooked; each writes its id to `pids` and never ends by itself.
const ZOO: &str = r#"trap '' TERM INT HUP QUIT
one='trap "" TERM INT HUP QUIT; echo $$ >>PIDS; while :; do sleep 1; done'
sh -c "$one" &
setsid sh -c "$one" &
(setsid sh -c "setsid sh -c '$one' & exit 0" &)
env -i /usr/bin/setsid /bin/sh -c "$one" &
(env -i /bin/sh -c "(env -i /usr/bin/setsid /bin/sh -c '$one' &) ; exit 0" &)
setsid nohup sh -c "exec >/dev/null 2>&1 </dev/null; cd /; $one" &
echo $$ >>PIDS
while [ "$(wc -l <PIDS)" -lt 7 ]; do sleep 0.05; done
echo the zoo is open
while :; do sleep 1; done"#;

struct Bench {
    site: Site,
    repo: Repo,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let pids = scratch.join("pids");
        scratch.script("zoo", &ZOO.replace("PIDS", pids.to_str().unwrap()));
        let told = format!(
            "echo $BUILD_OUTCOME $BUILD_STEP $BUILD_COMMIT >>{}/told.log\n[ ! -e {0}/slow ] || exec sleep 1000",
            scratch.path().display()
        );
        scratch.script("told", &told);
        let repo = Repo::new(scratch.join("repo"));
        let site = Site::new(&scratch, "");
        Self { site, repo, scratch }
    }

    fn config(&self, more: &str) {
        let path = self.scratch.path().display();
        self.site.write_config(&format!(
            "interval = \"100ms\"\ngrace = \"300ms\"\n[projects.p]\nremote = \"{path}/repo\"\n\
             error_callback = \"{path}/told\"\n{more}\n"
        ));
    }

    fn reload(&self, more: &str) {
        self.config(more);
        let answer = self.site.cli(&["reload"]);
        assert!(answer.status.success(), "{answer:?}");
    }

    fn tmp(&self, commit: &str) -> PathBuf {
        self.site.job_dir("p", MAIN, &format!("{}.tmp", short(commit)))
    }

    /// What the error callbacks of the commit were told, once they are through.
    fn told(&self, commit: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.scratch.join("told.log")).unwrap_or_default();
        text.lines()
            .filter_map(|line| Some(line.strip_suffix(commit)?.trim_end().to_owned()))
            .collect()
    }

    #[track_caller]
    fn cancel(&self, commit: &str) -> Row {
        let job = wait_job(&self.site, commit, "a job", |job| job.state != "done");
        let answer = self.site.cli(&["cancel", "--job", &job.id.to_string()]);
        assert_eq!(answer.status.code(), Some(0), "{answer:?}");
        wait_outcome(&self.site, commit, "cancelled")
    }

    /// The animals of the zoo, which must be gone.
    #[track_caller]
    fn assert_zoo_is_empty(&self) {
        let text = std::fs::read_to_string(self.scratch.join("pids")).unwrap();
        let pids: Vec<i32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert!(pids.len() >= 7, "{pids:?}");
        let alive: Vec<i32> = pids.into_iter().filter(|pid| lives(*pid)).collect();
        assert_eq!(alive, Vec::<i32>::new());
        assert_eq!(job_strays(&self.site.workdir), []);
        std::fs::remove_file(self.scratch.join("pids")).unwrap();
    }
}

fn lives(pid: i32) -> bool {
    nix::sys::signal::kill(Pid::from_raw(pid), None).is_ok()
}

/// A process that is none of the daemon's business, for as long as it is held.
struct Bystander(std::process::Child);

impl Bystander {
    fn start() -> Self {
        let sleep = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn();
        Self(sleep.unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_of_every_kind() {
    let bench = Bench::new();
    let zoo = format!("prepare_callback = \"{}/zoo\"\n", bench.scratch.path().display());
    bench.config(&zoo);
    let mut bystander = Bystander::start();
    let commit = bench.repo.commit(&[("f", "cancel")]);
    let daemon = bench.site.start();
    wait_log(&bench.tmp(&commit), "the zoo is open");
    // One that waits is cancelled without having run.
    let queued = bench.repo.commit(&[("f", "queued")]);
    let job = bench.cancel(&queued);
    assert_eq!(job.attempts, [""; 0]);
    assert_eq!(bench.told(&queued), [""; 0], "what never ran has nothing to tell");
    let begin = Instant::now();
    bench.cancel(&commit);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    bench.assert_zoo_is_empty();
    assert_eq!(bench.told(&commit), ["cancelled prepare_callback"]);

    // A timeout ends them in the same way.
    bench.reload(&format!("{zoo}callback_timeout = \"1500ms\"\n"));
    let commit = bench.repo.commit(&[("f", "timeout")]);
    wait_outcome(&bench.site, &commit, "timed out");
    bench.assert_zoo_is_empty();
    assert_eq!(bench.told(&commit), ["timed out prepare_callback"]);

    // An error callback that never ends can be cancelled, and the outcome stays what it was.
    bench.scratch.write("slow", "");
    bench.reload("prepare_callback = \"false\"\n");
    let commit = bench.repo.commit(&[("f", "slow error callback")]);
    wait_for("the error callback", SOON, || {
        (!bench.told(&commit).is_empty()).then_some(())
    });
    let job = wait_job(&bench.site, &commit, "a running job", |job| job.state == "running");
    let answer = bench.site.cli(&["cancel", "--job", &job.id.to_string()]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    wait_outcome(&bench.site, &commit, "failed");
    assert_eq!(bench.told(&commit), ["failed prepare_callback"]);
    assert_eq!(job_strays(&bench.site.workdir), []);

    assert!(bystander.lives());
    let answer = bench.site.cli(&["cancel", "p"]);
    assert_eq!(answer.status.code(), Some(1), "there is nothing to cancel: {answer:?}");
    drop(daemon);
}

#[test]
fn builds_and_containers() {
    let mut bench = Bench::new();
    let podman = Podman::new(&bench.scratch);
    podman.load_busybox();
    bench.site = bench.site.with_env(podman.env());
    // Others' things in the same storage.
    podman.run(&["run", "--detach", "--name", "bystander", BUSYBOX, "sleep", "1000"]);
    let buildah = Command::new("buildah")
        .envs(podman.env())
        .args(["from", "--name", "working", BUSYBOX])
        .output();
    assert!(buildah.as_ref().unwrap().status.success(), "{buildah:?}");
    let intact = || {
        assert_eq!(podman.containers(), ["bystander"]);
        assert_eq!(podman.working_containers(), ["working"]);
        assert_eq!(
            podman.run(&["inspect", "--format", "{{.State.Running}}", "bystander"]),
            "true"
        );
        assert_eq!(job_strays(&bench.site.workdir), []);
    };
    let deaf = "trap '' TERM INT; (setsid sh -c 'trap \\\"\\\" TERM; while :; do sleep 1; done' &) ; echo deaf; while :; do sleep 1; done";
    let build = "[projects.p.image]\npull = \"missing\"\ntags = [\"localhost/never:1\"]\n".to_owned();
    let run =
        format!("[projects.p.image]\npull = \"missing\"\n[projects.p.run]\ncommand = [\"sh\", \"-c\", \"{deaf}\"]\n");
    let slow = format!("FROM {BUSYBOX}\nRUN {}\n", deaf.replace("\\\"", "\""));
    let quick = format!("FROM {BUSYBOX}\nCOPY f /f\n");
    bench.config(&build);
    let commit = bench.repo.commit(&[("Containerfile", &slow)]);
    let daemon = bench.site.start();
    let tmp = bench.tmp(&commit);
    wait_log(&tmp, "\ndeaf\n");
    let job = bench.cancel(&commit);
    assert_eq!(bench.told(&commit), ["cancelled build"], "{job:?}");
    intact();
    assert!(
        !podman
            .output(&["image", "exists", "localhost/never:1"])
            .status
            .success()
    );
    // A build whose time is up, although podman exits with 0.
    bench.reload(&format!("timeout = \"4s\"\n{build}"));
    let commit = bench.repo.commit(&[("f", "timeout of a build")]);
    wait_outcome(&bench.site, &commit, "timed out");
    assert_eq!(bench.told(&commit), ["timed out build"]);
    intact();
    bench.reload(&run);
    let commit = bench.repo.commit(&[("Containerfile", &quick)]);
    wait_log(&bench.tmp(&commit), "\ndeaf\n");
    bench.cancel(&commit);
    assert_eq!(bench.told(&commit), ["cancelled run"]);
    intact();
    bench.reload(&format!("timeout = \"5s\"\n{run}"));
    let commit = bench.repo.commit(&[("f", "timeout of a run")]);
    wait_outcome(&bench.site, &commit, "timed out");
    assert_eq!(bench.told(&commit), ["timed out run"]);
    intact();
    drop(daemon);
    Command::new("buildah")
        .envs(podman.env())
        .args(["rm", "working"])
        .output()
        .unwrap();
}
