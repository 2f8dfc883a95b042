//! An attempt that has to wait ends, and goes on where it was: once more from the start only if that is gone.

use crate::common::text;
use crate::scene::{Answers, Scene};
use crate::support::daemon::build_json;
use pipelined::model::{FailureKind, Ground, ImageStatus, Step};
use pipelined::pipeline::{GoOn, Permit};

const IMAGE: &str =
    "prepare_callback = 'PREPARE'\nerror_callback = 'ERROR'\n[projects.p.image]\nrelease = ['HOST/p:1']\n";

/// With callbacks that count their calls in files of these names.
fn project(scene: &Scene) -> String {
    let count = |name: &str| scene.teller(name, "$BUILD_WAVE $BUILD_OUTCOME");
    IMAGE
        .replace("PREPARE", &count("prepared"))
        .replace("ERROR", &count("erred"))
}

fn wait(why: &str) -> Answers {
    Answers {
        go: Ok(GoOn::Wait(why.to_owned())),
        permit: Permit::default(),
    }
}

#[tokio::test]
async fn waits_and_goes_on_in_the_same_directory() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&project(&scene));
    let count = |name: &str| text(&scene.bench.scratch.join(name)).lines().count();
    let first = scene.run(scene.work(&config, 1), wait("ruby: job 8 is running")).await;
    let failure = first.failed(Step::Pull, FailureKind::Waiting);
    assert_eq!(failure.message, "ruby: job 8 is running");
    first.says("waits: ruby: job 8 is running");
    assert_eq!(first.report["state"], "waiting");
    assert_eq!(first.report["outcome"], serde_json::Value::Null);
    assert!(first.finished.images.is_empty() && !first.finished.void);
    assert_eq!(first.learned.len(), 1);
    assert!(first.dir.join("build/Containerfile").is_file());
    assert_eq!((count("prepared"), count("erred")), (1, 0));
    // What the callback may have made is there still.
    std::fs::write(first.dir.join("build/made"), "").unwrap();

    let mut again = scene.work(&config, 1);
    again.goes_on = true;
    let second = scene.run(again, wait("ruby: job 9 is queued")).await;
    second.failed(Step::Pull, FailureKind::Waiting);
    let mut again = scene.work(&config, 1);
    again.goes_on = true;
    let third = scene.run(again, Answers::go(Ground::default())).await;
    third.good();
    third.is(ImageStatus::Released);
    assert_eq!(third.dir, first.dir);
    assert!(third.dir.join("build/made").is_file());
    assert_eq!(third.learned, first.learned);
    assert_eq!((count("prepared"), count("erred")), (1, 0));
    // The log is whole: all that was said before, once.
    assert!(
        third.log.starts_with(&second.log) && second.log.starts_with(&first.log),
        "{}",
        third.log
    );
    assert_eq!(third.log.matches("goes on where it waited").count(), 2, "{}", third.log);
    assert_eq!(third.report["state"], "done");
    assert_eq!(text(&scene.bench.scratch.join("prepared")), "77 \n");
}

#[tokio::test]
async fn begins_anew_where_the_checkout_is_gone() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&project(&scene));
    let first = scene.run(scene.work(&config, 1), wait("x")).await;
    let prepared = scene.bench.scratch.join("prepared");
    for gone in [first.dir.join("build"), first.dir.clone()] {
        std::fs::remove_dir_all(gone).unwrap();
        let mut again = scene.work(&config, 1);
        again.goes_on = true;
        let ended = scene.run(again, wait("x")).await;
        ended.failed(Step::Pull, FailureKind::Waiting);
        ended.says_not("goes on where it waited");
        assert!(ended.dir.join("build/Containerfile").is_file());
    }
    assert_eq!(text(&prepared).lines().count(), 3);
    let mut again = scene.work(&config, 1);
    again.goes_on = true;
    scene.run(again, Answers::go(Ground::default())).await.good();
}

#[tokio::test]
async fn a_cancel_ends_what_would_wait() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&project(&scene));
    let work = scene.work(&config, 1);
    // It is asked for while the question is on its way.
    let (desk, mut told) = pipelined::pipeline::Desk::new();
    let (cancel, dir) = (
        work.cancel.clone(),
        work.layout.running(&work.job.project, &work.job.reference, &work.dir),
    );
    let work = pipelined::pipeline::Work { desk, ..work };
    let heard = async {
        while let Some(told) = told.recv().await {
            let pipelined::pipeline::Told::Learned { answer, .. } = told else {
                panic!("it has announced a release");
            };
            cancel.ask();
            answer.send(Ok(GoOn::Wait("x".to_owned()))).unwrap();
        }
    };
    let (finished, ()) = tokio::join!(pipelined::pipeline::run(work), heard);
    let (_, failure) = finished.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert_eq!(build_json(&dir)["outcome"], "cancelled");
    assert_eq!(text(&scene.bench.scratch.join("erred")), "77 cancelled\n");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_built() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&project(&scene));
    let answers = Answers {
        go: Err("disk full".to_owned()),
        permit: Permit::default(),
    };
    let ended = scene.run(scene.work(&config, 1), answers).await;
    let failure = ended.failed(Step::Pull, FailureKind::Errored);
    assert!(failure.message.contains("disk full"), "{failure}");
    assert_eq!(text(&scene.bench.scratch.join("erred")), "77 errored\n");
    assert_eq!(scene.at("HOST/p:1"), None);
}
