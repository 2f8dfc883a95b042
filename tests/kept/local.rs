//! A base that is only in the engine's storage, where another project builds it.

use crate::common::MAIN;
use crate::scene::{QUICK, Scene};
use crate::support::repo::Repo;
use serde_json::Value;

fn last_look(scene: &Scene) -> Value {
    scene.status()["last"].clone()
}

/// Waits until the base was looked at anew.
#[track_caller]
fn look(scene: &Scene) {
    for _ in 0..2 {
        let before = last_look(scene);
        scene.wait_status("a look", |status| {
            (!status["last"].is_null() && status["last"] != before).then_some(())
        });
    }
}

#[test]
fn a_base_that_another_project_builds() {
    let mut scene = Scene::empty("FROM localhost/base:1\nCOPY data /data\n");
    let below = Repo::new(scene.bench.scratch.join("below"));
    below.commit(&[("Containerfile", "FROM scratch\nCOPY first /first\n"), ("first", "1")]);
    let remote = below.path().display().to_string();
    let base = format!("[projects.base]\ninterval = '1s'\nremote = '{remote}'\nimage.release = 'localhost/base:1'\n");
    let above = format!("[projects.p.image]\nrelease = 'localhost/p:1'\n{QUICK}\n");
    // What it stands on must be there first.
    scene.configure_project(&format!("enabled = false\n{above}{base}"));
    scene.start();
    scene.wait_jobs(1);
    scene.configure_project(&format!("{above}{base}"));
    scene.reload();
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    let id = || {
        scene
            .bench
            .podman
            .run(&["inspect", "--format={{.Id}}", "localhost/p:1"])
    };
    let before = id();
    look(&scene);
    assert_eq!(scene.jobs().len(), 2);

    below.commit(&[("first", "2")]);
    let jobs = scene.wait_jobs(4);
    let rebuild = &jobs[3];
    scene.assert_good(rebuild);
    assert_eq!((rebuild.project.as_str(), rebuild.reference.as_str()), ("p", MAIN));
    let report = scene.report(rebuild);
    assert_eq!(report["reason"], "upstream rebuilt", "{report:#}");
    let after = id();
    assert_ne!(after, before);
    let layers = |image: &str| -> Vec<String> {
        let text = scene
            .bench
            .podman
            .run(&["inspect", "--format={{json .RootFS.Layers}}", image]);
        serde_json::from_str(&text).unwrap()
    };
    assert!(layers("localhost/p:1").starts_with(&layers("localhost/base:1")));
    look(&scene);
    let (code, out, errors) = scene.run(&["updates", "p"]);
    assert_eq!(code, 0, "{out}{errors}");
    assert_eq!(scene.jobs().len(), 4);

    // It is gone: that is an error, and no update.
    scene.bench.podman.run(&["untag", "localhost/base:1"]);
    scene.wait_status("the error", |status| {
        let error = status["failing"][0]["error"].as_str().unwrap_or_default();
        error
            .contains("localhost/base:1 is not in the storage of podman")
            .then_some(())
    });
    assert_eq!(scene.jobs().len(), 4);
    assert_eq!(id(), after);
}
