//! Of several images of a project those are built again that stand on what is new, and no others.

use crate::made::Made;
use crate::scene::{COPY, QUICK, Scene};

#[test]
fn only_what_stands_on_what_is_new() {
    let mut scene = Scene::empty(COPY);
    let host = scene.proxy.host();
    let above = format!("FROM {host}/below:1\nCOPY data /more\n");
    scene.bench.repo.commit(&[("above.containerfile", above)]);
    scene.bench.repo.push_to(&scene.bench.origin);
    scene.configure_project(&format!(
        "[projects.p.images.below]\nfile = 'Containerfile'\nbuild_args = {{ BASE = 'HOST/base:1' }}\n\
         release = 'HOST/below:1'\nwatch = ['nothing']\n{QUICK}\n\
         [projects.p.images.above]\nfile = 'above.containerfile'\nrelease = 'HOST/above:1'\n\
         watch = ['above.containerfile']\n{QUICK}\n\
         [projects.p.images.other]\nfile = 'Containerfile'\nbuild_args = {{ BASE = 'HOST/elsewhere:1' }}\n\
         release = 'HOST/other:1'\n{QUICK}\n"
    ));
    scene.base().push(&Made::new(&["old"]));
    scene.repository("elsewhere").push(&Made::new(&["else"]));
    scene.released();
    let tags = |scene: &Scene| ["below:1", "above:1", "other:1"].map(|name| scene.at(name));
    let before = tags(&scene);

    scene.base().push(&Made::new(&["new"]));
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    let report = scene.report(&jobs[1]);
    let status = |name: &str| {
        let images = report["images"].as_array().unwrap().iter();
        let image = images.into_iter().find(|image| image["image"] == name);
        image.map_or("none", |image| image["status"].as_str().unwrap())
    };
    assert_eq!(
        [status("below"), status("above"), status("other")],
        ["released", "released", "skipped"],
        "{report:#}"
    );
    let after = tags(&scene);
    assert!(before[0] != after[0] && before[1] != after[1] && before[2] == after[2]);
    for name in ["below:1", "above:1"] {
        scene.assert_on(name, &Made::new(&["new"]));
    }
    scene.rounds_of("elsewhere", 1);
    scene.proxy.forget();
    scene.assert_quiet(2);
    // The one above is only compared with what it was built with, and asks no registry.
    assert_eq!(scene.proxy.count("HEAD", "/below/manifests/1"), 0);

    scene.repository("elsewhere").push(&Made::new(&["elsewhere"]));
    let jobs = scene.wait_jobs(3);
    scene.assert_good(&jobs[2]);
    let last = tags(&scene);
    assert!(last[0] == after[0] && last[1] == after[1] && last[2] != after[2]);
    scene.assert_quiet(1);
}
