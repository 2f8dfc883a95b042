//! What is inside of released images.

use crate::scene::Scene;
use crate::support::scratch::{SOON, wait_for_state};

const RANDOM: &str = "FROM localhost/busybox\nRUN head -c 9 /dev/urandom >/random\n";

/// As the config has it, with this as the command for a shell in the image.
fn configure(scene: &Scene, script: &str) {
    let update =
        format!("update = {{ every = '1s', quiet = '0s', network = 'none', packages = ['sh', '-c', '''{script}'''] }}");
    scene.configure(&update);
}

/// Of the last job's directory.
fn log(scene: &Scene) -> String {
    let jobs = scene.jobs();
    let job = jobs.iter().rev().find(|job| job.outcome() == "succeeded").unwrap();
    crate::common::text(&scene.dir(job).join("update-check.log"))
}

/// Waits for looks into what is released now, and asks the last words of the last one.
#[track_caller]
fn look(scene: &Scene, times: usize, words: &str) {
    let looks = |log: &str| log.lines().filter(|line| line.ends_with(words)).count();
    let goal = looks(&log(scene)) + times + 1;
    wait_for_state("looks into the image", SOON, || {
        let log = log(scene);
        (looks(&log) >= goal)
            .then_some(())
            .ok_or_else(|| format!("{log}\n{}", scene.log()))
    });
}

#[test]
fn a_command_finds_updates_and_they_are_built_in_once() {
    let mut scene = Scene::empty(RANDOM);
    scene.bench.podman.load_busybox();
    configure(&scene, "exit 0");
    let first = scene.released();
    let before = scene.layers("p:1");
    look(&scene, 1, "no updates");
    let (code, out, errors) = scene.run(&["updates"]);
    assert_eq!((code, out.as_str()), (0, "1 image has no updates\n"), "{errors}");

    configure(&scene, "exit 100");
    scene.reload();
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    let report = scene.report(&jobs[1]);
    assert_eq!(report["reason"], "packages updated");
    assert_eq!(report["cause"], "the check says that there are updates");
    assert_eq!(scene.told()[0], "packages updated");
    let after = scene.layers("p:1");
    assert!(after != before && after.len() == before.len(), "{before:?} {after:?}");
    assert!(scene.dir(&first).join("update-check.log").is_file());
    // It has cured nothing, which is told, and not tried again.
    look(&scene, 2, "updates");
    assert_eq!(scene.jobs().len(), 2);
    let status = scene.status();
    let held = "job 2 built it again and that did not change it: not tried again until something else is new";
    assert_eq!(status["news"][0]["held"], held, "{status}");
    let (code, out, _) = scene.run(&["updates"]);
    assert!(code == 100 && out.contains(held), "{out}");

    configure(
        &scene,
        "printf 'UPGRADE_NEEDED\\nopenssl 3.0.1 3.0.2\\n' >$PIPELINED_UPDATE_RESULT",
    );
    scene.reload();
    let jobs = scene.wait_jobs(3);
    scene.assert_good(&jobs[2]);
    assert_eq!(scene.report(&jobs[2])["cause"], "openssl 3.0.1 → 3.0.2");
    look(&scene, 1, "1 update: openssl 3.0.1 → 3.0.2");
    scene.crash();
    scene.start();
    look(&scene, 1, "1 update: openssl 3.0.1 → 3.0.2");
    assert_eq!(scene.jobs().len(), 3);

    // An error is told, and is neither an update nor the end of one.
    configure(&scene, "echo oops; exit 7");
    scene.reload();
    scene.wait_status("the error", |status| {
        let error = status["failing"][0]["error"].as_str().unwrap_or_default();
        error.contains("exited with 7").then_some(())
    });
    let (code, out, _) = scene.run(&["updates"]);
    assert!(
        code == 100 && out.contains("cannot check the packages of p main: "),
        "{out}"
    );
    configure(&scene, "exit 0");
    scene.reload();
    look(&scene, 1, "no updates");
    let (code, out, _) = scene.run(&["updates"]);
    assert_eq!((code, out.as_str()), (0, "1 image has no updates\n"));
    assert_eq!(scene.jobs().len(), 3);
    scene.stop();
    assert_eq!(scene.bench.podman.containers(), Vec::<String>::new());
}
