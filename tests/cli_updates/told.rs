//! What `status`, `images`, `explain` and `plan` say of updates, from the record alone.

use crate::scene::{HOUR, MINUTE, Scene, commit, contains, debian, digest, main, reference, ruby};
use crate::{pipelined, sha, text};
use jiff::Timestamp;
use pipelined::model::{
    Check, CheckTrouble, Elsewhere, Evidence, ImageName, ImageStatus, Job, JobId, JobState, Look, Node, Outcome,
    ProjectName, Reason, Rebuild, Standing, Write,
};
use serde_json::Value;

#[test]
fn nothing_is_said_where_nothing_is_released() {
    let scene = Scene::new();
    assert!(!scene.out(&["status"]).contains("Updates"));
    assert_eq!(scene.json(&["status", "--json"])["updates"], Value::Null);
    assert_eq!(scene.image("tool")["updates"], Value::Null);
}

#[test]
fn before_the_first_look_it_is_unknown_and_not_current_by_a_check() {
    let scene = Scene::released();
    contains(
        &scene.out(&["status"]),
        &["Updates: 1 base looked at; no good check yet, next in"],
    );
    assert_eq!(scene.json(&["status", "--json", "tool"])["updates"], Value::Null);
    contains(
        &scene.out(&["images", "ruby"]),
        &["ruby/full main  current\n", "not looked at yet"],
    );
    assert_eq!(scene.image("ruby/full")["updates"]["bases"][0]["state"], "unknown");
}

#[test]
fn a_good_look_is_told_with_its_time() {
    let mut scene = Scene::released();
    scene.look('1', HOUR);
    contains(
        &scene.out(&["status"]),
        &["Updates: 1 base looked at; last good check 1m ago, next in 4m\n"],
    );
    let status = scene.json(&["status", "--json"]);
    let updates = &status["updates"];
    assert_eq!((&updates["images"], &updates["bases"]), (&2.into(), &1.into()));
    assert_eq!(updates["failing"], Value::Array(Vec::new()));
    let line = format!(
        "  base      debian:12 {}\n            current; checked 1m ago, next check in 4m\n",
        sha('1')
    );
    contains(&scene.out(&["images"]), &[&line]);
}

#[test]
fn a_check_that_fails_is_told_and_changes_no_state() {
    let mut scene = Scene::released();
    let trouble = CheckTrouble {
        since: scene.now - 10 * MINUTE,
        failures: 3,
        error: "registry: 429 \u{1b}[2J".to_owned(),
    };
    let last = Look {
        head: digest('1'),
        since: scene.now - HOUR,
        checked: scene.now - HOUR,
        compared: Vec::new(),
    };
    scene.base(Some(last), Some(trouble));
    let line = "  docker.io/library/debian:12: registry: 429 \u{fffd}[2J (failing since 10m ago, asked again in 4m)\n";
    let shown = scene.out(&["status"]);
    contains(&shown, &["last good check 1h ago", line]);
    let status = scene.json(&["status", "--json"]);
    let failing = &status["updates"]["failing"][0];
    assert_eq!(
        (&failing["check"], &failing["error"]),
        (&"base".into(), &"registry: 429 \u{1b}[2J".into())
    );
    let image = scene.image("ruby/slim");
    assert_eq!((&image["state"], &image["why"]), (&"current".into(), &"".into()));
    contains(
        &scene.out(&["images"]),
        &[
            "current; checked 1h ago",
            "; cannot be checked since 10m ago: registry: 429",
        ],
    );
}

#[test]
fn what_moved_and_counts_is_outdated_and_about_to_be_built() {
    let mut scene = Scene::released();
    scene.look('2', HOUR);
    let image = scene.image("ruby/full");
    assert_eq!(image["state"], "outdated");
    let moved = "debian:12 111111111111 → 222222222222 (its layers differ)";
    assert_eq!(image["why"], format!("base moved: {moved}"));
    contains(
        &scene.out(&["status"]),
        &[&format!("  ruby/full main: {moved}: built again when a daemon runs\n")],
    );
    let line = format!(
        "base debian:12: used {}; now at {} since 1h ago: its layers differ; checked 1m ago",
        sha('1'),
        sha('2')
    );
    contains(
        &scene.out(&["explain", "ruby"]),
        &[
            "image ruby/full:\n",
            "    released by job 1 from aaaaaaaa\n",
            &line,
            "    built again when a daemon runs\n",
        ],
    );
}

#[test]
fn what_has_just_moved_waits_and_is_current_still() {
    let mut scene = Scene::released();
    scene.look('2', MINUTE);
    let image = scene.image("ruby/full");
    assert_eq!(image["state"], "current");
    contains(
        image["why"].as_str().unwrap(),
        &["base moved: debian:12", "; counts in 4m if it stays there"],
    );
    contains(
        &scene.out(&["status"]),
        &["(its layers differ): counts in 4m if it stays there\n"],
    );
    contains(
        &scene.out(&["explain", "ruby", "main"]),
        &["counts in 4m if it stays there"],
    );
}

#[test]
fn what_is_held_says_by_what() {
    let mut scene = Scene::released();
    scene.look('2', HOUR);
    let job = scene.job(Reason::BaseUpdated, 2 * MINUTE, &[], '1');
    scene.tried(job, Some(Outcome::Failed));
    let held = "job 2 was built for the same and failed: not tried again until something else is new, or by hand";
    contains(
        scene.image("ruby/full")["why"].as_str().unwrap(),
        &["base moved: ", &format!("; held: {held}")],
    );
    let slim = scene.image("ruby/slim");
    assert!(
        !slim["why"].as_str().unwrap().contains("held"),
        "of the other one nothing was tried: {slim}"
    );
    contains(&scene.out(&["status"]), &[&format!("not built again: {held}")]);
    let told = scene.out(&["explain", "ruby"]);
    contains(
        &told,
        &[
            &format!("    not built again: {held}\n"),
            "job 2, aaaaaaaa, base updated (debian:12 111111111111 → x)",
        ],
    );
}

#[test]
fn a_live_rebuild_is_named_everywhere() {
    let mut scene = Scene::released();
    scene.look('2', HOUR);
    let job = Job {
        atomic: None,
        wave: JobId(0),
        id: JobId(2),
        project: ruby(),
        reference: main(),
        commit: commit('a'),
        number: 2,
        reason: Reason::BaseUpdated,
        cause: "debian:12 111111111111 → 222222222222 (its layers differ)".to_owned(),
        place: 2,
        created: scene.now,
        state: JobState::Queued { not_before: None },
        attempts: 0,
        note: String::new(),
        failure: None,
        rebuild: Some(Rebuild {
            force: false,
            images: [(ImageName::new("full").unwrap(), Some(JobId(1)))].into(),
            key: "k".to_owned(),
        }),
    };
    scene.write(MINUTE, &[Write::Job { job, lasting: true }]);
    scene.tried(JobId(2), None);
    let shown = scene.out(&["status"]);
    contains(
        &shown,
        &[
            "(its layers differ): job 2 builds it again\n",
            "base updated  debian:12 111111111111 → 222222222222",
            "ruby/slim main: debian:12 111111111111 → 222222222222 (its layers differ): waits for job 2 of the same ref\n",
        ],
    );
    let image = scene.image("ruby/full");
    assert_eq!(
        (&image["state"], &image["updates"]["rebuild"]),
        (&"waiting".into(), &2.into())
    );
    contains(&scene.out(&["explain", "ruby"]), &["    job 2 builds it again\n"]);
}

#[test]
fn the_same_content_again_is_current_on_what_it_was_built_on_last() {
    let mut scene = Scene::released();
    scene.job(Reason::BaseUpdated, HOUR, &[("full", ImageStatus::Unchanged)], '2');
    scene.look('2', 90 * MINUTE);
    let full = scene.image("ruby/full");
    assert_eq!((&full["state"], &full["why"]), (&"current".into(), &"".into()));
    assert_eq!((&full["job"], &full["unchanged"]["job"]), (&1.into(), &2.into()));
    assert_eq!(full["bases"][0]["digests"][0], sha('2'));
    contains(
        &scene.out(&["images"]),
        &[
            "  built     2h ago by job 1",
            "  verified  1h ago by job 2: built again, with the same content\n",
        ],
    );
    assert_eq!(scene.image("ruby/slim")["state"], "outdated");
}

#[test]
fn a_tip_that_failed_is_not_called_unbuilt() {
    let mut scene = Scene::released();
    scene.job(Reason::BaseUpdated, HOUR, &[("full", ImageStatus::Unchanged)], '1');
    let failed = |job: &Job, state| Job {
        commit: commit('b'),
        state,
        ..job.clone()
    };
    let record = scene.store.job(JobId(1)).unwrap().unwrap().job;
    let job = Job {
        id: JobId(3),
        ..failed(&record, JobState::Done(Outcome::Failed))
    };
    let tip = Write::Ref {
        project: ruby(),
        reference: main(),
        commit: Some(commit('b')),
    };
    scene.write(MINUTE, &[Write::Job { job, lasting: true }, tip]);
    let image = scene.image("ruby/full");
    assert_eq!(
        (&image["state"], &image["why"]),
        (&"outdated".into(), &"the ref is at bbbbbbbb, whose build failed".into())
    );
}

#[test]
fn what_was_built_elsewhere_is_shown_as_such() {
    let mut scene = Scene::new();
    let tool = ProjectName::new("tool").unwrap();
    let node = Node {
        project: tool.clone(),
        reference: main(),
        image: ImageName::new("tool").unwrap(),
    };
    let tip = Write::Ref {
        project: tool,
        reference: main(),
        commit: Some(commit('a')),
    };
    let standing = Standing {
        job: None,
        commit: commit('a'),
        id: Some(digest('e')),
        digest: Some(digest('f')),
        released: vec![reference("registry.invalid/tool:1")],
        bases: vec![debian('1')],
        verified: scene.now - 2 * HOUR,
        evidence: Evidence::BaseLabels,
        layers: Vec::new(),
        since: Timestamp::UNIX_EPOCH,
        wave: None,
        alike: std::collections::BTreeSet::new(),
    };
    let soon = scene.now + HOUR;
    let elsewhere = |trouble: Option<&str>, last: Option<Option<Standing>>| Write::Elsewhere {
        node: node.clone(),
        check: Some(Check {
            last: last.map(|found| Elsewhere {
                checked: Timestamp::UNIX_EPOCH,
                found,
            }),
            trouble: trouble.map(|error| CheckTrouble {
                since: Timestamp::UNIX_EPOCH,
                failures: 1,
                error: error.to_owned(),
            }),
            next: soon,
        }),
    };
    let selection = Write::Selection {
        project: node.project.clone(),
        selection: String::new(),
    };
    let writes = [selection, tip, elsewhere(Some("registry: 503"), None)];
    scene.write(HOUR, &writes);
    contains(
        &scene.out(&["images"]),
        &["tool   never built: cannot tell whether it was built elsewhere: registry: 503"],
    );
    contains(
        &scene.out(&["status"]),
        &["  tool main, if it was built elsewhere: registry: 503 (failing since"],
    );
    let writes = [elsewhere(None, Some(Some(standing)))];
    scene.write(HOUR, &writes);
    scene.look('2', HOUR);
    let image = scene.image("tool");
    assert_eq!((&image["state"], &image["job"]), (&"outdated".into(), &Value::Null));
    assert_eq!(image["digest"], sha('f'));
    let known = "elsewhere, known by its org.opencontainers.image.base labels\n";
    contains(
        &scene.out(&["images"]),
        &[
            "released  registry.invalid/tool:1\n",
            &format!("  built     {known}"),
            "base moved: debian:12",
        ],
    );
    contains(
        &scene.out(&["explain", "tool"]),
        &["image tool:\n", &format!("    built {known}")],
    );
}

#[test]
fn what_is_not_kept_up_to_date_says_why() {
    let mut scene = Scene::released();
    let path = scene.path();
    let toml = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, toml.replace("release = ['registry.invalid/slim:latest']", "")).unwrap();
    scene.look('2', HOUR);
    let told = scene.out(&["explain", "ruby"]);
    contains(
        &told,
        &["image slim: released, and not kept up to date: the config does not release it any more"],
    );
    assert_eq!(scene.image("ruby/slim")["updates"], Value::Null);
}

#[test]
fn plan_shows_what_would_be_built_again_and_of_this_project_only() {
    let mut scene = Scene::released();
    scene.look('2', HOUR);
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-C"]);
        let output = command.arg(scene.dir.path().join("r")).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).trim().to_owned()
    };
    std::fs::create_dir(scene.dir.path().join("r")).unwrap();
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    let tip = git(&["rev-parse", "HEAD"]);
    let planned = |project: &str| {
        let output = pipelined(&["plan", project, "--json"], &scene.path());
        let view: Value = serde_json::from_slice(&output.stdout).unwrap();
        view["projects"][0].clone()
    };
    // A new commit uses what is new: it is all that is built.
    let jobs = planned("ruby")["jobs"].clone();
    assert_eq!(jobs.as_array().unwrap().len(), 1, "{jobs}");
    assert_eq!(
        (&jobs[0]["reason"], &jobs[0]["commit"]),
        (&"new commit".into(), &tip.as_str().into())
    );
    std::fs::remove_dir_all(scene.dir.path().join("r")).unwrap();
    // The remote cannot be asked, and what is new is there all the same.
    let project = planned("ruby");
    assert!(project["error"].is_string(), "{project}");
    let jobs = &project["jobs"];
    assert_eq!(
        (&jobs[0]["action"], &jobs[0]["reason"]),
        (&"build".into(), &"base updated".into())
    );
    assert_eq!(jobs[0]["commit"], "a".repeat(40));
    contains(
        jobs[0]["cause"].as_str().unwrap(),
        &["debian:12 111111111111 → 222222222222"],
    );
    let project = planned("tool");
    assert_eq!(project["jobs"], Value::Array(Vec::new()), "{project}");
}
