//! kaniko fetches bases by itself: it is told to use exactly the release.

use crate::scene::{Answers, Scene, on};
use crate::support::executor::{self, EXECUTOR};
use pipelined::model::{Digest, FailureKind, Step};

#[tokio::test]
async fn by_its_digest() {
    let scene = Scene::new("FROM HOST/parent:1\nCOPY data /child\n");
    let old = scene.release("HOST/parent:1", "old");
    let new = scene.release("HOST/parent:1", "new");
    scene.bench.podman.load_busybox();
    executor::load(&scene.bench.podman, &scene.bench.scratch);
    let config = scene.config_with(
        &format!("engine = 'kaniko'\nkaniko.image = '{EXECUTOR}'\n"),
        "[projects.p.image]\nrelease = 'HOST/child:1'\n",
    );
    let reference = scene.reference("HOST/parent:1");
    let ended = scene
        .run(scene.work(&config, 1), Answers::go(on(reference.clone(), &old)))
        .await;
    ended.good();
    ended.says(&format!("executor: | FROM {}@{old}\n", scene.text("HOST/parent")));
    ended.says(&format!("base {reference} is {old}: released by job 7"));
    ended.says_not(new.as_str());
    let base = &ended.image().bases[0];
    assert_eq!(
        (base.name.clone(), base.digests.clone()),
        (reference.to_string(), vec![old])
    );
    // What is gone is our trouble, and no failure of the build.
    let gone = Digest::new(format!("sha256:{}", "7".repeat(64))).unwrap();
    let ended = scene
        .run(scene.work(&config, 2), Answers::go(on(reference, &gone)))
        .await;
    let failure = ended.failed(Step::Pull, FailureKind::Errored);
    assert!(failure.message.contains("does not have that any more"), "{failure}");
}
