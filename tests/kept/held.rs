//! Rebuilds that bring nothing: what fails holds until something else is new, and what comes to the same is verified.

use crate::made::Made;
use crate::scene::{QUICK, Scene, together};
use serde_json::json;

#[test]
fn rebuilds_that_bring_nothing() {
    together(&[
        a_rebuild_that_fails_holds_for_what_it_stood_on,
        a_tip_that_failed_is_tried_again_first,
        a_rebuild_that_comes_to_the_same_releases_nothing_and_is_not_made_again,
    ]);
}

fn a_rebuild_that_fails_holds_for_what_it_stood_on() {
    let text = "ARG BASE\nFROM $BASE\nCOPY data /data\n";
    let mut scene = Scene::new(text, &format!("test = 'test ! -e /bad'\n{QUICK}"));
    scene.bench.podman.load_busybox();
    scene.put_base("good");
    scene.released();
    let tag = scene.at("p:1");

    scene.put_base("bad");
    let jobs = scene.wait_jobs(2);
    assert_eq!(jobs[1].outcome(), "failed", "{}", scene.log());
    assert_eq!(scene.report(&jobs[1])["reason"], "base updated");
    scene.assert_quiet(2);
    assert_eq!(scene.at("p:1"), tag);
    let held = "job 2 was built for the same and failed: not tried again until something else is new, or by hand";
    let told = |scene: &Scene| {
        let status = scene.status();
        assert_eq!(status["news"][0]["held"], held, "{status}");
        for words in [&["status"][..], &["explain", "p", "main"], &["updates"]] {
            let (_, out, errors) = scene.run(words);
            assert!(
                out.contains(&format!("not built again: {held}")),
                "{words:?}: {out}{errors}"
            );
        }
        let image = scene.image("p");
        assert_eq!(image["state"], "failed", "{image}");
        let why = image["why"].as_str().unwrap();
        assert!(
            why.starts_with("job ") && why.ends_with(&format!("; held: {held}")),
            "{why}"
        );
        assert_eq!(image["digest"], *tag, "{image}");
    };
    told(&scene);
    scene.crash();
    scene.start();
    scene.assert_quiet(1);
    told(&scene);

    // A person may try it all the same, and that holds, too.
    let (code, out, errors) = scene.run(&["updates", "--rebuild"]);
    assert_eq!(code, 100, "{errors}");
    assert!(out.contains("job 3 builds p main again"), "{out}");
    let jobs = scene.wait_jobs(3);
    assert_eq!(jobs[2].outcome(), "failed", "{}", scene.log());
    scene.assert_quiet(1);
    assert_eq!(scene.at("p:1"), tag);

    scene.put_base("better");
    let jobs = scene.wait_jobs(4);
    scene.assert_good(&jobs[3]);
    assert_eq!(jobs[3].attempts, [scene.run_name(4)]);
    assert_ne!(scene.at("p:1"), tag);
    scene.assert_quiet(1);
    assert_eq!(scene.status()["news"], json!([]));
    assert_eq!(scene.image("p")["state"], "current");
}

fn a_rebuild_that_comes_to_the_same_releases_nothing_and_is_not_made_again() {
    let text = "ARG BASE\nFROM $BASE AS builder\nFROM scratch\nCOPY --from=builder /file-one /data\n";
    let mut scene = Scene::new(text, &format!("source_date_epoch = 'commit'\n{QUICK}"));
    scene.base().push(&Made::new(&["one"]));
    scene.released();
    let tag = scene.at("p:1");
    for (n, layers) in [(2, &["one", "two"][..]), (3, &["three", "one"])] {
        let digest = scene.base().push(&Made::new(layers));
        let jobs = scene.wait_jobs(n);
        let job = &jobs[n - 1];
        scene.assert_good(job);
        let report = scene.report(job);
        assert_eq!(report["reason"], "base updated");
        assert_eq!(report["images"][0]["status"], "unchanged", "{report:#}");
        assert_eq!(scene.at("p:1"), tag);
        scene.assert_quiet(2);
        let image = scene.image("p");
        assert_eq!(image["state"], "current", "{image}");
        assert_eq!(image["job"], 1, "{image}");
        assert_eq!(image["unchanged"]["job"], job.id, "{image}");
        assert_eq!(image["updates"]["bases"][0]["from"], *digest.as_str(), "{image}");
        let (code, out, _) = scene.run(&["updates"]);
        assert_eq!((code, out.as_str()), (0, "1 image has no updates\n"));
    }
    scene.crash();
    scene.start();
    scene.assert_quiet(1);
}

fn a_tip_that_failed_is_tried_again_first() {
    let text = "ARG BASE\nFROM $BASE\nCOPY data /data\n";
    let mut scene = Scene::empty(text);
    scene.bench.podman.load_busybox();
    scene.configure_project(&format!(
        "interval = '1s'\n[projects.p.image]\nrelease = ['HOST/p:1']\nbuild_args = {{ BASE = 'HOST/base:1' }}\n\
         test = ['sh', '-c', 'grep -x first /data || test -e /cure']\n{QUICK}\n"
    ));
    scene.put_base("plain");
    let first = scene.released();
    let tip = scene.bench.push("second\n");
    let jobs = scene.wait_jobs(2);
    assert_eq!(
        (jobs[1].outcome(), &jobs[1].commit),
        ("failed", &tip),
        "{}",
        scene.log()
    );
    scene.assert_quiet(1);
    let tag = scene.at("p:1");

    // It does not cure the tip: what is released gets it all the same.
    scene.put_base("other");
    let jobs = scene.wait_jobs(4);
    assert_eq!(
        (jobs[2].outcome(), &jobs[2].commit),
        ("failed", &tip),
        "{}",
        scene.log()
    );
    assert_eq!(jobs[3].commit, first.commit);
    scene.assert_good(&jobs[3]);
    let cause = scene.report(&jobs[2])["cause"].to_string();
    assert!(cause.contains("it failed before: "), "{cause}");
    assert_ne!(scene.at("p:1"), tag);
    scene.assert_quiet(1);

    scene.put_base("cure");
    let jobs = scene.wait_jobs(5);
    assert_eq!(jobs[4].commit, tip);
    scene.assert_good(&jobs[4]);
    scene.assert_quiet(1);
    let image = scene.image("p");
    assert_eq!(
        (&image["state"], &image["commit"]),
        (&json!("current"), &json!(tip)),
        "{image}"
    );
}
