//! A release that keeps to its wave: all content is in its places before the first reference moves, and moves later, or
//! never.

use crate::common::{seen, text};
use crate::scene::{Answers, Scene};
use pipelined::model::{FailureKind, Ground, ImageStatus, ReleasePlan, ReleaseStage, Step};
use pipelined::pipeline::{GoOn, Permit};
use std::collections::BTreeSet;

const TWO: &str = "error_callback = 'ERROR'\nsuccess_callback = 'SUCCESS'\n\
                   [projects.p.images.a]\nrelease = ['HOST/a:1', 'HOST/elsewhere/a:1', 'localhost/a:1']\n\
                   [projects.p.images.b]\nrelease = ['HOST/b:1']\n";

fn gathering() -> Answers {
    Answers {
        go: Ok(GoOn::Go(Ground::default())),
        permit: Permit {
            overtaken: BTreeSet::new(),
            stage: ReleaseStage::Gathering,
        },
    }
}

fn project(scene: &Scene) -> String {
    let tell = |name: &str| scene.teller(name, "$BUILD_OUTCOME $BUILD_STEP $BUILD_ERROR");
    TWO.replace("ERROR", &tell("erred"))
        .replace("SUCCESS", &tell("succeeded"))
}

/// The plan as it is on record, at this stage.
fn recorded(plan: &ReleasePlan, stage: ReleaseStage) -> Option<ReleasePlan> {
    Some(ReleasePlan { stage, ..plan.clone() })
}

#[tokio::test]
async fn gathers_then_moves() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&project(&scene));
    let ended = scene.run(scene.work(&config, 1), gathering()).await;
    let failure = ended.failed(Step::Release, FailureKind::Waiting);
    assert_eq!(failure.message, "waits for its wave");
    ended.says("release: waits for its wave: ");
    assert_eq!(ended.report["state"], "waiting");
    assert!(
        ended
            .finished
            .images
            .iter()
            .all(|image| image.status == ImageStatus::Built && image.note.is_empty())
    );
    let tags = ["HOST/a:1", "HOST/elsewhere/a:1", "HOST/b:1"];
    assert!(tags.iter().all(|tag| scene.at(tag).is_none()));
    let local = || {
        scene
            .bench
            .podman
            .output(&["image", "exists", "localhost/a:1"])
            .status
            .success()
    };
    assert!(!local());
    let plan = &ended.plans[0];
    for image in &plan.images {
        let digest = image.result.digest.clone().unwrap();
        for target in image.targets.iter().filter(|target| !target.is_local()) {
            let place = target.with_digest(digest.clone()).to_string();
            assert_eq!(seen(&place).as_deref(), Some(digest.as_str()), "{place}");
        }
    }
    // What a later part needs is there.
    assert!(ended.dir.join(".release/a.tar").is_file());
    assert_eq!(text(&scene.bench.scratch.join("erred")), "");

    // One that was cut off while it gathered does that again.
    let mut again = scene.work(&config, 1);
    again.resume = recorded(plan, ReleaseStage::Gathering);
    let cut_off = scene.run(again, gathering()).await;
    cut_off.failed(Step::Release, FailureKind::Waiting);
    assert!(cut_off.learned.is_empty());
    assert!(tags.iter().all(|tag| scene.at(tag).is_none()));

    let mut last = scene.work(&config, 1);
    last.resume = recorded(plan, ReleaseStage::Moving);
    let moved = scene.run(last, Answers::go(Ground::default())).await;
    moved.good();
    assert!(
        moved
            .finished
            .images
            .iter()
            .all(|image| image.status == ImageStatus::Released)
    );
    for (tag, image) in tags.iter().zip([0, 0, 1]) {
        let digest = plan.images[image].result.digest.as_ref().map(|d| d.as_str().to_owned());
        assert_eq!(scene.at(tag), digest, "{tag}");
    }
    assert!(local());
    // Until its end is on record, the release may have to be gone on with.
    assert!(moved.dir.join(".release/a.tar").is_file());
    assert_eq!(text(&scene.bench.scratch.join("erred")), "");
    assert_eq!(text(&scene.bench.scratch.join("succeeded")), "succeeded  \n");
    moved.says("waits for its wave: what is to be released is in all of its places");
}

#[tokio::test]
async fn a_plan_that_may_move_moves_whatever_is_said_now() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&project(&scene));
    let ended = scene.run(scene.work(&config, 1), gathering()).await;
    let mut last = scene.work(&config, 1);
    last.resume = recorded(&ended.plans[0], ReleaseStage::Moving);
    scene.run(last, gathering()).await.good();
    assert!(scene.at("HOST/a:1").is_some() && scene.at("HOST/b:1").is_some());
}

#[tokio::test]
async fn a_wave_that_failed_is_told_once_and_leaves_nothing() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&project(&scene));
    let ended = scene.run(scene.work(&config, 1), gathering()).await;
    let mut last = scene.work(&config, 1);
    last.resume = recorded(&ended.plans[0], ReleaseStage::Held);
    last.abandoned = Some("its wave failed: app failed".to_owned());
    last.last = false;
    let given_up = scene.run(last, Answers::go(Ground::default())).await;
    let failure = given_up.failed(Step::Release, FailureKind::Failed);
    assert_eq!(failure.message, "its wave failed: app failed");
    assert!(given_up.plans.is_empty() && given_up.learned.is_empty());
    assert!(
        given_up
            .finished
            .images
            .iter()
            .all(|image| image.status == ImageStatus::Failed && image.released.is_empty())
    );
    assert_eq!(given_up.finished.images.len(), 2);
    assert!(
        ["HOST/a:1", "HOST/elsewhere/a:1", "HOST/b:1"]
            .iter()
            .all(|tag| scene.at(tag).is_none())
    );
    assert!(!given_up.dir.join(".release").exists());
    let told = text(&scene.bench.scratch.join("erred"));
    assert_eq!(told, "failed release its wave failed: app failed\n");
    assert_eq!(text(&scene.bench.scratch.join("succeeded")), "");
    assert_eq!(given_up.report["outcome"], "failed");
}
