//! The daemon is killed at a bad moment: nothing is lost, nothing is left, and nothing is done twice.

use crate::made::Made;
use crate::scene::{COPY, QUICK, Scene, together};
use crate::support::daemon::{strays, wait_no_strays};
use crate::support::scratch::{SOON, wait_for, wait_for_state};
use crate::support::servers::faults::{Fault, Gate};

#[test]
fn nothing_is_lost_or_left() {
    together(&[while_it_looks_and_while_it_builds, while_it_looks_into_an_image]);
}

fn while_it_looks_and_while_it_builds() {
    let mut scene = Scene::empty(COPY);
    let (holder, hold) = scene.holder();
    scene.configure_project(&format!(
        "prepare_callback = '{holder}'\n[projects.p.image]\nrelease = ['HOST/p:1']\n\
         build_args = {{ BASE = 'HOST/base:1' }}\n{QUICK}\n"
    ));
    scene.base().push(&Made::new(&["old"]));
    scene.released();
    let gate = Gate::default();
    let held = gate.clone();
    scene
        .proxy
        .set(move |r| r.is("HEAD", "/base/").then(|| Fault::Hold(held.clone())));
    gate.wait_came();
    scene.base().push(&Made::new(&["new"]));
    scene.crash();
    scene.proxy.set(|_| None);
    std::fs::write(&hold, "").unwrap();
    scene.start();
    wait_for_state("the rebuild to stand", SOON, || {
        let jobs = scene.jobs();
        let runs = jobs.len() == 2
            && strays(&scene.bench.site.workdir)
                .iter()
                .any(|(_, c)| c.contains("holder"));
        runs.then_some(()).ok_or_else(|| format!("{jobs:?}\n{}", scene.log()))
    });
    scene.crash();
    std::fs::remove_file(hold).unwrap();
    scene.start();
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    assert_eq!(scene.report(&jobs[1])["reason"], "base updated");
    scene.assert_on("p:1", &Made::new(&["new"]));
    scene.assert_quiet(1);
    wait_no_strays(&scene.bench.site.workdir, SOON);
    assert_eq!(scene.bench.podman.containers(), Vec::<String>::new());
    assert_eq!(scene.bench.podman.working_containers(), Vec::<String>::new());
}

fn while_it_looks_into_an_image() {
    let mut scene = Scene::empty("FROM localhost/busybox\nCOPY data /data\n");
    scene.bench.podman.load_busybox();
    let configure = |scene: &Scene, script: &str| {
        scene.configure(&format!(
            "update = {{ every = '1s', base = false, network = 'none', packages = ['sh', '-c', '{script}'] }}"
        ));
    };
    configure(&scene, "sleep 600");
    let first = scene.released();
    let podman = &scene.bench.podman;
    wait_for("the container", SOON, || (podman.containers().len() == 1).then_some(()));
    scene.crash();
    configure(&scene, "exit 0");
    scene.start();
    wait_for_state("a look", SOON, || {
        let log = crate::common::text(&scene.dir(&first).join("update-check.log"));
        log.contains("update check: no updates").then_some(()).ok_or(log)
    });
    scene.stop();
    assert_eq!(scene.bench.podman.containers(), Vec::<String>::new());
    assert_eq!(strays(&scene.bench.site.workdir), []);
    let own = std::fs::read_dir(scene.bench.site.workdir.join("pipelined.checks"));
    assert_eq!(own.map_or(0, Iterator::count), 0);
    assert_eq!(scene.jobs().len(), 1);
}
