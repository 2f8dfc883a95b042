//! `rebuild --dry-run`: what is meant by a name, and what follows.

use crate::scene::{Scene, contains, text};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn dry(scene: &Scene, args: &[&str]) -> String {
    scene.out(&[&["rebuild", "--dry-run"], args].concat())
}

fn names(scene: &Scene, args: &[&str]) -> Vec<String> {
    let plan: Value = serde_json::from_str(&dry(scene, &[args, &["--json"]].concat())).unwrap();
    let images = plan["images"].as_array().unwrap().iter();
    images.map(|image| image["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_image_alone_and_all_that_stands_on_it() {
    let scene = Scene::released();
    assert_eq!(dry(&scene, &["base"]), "base  asked for\n");
    assert_snapshot!(dry(&scene, &["base", "--recurse"]), @r"
    base  asked for
    ├─ ruby  stands on base
    │  └─ app  stands on ruby
    └─ tools/full  stands on base
    ");
    // Nothing was queued.
    assert_eq!(scene.json(&["status", "--json"])["jobs"], json!([]));
}

#[test]
fn a_project_stands_for_its_images_and_a_reference_for_its_own() {
    let scene = Scene::released();
    assert_eq!(names(&scene, &["tools"]), ["tools/full", "tools/slim"]);
    assert_eq!(names(&scene, &["tools/slim"]), ["tools/slim"]);
    assert_eq!(names(&scene, &["r.invalid/tools/slim:1", "app"]), ["app", "tools/slim"]);
    assert_eq!(names(&scene, &["lib", "--recurse"]), ["app", "lib"]);
}

#[test]
fn a_base_of_others_stands_for_what_is_built_from_it() {
    let scene = Scene::released();
    assert_eq!(names(&scene, &["debian:12"]), ["base", "tools/slim"]);
    assert_snapshot!(dry(&scene, &["docker.io/library/debian:12", "--recurse"]), @r"
    base  built from docker.io/library/debian:12
    ├─ ruby  stands on base
    │  └─ app  stands on ruby
    └─ tools/full  stands on base
    tools/slim  built from docker.io/library/debian:12
    ");
}

#[test]
fn what_a_match_leaves_out_cuts_nothing_else_off() {
    let scene = Scene::released();
    assert_snapshot!(dry(&scene, &["base", "--recurse", "--match", "app"]), @r"
    base  asked for
    └─ ruby  left out: --match leaves it out, unless it follows by itself
       └─ app  stands on ruby
    ");
    // By a release reference, and also of what a base brings.
    let args = ["debian:12", "--recurse", "--match", "r.invalid/tools/*"];
    assert_eq!(names(&scene, &args), ["tools/full", "tools/slim"]);
    let wrong = scene.run(&["rebuild", "--dry-run", "base", "--match", "a[", "--recurse"]);
    assert_eq!(wrong.status.code(), Some(2));
    contains(&text(&wrong.stderr), &["\"a[\" is no pattern"]);
}

#[test]
fn images_of_a_circle_do_not_bring_each_other() {
    let scene = Scene::released();
    assert_eq!(names(&scene, &["one", "--recurse"]), ["one"]);
}

#[test]
fn what_cannot_be_built_again_says_why() {
    let scene = Scene::released();
    for (name, told) in [
        (
            "rubi",
            "there is no image rubi, and nothing of ours stands on it: is ruby meant?",
        ),
        ("slim", "is tools/slim meant?"),
        (
            "debian:13",
            "there is no image debian:13, and nothing of ours stands on it",
        ),
        ("tools/fat", "there is no image tools/fat"),
        ("A B", "there is no image A B"),
        (
            "new",
            "new cannot be built again: it is not released yet: `pipelined build new` builds its tip",
        ),
        (
            "r.invalid/new:1",
            "r.invalid/new:1 cannot be built again: it is not released yet",
        ),
    ] {
        let output = scene.run(&["rebuild", "--dry-run", name]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        contains(&text(&output.stderr), &[told]);
    }
    let nothing = scene.run(&["rebuild", "--dry-run"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert_eq!(
        Scene::empty().run(&["rebuild", "--dry-run", "base"]).status.code(),
        Some(1)
    );
}

#[test]
fn without_a_daemon_the_plan_is_all_there_is() {
    let scene = Scene::released();
    let output = scene.run(&["rebuild", "base"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}
