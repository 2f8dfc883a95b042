//! What `explain`, `status` and `images` say of chains.

use crate::scene::{Scene, contains, sha, text};
use pipelined::model::JobState;
use serde_json::Value;

const QUEUED: JobState = JobState::Queued { not_before: None };
const RUNNING: JobState = JobState::Running { cancelling: false };

fn image(scene: &Scene, name: &str) -> Value {
    let all = scene.json(&["images", "--json"]);
    let mut all = all.as_array().unwrap().iter();
    all.rfind(|image| image["name"] == name).unwrap().clone()
}

#[test]
fn what_is_fresh_says_so_and_by_whose_release() {
    let scene = Scene::released();
    let line = format!("base r.invalid/base:1: used {}; current; ours, by job 1\n", sha('1'));
    contains(
        &scene.out(&["explain", "ruby"]),
        &[
            "image ruby:\n    released by job 3 from aaaaaaaa\n",
            &line,
            "    fresh: nothing that counts is new below it\n",
        ],
    );
    contains(
        &scene.out(&["explain", "app"]),
        &["    depends on lib: used commit aaaaaaaa; current; ours, by job 2\n"],
    );
    assert_eq!(image(&scene, "ruby")["chain"]["state"], "fresh");
}

#[test]
fn the_same_content_by_another_digest_is_told_and_makes_nothing_stale() {
    let mut scene = Scene::released();
    scene.release_alike("base", "base", '8', &[("debian:12", 'd')], "1");
    let line = format!(
        "used {}; now at {}, with the same content (job 9 has released the same content): not built again; ours, by job 9\n",
        sha('1'),
        sha('8')
    );
    contains(&scene.out(&["explain", "ruby"]), &[&line, "    fresh: "]);
    assert_eq!(image(&scene, "ruby")["state"], "current");
}

#[test]
fn what_is_stale_says_down_to_the_digests_why() {
    let mut scene = Scene::released();
    scene.release("base", "base", '8', &[("debian:12", 'd')]);
    let told = scene.out(&["explain", "ruby/ruby"]);
    let line = format!("used {}; now at {} since ", sha('1'), sha('8'));
    contains(
        &told,
        &[
            &line,
            ": job 9 has released it; ours, by job 9\n",
            "    built again when a daemon runs\n",
        ],
    );
    let json = scene.json(&["explain", "ruby", "--json"]);
    let of_ruby = &json["refs"][0]["updates"][0];
    assert_eq!(of_ruby["bases"][0]["by"]["job"], 9);
    assert_eq!(of_ruby["chain"]["state"], "stale");
    // What stands on it waits for it.
    contains(&scene.out(&["graph"]), &["app  r.invalid/app:1  fresh\n"]);
}

#[test]
fn what_is_blocked_says_by_what_in_every_place() {
    let mut scene = Scene::released();
    scene.release("base", "base", '8', &[("debian:12", 'd')]);
    scene.failed("ruby");
    scene.thing("lib", 'b');
    let blocked = "blocked: ruby failed (job 10)";
    contains(&scene.out(&["explain", "app"]), &[&format!("    {blocked}\n")]);
    contains(&scene.out(&["status"]), &["  app main: ", &format!(": {blocked}\n")]);
    let of_app = image(&scene, "app");
    assert_eq!(of_app["state"], "outdated");
    contains(of_app["why"].as_str().unwrap(), &[blocked]);
    assert_eq!(
        (&of_app["chain"]["state"], &of_app["chain"]["job"]),
        (&"blocked".into(), &4.into())
    );
    contains(
        &scene.out(&["explain", "ruby"]),
        &["job 10 was built for the same and failed"],
    );
}

#[test]
fn a_queued_job_says_for_what_it_waits() {
    let mut scene = Scene::released();
    let base = scene.rebuild("base", "base", RUNNING);
    scene.rebuild("ruby", "ruby", QUEUED);
    let waits = format!("base: job {base} is running");
    contains(&scene.out(&["status"]), &[&format!("waits: {waits}\n")]);
    contains(&scene.out(&["explain", "ruby"]), &[&format!("  waits: {waits}\n")]);
    let status = scene.json(&["status", "--json"]);
    let jobs = status["jobs"].as_array().unwrap();
    let of = |name: &str| jobs.iter().find(|job| job["project"] == name).unwrap();
    assert_eq!(
        (&of("ruby")["waits"], &of("base")["waits"]),
        (&waits.clone().into(), &Value::Null)
    );
    contains(image(&scene, "ruby")["why"].as_str().unwrap(), &[&waits]);
}

#[test]
fn a_circle_is_told_by_all_of_its_images() {
    let scene = Scene::released();
    contains(
        &scene.out(&["explain", "one"]),
        &[
            "    in a circle: one → two → one\n",
            "it stands on this image itself: what it is at does not count\n",
        ],
    );
    assert_eq!(
        image(&scene, "two")["chain"]["circle"],
        serde_json::json!(["one", "two"])
    );
    contains(
        &scene.out(&["status"]),
        &["\nCircles: these are not built again", "\n  one → two → one\n"],
    );
    contains(&scene.out(&["status", "two"]), &["\n  one → two → one\n"]);
    let others = scene.json(&["status", "base", "--json"]);
    assert_eq!(others["circles"], serde_json::json!([]));
}

#[test]
fn what_was_never_built_has_a_line() {
    let scene = Scene::released();
    contains(&scene.out(&["explain", "new"]), &["  image new: never built\n"]);
    let wrong = scene.run(&["explain", "tools/fat"]);
    assert!(!wrong.status.success());
    contains(&text(&wrong.stderr), &["tools has no image fat; it has: full, slim"]);
}

#[test]
fn status_lists_what_is_blocked_by_what_and_what_to_do() {
    let mut scene = Scene::released();
    assert!(!scene.out(&["status"]).contains("Blocked"));
    scene.release("base", "base", '8', &[("debian:12", 'd')]);
    let failed = scene.failed("ruby");
    let status = scene.out(&["status"]);
    let lines = format!(
        "\nBlocked: 1 image waits until what failed above is mended (all of them: pipelined graph)\n  \
         ruby failed (job {failed}): app\n    why: pipelined log ruby --job {failed}; mend it by a commit, or try again: \
         pipelined rebuild ruby\n"
    );
    contains(&status, &[&lines]);
    let blocked = &scene.json(&["status", "--json"])["blocked"];
    let expected = serde_json::json!([{
        "name": "app", "project": "app", "image": "app", "ref": "refs/heads/main",
        "why": format!("ruby failed (job {failed})"),
        "by": { "project": "ruby", "image": "ruby", "ref": "refs/heads/main", "job": failed },
    }]);
    assert_eq!(*blocked, expected);
    // Each project has its own.
    assert!(!scene.out(&["status", "base"]).contains("Blocked"));
    contains(&scene.out(&["status", "app"]), &["\nBlocked: 1 image waits"]);
    // It is as new as it can be, and that is not all that there is to say.
    let of_app = image(&scene, "app");
    let why = format!("blocked: ruby failed (job {failed})");
    assert_eq!((&of_app["state"], &of_app["why"]), (&"current".into(), &why.into()));
}

#[test]
fn what_was_never_released_is_built_and_not_rebuilt() {
    let mut scene = Scene::empty();
    let failed = scene.never_released();
    contains(
        &scene.out(&["status"]),
        &[
            &format!("  base failed (job {failed}) and was never released: ruby\n"),
            "or try again: pipelined build base main\n",
        ],
    );
}

#[test]
fn a_ref_does_not_vanish_because_a_failure_above_it_kept_its_last_job_from_running() {
    let mut scene = Scene::released();
    scene.skipped("app", "blocked: job 3 of ruby did not succeed");
    scene.skipped("base", "older than the watch");
    let status = scene.out(&["status"]);
    contains(
        &status,
        &["\napp ", "skipped", "blocked: job 3 of ruby did not succeed\n"],
    );
    contains(&status, &["(1 skipped ref is not shown: --all shows them)"]);
    assert!(!status.contains("\nbase "), "{status}");
}

#[test]
fn a_tip_that_failed_does_not_hide_behind_an_older_commit_that_was_built_again() {
    let mut scene = Scene::released();
    let (failed, again) = scene.broken_tip("ruby");
    let status = scene.out(&["status", "ruby"]);
    let row = status.lines().find(|line| line.starts_with("ruby ")).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..4], ["ruby", "main", "bbbbbbbb", "failed"], "{status}");
    contains(row, &["build: no such file; released is aaaaaaaa by job 3"]);
    // What scripts know stays what it was.
    let of_ref = &scene.json(&["status", "ruby", "--json"])["projects"][0]["refs"][0];
    assert_eq!(
        (&of_ref["job"]["id"], &of_ref["job"]["outcome"]),
        (&serde_json::json!(again), &"succeeded".into())
    );
    assert_eq!(
        (&of_ref["tip_job"]["id"], &of_ref["tip_job"]["outcome"]),
        (&serde_json::json!(failed), &"failed".into())
    );
    assert_eq!(
        of_ref["released"],
        serde_json::json!({ "commit": "a".repeat(40), "job": 3 })
    );
    let told = format!("  its tip failed in job {failed}: what was built since then is an older commit again\n");
    contains(&scene.out(&["explain", "ruby"]), &[&told]);

    // What is built now comes first.
    scene.rebuild("ruby", "ruby", RUNNING);
    let status = scene.out(&["status", "ruby"]);
    let row = status.lines().find(|line| line.starts_with("ruby ")).unwrap();
    contains(
        row,
        &[
            " running ",
            &format!("; its tip bbbbbbbb failed (job {failed}); released is aaaaaaaa by job 3"),
        ],
    );
}

#[test]
fn waiting_is_told_apart_from_work() {
    let mut scene = Scene::released();
    assert!(!scene.out(&["status"]).contains("WAITED"), "nothing has waited");
    let id = scene.waited("base");
    let status = scene.out(&["status", "base"]);
    let row = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    contains(&row("PROJECT"), &["TOOK  WAITED  NOTE"]);
    contains(&row("base "), &["  15s   1m 0s   "]);
    let json = scene.json(&["status", "base", "--json"]);
    let job = &json["projects"][0]["refs"][0]["job"];
    assert_eq!(
        (&job["id"], &job["attempts"][0]["waited"]),
        (&serde_json::json!(id), &60.0.into())
    );
    contains(
        &scene.out(&["explain", "base"]),
        &["took 15s, waited 1m 0s: ended well\n"],
    );
}

#[test]
fn a_ref_that_nobody_has_seen_is_an_error() {
    let scene = Scene::released();
    for name in ["nosuch", "refs/heads/nosuch"] {
        for args in [&["explain", "app", name][..], &["explain", "app", name, "--json"]] {
            let output = scene.run(args);
            assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
            let told = format!("pipelined: app: no ref {name} was ever seen; there are: main\n");
            assert_eq!(text(&output.stderr), told);
        }
    }
    // What the config leaves out is never seen: that is the answer.
    let told = scene.out(&["explain", "app", "refs/tags/nosuch"]);
    contains(&told, &["it is not selected by tags = []"]);
    scene.out(&["explain", "app", "main"]);
}
