//! What tests, runs and callbacks are told of the image.

use crate::common::{World, done_as};
use crate::support::witness::{dumped_env, env_dumper, value};
use std::collections::BTreeMap;

type Env = BTreeMap<std::ffi::OsString, std::ffi::OsString>;

/// `BUILD_IMAGE`, its name, id and digest.
fn told(env: &Env) -> [Option<String>; 4] {
    [
        "BUILD_IMAGE",
        "BUILD_IMAGE_NAME",
        "BUILD_IMAGE_ID",
        "BUILD_IMAGE_DIGEST",
    ]
    .map(|name| value(env, name).map(str::to_owned))
}

/// What a container printed between two words.
fn printed(log: &str, who: &str) -> Env {
    let text = log
        .split_once(&format!("\nbegin {who}\n"))
        .unwrap_or_else(|| panic!("{who}: {log}"))
        .1;
    let text = text.split_once("\nend\n").unwrap().0;
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(k, v)| (k.into(), v.into()))
        .collect()
}

#[test]
fn each_is_told_of_the_right_image() {
    let world = World::new();
    let containerfile = "FROM localhost/busybox\nARG BUILD_IMAGE_NAME\nRUN echo $BUILD_IMAGE_NAME >/who\n";
    let (_repo, commit) = world.repo("repo", &[("Containerfile", containerfile)]);
    let (_bad, bad) = world.repo(
        "bad",
        &[("Containerfile", containerfile), ("f", "FROM scratch\nRUN x\n")],
    );
    let dump = env_dumper(&world.scratch);
    let dump = dump.display();
    let show = |who: &str| format!("['sh', '-c', 'echo; echo begin {who}; env; echo end']");
    let toml = format!(
        "[projects.one]\nremote = '{remote}'\nprepare_callback = '{dump} prepare'\nsuccess_callback = '{dump} good'\n\
         [projects.one.image]\ntest = {one}\ntags = ['localhost/one:tag']\nrelease = ['localhost/one:released']\n\
         [projects.two]\nremote = '{remote}'\nsuccess_callback = '{dump} good'\n\
         [projects.two.images.a]\ntest = {a}\nrelease = ['localhost/two-a:1']\n[projects.two.images.b]\ntest = {b}\n\
         [projects.run]\nremote = '{remote}'\nsuccess_callback = '{dump} good'\n\
         [projects.run.images.a]\ntags = ['localhost/run-a:1']\n[projects.run.images.b]\ndepends_on = ['a']\ntest = {b}\n\
         [projects.run.run]\nimage = 'a'\ncommand = {run}\n\
         [projects.bad]\nremote = '{remote_bad}'\nerror_callback = '{dump} error'\n\
         [projects.bad.images.a]\ntags = ['localhost/bad-a:1']\n[projects.bad.images.b]\nfile = 'f'\n",
        remote = world.remote("repo"),
        remote_bad = world.remote("bad"),
        one = show("one"),
        a = show("a"),
        b = show("b"),
        run = show("run"),
    );
    let site = world.site(&toml);
    let _daemon = site.start();
    let some = |text: &str| Some(text.to_owned());

    let job = done_as(&site, "one", &commit, "succeeded");
    let id = job.image("one")["id"].as_str().unwrap();
    assert_eq!(told(&dumped_env(&job.dir.join("prepare"))), [None, None, None, None]);
    let in_test = [some("localhost/one:tag"), some("one"), some(id), some(id)];
    assert_eq!(told(&printed(&job.log, "one")), in_test);
    let after = [some("localhost/one:released"), some("one"), some(id), some(id)];
    assert_eq!(told(&dumped_env(&job.dir.join("good"))), after);

    // Of several without a run the last one, also if only another one was released.
    let job = done_as(&site, "two", &commit, "succeeded");
    let id = |name: &str| some(job.image(name)["id"].as_str().unwrap());
    assert_ne!(id("a"), id("b"));
    assert_eq!(told(&printed(&job.log, "a")), [id("a"), some("a"), id("a"), id("a")]);
    assert_eq!(told(&printed(&job.log, "b")), [id("b"), some("b"), id("b"), id("b")]);
    assert_eq!(
        told(&dumped_env(&job.dir.join("good"))),
        [id("b"), some("b"), id("b"), id("b")]
    );

    // The one that is run.
    let job = done_as(&site, "run", &commit, "succeeded");
    let id = |name: &str| some(job.image(name)["id"].as_str().unwrap());
    assert_eq!(told(&printed(&job.log, "b")), [id("b"), some("b"), id("b"), id("b")]);
    let ran = [some("localhost/run-a:1"), some("a"), id("a"), id("a")];
    assert_eq!(told(&printed(&job.log, "run")), ran);
    assert_eq!(told(&dumped_env(&job.dir.join("good"))), ran);
    assert_eq!(job.report["image"]["id"].as_str().map(str::to_owned), id("a"));

    // As far as it came.
    let job = done_as(&site, "bad", &bad, "failed");
    let id = some(job.image("a")["id"].as_str().unwrap());
    let error = job.dir.join("error");
    crate::support::scratch::wait_for("the error callback", crate::support::scratch::SOON, || {
        std::fs::read(&error)
            .ok()
            .filter(|bytes| bytes.ends_with(b"\0"))
            .map(drop)
    });
    assert_eq!(
        told(&dumped_env(&error)),
        [some("localhost/bad-a:1"), some("a"), id.clone(), id]
    );
}
