//! A base that is a release of our own: whatever its reference is at by now, exactly that is built on.

use crate::scene::{Answers, Scene, name, need, on, on_built_here};
use pipelined::model::{Digest, FailureKind, Ground, ImageStatus, Reason, Step};
use rstest::rstest;
use std::collections::BTreeMap;

const CHILD: &str = "FROM HOST/parent:1\nCOPY data /child\n";

/// The project's only image, with more keys.
fn child(keys: &str) -> String {
    format!("[projects.p.image]\nrelease = ['HOST/child:1']\n{keys}")
}

#[rstest]
#[case::missing("pull = 'missing'\n", false)]
#[case::missing_with_the_new_one_here("pull = 'missing'\n", true)]
#[case::newer("pull = 'newer'\n", true)]
#[case::always("pull = 'always'\n", false)]
#[case::reproducible("source_date_epoch = 'commit'\n", true)]
#[tokio::test]
async fn a_push_in_between_changes_nothing(#[case] keys: &str, #[case] newer_is_here: bool) {
    let scene = Scene::new(CHILD);
    let config = scene.config(&child(keys));
    let old = scene.release("HOST/parent:1", "old");
    let new = scene.release("HOST/parent:1", "new");
    assert_ne!(old, new);
    let reference = scene.text("HOST/parent:1");
    if newer_is_here {
        scene
            .bench
            .podman
            .run(&["pull", "--quiet", "--tls-verify=false", &reference]);
    }
    let mut work = scene.work(&config, 9);
    work.job.reason = Reason::UpstreamRebuilt;
    let ended = scene
        .run(work, Answers::go(on(scene.reference("HOST/parent:1"), &old)))
        .await;
    ended.good();
    ended.is(ImageStatus::Released);
    assert_eq!(scene.built_on(&ended), "old", "{}", ended.log);
    ended.says(&format!("base {reference} is {old}: released by job 7"));
    let base = &ended.image().bases[0];
    assert_eq!((&base.name, base.digests.first()), (&reference, Some(&old)));
    assert_eq!(base.reference, Some(scene.reference("HOST/parent:1")));
    assert!(base.digests.iter().all(|digest| *digest != new));
    let id = ended.image().id.as_ref().unwrap().as_str();
    assert!(scene.label(id, "pipelined.bases").contains(old.as_str()));
    let wave = scene.label(id, "pipelined.wave");
    match keys.contains("source_date_epoch") {
        false => assert_eq!(wave, "77"),
        true => {
            assert_eq!(wave, "");
            // The same on a machine that has the parent under other names only.
            let podman = &scene.bench.podman;
            podman.run(&["rmi", "--all", "--force"]);
            let second = scene.run(
                scene.work(&config, 10),
                Answers::go(on(scene.reference("HOST/parent:1"), &old)),
            );
            let second = second.await;
            second.good();
            assert_eq!(second.image().digest, ended.image().digest);
        }
    }
}

#[tokio::test]
async fn never_pulled_means_that_it_must_be_here() {
    let scene = Scene::new(CHILD);
    let config = scene.config(&child("pull = 'never'\n"));
    let old = scene.release("HOST/parent:1", "old");
    scene.release("HOST/parent:1", "new");
    let (podman, reference) = (&scene.bench.podman, scene.text("HOST/parent:1"));
    podman.run(&["pull", "--quiet", "--tls-verify=false", &reference]);
    let ground = || Answers::go(on(scene.reference("HOST/parent:1"), &old));
    let ended = scene.run(scene.work(&config, 1), ground()).await;
    let failure = ended.failed(Step::Pull, FailureKind::Failed);
    assert!(
        failure
            .message
            .contains(&format!("{reference} is to be {old}, which is not in")),
        "{failure}"
    );
    let exact = format!("{}@{old}", scene.text("HOST/parent"));
    podman.run(&["pull", "--quiet", "--tls-verify=false", &exact]);
    let ended = scene.run(scene.work(&config, 2), ground()).await;
    ended.good();
    assert_eq!(scene.built_on(&ended), "old");
}

/// What was built here is known by its id: nothing is asked, whatever the policy; the rest is pulled.
#[rstest]
#[case::newer("pull = 'newer'\n", true)]
#[case::always("pull = 'always'\n", true)]
#[case::never("pull = 'never'\n", true)]
#[case::not_here_any_more("", false)]
#[case::reproducible_is_by_digest("source_date_epoch = 'commit'\n", true)]
#[tokio::test]
async fn what_was_built_here_is_not_asked_for(#[case] keys: &str, #[case] is_here: bool) {
    let scene = Scene::new(CHILD);
    let config = scene.config(&child(keys));
    let (id, old) = scene.built_here("HOST/parent:1", "old");
    if !is_here {
        scene.bench.podman.run(&["rmi", "--all", "--force"]);
    }
    scene.release("HOST/parent:1", "new");
    let ground = on_built_here(scene.reference("HOST/parent:1"), &old, &id);
    let ended = scene.run(scene.work(&config, 1), Answers::go(ground)).await;
    ended.good();
    assert_eq!(scene.built_on(&ended), "old", "{}", ended.log);
    let base = &ended.image().bases[0];
    assert_eq!((base.id.as_ref(), base.digests.first()), (Some(&id), Some(&old)));
    match is_here && !keys.contains("source_date_epoch") {
        true => ended.says_not("podman pull"),
        false => ended.says("podman pull"),
    }
}

#[tokio::test]
async fn what_a_registry_has_lost_is_not_replaced() {
    let scene = Scene::new(CHILD);
    let config = scene.config(&child(""));
    scene.release("HOST/parent:1", "new");
    let gone = Digest::new(format!("sha256:{}", "7".repeat(64))).unwrap();
    let ended = scene
        .run(
            scene.work(&config, 1),
            Answers::go(on(scene.reference("HOST/parent:1"), &gone)),
        )
        .await;
    ended.failed(Step::Pull, FailureKind::Errored);
    assert_eq!(scene.at("HOST/child:1"), None);
}

#[rstest]
#[case::plain("", true)]
#[case::missing("pull = 'missing'\n", true)]
#[case::never("pull = 'never'\n", true)]
#[case::reproducible("source_date_epoch = 'commit'\n", true)]
#[case::reproducible_where_nothing_has_moved("source_date_epoch = 'commit'\n", false)]
#[tokio::test]
async fn of_the_storage_by_its_id(#[case] keys: &str, #[case] moves: bool) {
    let scene = Scene::new("FROM localhost/parent:1\nCOPY data /child\n");
    let config = scene.config(&child(keys).replace("HOST/child:1", "localhost/child:1"));
    let old = scene.generation("localhost/parent:1", "old");
    if moves {
        scene.generation("localhost/parent:1", "new");
    }
    let ground = || Answers::go(on(scene.reference("localhost/parent:1"), &old));
    let ended = scene.run(scene.work(&config, 1), ground()).await;
    ended.good();
    assert_eq!(scene.built_on(&ended), "old", "{}", ended.log);
    ended.says(&format!("base localhost/parent:1 is {old}: released by job 7"));
    let base = &ended.image().bases[0];
    assert_eq!((base.id.as_ref(), base.digests.len()), (Some(&old), 0));
    if moves {
        scene.bench.podman.run(&["rmi", "--all", "--force"]);
        scene.generation("localhost/parent:1", "new");
        let ended = scene.run(scene.work(&config, 2), ground()).await;
        let kind = match keys.contains("never") {
            true => FailureKind::Failed,
            false => FailureKind::Errored,
        };
        ended.failed(Step::Pull, kind);
    }
}

#[tokio::test]
async fn what_is_relied_on_is_recorded_and_looked_up_nowhere() {
    let scene = Scene::new(CHILD);
    let config = scene.config(&child(""));
    let parent = scene.release("HOST/parent:1", "old");
    let ground = || Ground {
        needs: BTreeMap::from([(name("p"), vec![need()]), (name("other"), vec![need(), need()])]),
        ..on(scene.reference("HOST/parent:1"), &parent)
    };
    let ended = scene.run(scene.work(&config, 1), Answers::go(ground())).await;
    ended.good();
    let recorded = |bases: &[pipelined::model::BaseUsed]| (bases.len(), bases.last().cloned());
    assert_eq!(recorded(&ended.image().bases), (2, Some(need())));
    assert_eq!(recorded(&ended.plans[0].images[0].result.bases), (2, Some(need())));
    let id = ended.image().id.as_ref().unwrap().as_str();
    assert!(!scene.label(id, "pipelined.bases").contains("tools"));
    assert_eq!(
        ended.report["image"]["bases"],
        serde_json::json!([scene.text("HOST/parent:1")])
    );
    // Also of what comes out unchanged, and of what fails.
    let mut work = scene.work(&config, 2);
    work.job.reason = Reason::UpstreamRebuilt;
    work.job.rebuild = crate::scene::rebuild(false);
    let same = scene.run(work, Answers::go(ground())).await;
    same.good();
    same.is(ImageStatus::Unchanged);
    assert_eq!(recorded(&same.image().bases), (2, Some(need())));
    scene
        .bench
        .repo
        .commit(&[("Containerfile", scene.text("FROM HOST/parent:1\nCOPY nothing /\n"))]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let failed = scene.run(scene.work(&config, 3), Answers::go(ground())).await;
    failed.failed(Step::Build, FailureKind::Failed);
    assert_eq!(recorded(&failed.image().bases), (2, Some(need())));
}

#[tokio::test]
async fn a_rebuild_after_an_upstream_looks_for_what_is_newer() {
    let scene = Scene::new(CHILD);
    let config = scene.config(&child("pull = 'missing'\n"));
    scene.release("HOST/parent:1", "old");
    let reference = scene.text("HOST/parent:1");
    scene
        .bench
        .podman
        .run(&["pull", "--quiet", "--tls-verify=false", &reference]);
    scene.release("HOST/parent:1", "new");
    let plain = scene.run(scene.work(&config, 1), Answers::go(Ground::default())).await;
    assert_eq!(scene.built_on(&plain), "old", "{}", plain.log);
    let mut work = scene.work(&config, 2);
    work.job.reason = Reason::UpstreamRebuilt;
    let ended = scene.run(work, Answers::go(Ground::default())).await;
    assert_eq!(scene.built_on(&ended), "new", "{}", ended.log);
    ended.says_not("without the layer cache");
}
