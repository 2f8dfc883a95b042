//! `graph` in all of its forms.

use crate::scene::{Scene, contains, text};
use insta::assert_snapshot;
use pipelined::model::JobState;
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};

const QUEUED: JobState = JobState::Queued { not_before: None };
const RUNNING: JobState = JobState::Running { cancelling: false };

/// base is built again, ruby waits for it, tools/full was built in vain, lib has moved on.
fn busy() -> Scene {
    let mut scene = Scene::released();
    scene.release("base", "base", '8', &[("debian:12", 'd')]);
    scene.failed("tools");
    scene.rebuild("base", "base", RUNNING);
    scene.rebuild("ruby", "ruby", QUEUED);
    scene
}

#[test]
fn without_a_record_there_is_nothing_to_show() {
    assert_eq!(Scene::empty().out(&["graph"]), "No ref of any project was seen yet.\n");
}

#[test]
fn what_is_fresh_is_a_tree_with_its_circles_at_the_end() {
    let scene = Scene::released();
    assert_snapshot!(scene.out(&["graph"]));
    assert_snapshot!(scene.out(&["graph", "--external"]));
}

#[test]
fn each_state_has_its_word_and_its_reason() {
    assert_snapshot!(busy().out(&["graph"]));
}

#[test]
fn what_failed_blocks_what_is_below_it() {
    let mut scene = Scene::released();
    scene.release("base", "base", '8', &[("debian:12", 'd')]);
    scene.failed("ruby");
    scene.thing("lib", 'b');
    contains(
        &scene.out(&["graph", "app"]),
        &["app  r.invalid/app:1  blocked: ruby failed (job 10)\n"],
    );
}

#[test]
fn what_is_held_back_says_with_which_wave() {
    let mut scene = Scene::released();
    let root = scene.held("base", '8');
    let shown = scene.out(&["graph", "base"]);
    let line = format!("base  r.invalid/base:1  held back: it is built, and released with the wave of job {root}\n");
    contains(&shown, &[&line, "ruby  r.invalid/ruby:1  stale: r.invalid/base:1"]);
    let graph = scene.json(&["graph", "--format", "json"]);
    let of_base = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|n| n["project"] == "base");
    assert_eq!(of_base.unwrap()["state"], "held back");
}

#[test]
fn of_one_image_all_above_and_all_below_is_shown() {
    let scene = Scene::released();
    let of_ruby = scene.out(&["graph", "ruby"]);
    contains(&of_ruby, &["base ", "└─ ruby ", "   └─ app "]);
    assert!(!of_ruby.contains("tools") && !of_ruby.contains("one"), "{of_ruby}");
    let of_debian = scene.out(&["graph", "debian:12"]);
    contains(&of_debian, &["base ", "ruby ", "tools/slim "]);
    assert_eq!(scene.out(&["graph", "r.invalid/ruby:1"]), of_ruby);
    let wrong = scene.run(&["graph", "rubi"]);
    assert_eq!(wrong.status.code(), Some(1));
    contains(&text(&wrong.stderr), &["there is no image rubi", "is ruby meant?"]);
}

#[test]
fn as_json_with_what_each_stands_on() {
    let json: Value = busy().json(&["graph", "--format", "json"]);
    assert_snapshot!(format!("{json:#}"));
    assert_eq!(busy().json(&["graph", "--json"]), json, "the same as of any other verb");
}

#[test]
fn mermaid() {
    assert_snapshot!(busy().out(&["graph", "--format", "mermaid", "--external"]));
}

#[test]
fn graphviz_reads_what_is_written_for_it() {
    let drawn = busy().out(&["graph", "--format", "dot", "--external"]);
    assert_snapshot!(drawn);
    let mut dot = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("graphviz, see `make deps`");
    dot.stdin.take().unwrap().write_all(drawn.as_bytes()).unwrap();
    let svg = dot.wait_with_output().unwrap();
    assert!(svg.status.success());
    contains(&text(&svg.stdout), &["ruby", "docker.io/library/debian:12"]);
}
