//! Several images of a project: in which order, on what, and what becomes of the others when one fails.

use crate::common::{World, done, done_as, image_row, says};
use crate::support::servers::registry::Registry;

/// An image `name` of files in a directory of that name.
fn image(name: &str, keys: &str) -> String {
    format!("[projects.p.images.{name}]\nfile = '{name}/Containerfile'\n{keys}\n")
}

#[test]
fn images_are_built_on_what_this_job_has_built() {
    let world = World::new();
    let registry = Registry::start(&world.scratch);
    let host = registry.host();
    // What the storage and the registry have under these names is old, and has no /stamp.
    for name in ["localhost/p-base:1".to_owned(), format!("{host}/staging/tool:main")] {
        world.podman.run(&["tag", "localhost/busybox:latest", &name]);
    }
    let stale = format!("{host}/staging/tool:main");
    world.podman.run(&["push", "--quiet", "--tls-verify=false", &stale]);
    let on = |base: &str| format!("{base}\nCOPY --from=tool /stamp /tool\nCMD []\n");
    let tool = "FROM localhost/busybox\nARG BUILD_IMAGE_NAME\nCOPY stamp /stamp\nRUN echo $BUILD_IMAGE_NAME >>/stamp\n";
    let (repo, first) = world.repo(
        "repo",
        &[
            ("stamp", "one\n"),
            // By the release reference of a sibling, through an ARG; and by a sibling's staging reference.
            (
                "app/Containerfile",
                &on("ARG WHICH=1\nARG BASE=localhost/p-base:${WHICH}\nARG TOOL\nFROM ${TOOL} AS tool\nFROM $BASE"),
            ),
            // By a tag.
            ("last/Containerfile", "FROM localhost/p-app:now\nCOPY stamp /last\n"),
            ("zbase/Containerfile", tool),
            ("tool/Containerfile", tool),
            ("alone/Containerfile", "FROM scratch\nCOPY stamp /stamp\n"),
        ],
    );
    let args = format!("build_args = {{ TOOL = '{host}/staging/tool:${{BUILD_REF_NAME}}' }}\n");
    let toml = [
        format!("[registries.'{host}']\ninsecure = true\n"),
        format!("[projects.p]\nremote = '{}'\n", world.remote("repo")),
        image("alone", "depends_on = ['last']"),
        image(
            "app",
            &format!("{args}tags = ['localhost/p-app:now']\ntest = 'cat /stamp /tool'\npull = 'always'"),
        ),
        image("last", "test = 'cat /stamp /tool /last'"),
        image("tool", &format!("staging = '{host}/staging/tool:${{BUILD_REF_NAME}}'")),
        image("zbase", "release = ['localhost/p-base:1']"),
    ];
    let site = world.site(&toml.concat());
    let _daemon = site.start();
    let job = done_as(&site, "p", &first, "succeeded");
    let order = ["tool built", "zbase released", "app built", "last built", "alone built"];
    assert_eq!(job.images(), order, "{}", job.log);
    assert!(job.log.contains("\none\nzbase\none\ntool\n"), "{}", job.log);
    assert!(job.log.contains("\none\nzbase\none\ntool\none\n"), "{}", job.log);
    // And what was there before is not used when it was made by an earlier job.
    let second = repo.commit(&[("stamp", "two\n")]);
    says(&site, &["poll"], 0);
    let job = done_as(&site, "p", &second, "succeeded");
    assert!(job.log.contains("\ntwo\nzbase\ntwo\ntool\ntwo\n"), "{}", job.log);
    let bases = job.image("app")["bases"].as_array().unwrap();
    let of = |name: &str| {
        bases
            .iter()
            .find(|b| b["name"].as_str().unwrap().contains(name))
            .unwrap()
    };
    assert_eq!(of("p-base")["id"], job.image("zbase")["id"]);
    assert_eq!(of("tool")["digests"][0], job.image("tool")["digest"]);
    // What it stands on is what is there: nothing is out of date.
    for name in ["app", "last", "zbase", "tool", "alone"] {
        assert_eq!(image_row(&site, "p", name)["state"], "current", "{name}");
    }
}

#[test]
fn a_circle_that_only_the_containerfiles_have_is_named() {
    let world = World::new();
    let on = |name: &str| format!("FROM localhost/circle-{name}:1\n");
    let (_repo, commit) = world.repo(
        "repo",
        &[
            ("a/Containerfile", &on("b")),
            (
                "b/Containerfile",
                &format!("{}COPY --from=localhost/circle-c:1 /x /x\n", on("x")),
            ),
            ("c/Containerfile", &on("a")),
            ("fine/Containerfile", "FROM scratch\nCOPY a /\n"),
            ("on-it/Containerfile", &on("a")),
        ],
    );
    let mut toml = format!("[projects.p]\nremote = '{}'\n", world.remote("repo"));
    for name in ["a", "b", "c", "fine", "on-it"] {
        toml += &image(name, &format!("tags = ['localhost/circle-{name}:1']"));
    }
    let site = world.site(&toml);
    let _daemon = site.start();
    let job = done_as(&site, "p", &commit, "failed");
    let named = ["a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"];
    assert!(
        named.iter().any(|circle| job.error().ends_with(circle)),
        "{}",
        job.error()
    );
    assert!(!job.log.contains("podman build"), "{}", job.log);
    let told = says(&site, &["images", "p"], 0);
    assert!(told.contains("never built"), "{told}");
}

#[test]
fn an_image_that_fails_keeps_back_only_what_stands_on_it() {
    let world = World::new();
    let built = "FROM localhost/busybox\nCOPY f /\n";
    let (_repo, commit) = world.repo(
        "repo",
        &[
            ("f", "1"),
            ("broken/Containerfile", "FROM localhost/busybox\nRUN exit 3\n"),
            ("on-broken/Containerfile", "FROM localhost/p-broken\n"),
            ("on-that/Containerfile", built),
            ("tested/Containerfile", built),
            ("on-tested/Containerfile", "FROM localhost/p-tested:1\n"),
            ("good/Containerfile", built),
            ("slow/Containerfile", "FROM localhost/busybox\nRUN sleep 1000\n"),
            ("on-slow/Containerfile", built),
            ("zlast/Containerfile", built),
        ],
    );
    let calls = world.scratch.join("calls");
    let call = world.scratch.script(
        "call",
        &format!("echo \"$1 $BUILD_STEP $BUILD_ERROR\" >>'{}'", calls.display()),
    );
    let destination = world.scratch.mkdir("destination");
    std::fs::write(destination.join("kept"), "").unwrap();
    let (call, shown) = (call.display(), destination.display());
    // A name that a sibling has, but that the storage has too.
    world
        .podman
        .run(&["tag", "localhost/busybox:latest", "localhost/p-broken:latest"]);
    let toml = [
        format!(
            "[projects.p]\nremote = '{}'\ntimeout = '12s'\nerror_callback = '{call} error'\nsuccess_callback = '{call} good'\n",
            world.remote("repo")
        ),
        image("broken", "release = ['localhost/p-broken']"),
        image("good", "release = ['localhost/p-good:1']"),
        image(
            "on-broken",
            "tags = ['localhost/p-on:1']\nrelease = ['localhost/p-on:2']",
        ),
        image("on-slow", "depends_on = ['slow']"),
        image("on-tested", ""),
        image("on-that", "depends_on = ['on-broken', 'good']"),
        image("slow", "release = ['localhost/p-slow:1']"),
        image("tested", "test = 'false'\nrelease = ['localhost/p-tested:1']"),
        image("zlast", "release = ['localhost/p-last:1']"),
        "[projects.p.run]\nimage = 'good'\ncommand = 'touch /drop/ran'\n".to_owned(),
        format!("[projects.p.rsync]\ndestination = '{shown}'\ndelete = true\n"),
    ];
    let site = world.site(&toml.concat());
    let _daemon = site.start();
    let job = done(&site, "p", &commit);
    let mut images = job.images();
    images.sort();
    let expected = [
        "broken failed",
        // It is the one that is run, and that has not taken place.
        "good built",
        "on-broken blocked",
        "on-slow blocked",
        "on-tested blocked",
        "on-that blocked",
        "slow failed",
        "tested failed",
        "zlast released",
    ];
    assert_eq!(images, expected, "{}", job.log);
    assert_eq!(job.outcome, "failed");
    assert_eq!(job.report["failed_step"], "build");
    assert!(job.error().contains("exited with 3"), "{}", job.error());
    assert_eq!(job.note("on-broken"), "it stands on broken, which failed");
    assert_eq!(job.note("on-that"), "it stands on on-broken, which is blocked itself");
    assert!(job.note("slow").contains("12s"), "{}", job.note("slow"));
    assert!(job.note("tested").starts_with("test:"), "{}", job.note("tested"));
    let steps = job.steps();
    for never in ["run", "rsync", "success_callback", "build on-broken", "pull on-that"] {
        assert!(!steps.iter().any(|step| step == never), "{never}: {steps:?}");
    }
    let told = std::fs::read_to_string(&calls).unwrap();
    let told: Vec<&str> = told.lines().collect();
    assert!(
        matches!(told[..], [line] if line.starts_with("error build ") && line.contains("exited with 3")),
        "{told:?}"
    );
    assert!(destination.join("kept").exists() && !job.dir.join("drop/ran").exists());
    // The storage has what was released, and no other one of these names but what was there before.
    let id = |name: &str| world.podman.run(&["inspect", "--format", "{{.Id}}", name]);
    assert_eq!(id("localhost/p-broken:latest"), id("localhost/busybox:latest"));
    assert_eq!(
        format!("sha256:{}", id("localhost/p-last:1")),
        *job.image("zlast")["id"].as_str().unwrap()
    );
    for name in [
        "localhost/p-good:1",
        "localhost/p-slow:1",
        "localhost/p-tested:1",
        "localhost/p-on:2",
    ] {
        assert!(
            !world.podman.output(&["image", "exists", name]).status.success(),
            "{name}"
        );
    }
    assert!(world.podman.containers().is_empty() && world.podman.working_containers().is_empty());
    let told = says(&site, &["explain", "p"], 0);
    let lines = [
        "image on-broken: blocked: it stands on broken, which failed",
        "image zlast: released",
        "image broken: failed: build: podman build exited with 3",
    ];
    for line in lines {
        assert!(told.contains(line), "{line}: {told}");
    }
    let row = image_row(&site, "p", "on-broken");
    assert_eq!(row["state"], "failed");
    assert!(
        row["why"].as_str().unwrap().contains(": blocked: it stands on broken"),
        "{row}"
    );
    assert_eq!(image_row(&site, "p", "zlast")["state"], "current");
}
