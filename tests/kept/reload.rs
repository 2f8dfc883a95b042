//! Another config while the daemon runs: the checks follow it.

use crate::made::Made;
use crate::scene::{COPY, Scene};
use crate::support::scratch::{SOON, wait_for_state};
use jiff::Timestamp;
use std::time::Duration;

#[test]
fn checks_follow_the_config() {
    let mut scene = Scene::empty(COPY);
    let configure = |scene: &Scene, update: &str| {
        scene.configure_project(&format!(
            "[projects.p.images.p]\nbuild_args = {{ BASE = 'HOST/base:1' }}\nrelease = 'HOST/p:1'\n\
             update = {{ quiet = '0s', {update} }}\n\
             [projects.p.images.clock]\nbuild_args = {{ BASE = 'HOST/clock:1' }}\nrelease = 'HOST/c:1'\n\
             update = {{ every = '1s' }}\n"
        ));
    };
    configure(&scene, "every = '6h'");
    scene.base().push(&Made::new(&["old"]));
    scene.repository("clock").push(&Made::new(&["clock"]));
    scene.released();
    scene.proxy.forget();
    scene.base().push(&Made::new(&["new"]));
    let looks = |scene: &Scene| scene.proxy.count("HEAD", "/base/manifests/1");
    scene.rounds_of("clock", 1);
    assert_eq!(looks(&scene), 0);

    // Not in six hours.
    configure(&scene, "every = '1s'");
    scene.reload();
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    scene.rounds(0);

    // The next look is in six hours; until it is to be in a second again.
    configure(&scene, "every = '6h'");
    scene.reload();
    wait_for_state("the last look for long", SOON, || {
        let image = scene.image("p");
        let next = image["updates"]["bases"][0]["check"]["next"].as_str().unwrap();
        let in_an_hour = Timestamp::now() + Duration::from_secs(3600);
        let is_far = next.parse::<Timestamp>().unwrap() > in_an_hour;
        is_far.then_some(()).ok_or(image.to_string())
    });
    scene.proxy.forget();
    scene.base().push(&Made::new(&["newer"]));
    scene.rounds_of("clock", 0);
    assert_eq!(looks(&scene), 0);
    configure(&scene, "every = '1s'");
    scene.reload();
    let jobs = scene.wait_jobs(3);
    scene.assert_good(&jobs[2]);

    configure(&scene, "base = false, every = '1s'");
    scene.reload();
    scene.base().push(&Made::new(&["newest"]));
    // What was asked before is answered by now.
    scene.rounds_of("clock", 0);
    scene.proxy.forget();
    scene.rounds_of("clock", 1);
    assert_eq!(looks(&scene), 0);
    assert_eq!(scene.jobs().len(), 3);
    assert_eq!(scene.status()["bases"], 1);
}
