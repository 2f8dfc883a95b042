//! What an attempt tells of its checkout.

use crate::scene::{Answers, Ended, Scene, name, refs};
use pipelined::config::Config;
use pipelined::model::{FailureKind, ImageName, Links, Reason, Rebuild, Step};
use pipelined::pipeline::{GoOn, Permit, Work};
use std::collections::{BTreeMap, BTreeSet};

/// Only asks.
async fn ask(scene: &Scene, config: &Config, id: i64, how: impl FnOnce(&mut Work)) -> Ended {
    let mut work = scene.work(config, id);
    how(&mut work);
    let answers = Answers {
        go: Ok(GoOn::Wait("x".to_owned())),
        permit: Permit::default(),
    };
    scene.run(work, answers).await
}

fn links(ended: &Ended) -> &BTreeMap<ImageName, Links> {
    assert_eq!(ended.learned.len(), 1, "{}", ended.log);
    &ended.learned[0].links
}

fn builds(ended: &Ended) -> BTreeSet<ImageName> {
    ended.learned[0].builds.clone()
}

#[tokio::test]
async fn all_images_with_their_edges() {
    let scene = Scene::new("FROM scratch\n");
    let app = "FROM alpine AS one\nFROM docker.io/library/debian:12 AS two\nFROM HOST/lib:1\n\
               COPY --from=two /a /a\nCOPY --from=HOST/tools:2 /a /a\n";
    let app = scene.text(app);
    let deps = "# ours\nhttps://git.example.org/a/b.git\n\n";
    scene
        .bench
        .repo
        .commit(&[("App", app.as_str()), (".gitlab-deps", deps), ("Lib", "FROM scratch\n")]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let images = "[projects.p.images.app]\nfile = 'App'\nrelease = ['HOST/app:1']\n\
                  [projects.p.images.lib]\nfile = 'Lib'\nrelease = ['HOST/lib:1', 'HOST/lib:2']\n\
                  [projects.p.images.odd]\nfile = 'Lib'\ndepends_on = ['app']\nrelease = ['HOST/odd:1']\nrelease_refs = ['x']\n";
    let config = scene.config(images);
    let ended = ask(&scene, &config, 1, |_| ()).await;
    let all = links(&ended);
    assert_eq!(all.len(), 3);
    let app = &all[&name("app")];
    assert_eq!(
        app.bases,
        refs(&["alpine", "docker.io/library/debian:12", "HOST/lib:1", "HOST/tools:2"].map(|r| scene.reference(r)))
    );
    assert_eq!(app.siblings, BTreeSet::from([name("lib")]));
    assert_eq!(app.targets, refs(&[scene.reference("HOST/app:1")]));
    assert_eq!(app.remotes, BTreeSet::from(["git.example.org/a/b".to_owned()]));
    assert_eq!(
        (app.default, app.commit.as_str()),
        (Some(true), scene.bench.repo.head().as_str())
    );
    assert_eq!(app.failed, None);
    let lib = &all[&name("lib")];
    assert_eq!(
        lib.targets,
        refs(&["HOST/lib:1", "HOST/lib:2"].map(|r| scene.reference(r)))
    );
    assert!(lib.bases.is_empty() && lib.siblings.is_empty());
    let odd = &all[&name("odd")];
    assert_eq!(odd.siblings, BTreeSet::from([name("app")]));
    assert!(odd.targets.is_empty());
    assert_eq!(builds(&ended), BTreeSet::from([name("app"), name("lib"), name("odd")]));

    // A rebuild of one of them tells the same of all.
    let rebuilt = ask(&scene, &config, 2, |work| {
        work.job.reason = Reason::UpstreamRebuilt;
        work.job.rebuild = Some(Rebuild {
            images: BTreeMap::from([(name("odd"), None)]),
            key: "k".to_owned(),
            force: false,
        });
    });
    let rebuilt = rebuilt.await;
    assert_eq!(links(&rebuilt), all);
    assert_eq!(builds(&rebuilt), BTreeSet::from([name("odd")]));
}

#[tokio::test]
async fn whether_it_is_the_default_branch_is_asked_only_for_a_reason() {
    let scene = Scene::new("FROM scratch\n");
    let config = scene.config("[projects.p.image]\nrelease = ['HOST/p:1']\nrelease_refs = ['main']\n");
    let ended = ask(&scene, &config, 1, |_| ()).await;
    assert_eq!(links(&ended)[&name("p")].default, None);

    // A project without images.
    let config = scene.config("success_callback = 'true'\n");
    let plain = ask(&scene, &config, 2, |_| ()).await;
    let of = |ended: &Ended| links(ended)[&name("p")].clone();
    assert_eq!((links(&plain).len(), of(&plain).default), (1, None));
    assert_eq!(builds(&plain), BTreeSet::from([name("p")]));
    let needed = ask(&scene, &config, 3, |work| work.is_needed = true).await;
    assert_eq!(of(&needed).default, Some(true));
    let elsewhere = ask(&scene, &config, 4, |work| {
        work.is_needed = true;
        work.job.reference = pipelined::model::RefName::new("refs/heads/other").unwrap();
        scene.bench.origin.set_ref("refs/heads/other", &scene.bench.repo.head());
    });
    assert_eq!(of(&elsewhere.await).default, Some(false));
    scene
        .bench
        .repo
        .commit(&[(".gitlab-deps", "git@git.example.org:tools.git\n")]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let with_deps = ask(&scene, &config, 5, |_| ()).await;
    assert_eq!(of(&with_deps).default, Some(true));
    assert_eq!(
        of(&with_deps).remotes,
        BTreeSet::from(["git.example.org/tools".to_owned()])
    );
    assert!(of(&with_deps).targets.is_empty() && of(&with_deps).bases.is_empty());
}

#[tokio::test]
async fn a_list_of_projects_that_nobody_would_write() {
    let scene = Scene::new("FROM scratch\n");
    let config = scene.config("[projects.p.image]\n");
    scene.bench.repo.commit(&[(".gitlab-deps", "x\n".repeat(1001))]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let ended = ask(&scene, &config, 1, |_| ()).await;
    let failure = ended.failed(Step::Pull, FailureKind::Failed);
    assert!(failure.message.contains(".gitlab-deps is longer than"), "{failure}");
    assert!(ended.learned.is_empty());

    let secret = scene.bench.scratch.write("secret", "https://git.example.org/secret\n");
    let link = scene.bench.repo.path().join(".gitlab-deps");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    scene.bench.repo.commit(&[("data", "other\n")]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let ended = ask(&scene, &config, 2, |_| ()).await;
    assert!(links(&ended)[&name("p")].remotes.is_empty());
    ended.says(".gitlab-deps is not read: it leads out of the checkout");
}
