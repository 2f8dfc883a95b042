//! A release with the content of the one before: what stands on it is told that there is nothing new.

use crate::scene::{Answers, Scene, name};
use pipelined::model::{Digest, Ground, ImageStatus};
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};

fn digest(text: &str) -> Digest {
    Digest::new(text).unwrap()
}

fn released(known: &BTreeSet<Digest>) -> Answers {
    Answers::go(Ground {
        released: BTreeMap::from([(name("p"), known.clone())]),
        ..Ground::default()
    })
}

const SAYS: &str = "the content is that of what was released before: what stands on it is not built again";

#[rstest]
#[case::of_a_registry("HOST/p:1")]
#[case::of_the_storage("localhost/p:1")]
#[tokio::test]
async fn content_decides(#[case] place: &str) {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&format!("[projects.p.image]\nrelease = ['localhost/q:1', '{place}']\n"));
    let first = scene.run(scene.work(&config, 1), Answers::go(Ground::default())).await;
    first.good();
    assert!(first.image().alike.is_empty());
    first.says_not("released before");
    let at = |ended: &crate::scene::Ended| {
        let image = ended.image();
        let known = if place.starts_with("HOST") {
            &image.digest
        } else {
            &image.id
        };
        known.clone().unwrap()
    };
    let gone = digest(&format!("sha256:{}", "0".repeat(64)));
    // Another commit, with the same content.
    scene.bench.repo.commit(&[("readme", "x")]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let known = BTreeSet::from([gone.clone(), at(&first)]);
    let second = scene.run(scene.work(&config, 2), released(&known)).await;
    second.good();
    second.is(ImageStatus::Released);
    assert_ne!(at(&second), at(&first));
    assert_eq!(second.image().alike, known);
    assert_eq!(second.plans[0].images[0].result.alike, known);
    second.says(SAYS);
    assert_eq!(second.report["images"][0]["alike"].as_array().unwrap().len(), 2);
    // Another content.
    scene.bench.push("other\n");
    let third = scene.run(scene.work(&config, 3), released(&known)).await;
    third.good();
    third.is(ImageStatus::Released);
    assert!(third.image().alike.is_empty());
    third.says_not(SAYS);
    // Nothing that could be compared with.
    let fourth = scene
        .run(scene.work(&config, 4), released(&BTreeSet::from([gone])))
        .await;
    fourth.good();
    assert!(fourth.image().alike.is_empty());
}

/// The planner knows releases by their ids too, and this registry answers with an error where one is asked for as a
/// manifest.
#[tokio::test]
async fn an_id_that_comes_first_is_no_trouble() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config("[projects.p.image]\nrelease = ['HOST/p:1']\n");
    let mut known = BTreeSet::new();
    for id in 1..30 {
        scene.bench.repo.commit(&[("readme", id.to_string())]);
        scene.bench.repo.push_to(&scene.bench.origin);
        let ended = scene.run(scene.work(&config, id), Answers::go(Ground::default())).await;
        ended.good();
        let (id, digest) = (ended.image().id.clone().unwrap(), ended.image().digest.clone().unwrap());
        let is_first = id < digest;
        known = BTreeSet::from([id, digest]);
        if is_first {
            break;
        }
    }
    scene.bench.repo.commit(&[("readme", "x")]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let same = scene.run(scene.work(&config, 30), released(&known)).await;
    same.good();
    same.says(SAYS);
    assert_eq!(same.image().alike, known);
    // By then another one is there.
    let later = scene.run(scene.work(&config, 31), released(&known)).await;
    later.good();
    later.says(SAYS);
}

#[tokio::test]
async fn trouble_is_no_error() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config("[projects.p.image]\nrelease = ['HOST/p:1']\n");
    let first = scene.run(scene.work(&config, 1), Answers::go(Ground::default())).await;
    first.good();
    // The registry has lost what is in the config.
    let known = first.image().digest.clone().unwrap();
    let config_of = first.image().id.as_ref().unwrap().as_str();
    let hex = config_of.strip_prefix("sha256:").unwrap();
    let blob = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    std::fs::write(scene.registry.data().join(blob), "{}").unwrap();
    scene.bench.repo.commit(&[("readme", "x")]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let second = scene
        .run(scene.work(&config, 2), released(&BTreeSet::from([known])))
        .await;
    second.good();
    second.is(ImageStatus::Released);
    assert!(second.image().alike.is_empty());
    second.says("and is taken for new");
}

/// This registry answers a question for a manifest of an image's id as if it were in trouble.
#[tokio::test]
async fn an_id_is_no_manifest() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config("[projects.p.image]\nrelease = ['HOST/p:1']\n");
    let first = scene.run(scene.work(&config, 1), Answers::go(Ground::default())).await;
    first.good();
    let (id, manifest) = (first.image().id.clone(), first.image().digest.clone());
    let known = id.into_iter().chain(manifest).collect::<BTreeSet<_>>();
    scene.bench.repo.commit(&[("readme", "x")]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let second = scene.run(scene.work(&config, 2), released(&known)).await;
    second.good();
    second.says(SAYS);
    // The id as well: locally it is known by that.
    assert_eq!(second.image().alike, known);
}
