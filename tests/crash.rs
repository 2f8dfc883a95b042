//! Promises 1, 2 and 7 under `kill -9`: whatever is killed in whichever step, the job ends in one outcome, nothing runs
//! on, and the log has what was written.

#![cfg(test)]

mod support;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::daemon::{Daemon, Site, build_log, wait_log, wait_no_strays};
use support::jobs::{Row, jobs, supervisors, wait_job, wait_outcome};
use support::podman::{BUSYBOX, Podman};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for};

const MAIN: &str = "refs/heads/main";

/// A command that holds for ever and ignores TERM in the step that `HANG` names, and tells in `overlap` if it is not
/// alone. In `count` is how many lines it has written for certain. `ends` has a line for each one that came to its end.
fn gate(scratch: &Scratch) -> PathBuf {
    let dir = scratch.path().display();
    let body = format!(
        r#"exec >&2
exec 9>>{dir}/$BUILD_REF_NAME.lock
flock -n 9 || echo "$1 $BUILD_DIR" >>{dir}/overlap
echo "at $1"
if [ "$HANG" = "$1" ]; then
    trap '' TERM
    : >{dir}/count
    i=0
    while :; do i=$((i+1)); echo "$1 line $i"; echo $i >>{dir}/count; sleep 0.01; done
fi
echo "$1 $BUILD_COMMIT $BUILD_OUTCOME" >>{dir}/ends
[ "$FAIL" != "$1" ]"#
    );
    scratch.script("gate", &body)
}

/// How many lines of the step were written for certain before the crash.
fn counted(scratch: &Scratch) -> usize {
    let text = std::fs::read_to_string(scratch.join("count")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).max().unwrap_or(0)
}

/// The log of a step that was cut off: what was there before the crash, and then every line, in order, none left out.
#[track_caller]
fn assert_whole(dir: &Path, before: &str, step: &str, at_least: usize) {
    let log = build_log(dir);
    assert!(log.starts_with(before), "the log lost what it had: {log}");
    let start = format!("{step} line ");
    let lines: Vec<usize> = log
        .lines()
        .filter_map(|line| line.strip_prefix(&start)?.parse().ok())
        .collect();
    assert!(
        lines.iter().copied().eq(1..=lines.len()),
        "{step}: lines are missing: {log}"
    );
    assert!(lines.len() >= at_least, "{step}: {} of {at_least} lines", lines.len());
}

/// The moment when the log shows this.
fn shows(text: impl Into<String>) -> impl Fn(&Path) {
    let text = text.into();
    move |dir| wait_log(dir, &text)
}

struct Bench {
    site: Site,
    plain: Repo,
    image: Repo,
    scratch: Scratch,
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq)]
enum Kill {
    Daemon,
    All,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let gate = gate(&scratch);
        let plain = Repo::new(scratch.join("plain"));
        plain.commit(&[(".gitattributes", "slow filter=gate\n"), ("slow", "0\n")]);
        let image = Repo::new(scratch.join("image"));
        image.commit(&[("Containerfile", "FROM scratch\n")]);
        let shell = format!("shift; {} rsync; exec \"$@\"", gate.display());
        let rsh = scratch.script("rsh", &shell);
        let site = Site::new(&scratch, "").with_env([("RSYNC_RSH", rsh)]);
        let filter = format!(
            "[filter \"gate\"]\n\tsmudge = \"{} checkout; cat\"\n\trequired\n",
            gate.display()
        );
        std::fs::write(&site.gitconfig, filter).unwrap();
        Self {
            site,
            plain,
            image,
            scratch,
        }
    }

    /// The config of the project whose remote's directory has that name, holding in the step.
    fn config(&self, project: &str, hang: &str, fail: &str) {
        let path = self.scratch.path().display();
        let callbacks = format!(
            "prepare_callback = \"{path}/gate prepare\"\nsuccess_callback = \"{path}/gate success_callback\"\n\
             error_callback = \"{path}/gate error_callback\"\n[projects.plain.rsync]\ndestination = \"there:{path}/out\"\n"
        );
        let loops = "[ $HANG != run ] || trap '' TERM; i=0; while [ $HANG = run ]; do i=$((i+1)); echo run line $i; sleep 0.01; done";
        let engine = format!(
            "[projects.image.image]\npull = \"missing\"\ntags = [\"localhost/built:1\"]\n[projects.image.run]\n\
             command = [\"sh\", \"-c\", \"{loops}\"]\n"
        );
        let rest = if project == "plain" { callbacks } else { engine };
        self.site.write_config(&format!(
            "interval = \"200ms\"\ngrace = \"300ms\"\n[projects.{project}]\nremote = \"{path}/{project}\"\n\
             env = {{ HANG = \"{hang}\", FAIL = \"{fail}\" }}\n{rest}"
        ));
    }

    /// Starts the daemon, and lets it do what is there.
    #[track_caller]
    fn start(&self, project: &str) -> Daemon {
        self.config(project, "", "");
        let daemon = self.site.start();
        wait_job(&self.site, &self.repo(project).head(), "the first job", |job| {
            job.state == "done"
        });
        daemon
    }

    fn repo(&self, project: &str) -> &Repo {
        if project == "plain" { &self.plain } else { &self.image }
    }

    /// Commits, kills in the step, starts, and waits for the one outcome, which is `fail`ed if asked for.
    #[track_caller]
    fn crash_in(
        &self,
        daemon: &mut Daemon,
        project: &str,
        hang: &str,
        reached: impl Fn(&Path),
        fail: &str,
        kill: Kill,
    ) -> Row {
        self.config(project, hang, fail);
        let reloaded = self.site.cli(&["reload"]);
        assert!(reloaded.status.success(), "{reloaded:?}");
        let commit = self
            .repo(project)
            .commit(&[("slow", format!("{hang} {}\n", self.scratch.path().display()))]);
        let tmp = self.site.job_dir(project, MAIN, &format!("{}.tmp", short(&commit)));
        reached(&tmp);
        let before = build_log(&tmp);
        let at_least = counted(&self.scratch);
        if kill == Kill::All {
            // The daemon first, so that it cannot act upon the death of its supervisors.
            let supervisors = supervisors(&self.site.workdir);
            daemon.kill_9();
            for pid in supervisors {
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        } else {
            daemon.kill_9();
        }
        self.config(project, "", fail);
        *daemon = self.site.start();
        let outcome = if fail.is_empty() { "succeeded" } else { "failed" };
        let job = wait_outcome(&self.site, &commit, outcome);
        let name = short(&commit);
        assert_eq!(job.attempts, [name.to_owned(), format!("{name}.2")], "{hang}: {job:?}");
        assert_eq!(
            jobs(&self.site.workdir).iter().filter(|j| j.commit == commit).count(),
            1
        );
        if fail.is_empty() {
            self.site.wait_latest(project, MAIN, &format!("{name}.2"));
        }
        assert!(
            tmp.is_dir(),
            "the directory of the attempt that was cut off stays as it was"
        );
        if kill == Kill::Daemon && project == "plain" {
            assert_whole(&tmp, &before, hang, at_least);
        } else {
            assert!(build_log(&tmp).starts_with(&before));
        }
        wait_no_strays(&self.site.workdir, SOON);
        let overlap = std::fs::read_to_string(self.scratch.join("overlap")).unwrap_or_default();
        assert_eq!(overlap, "", "two ran at once in {hang}");
        job
    }

    fn ends(&self, line: &str) -> usize {
        let text = std::fs::read_to_string(self.scratch.join("ends")).unwrap_or_default();
        text.lines().filter(|l| *l == line).count()
    }
}

#[test]
fn in_each_step_that_needs_no_engine() {
    let bench = Bench::new();
    let mut daemon = bench.start("plain");
    for step in ["checkout", "prepare", "rsync", "success_callback"] {
        let job = bench.crash_in(
            &mut daemon,
            "plain",
            step,
            shows(format!("{step} line 3")),
            "",
            Kill::Daemon,
        );
        assert_eq!(bench.ends(&format!("success_callback {} succeeded", job.commit)), 1);
        assert_eq!(bench.ends(&format!("error_callback {} failed", job.commit)), 0);
    }
    let fail = "success_callback";
    let job = bench.crash_in(
        &mut daemon,
        "plain",
        "error_callback",
        shows("error_callback line 3"),
        fail,
        Kill::Daemon,
    );
    assert_eq!(bench.ends(&format!("error_callback {} failed", job.commit)), 1);
    for step in ["prepare", "checkout"] {
        bench.crash_in(
            &mut daemon,
            "plain",
            step,
            shows(format!("{step} line 3")),
            "",
            Kill::All,
        );
    }
}

#[test]
fn in_each_step_of_the_engine() {
    let mut bench = Bench::new();
    let podman = Podman::new(&bench.scratch);
    podman.load_busybox();
    bench.site = bench.site.with_env(podman.env());
    // Accepts, and never says a word.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("127.0.0.1:{}/base:1", registry.local_addr().unwrap().port());
    let mut daemon = bench.start("image");
    let commit = |base: &str, rest: &str| {
        let text = format!("FROM {base}\nARG HANG\n{rest}\n");
        std::fs::write(bench.image.path().join("Containerfile"), text).unwrap();
    };
    let nothing_left = || {
        assert_eq!(podman.containers(), Vec::<String>::new());
        assert_eq!(podman.working_containers(), Vec::<String>::new());
    };
    let hold =
        "RUN [ \"$HANG\" != build ] || trap '' TERM; echo at build; while [ \"$HANG\" = build ]; do sleep 0.1; done";
    commit(BUSYBOX, hold);
    bench.crash_in(&mut daemon, "image", "build", shows("\nat build"), "", Kill::Daemon);
    nothing_left();
    bench.crash_in(&mut daemon, "image", "build", shows("\nat build"), "", Kill::All);
    nothing_left();
    bench.crash_in(&mut daemon, "image", "run", shows("run line 3"), "", Kill::Daemon);
    nothing_left();
    bench.crash_in(&mut daemon, "image", "run", shows("run line 3"), "", Kill::All);
    nothing_left();
    commit(&base, "");
    let asked = |_: &Path| {
        // The pull is on its way; the next attempt has the base, and policy "missing" does not ask again.
        registry.accept().unwrap();
        podman.run(&["tag", BUSYBOX, &base]);
    };
    bench.crash_in(&mut daemon, "image", "", asked, "", Kill::Daemon);
    nothing_left();
}

#[test]
fn right_after_the_outcome_and_with_a_second_daemon() {
    let bench = Bench::new();
    let mut daemon = bench.start("plain");
    for round in 0..3 {
        let commit = bench.plain.commit(&[("slow", format!("{round}\n"))]);
        let done = wait_for("the outcome", SOON, || {
            jobs(&bench.site.workdir)
                .into_iter()
                .find(|job| job.commit == commit && job.state == "done")
        });
        daemon.kill_9();
        daemon = bench.site.start();
        bench.site.wait_built("plain", MAIN, &commit);
        let rows = jobs(&bench.site.workdir);
        assert_eq!(
            rows.iter().filter(|job| job.commit == commit).collect::<Vec<_>>(),
            [&done]
        );
        assert_eq!(done.attempts.len(), 1);
    }
    let mut second = bench.site.spawn(&[]);
    assert_eq!(second.wait_exit(SOON).code(), Some(5));
    let pid = daemon.pid().to_string();
    assert!(daemon.log().contains(&pid), "{} is not named in {}", pid, daemon.log());
    let commit = bench.plain.commit(&[("slow", "the first goes on\n")]);
    bench.site.wait_built("plain", MAIN, &commit);
}

/// Numbers that differ from run to run; the seed is in every message.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn ten_times_at_random_moments() {
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let mut random = Random(seed);
    let bench = Bench::new();
    let path = bench.scratch.path().display().to_string();
    let callback = format!(
        "[\"sh\", \"-c\", \"exec 9>>{path}/$BUILD_REF_NAME.lock; flock -n 9 || echo $BUILD_COMMIT >>{path}/overlap; sleep 0.2\"]"
    );
    bench.site.write_config(&format!(
        "interval = \"100ms\"\ngrace = \"300ms\"\nlimit = 2\n[projects.plain]\nremote = \"{path}/plain\"\n\
         prepare_callback = {callback}\nsuccess_callback = {callback}\n"
    ));
    let refs = ["a", "b", "c", "main"];
    for name in &refs[..3] {
        bench.plain.git(&["branch", name]);
    }
    let mut known: Vec<Row> = Vec::new();
    let remembers = |known: &mut Vec<Row>, now: Vec<Row>| {
        for old in known.iter() {
            let new = now.iter().find(|job| job.id == old.id);
            let kept = new.is_some_and(|new| {
                (&new.commit, &new.reference) == (&old.commit, &old.reference)
                    && (old.outcome.is_none() || new.outcome == old.outcome)
                    && new.attempts.starts_with(&old.attempts)
            });
            assert!(kept, "seed {seed}: {old:?} became {new:?}");
        }
        *known = now;
    };
    for _ in 0..10 {
        let mut daemon = bench.site.spawn(&[]);
        let end = Instant::now() + Duration::from_millis(100 + random.below(900));
        while Instant::now() < end {
            let name = refs[usize::try_from(random.below(4)).unwrap()];
            bench.plain.switch(name);
            bench.plain.commit(&[("slow", random.below(1 << 30).to_string())]);
            std::thread::sleep(Duration::from_millis(random.below(200)));
        }
        if random.below(3) == 0 {
            for pid in supervisors(&bench.site.workdir) {
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
        daemon.kill_9();
        remembers(&mut known, jobs(&bench.site.workdir));
    }
    let daemon = bench.site.start();
    for name in refs {
        wait_outcome(&bench.site, &bench.plain.rev(name), "succeeded");
    }
    wait_for("nothing to be left to do", SOON, || {
        jobs(&bench.site.workdir)
            .iter()
            .all(|job| job.state == "done")
            .then_some(())
    });
    remembers(&mut known, jobs(&bench.site.workdir));
    for name in refs {
        let (reference, tip) = (format!("refs/heads/{name}"), bench.plain.rev(name));
        let of_tip = |job: &&Row| job.commit == tip && job.reference == reference;
        assert_eq!(known.iter().filter(of_tip).count(), 1, "seed {seed}: {known:?}");
    }
    let overlap = std::fs::read_to_string(bench.scratch.join("overlap")).unwrap_or_default();
    assert_eq!(overlap, "", "seed {seed}: two ran at once");
    drop(daemon);
}
