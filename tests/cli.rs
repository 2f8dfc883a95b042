//! The command line on the built binary: what it says, how it ends, and that what only reads needs no daemon.

use assert_cmd::Command;
use jiff::Timestamp;
use pipelined::model::{
    CommitId, Failure, Job, JobId, JobState, Outcome, ProjectName, Reason, RefName, Step, Write as Record,
};
use pipelined::store::{Lock, Store};
use pipelined::workdir::Layout;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

const VERBS: [&str; 20] = [
    "run",
    "status",
    "images",
    "graph",
    "rebuild",
    "log",
    "explain",
    "build",
    "cancel",
    "poll",
    "poke",
    "updates",
    "reload",
    "plan",
    "check",
    "config",
    "init",
    "doctor",
    "completions",
    "man",
];

/// A workdir with a config and a record.
struct Scene {
    dir: tempfile::TempDir,
    store: Store,
    next: i64,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("w")).unwrap();
        let config = "workdir = \"w\"\nlimit = 1\n\
                      [projects.ruby]\nremote = \"https://me:secret@host.invalid/ruby\"\ntags = [\"v*\"]\n\
                      [projects.off]\nremote = \"host:off\"\nenabled = false\n";
        std::fs::write(dir.path().join("p.toml"), config).unwrap();
        let store = Store::open(&dir.path().join("w")).unwrap();
        Self { dir, store, next: 1 }
    }

    fn workdir(&self) -> PathBuf {
        self.dir.path().join("w")
    }

    fn write(&mut self, writes: &[Record]) -> Vec<String> {
        let begun = self.store.commit(writes, Timestamp::now(), &|_, _, _| true).unwrap();
        begun.into_iter().map(|attempt| attempt.dir).collect()
    }

    fn job(&mut self, reference: &str, digit: &str, state: JobState, note: &str) -> Job {
        let id = self.next;
        self.next += 1;
        let job = Job {
            atomic: None,
            wave: JobId(0),
            id: JobId(id),
            project: ruby(),
            reference: name(reference),
            commit: commit(digit),
            number: id,
            reason: Reason::NewCommit,
            cause: "the ref is new here".to_owned(),
            place: id,
            created: Timestamp::now(),
            state,
            attempts: 0,
            note: note.to_owned(),
            failure: None,
            rebuild: None,
        };
        self.put(&job);
        let tip = Record::Ref {
            project: ruby(),
            reference: job.reference.clone(),
            commit: Some(job.commit.clone()),
        };
        self.write(&[tip]);
        job
    }

    fn put(&mut self, job: &Job) {
        let job = job.clone();
        self.write(&[Record::Job { job, lasting: true }]);
    }

    /// Begins an attempt with this in its log.
    fn attempt(&mut self, job: &Job, log: &[u8]) -> PathBuf {
        let dir = self.write(&[Record::Attempt(job.id)]).remove(0);
        let layout = Layout::new(self.workdir());
        let path = pipelined::workdir::job_directory(&layout, &job.project, &job.reference, &dir).unwrap();
        std::fs::write(path.join("build.log"), log).unwrap();
        path
    }

    fn end(&mut self, job: &mut Job, outcome: Outcome, note: &str, failure: Option<(Step, Failure)>) {
        job.state = JobState::Done(outcome);
        job.note = note.to_owned();
        let ended = Record::AttemptEnd {
            job: job.id,
            failure,
            image_id: None,
            images: Vec::new(),
            void: false,
        };
        self.write(&[ended]);
        self.put(job);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = pipelined();
        command.args(args).arg("-c").arg(self.dir.path().join("p.toml"));
        command
    }

    fn out(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?}: {stdout}{stderr}");
        stdout
    }

    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.out(args)).unwrap()
    }
}

fn pipelined() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipelined"));
    command.env_remove("PIPELINED_CONFIG").timeout(Duration::from_secs(30));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ruby() -> ProjectName {
    ProjectName::new("ruby").unwrap()
}

fn name(reference: &str) -> RefName {
    RefName::new(reference).unwrap()
}

fn commit(digit: &str) -> CommitId {
    CommitId::new(digit.repeat(40)).unwrap()
}

const MAIN: &str = "refs/heads/main";
const QUEUED: JobState = JobState::Queued { not_before: None };
const RUNNING: JobState = JobState::Running { cancelling: false };

#[test]
fn every_verb_says_what_it_is_for() {
    let help = text(&pipelined().arg("--help").output().unwrap().stdout);
    for verb in VERBS {
        let line = help
            .lines()
            .find(|l| l.trim_start().starts_with(verb))
            .unwrap_or_else(|| panic!("{verb}"));
        assert!(line.trim().len() > verb.len() + 10, "{line}");
        let own = pipelined().args([verb, "--help"]).output().unwrap();
        assert!(own.status.success() && !own.stdout.is_empty(), "{verb}");
    }
    assert!(!help.contains("supervise"), "what is not for people is not shown");
    let version = text(&pipelined().arg("--version").output().unwrap().stdout);
    assert_eq!(version, format!("pipelined {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_exit_codes_of_the_contract() {
    let scene = Scene::new();
    for usage in [
        vec![],
        vec!["nonsense"],
        vec!["cancel"],
        vec!["run", "--limit", "0"],
        vec!["run", "--interval", "0s"],
    ] {
        assert_eq!(
            pipelined().args(&usage).output().unwrap().status.code(),
            Some(2),
            "{usage:?}"
        );
    }
    for verb in [
        vec!["build", "ruby"],
        vec!["cancel", "ruby"],
        vec!["poll"],
        vec!["updates"],
        vec!["reload"],
    ] {
        let error = scene.fails(&verb, 4);
        assert!(
            error.contains("no daemon works in") && error.contains("pipelined run --config"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let lock = Lock::take(&scene.workdir()).unwrap();
    assert!(scene.fails(&["poll"], 1).contains("starting or stopping"));
    drop(lock);
    std::fs::write(
        scene.dir.path().join("p.toml"),
        "workdir = \"w\"\nlimit = 0\nlimt = 1\n",
    )
    .unwrap();
    for verb in ["status", "poll", "plan", "check"] {
        assert!(scene.fails(&[verb], 3).contains("2 mistakes"), "{verb}");
    }
    let missing = pipelined()
        .args(["status", "--workdir", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn status_tells_all_without_a_daemon() {
    let mut scene = Scene::new();
    let mut done = scene.job(MAIN, "a", RUNNING, "running");
    let dir = scene.attempt(&done, b"hello\n");
    scene.end(
        &mut done,
        Outcome::Failed,
        "build: exit code 7",
        Some((Step::Build, Failure::failed("exit code 7"))),
    );
    let odd = scene.job("refs/heads/a\"$(x)%", "b", QUEUED, "the ref is new here");
    let skipped = JobState::Done(Outcome::Skipped);
    scene.job("refs/tags/v1", "c", skipped, "older than the watch");
    scene
        .store
        .note_poll(&ruby(), Some("host.invalid: no such host"), Timestamp::now())
        .unwrap();

    let shown = scene.out(&["status"]);
    for word in [
        "no daemon works in",
        "aaaaaaaa",
        "failed",
        "exit code 7",
        "queued",
        "a\"$(x)%",
        "no such host",
    ] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert!(
        !shown.contains("older than the watch") && shown.contains("1 skipped"),
        "{shown}"
    );
    assert!(scene.out(&["status", "--all"]).contains("older than the watch"));
    assert!(!shown.contains('\u{1b}'), "no colours without a terminal");

    let json = scene.json(&["status", "--json"]);
    assert_eq!(json["daemon"], Value::Null);
    assert_eq!(json["jobs"][0]["id"], odd.id.0);
    let project = &json["projects"][1];
    assert_eq!((&project["name"], &project["enabled"]), (&"ruby".into(), &true.into()));
    assert_eq!(project["remote"], "https://***@host.invalid/ruby");
    assert_eq!(project["trouble"]["error"], "host.invalid: no such host");
    let main = project["refs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["ref"] == MAIN)
        .unwrap();
    let job = &main["job"];
    assert_eq!((&job["state"], &job["outcome"]), (&"done".into(), &"failed".into()));
    assert_eq!(job["dir"], dir.to_str().unwrap());
    assert_eq!(job["attempts"][0]["failure"]["step"], "build");
    assert_eq!(json["projects"][0]["enabled"], false);
    assert!(!json.to_string().contains("secret"));

    let named = pipelined()
        .arg("status")
        .arg("--workdir")
        .arg(scene.workdir())
        .output()
        .unwrap();
    assert!(
        named.status.success() && text(&named.stdout).contains("exit code 7"),
        "no config is needed"
    );
    assert!(scene.fails(&["status", "rubi"], 1).contains("is ruby meant?"));
}

#[test]
fn log_prints_bytes_unchanged_and_knows_what_is_meant() {
    let mut scene = Scene::new();
    assert!(
        scene.fails(&["log", "ruby"], 1).contains("no project ruby"),
        "not looked at yet"
    );
    let bytes = b"one\r\n\xff\xfe\x1b[31mred\n\0no newline".to_vec();
    let mut job = scene.job(MAIN, "a", RUNNING, "running");
    let dir = scene.attempt(&job, &bytes);
    let mut tag = scene.job("refs/tags/main", "b", RUNNING, "running");
    scene.attempt(&tag, b"tag\n");
    for args in [vec!["log", "ruby", MAIN], vec!["log", "ruby", "--job", "1"]] {
        let output = scene.command(&args).output().unwrap();
        assert_eq!(output.stdout, bytes);
    }
    assert_eq!(scene.out(&["log", "ruby"]), "tag\n", "the newest");
    let both = scene.fails(&["log", "ruby", "main"], 1);
    assert!(
        both.contains("refs/heads/main") && both.contains("refs/tags/main"),
        "{both}"
    );
    assert!(scene.fails(&["log", "ruby", "dev"], 1).contains("no ref dev"));
    assert!(scene.fails(&["log", "ruby", "--job", "99"], 1).contains("no job 99"));
    scene.end(&mut job, Outcome::Failed, "exit code 1", None);
    scene.end(&mut tag, Outcome::Failed, "exit code 1", None);
    std::fs::remove_dir_all(dir).unwrap();
    let gone = scene.fails(&["log", "ruby", MAIN], 1);
    assert!(gone.contains("was removed") && gone.contains("exit code 1"), "{gone}");
    assert!(scene.fails(&["log", "ruby", MAIN, "-f"], 1).contains("was removed"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut scene = Scene::new();
    let job = scene.job(MAIN, "a", RUNNING, "running");
    scene.attempt(&job, &b"line\n".repeat(1 << 20));
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_pipelined"))
        .args(["log", "ruby", "--workdir"])
        .arg(scene.workdir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn follow_goes_over_a_retry_and_a_rename_to_the_end() {
    let mut scene = Scene::new();
    let mut job = scene.job(MAIN, "a", QUEUED, "queued");
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_pipelined"))
        .args(["log", "ruby", "main", "-f", "--workdir"])
        .arg(scene.workdir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pause = || std::thread::sleep(Duration::from_millis(250));
    pause();
    job.state = RUNNING;
    scene.put(&job);
    scene.attempt(&job, b"first\n");
    pause();
    let ended = Record::AttemptEnd {
        job: job.id,
        failure: Some((Step::Checkout, Failure::errored("no network"))),
        image_id: None,
        images: Vec::new(),
        void: false,
    };
    scene.write(&[ended]);
    let dir = scene.attempt(&job, b"second ");
    pause();
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .open(dir.join("build.log"))
        .unwrap();
    log.write_all(b"third\n").unwrap();
    std::fs::rename(&dir, dir.with_extension("")).unwrap();
    log.write_all(b"fourth").unwrap();
    scene.end(&mut job, Outcome::Succeeded, "all steps ended well", None);
    let begin = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(text(&output.stdout), "first\nsecond third\nfourth");
    assert!(output.status.success() && text(&output.stderr).contains("attempt 2 begins"));
}

#[test]
fn explain_says_why_from_the_record() {
    let mut scene = Scene::new();
    let running = scene.job("refs/heads/dev", "d", RUNNING, "running");
    scene.attempt(&running, b"");
    let mut job = scene.job(MAIN, "a", RUNNING, "running");
    scene.attempt(&job, b"");
    let ended = Record::AttemptEnd {
        job: job.id,
        failure: Some((Step::Checkout, Failure::errored("the remote hung up"))),
        image_id: None,
        images: Vec::new(),
        void: false,
    };
    scene.write(&[ended]);
    job.state = JobState::Queued {
        not_before: Some(Timestamp::now() + Duration::from_secs(600)),
    };
    job.note = "attempt 1 of 3 errored".to_owned();
    scene.put(&job);
    let told = scene.out(&["explain", "ruby", "main"]);
    for word in [
        "at the last look its tip was aaaa",
        "no daemon works in",
        "not before",
        "the limit of 1 is reached by job 1 (ruby dev dddddddd)",
        "attempt 1 of 3 errored",
        "the remote hung up",
        "new commit (the ref is new here)",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let other = scene.out(&["explain", "ruby", "refs/tags/nightly"]);
    assert!(other.contains("not selected by tags = [\"v*\"]"), "{other}");
    assert!(scene.out(&["explain", "off"]).contains("disabled"));
    let json = scene.json(&["explain", "ruby", "--json"]);
    assert_eq!(json["refs"].as_array().unwrap().len(), 2);
    assert_eq!(json["refs"][1]["waits_for"].as_array().unwrap().len(), 3);
}

#[test]
fn plan_asks_the_remotes_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-C"]);
        assert!(command.arg(dir.path().join("r")).args(args).status().unwrap().success());
    };
    std::fs::create_dir(dir.path().join("r")).unwrap();
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    git(&["tag", "v1"]);
    let config = "workdir = \"w\"\n[projects.a]\nremote = \"./r\"\ntags = [\"*\"]\n[projects.b]\nremote = \"./none\"\n";
    std::fs::write(dir.path().join("p.toml"), config).unwrap();
    let plan = |args: &[&str]| {
        let config = dir.path().join("p.toml");
        let output = pipelined()
            .arg("plan")
            .args(args)
            .arg("-c")
            .arg(config)
            .output()
            .unwrap();
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let (code, shown) = plan(&[]);
    assert_eq!(code, 1, "one remote cannot be asked");
    assert!(
        shown.contains("the ref is new here") && shown.contains("older than the watch"),
        "{shown}"
    );
    assert!(shown.contains("b: cannot be asked"), "{shown}");
    assert_eq!(plan(&["a"]).0, 0);
    let json: Value = serde_json::from_str(&plan(&["a", "--json"]).1).unwrap();
    let jobs = &json["projects"][0]["jobs"];
    assert_eq!((&jobs[0]["action"], &jobs[0]["ref"]), (&"build".into(), &MAIN.into()));
    assert_eq!(jobs[1]["action"], "skipped");
    assert!(!dir.path().join("w").exists());
}

#[test]
fn completions_and_manual_pages_are_made_of_the_same_words() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        pipelined()
            .arg("man")
            .arg(dir.path())
            .output()
            .unwrap()
            .status
            .success()
    );
    for verb in VERBS {
        let page = std::fs::read_to_string(dir.path().join(format!("pipelined-{verb}.1"))).unwrap();
        assert!(page.contains(".SH NAME"), "{verb}");
    }
    assert!(dir.path().join("pipelined.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        let output = pipelined().args(["completions", shell]).output().unwrap();
        assert!(
            output.status.success()
                && text(&output.stdout).contains("explain")
                && text(&output.stdout).contains("updates"),
            "{shell}"
        );
    }
}
