//! A rebuild that is forced: released also if it comes out the same, and built without layers of before.

use crate::scene::{Answers, Scene, name, rebuild};
use pipelined::model::{Ground, ImageStatus, Reason};
use std::collections::{BTreeMap, BTreeSet};

#[tokio::test]
async fn what_is_the_same_is_released_all_the_same() {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config("[projects.p.image]\nrelease = ['HOST/p:1']\n");
    let first = scene.run(scene.work(&config, 1), Answers::go(Ground::default())).await;
    first.good();
    let before = scene.at("HOST/p:1");
    let again = |id: i64, force: bool| {
        let mut work = scene.work(&config, id);
        work.job.reason = Reason::Manual;
        work.job.rebuild = rebuild(force);
        work
    };
    let plain = scene.run(again(2, false), Answers::go(Ground::default())).await;
    plain.good();
    plain.is(ImageStatus::Unchanged);
    plain.says_not("without the layer cache");
    assert_eq!(scene.at("HOST/p:1"), before);
    let known = BTreeSet::from([first.image().digest.clone().unwrap()]);
    let ground = Ground {
        released: BTreeMap::from([(name("p"), known.clone())]),
        ..Ground::default()
    };
    let forced = scene.run(again(3, true), Answers::go(ground)).await;
    forced.good();
    forced.is(ImageStatus::Released);
    forced.says("forced: without the layer cache");
    assert_ne!(scene.at("HOST/p:1"), before);
    assert_eq!(
        scene.at("HOST/p:1").as_deref(),
        forced.image().digest.as_ref().map(|d| d.as_str())
    );
    // Files have the time of the checkout: that is other content, and said so. Of the same it is not.
    let alike = &forced.image().alike;
    assert!(*alike == known || alike.is_empty(), "{alike:?}");
    assert_eq!(
        alike.is_empty(),
        !forced.log.contains("what stands on it is not built again")
    );
}
