//! A rebuild that is forced: released also if it comes out the same, and built without layers of before.

use crate::scene::{Answers, Scene, name, rebuild};
use pipelined::model::{Ground, ImageStatus, Reason};
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};

#[rstest]
#[case::with_files_of_another_time("", false)]
#[case::the_same_to_the_last_byte("source_date_epoch = 'commit'\n", true)]
#[tokio::test]
async fn what_is_the_same_is_released_all_the_same(#[case] keys: &str, #[case] to_the_byte: bool) {
    let scene = Scene::new("FROM scratch\nCOPY data /data\n");
    let config = scene.config(&format!("[projects.p.image]\nrelease = ['HOST/p:1']\n{keys}"));
    let first = scene.run(scene.work(&config, 1), Answers::go(Ground::default())).await;
    first.good();
    let before = scene.at("HOST/p:1");
    let again = |id: i64, force: bool| {
        let mut work = scene.work(&config, id);
        work.job.reason = Reason::UpstreamRebuilt;
        work.job.rebuild = rebuild(force);
        work
    };
    let plain = scene.run(again(2, false), Answers::go(Ground::default())).await;
    plain.good();
    plain.is(ImageStatus::Unchanged);
    plain.says_not("forced: without the layer cache");
    assert_eq!(scene.at("HOST/p:1"), before);
    let known = BTreeSet::from([first.image().digest.clone().unwrap()]);
    let ground = Ground {
        released: BTreeMap::from([(name("p"), known.clone())]),
        ..Ground::default()
    };
    // An old reference that somebody else has moved goes back, too.
    scene.release("HOST/p:1", "stray");
    let forced = scene.run(again(3, true), Answers::go(ground)).await;
    forced.good();
    forced.is(ImageStatus::Released);
    forced.says("forced: without the layer cache");
    let digest = forced.image().digest.as_ref().map(|digest| digest.as_str());
    assert_eq!(scene.at("HOST/p:1").as_deref(), digest);
    assert_eq!(scene.at("HOST/p:1") == before, to_the_byte);
    let expected = if to_the_byte { known } else { BTreeSet::new() };
    assert_eq!(forced.image().alike, expected, "{}", forced.log);
}
