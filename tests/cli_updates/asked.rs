//! `updates` against a daemon that answers as it is told.

use crate::support::answering::Answering;
use crate::{pipelined, sha, text};
use pipelined::api::{Command, Refused, UpdatesAsked, UpdatesRound, UpdatesStarted};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Answers each question about round 7 with the next of these; without any, it knows no image.
struct Fake {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<UpdatesAsked>>>,
    _serving: Answering,
}

impl Fake {
    fn start(answers: Vec<UpdatesRound>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("w")).unwrap();
        std::fs::write(dir.path().join("p.toml"), "workdir = \"w\"\n").unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let serving = Answering::start(&dir.path().join("w"), |rx| answer(rx, answers, heard));
        Self {
            dir,
            asked,
            _serving: serving,
        }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("p.toml")
    }

    fn run(&self, args: &[&str]) -> Output {
        pipelined(&[&["updates"], args].concat(), &self.config())
    }
}

async fn answer(mut rx: mpsc::Receiver<Command>, answers: Vec<UpdatesRound>, heard: Arc<Mutex<Vec<UpdatesAsked>>>) {
    let mut answers = answers.into_iter().peekable();
    while let Some(command) = rx.recv().await {
        match command {
            Command::Updates { asked, answer } => {
                heard.lock().unwrap().push(asked);
                let known = answers.peek().is_some();
                let unknown = || Refused("nothing is no released image".to_owned());
                let started = known.then_some(UpdatesStarted { round: 7 }).ok_or_else(unknown);
                let _ = answer.send(started);
            }
            Command::UpdatesRound { round, answer } => {
                assert_eq!(round, 7);
                let gone = || Refused("there is no round 7 of checks (any more)".to_owned());
                let _ = answer.send(answers.next().ok_or_else(gone));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn going(done: usize, of: usize) -> UpdatesRound {
    UpdatesRound {
        done,
        of,
        images: Vec::new(),
        failed: Vec::new(),
    }
}

fn over(images: Vec<Value>) -> Vec<UpdatesRound> {
    let round = UpdatesRound {
        images: serde_json::from_value(Value::Array(images)).unwrap(),
        ..going(2, 2)
    };
    vec![round]
}

/// An image below which nothing is new, with these changes.
fn image(name: &str, changes: &Value) -> Value {
    let (project, image) = name.split_once('/').unwrap_or((name, name));
    let mut value = json!({
        "name": name, "project": project, "image": image, "ref": "refs/heads/main",
        "released": [format!("registry.invalid/{image}:latest")], "commit": "a".repeat(40), "job": 5,
        "evidence": "the record of its build", "updates": false, "bases": [base("debian:12", "current", None)],
        "packages": null, "held": null, "rebuild": null, "refused": null, "scheduled": null,
    });
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    value
}

/// Seen for the first time an hour ago, and a minute ago again.
fn base(name: &str, state: &str, error: Option<&str>) -> Value {
    let now = jiff::Timestamp::now();
    let moved = matches!(state, "updates" | "settling");
    json!({
        "name": name, "state": state, "from": sha('1'), "to": moved.then(|| sha('2')),
        "how": moved.then_some("its layers differ"), "since": moved.then(|| now - std::time::Duration::from_secs(3600)),
        "check": {
            "last": now - std::time::Duration::from_secs(60), "next": now + std::time::Duration::from_secs(150),
            "error": error, "failing_since": error.map(|_| now),
        },
    })
}

fn packages(state: &str, count: usize, error: Option<&str>) -> Value {
    let update = |n| json!({ "name": format!("p{n}"), "old": "1.0", "new": format!("1.{n}") });
    let updates: Vec<Value> = (1..=count).map(update).collect();
    let check = json!({ "last": null, "next": null, "error": error, "failing_since": null });
    json!({ "state": state, "updates": updates, "check": check })
}

#[test]
fn no_updates_are_one_line() {
    let mut answers = vec![going(0, 1), going(1, 2)];
    answers.extend(over(vec![image("ruby", &json!({})), image("go/slim", &json!({}))]));
    let fake = Fake::start(answers);
    let output = fake.run(&[]);
    assert_eq!(text(&output.stdout), "2 images have no updates\n");
    assert_eq!(text(&output.stderr), "", "progress is for terminals");
    assert_eq!(output.status.code(), Some(0));
    let asked = fake.asked.lock().unwrap().clone();
    assert!(asked[0].images.is_empty() && !asked[0].rebuild, "{asked:?}");
}

#[test]
fn a_table_of_what_moved_and_what_follows() {
    let moved = json!([base("debian:12", "updates", None), base("scratch", "fixed", None)]);
    let held = json!({
        "updates": true, "packages": packages("updates", 5, None),
        "held": "job 7 was built for the same and failed: not tried again",
    });
    let images = vec![
        image("ruby", &json!({ "updates": true, "bases": moved })),
        image("ruby/slim", &held),
        image("go", &json!({ "bases": [base("alpine:3", "settling", None)] })),
        image("quiet", &json!({})),
    ];
    let fake = Fake::start(over(images.clone()));
    let output = fake.run(&["ruby", "go", "quiet"]);
    let shown = text(&output.stdout);
    let expected = "\
IMAGE      REF   KIND      WHAT MOVED
ruby       main  base      debian:12 111111111111 → 222222222222 (its layers differ)
ruby/slim  main  packages  p1 1.0 → 1.1, p2 1.0 → 1.2, p3 1.0 → 1.3, and 2 more
go         main  base      alpine:3 111111111111 → 222222222222 (its layers differ)

ruby/slim main: not built again: job 7 was built for the same and failed: not tried again
go main: counts in 2m if it stays there
1 image has no updates
nothing was started: `pipelined updates --rebuild` queues them
";
    assert_eq!(shown, expected);
    assert_eq!(output.status.code(), Some(100));
    assert_eq!(fake.asked.lock().unwrap()[0].images, ["ruby", "go", "quiet"]);

    let fake = Fake::start(over(images.clone()));
    let output = fake.run(&["--json"]);
    assert_eq!(output.status.code(), Some(100));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        shown[1]["packages"]["updates"].as_array().unwrap().len(),
        5,
        "all of them"
    );
    assert_eq!(shown[0]["bases"][0]["to"], sha('2'));
    assert_eq!(shown.as_array().unwrap().len(), 4);
}

#[test]
fn what_only_settles_is_an_update_too() {
    let mut settling = base("alpine:3", "settling", None);
    // Nobody but this round has seen it there.
    settling["since"] = settling["check"]["last"].clone();
    let fake = Fake::start(over(vec![image("go", &json!({ "bases": [settling] }))]));
    let output = fake.run(&[]);
    assert_eq!(output.status.code(), Some(100));
    assert!(
        text(&output.stdout).contains("go main: seen there just now: counts once"),
        "{output:?}"
    );
}

#[test]
fn a_failed_check_is_never_none() {
    let failing = |name| json!({ "bases": [base(name, "current", Some("registry: 503"))] });
    let images = vec![
        image("ruby", &failing("debian:12")),
        image("go", &failing("debian:12")),
        image(
            "inside",
            &json!({ "packages": packages("current", 0, Some("no apt there")) }),
        ),
        image("untold", &json!({ "bases": [base("alpine:3", "unknown", None)] })),
        image(
            "unseen",
            &json!({ "packages": { "state": "unknown", "updates": [], "check": null } }),
        ),
        image("fine", &json!({})),
    ];
    let fake = Fake::start(over(images.clone()));
    let output = fake.run(&[]);
    let expected = "\
cannot check debian:12 (below ruby main and 1 more): registry: 503
cannot check the packages of inside main: no apt there
cannot check alpine:3 (below untold main): what is there was not compared with what was used
cannot check the packages of unseen main: they were not looked at: by what the image is known is not on record
1 image has no updates
";
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(1));
    for single in &images[..5] {
        let fake = Fake::start(over(vec![single.clone()]));
        let output = fake.run(&["--json"]);
        assert_eq!(output.status.code(), Some(1), "{single}");
    }
    let round: UpdatesRound = serde_json::from_value(json!({
        "done": 1, "of": 1, "images": [image("fine", &json!({}))],
        "failed": [{ "name": "old", "project": "old", "image": "old", "ref": "refs/heads/main", "error": "503" }],
    }))
    .unwrap();
    let stranger = "cannot check whether old main was built elsewhere: 503";
    for (args, stream) in [(&[][..], 1), (&["--json"], 2)] {
        let output = Fake::start(vec![round.clone()]).run(args);
        assert_eq!(output.status.code(), Some(1));
        let said = text(if stream == 1 { &output.stdout } else { &output.stderr });
        assert!(said.contains(stranger), "{output:?}");
    }
    // What is known all the same is more than that.
    let mut images = images;
    images.push(image(
        "new",
        &json!({ "updates": true, "bases": [base("x", "updates", Some("503"))] }),
    ));
    let output = Fake::start(over(images)).run(&[]);
    assert_eq!(output.status.code(), Some(100));
    assert!(text(&output.stdout).contains("cannot check x (below new main): 503"));
}

#[test]
fn rebuild_tells_the_jobs_and_what_was_refused() {
    let moved = |more: Value| {
        let mut changes = json!({ "updates": true, "bases": [base("debian:12", "updates", None)] });
        changes
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        changes
    };
    let images = vec![
        image("ruby", &moved(json!({ "rebuild": 12 }))),
        image("ruby/slim", &moved(json!({ "rebuild": 12 }))),
        image(
            "go",
            &moved(json!({ "refused": "job 3 of this ref is running", "rebuild": 3 })),
        ),
    ];
    let fake = Fake::start(over(images));
    let output = fake.run(&["--rebuild"]);
    let shown = text(&output.stdout);
    let job = "job 12 builds ruby main, ruby/slim main again; follow it with: pipelined log ruby --job 12 -f\n";
    assert!(shown.contains(job), "{shown}");
    assert!(
        shown.contains("go main: not queued: job 3 of this ref is running\n"),
        "{shown}"
    );
    assert!(!shown.contains("nothing was started"), "{shown}");
    assert_eq!(output.status.code(), Some(100));
    assert!(fake.asked.lock().unwrap()[0].rebuild);
}

#[test]
fn nothing_released_is_said_so() {
    let output = Fake::start(over(Vec::new())).run(&[]);
    assert_eq!(text(&output.stdout), "no released image is kept up to date\n");
    assert_eq!(output.status.code(), Some(0));
    let output = Fake::start(over(Vec::new())).run(&["--json"]);
    assert_eq!(text(&output.stdout), "[]\n");
}

#[test]
fn refusals_lost_rounds_and_no_daemon_are_told_apart() {
    let fake = Fake::start(Vec::new());
    let output = fake.run(&["nothing"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "pipelined: nothing is no released image\n");
    // The daemon was started anew meanwhile.
    let fake = Fake::start(vec![going(0, 3)]);
    let output = fake.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no round 7"), "{output:?}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.toml"), "workdir = \"w\"\n").unwrap();
    let output = pipelined(&["updates"], &dir.path().join("p.toml"));
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("no daemon works in"), "{output:?}");
    let help = text(&pipelined(&["updates", "--help"], &dir.path().join("p.toml")).stdout);
    assert!(
        help.contains("100  there are updates") && help.contains("nothing is started"),
        "{help}"
    );
}
