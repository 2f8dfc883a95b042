//! Another config while the daemon runs: the checks follow it.

use crate::made::Made;
use crate::scene::{COPY, Scene};

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
    scene.rounds(1);

    configure(&scene, "base = false, every = '1s'");
    scene.reload();
    scene.base().push(&Made::new(&["newer"]));
    // What was asked before is answered by now.
    scene.rounds_of("clock", 0);
    scene.proxy.forget();
    scene.rounds_of("clock", 2);
    assert_eq!(looks(&scene), 0);
    assert_eq!(scene.jobs().len(), 2);
    assert_eq!(scene.status()["bases"], 1);

    configure(&scene, "every = '1s'");
    scene.reload();
    let jobs = scene.wait_jobs(3);
    scene.assert_good(&jobs[2]);
    // Once it was looked at for six hours, it is not looked at each second; until it is to be again.
    configure(&scene, "every = '6h'");
    scene.reload();
    scene.rounds_of("clock", 2);
    scene.proxy.forget();
    scene.base().push(&Made::new(&["newest"]));
    scene.rounds_of("clock", 1);
    assert_eq!(looks(&scene), 0);
    configure(&scene, "every = '1s'");
    scene.reload();
    let jobs = scene.wait_jobs(4);
    scene.assert_good(&jobs[3]);
}
