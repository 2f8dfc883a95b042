#![cfg(test)]
//! `pipelined rebuild` with a daemon and podman: a chain is built again in order, a failure stops what is below it, and
//! whoever waits may go, or see the daemon go.

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use support::daemon::{Daemon, Site};
use support::jobs::{Row, jobs};
use support::podman::{BUSYBOX, Podman};
use support::repo::Repo;
use support::scratch::{SOON, Scratch, wait_for, wait_for_state};

const CHAIN: [&str; 3] = ["base", "ruby", "app"];

/// Dropped in this order.
struct Scene {
    daemon: Option<Daemon>,
    site: Site,
    podman: Podman,
    scratch: Scratch,
    /// While it is there, jobs of base wait in their first step.
    hold: PathBuf,
}

impl Scene {
    /// base → ruby → app, all of them released and fresh.
    fn new() -> Self {
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        podman.load_busybox();
        // What comes first finds something to stand on.
        for name in CHAIN {
            podman.run(&["tag", BUSYBOX, &format!("localhost/{name}:1")]);
            let repo = Repo::new(scratch.join(name));
            let from = match name {
                "base" => BUSYBOX,
                "ruby" => "localhost/base:1",
                _ => "localhost/ruby:1",
            };
            let containerfile = format!("FROM {from}\nCOPY {name} /{name}\n");
            repo.commit(&[("Containerfile", containerfile.as_str()), (name, name)]);
        }
        let hold = scratch.join("hold");
        let site = Site::new(&scratch, "").with_env(podman.env());
        let mut scene = Self {
            daemon: None,
            site,
            podman,
            scratch,
            hold,
        };
        scene.configure("");
        scene.daemon = Some(scene.site.start());
        scene.wait_fresh();
        scene
    }

    fn configure(&self, ruby: &str) {
        let wait = format!("while [ -e {} ]; do sleep 0.1; done", self.hold.display());
        let wait = self.scratch.script("wait", &wait);
        let mut toml = "interval = '1h'\ngrace = '500ms'\n".to_owned();
        for name in CHAIN {
            let remote = self.scratch.join(name);
            toml.push_str(&format!("[projects.{name}]\nremote = '{}'\n", remote.display()));
            if name == "base" {
                toml.push_str(&format!("prepare_callback = '{}'\n", wait.display()));
            }
            let more = if name == "ruby" { ruby } else { "" };
            toml.push_str(&format!(
                "[projects.{name}.image]\npull = 'never'\nrelease = 'localhost/{name}:1'\n{more}\n"
            ));
        }
        self.site.write_config(&toml);
    }

    /// Waits until nothing is left to be done.
    fn wait_fresh(&self) {
        wait_for_state("all of it to be fresh", SOON, || {
            let graph = self.site.json(&["graph", "--format", "json"]);
            let nodes = graph["nodes"].as_array().unwrap();
            let is_fresh = nodes.len() == CHAIN.len() && nodes.iter().all(|node| node["state"] == "fresh");
            let log = std::fs::read_to_string(&self.site.log).unwrap_or_default();
            is_fresh.then_some(()).ok_or_else(|| format!("{graph:#}\n{log}"))
        });
    }

    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.site.command(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// The jobs after this one, the oldest first.
    fn since(&self, last: i64) -> Vec<Row> {
        let all = jobs(&self.site.workdir).into_iter();
        all.filter(|job| job.id > last).collect()
    }

    fn last(&self) -> i64 {
        jobs(&self.site.workdir).last().map_or(0, |job| job.id)
    }

    /// Waits until the oldest job after this one runs.
    fn wait_running(&self, last: i64) {
        wait_for("the first job", SOON, || {
            let first = self.since(last).into_iter().next()?;
            (first.state == "running").then_some(())
        });
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Where each of these begins, which must be in this order.
#[track_caller]
fn in_order(shown: &str, words: &[String]) {
    let mut from = 0;
    for word in words {
        match shown[from..].find(word) {
            Some(at) => from += at + word.len(),
            None => panic!("{word:?} is not there, or too early, in\n{shown}"),
        }
    }
}

/// Waits until a command has its answer and only waits: then it catches INT.
#[track_caller]
fn wait_waits(command: &Child) {
    wait_for("it to wait", SOON, || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", command.id())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
        // INT is signal 2.
        (u64::from_str_radix(caught, 16).ok()? & 2 != 0).then_some(())
    });
}

#[track_caller]
fn code(output: &Output, expected: i32) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{out}{err}");
}

/// What a command that succeeds shows on a terminal.
#[track_caller]
fn on_a_terminal(scene: &Scene, command: &str) -> String {
    let (verb, args) = command.split_once(' ').unwrap();
    let (program, config) = (env!("CARGO_BIN_EXE_pipelined"), scene.site.config.display());
    let line = format!("{program} {verb} --config {config} {args}");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}");
    shown
}

#[test]
fn a_chain_is_built_again_in_order_and_a_failure_stops_what_is_below_it() {
    let scene = Scene::new();
    let last = scene.last();
    let [base, ruby, app] = [1, 2, 3].map(|n| last + n);
    let output = scene.site.cli(&["rebuild", "base", "--recurse", "--wait"]);
    code(&output, 0);
    let shown = text(&output.stdout);
    in_order(
        &shown,
        &[
            "base  asked for\n└─ ruby  stands on base\n   └─ app  stands on ruby\n".to_owned(),
            format!("job {base} builds base main\njob {ruby} builds ruby main\njob {app} builds app main\n"),
            format!("base: job {base} succeeded, unchanged"),
            format!("ruby: job {ruby} succeeded, unchanged"),
            format!("app: job {app} succeeded, unchanged"),
        ],
    );
    let outcomes = |last| -> Vec<(String, String)> {
        let rows = scene.since(last).into_iter();
        rows.map(|row| (row.project.clone(), row.outcome().to_owned()))
            .collect()
    };
    let good = CHAIN.map(|name| (name.to_owned(), "succeeded".to_owned()));
    assert_eq!(outcomes(last), good);

    scene.configure("test = 'false'");
    code(&scene.site.cli(&["reload"]), 0);
    let last = scene.last();
    let output = scene.site.cli(&["rebuild", "base", "--recurse", "--wait"]);
    code(&output, 1);
    let (ruby, app) = (last + 2, last + 3);
    let shown = text(&output.stdout);
    in_order(
        &shown,
        &[
            format!("job {app} builds app main\n"),
            format!("ruby: job {ruby} failed: "),
            format!("app: blocked: job {ruby} of ruby did not succeed\n"),
        ],
    );
    let bad = ["succeeded", "failed", "skipped"];
    let bad = CHAIN
        .iter()
        .zip(bad)
        .map(|(name, how)| ((*name).to_owned(), how.to_owned()));
    assert_eq!(outcomes(last), bad.collect::<Vec<_>>());

    // The same for scripts.
    let output = scene.site.cli(&["rebuild", "ruby", "--wait", "--json"]);
    code(&output, 1);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["jobs"][0]["name"], &json["jobs"][0]["state"]),
        (&"ruby".into(), &"failed".into())
    );
    assert_eq!(json["wave"], json["jobs"][0]["job"]);

    // On a terminal there are bars.
    let shown = on_a_terminal(&scene, "rebuild app --wait");
    in_order(&shown, &["running".to_owned(), "succeeded, unchanged".to_owned()]);
    assert!(shown.contains(" of 1 images") && shown.contains('\u{1b}'), "{shown}");
    builds_are_waited_for_in_the_same_way(&scene);
}

/// `build --wait`, where base is good and ruby fails.
fn builds_are_waited_for_in_the_same_way(scene: &Scene) {
    let job = scene.last() + 1;
    let output = scene.site.cli(&["build", "base", "--wait"]);
    code(&output, 0);
    let words = [format!("job {job} is queued"), format!("base: job {job} succeeded, ")];
    in_order(&text(&output.stdout), &words);
    let output = scene.site.cli(&["build", "ruby", "main", "--wait"]);
    code(&output, 1);
    let words = [format!("ruby: job {} failed: ", scene.last())];
    in_order(&text(&output.stdout), &words);
    let output = scene.site.cli(&["build", "ruby", "--wait", "--json"]);
    code(&output, 1);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["outcome"], "failed", "what scripts get is the job, as ever");

    std::fs::write(&scene.hold, "").unwrap();
    let last = scene.last();
    let waiting = scene.spawn(&["build", "base", "--wait"]);
    scene.wait_running(last);
    wait_waits(&waiting);
    kill(Pid::from_raw(waiting.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let left = waiting.wait_with_output().unwrap();
    code(&left, 130);
    let job = last + 1;
    let words = [
        "pipelined: the build goes on; follow it with: pipelined status".to_owned(),
        format!("what runs now: pipelined log base --job {job} -f\n"),
        format!("cancel it with: pipelined cancel --job {job}\n"),
    ];
    in_order(&text(&left.stderr), &words);
    std::fs::remove_file(&scene.hold).unwrap();

    let shown = on_a_terminal(scene, "build base --wait");
    in_order(&shown, &["running".to_owned(), "succeeded, ".to_owned()]);
    assert!(shown.contains(" of 1 images") && shown.contains('\u{1b}'), "{shown}");
    // Lines that go elsewhere are there, and not on the terminal alone.
    let file = scene.scratch.join("lines");
    on_a_terminal(scene, &format!("build base --wait >{}", file.display()));
    let lines = std::fs::read_to_string(file).unwrap();
    in_order(&lines, &[format!("base: job {} succeeded, ", scene.last())]);
    assert!(!lines.contains('\u{1b}'), "{lines}");
    // For scripts there is nothing but JSON, also if a person looks.
    for verb in ["build", "rebuild"] {
        let shown = on_a_terminal(scene, &format!("{verb} base --wait --json"));
        let json: Value = serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown:?}"));
        assert!(json.is_object(), "{json}");
    }
}

#[test]
fn who_waits_may_go_and_sees_the_daemon_go_and_come() {
    let mut scene = Scene::new();
    std::fs::write(&scene.hold, "").unwrap();
    let last = scene.last();
    let waiting = scene.spawn(&["rebuild", "base", "--recurse", "--wait"]);
    scene.wait_running(last);
    wait_waits(&waiting);
    kill(Pid::from_raw(waiting.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let left = waiting.wait_with_output().unwrap();
    code(&left, 130);
    let jobs: Vec<String> = [1, 2, 3].map(|n| format!("--job {}", last + n)).into();
    let told = text(&left.stderr);
    in_order(
        &told,
        &[
            "the rebuild goes on".to_owned(),
            format!("pipelined cancel {}\n", jobs.join(" ")),
        ],
    );
    // It does go on, and what is asked for again is what waits already, but for what runs.
    let again = scene.spawn(&["rebuild", "base", "--recurse", "--wait"]);
    wait_waits(&again);
    assert_eq!(scene.since(last).len(), 4);
    scene.daemon.as_mut().unwrap().kill_9();
    scene.daemon = Some(scene.site.start());
    std::fs::remove_file(&scene.hold).unwrap();
    let output = again.wait_with_output().unwrap();
    code(&output, 0);
    let rows = scene.since(last);
    let all: Vec<(&str, &str)> = rows.iter().map(|row| (row.project.as_str(), row.outcome())).collect();
    let expected = ["base", "ruby", "app", "base"].map(|name| (name, "succeeded"));
    assert_eq!(all, expected);
    let output = scene.podman.output(&["image", "exists", "localhost/app:1"]);
    assert!(output.status.success());
}
