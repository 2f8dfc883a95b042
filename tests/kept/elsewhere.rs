//! Images that were built elsewhere, and are kept up to date from here.

use crate::made::Made;
use crate::scene::{COPY, QUICK, Scene, together};

#[test]
fn its_base_moves() {
    together(&[
        || moves(true, "its org.opencontainers.image.base labels"),
        || moves(false, "its first layers"),
    ]);
}

fn moves(labelled: bool, evidence: &str) {
    let mut scene = Scene::empty(COPY);
    scene.configure_project(&format!(
        "initial = 'none'\n[projects.p.image]\nrelease = ['HOST/p:1']\nbuild_args = {{ BASE = 'HOST/base:1' }}\n{QUICK}\n"
    ));
    let base = Made::new(&["one", "two"]);
    let digest = scene.base().push(&base);
    let mut made = Made::new(&["one", "two", "app"]);
    if labelled {
        let name = format!("{}/base:1", scene.proxy.host());
        made.annotations = [
            ("org.opencontainers.image.base.name".to_owned(), name),
            ("org.opencontainers.image.base.digest".to_owned(), digest.to_string()),
        ]
        .into();
    }
    let pushed = scene.repository("p").push(&made);
    scene.start();
    scene.rounds(1);
    assert_eq!(scene.jobs().len(), 1, "it was there before");
    let image = scene.image("p");
    assert_eq!(image["updates"]["evidence"], evidence, "{image}");
    let (_, out, errors) = scene.run(&["images", "p"]);
    assert!(
        out.contains(&format!("elsewhere, known by {evidence}")),
        "{out}{errors}"
    );
    let (code, out, _) = scene.run(&["updates"]);
    assert_eq!(code, 0, "{out}");

    // The same, packed otherwise.
    scene.base().push(&Made { level: 9, ..base });
    scene.rounds(1);
    assert_eq!(scene.jobs().len(), 1, "it was there before");

    scene.base().push(&Made::new(&["one", "three"]));
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    assert_eq!(jobs[1].commit, scene.bench.repo.head());
    assert_eq!(scene.report(&jobs[1])["reason"], "base updated");
    scene.assert_on("p:1", &Made::new(&["one", "three"]));
    assert_ne!(scene.at("p:1"), *pushed.as_str());
    // By now it is ours.
    scene.assert_quiet(1);
    let image = scene.image("p");
    assert_eq!(image["updates"]["evidence"], "the record of its build", "{image}");
}
