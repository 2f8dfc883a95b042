//! A base that moves, in each way.

use crate::common::MAIN;
use crate::made::Made;
use crate::scene::{COPY, QUICK, Scene, brief, together};
use serde_json::json;
use std::time::Instant;

fn old() -> Made {
    Made::new(&["one", "two"])
}

fn new() -> Made {
    Made::new(&["one", "three"])
}

#[test]
fn a_base_that_moves() {
    together(&[
        new_content_is_built_on_once,
        what_is_here_already_is_not_what_is_new,
        the_same_content_is_told_and_not_built_on,
        an_index_that_comes_in_pieces_is_built_on_when_it_is_whole,
    ]);
}

fn new_content_is_built_on_once() {
    let mut scene = Scene::new(COPY, QUICK);
    let before = scene.base().push(&old());
    let first = scene.released();
    scene.assert_on("p:1", &old());
    let (released, commit) = (scene.at("p:1"), scene.bench.repo.head());

    scene.proxy.forget();
    let after = scene.base().push(&new());
    let jobs = scene.wait_jobs(2);
    let rebuild = &jobs[1];
    assert_eq!(rebuild.outcome(), "succeeded", "{rebuild:?}");
    assert_eq!(
        (&rebuild.commit, &rebuild.attempts),
        (&commit, &vec![scene.run_name(2)])
    );
    let report = scene.report(rebuild);
    assert_eq!(report["reason"], "base updated");
    let cause = report["cause"].as_str().unwrap();
    let moved = format!("{}/base:1 {} → {}", scene.proxy.host(), brief(&before), brief(&after));
    assert!(cause.starts_with(&moved), "{cause}, not {moved}");
    assert_eq!(scene.log().matches(" queued job=2 ").count(), 1, "{}", scene.log());
    scene.assert_on("p:1", &new());
    let now = scene.at("p:1");
    assert_ne!(now, released);
    assert_eq!(scene.told(), ["base updated", &now]);
    assert_eq!(scene.bench.site.latest("p", MAIN), Some(scene.run_name(2)));
    assert!(scene.dir(&first).join("build.log").is_file());

    // One question, and nothing else, for each time.
    scene.rounds(1);
    scene.proxy.forget();
    let begin = Instant::now();
    scene.assert_quiet(3);
    let longest = begin.elapsed().as_secs_f64() / 0.9 + 2.0;
    let requests = scene.proxy.requests();
    assert!((requests.len() as f64) < longest, "{longest}: {requests:#?}");
    assert!(
        requests.iter().all(|r| r.is("HEAD", "/base/manifests/1")),
        "{requests:#?}"
    );
    assert_eq!(scene.at("p:1"), now);
    let (code, out, _) = scene.run(&["updates"]);
    assert_eq!((code, out.as_str()), (0, "1 image has no updates\n"));
}

fn the_same_content_is_told_and_not_built_on() {
    let mut scene = Scene::new(COPY, QUICK);
    scene.base().push(&old());
    scene.released();
    let arm = Made::on("linux/arm64", &["foreign"]);
    let packed = Made { level: 9, ..old() };
    let redated = Made {
        created: "2026-02-02T00:00:00Z".to_owned(),
        ..old()
    };
    let moves: [&dyn Fn(&Scene) -> pipelined::model::Digest; 4] = [
        &|scene| scene.base().push_index(&[&old()]),
        &|scene| scene.base().push_index(&[&old(), &arm]),
        &|scene| scene.base().push(&packed),
        &|scene| scene.base().push(&redated),
    ];
    for push in moves {
        let digest = push(&scene);
        // By hand it is known before the daemon looks.
        let (code, out, errors) = scene.run(&["updates"]);
        assert_eq!((code, out.as_str()), (0, "1 image has no updates\n"), "{errors}");
        scene.assert_quiet(1);
        let updates = &scene.image("p")["updates"];
        assert_eq!(updates["updates"], false, "{updates}");
        assert_eq!(updates["bases"][0]["state"], "current", "{updates}");
        assert_eq!(updates["bases"][0]["to"], *digest.as_str(), "{updates}");
        for words in [&["images", "p"][..], &["explain", "p", "main"][..]] {
            let (code, out, errors) = scene.run(words);
            assert_eq!(code, 0, "{errors}");
            let told = format!("now at {digest}, with the same content (");
            assert!(out.contains(&told), "{words:?}: {out}");
        }
    }
    assert_eq!(scene.jobs().len(), 1);
    assert_eq!(scene.status()["news"], json!([]));
}

fn an_index_that_comes_in_pieces_is_built_on_when_it_is_whole() {
    let mut scene = Scene::new(COPY, "update = { every = '1s', quiet = '3s' }");
    let (arm, newer_arm) = (
        Made::on("linux/arm64", &["foreign"]),
        Made::on("linux/arm64", &["foreign", "newer"]),
    );
    let between = Made::new(&["one", "between"]);
    scene.base().push_index(&[&old(), &arm]);
    scene.released();
    for images in [&[&newer_arm][..], &[&newer_arm, &old()][..]] {
        scene.base().push_index(images);
        scene.assert_quiet(0);
    }
    // Each of these counts if it stays.
    scene.base().push_index(&[&between]);
    scene.wait_status("the daemon to see it", |status| {
        (status["news"][0]["bases"][0]["state"] == "settling").then_some(())
    });
    let (code, out, _) = scene.run(&["updates"]);
    assert_eq!(code, 100, "{out}");
    assert!(out.contains("if it stays there"), "{out}");
    assert_eq!(scene.jobs().len(), 1);
    let whole = scene.base().push_index(&[&new(), &newer_arm]);
    let jobs = scene.wait_jobs(2);
    let report = scene.report(&jobs[1]);
    let cause = report["cause"].as_str().unwrap();
    assert!(cause.contains(&format!("→ {}", brief(&whole))), "{cause}");
    scene.assert_on("p:1", &new());
    scene.assert_quiet(2);
}

/// Bases are only fetched if they are missing: but not by the rebuild for a newer one.
fn what_is_here_already_is_not_what_is_new() {
    let mut scene = Scene::new(COPY, &format!("pull = 'missing'\n{QUICK}"));
    scene.base().push(&old());
    scene.released();
    scene.base().push(&new());
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    scene.assert_on("p:1", &new());
    scene.assert_quiet(1);
    assert_eq!(scene.status()["news"], json!([]));
}
