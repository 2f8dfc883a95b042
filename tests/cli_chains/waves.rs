//! What `status` and `graph` say of an atomic wave that failed: that what is released is good must not hide it.

use crate::scene::{MAIN, Scene, contains};
use pipelined::model::JobState;
use serde_json::{Value, json};

fn waves(scene: &Scene, args: &[&str]) -> Value {
    scene.json(&[&["status", "--json"], args].concat())["failed_waves"].clone()
}

fn in_graph(scene: &Scene, name: &str) -> Value {
    let graph = scene.json(&["graph", "--json"]);
    let mut nodes = graph["nodes"].as_array().unwrap().iter();
    nodes.find(|node| node["project"] == name).unwrap().clone()
}

#[test]
fn status_lists_a_failed_wave_and_what_to_do() {
    let mut scene = Scene::released();
    assert!(!scene.out(&["status"]).contains("Failed waves"));
    assert_eq!(waves(&scene, &[]), json!([]));
    let (root, by) = scene.failed_wave(true);
    let lines = format!(
        "\nFailed waves: 1 atomic wave is not released until what it failed by is mended\n  \
         base main: bbbbbbbb reaches nobody: its wave (job {root}) failed by app at aaaaaaaa (job {by})\n    \
         why: pipelined explain base; mend app by a commit, or try again: pipelined build base main\n"
    );
    contains(&scene.out(&["status"]), &[&lines]);
    let expected = json!([{
        "name": "base", "project": "base", "image": "base", "ref": MAIN, "commit": "b".repeat(40), "job": root,
        "by": [{ "project": "app", "image": "app", "ref": MAIN, "commit": "a".repeat(40), "job": by }],
        "again": null,
    }]);
    assert_eq!(waves(&scene, &[]), expected);
    // It is told to both, and to nobody else.
    assert_eq!(waves(&scene, &["base"]), expected);
    assert_eq!(waves(&scene, &["app"]), expected);
    assert_eq!(waves(&scene, &["ruby"]), json!([]));

    // It is tried again.
    let again = scene.rebuild("base", "base", JobState::Running { cancelling: false });
    assert_eq!(waves(&scene, &[])[0]["again"], json!(again));
    let line = format!("    why: pipelined explain base; job {again} tries it again\n");
    contains(&scene.out(&["status"]), &[&line]);
}

#[test]
fn what_was_built_again_in_vain_is_rebuilt() {
    let mut scene = Scene::released();
    let (root, by) = scene.failed_wave(false);
    let lines = format!(
        "  base main: aaaaaaaa, built again, reaches nobody: its wave (job {root}) failed by app at aaaaaaaa (job {by})\n    \
         why: pipelined explain base; mend app by a commit, or try again: pipelined rebuild base\n"
    );
    contains(&scene.out(&["status"]), &[&lines]);
    // What was released since has overtaken it.
    scene.release("base", "base", '8', &[("debian:12", 'd')]);
    assert_eq!(waves(&scene, &[]), json!([]));
}

#[test]
fn nobody_waits_for_a_commit_that_is_not_the_tip_any_more() {
    let mut scene = Scene::released();
    scene.failed_wave(true);
    scene.moves("base", 'c');
    assert_eq!(waves(&scene, &[]), json!([]));
    assert!(!scene.out(&["status"]).contains("Failed waves"));
    assert_eq!(in_graph(&scene, "base")["tip_failed"], Value::Null);
}

#[test]
fn scripts_can_tell_a_failed_wave_in_the_graph() {
    let mut scene = Scene::released();
    let fields = |of: &Value| {
        let fields = ["state", "tip_failed", "wave_failed_by", "failed_waves"];
        fields.map(|field| of[field].clone())
    };
    let nothing = [json!("fresh"), Value::Null, json!([]), json!([])];
    assert_eq!(fields(&in_graph(&scene, "base")), nothing);
    let (root, by) = scene.failed_wave(true);
    let culprit = json!({ "project": "app", "image": "app", "ref": MAIN, "commit": "a".repeat(40), "job": by });
    assert_eq!(
        fields(&in_graph(&scene, "base")),
        [json!("fresh"), json!(root), json!([culprit]), json!([])]
    );
    let wave = json!({ "image": "base@refs/heads/main", "job": root });
    assert_eq!(
        fields(&in_graph(&scene, "app")),
        [json!("fresh"), Value::Null, json!([]), json!([wave])]
    );
    assert_eq!(fields(&in_graph(&scene, "ruby")), nothing);
}
