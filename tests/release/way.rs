//! What is released is what was staged and tested, byte for byte, and says where it comes from.

use crate::common::*;
use crate::support::daemon::build_log;
use crate::support::jobs::{wait_job, wait_outcome};
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::Registry;
use rstest::rstest;
use serde_json::Value;

const CONTAINERFILE: &str = "ARG BASE\nFROM $BASE\nCOPY data /data\n";

/// Puts a base with the labels of somebody else onto a registry; its digest there.
fn push_base(bench: &Bench, place: &str) -> String {
    let labels = [
        "org.opencontainers.image.revision=forged",
        "org.opencontainers.image.base.digest=sha256:forged",
        "org.opencontainers.image.title=kept",
        "pipelined.project=forged",
        "pipelined.bases=forged",
    ];
    let mut text = "FROM localhost/busybox\n".to_owned();
    for label in labels {
        text += &format!("LABEL {label}\n");
    }
    let file = bench.scratch.write("base/Containerfile", text);
    let dir = file.parent().unwrap().display().to_string();
    bench.podman.run(&["build", "--quiet", "--tag", place, &dir]);
    bench.podman.run(&["push", "--quiet", "--tls-verify=false", place]);
    bench.podman.run(&["rmi", "--force", place]);
    seen(place).unwrap()
}

#[test]
fn what_was_tested_is_what_is_released() {
    let bench = Bench::new(CONTAINERFILE);
    let registry = Registry::start(&bench.scratch);
    let host = registry.host();
    let base = format!("{host}/bases/b:1");
    let base_digest = push_base(&bench, &base);
    bench.repo.branch("side");
    bench.repo.commit(&[("data", "side\n")]);
    let side = bench.repo.head();
    bench.repo.switch("main");
    bench.repo.push_to(&bench.origin);
    let commit = bench.repo.head();
    let staging = format!("{host}/staging/p:${{BUILD_SHORT_COMMIT}}");
    bench.config(
        &insecure(std::slice::from_ref(&host)),
        &format!(
            "image = {{ staging = '{staging}', release = ['{host}/a/p:1', '{host}/b/p:${{BUILD_REF_NAME}}', \
             '{host}/a/p:latest'], test = 'grep -x first /data', build_args = {{ BASE = '{base}' }}, \
             labels = {{ mine = 'yes' }} }}\n"
        ),
    );
    let daemon = bench.site.start();
    let job = wait_job(&bench.site, &commit, "an end", |job| {
        job.state == "done" || job.note.contains("errored")
    });
    assert_eq!(job.outcome(), "succeeded", "{}", build_log(&bench.running(&commit)));
    let dir = bench.site.wait_built("p", MAIN, &commit);
    // The other branch fails its test; nothing of it is released, and it is staged.
    let failed = report(&bench.site, &side, "failed");
    assert_eq!(failed["failed_step"], "test", "{failed}");
    let staged = |commit: &str| format!("{host}/staging/p:{}", &commit[..8]);
    let digest = seen(&staged(&commit)).unwrap();
    let references = [":1", ":latest"].map(|tag| format!("{host}/a/p{tag}"));
    for place in references.iter().chain([&format!("{host}/b/p:main")]) {
        assert_eq!(seen(place).as_ref(), Some(&digest), "{place}");
        whole(&bench.scratch, place);
    }
    assert!(seen(&staged(&side)).is_some_and(|other| other != digest));
    assert_eq!(seen(&format!("{host}/b/p:side")), None);
    let image = bench.image(MAIN);
    assert_eq!(image["digest"], *digest, "{image}");
    assert_eq!(image["state"], "current", "{image}");
    assert_eq!(image["released"].as_array().unwrap().len(), 3, "{image}");
    assert_eq!(image["bases"][0]["digests"][0], *base_digest, "{image}");
    // The test of another commit of that branch is good; it is not released all the same.
    bench.repo.switch("side");
    let side = bench.push("first\n");
    bench.site.wait_built("p", "refs/heads/side", &side);
    assert_eq!(seen(&format!("{host}/b/p:side")), None);
    assert_eq!(seen(&references[0]).as_ref(), Some(&digest));
    let other = bench.image("refs/heads/side");
    assert_eq!(other["digest"], *seen(&staged(&side)).unwrap(), "{other}");
    assert_eq!(other["released"], serde_json::json!([]), "{other}");

    let config = skopeo(&[
        "inspect",
        "--config",
        "--tls-verify=false",
        &format!("docker://{}", references[0]),
    ]);
    let config: Value = serde_json::from_slice(&config.stdout).unwrap();
    let labels = &config["config"]["Labels"];
    let manifest: Value = serde_json::from_slice(&manifest(&references[0]).unwrap()).unwrap();
    let annotations = &manifest["annotations"];
    for (key, expected) in [
        ("org.opencontainers.image.revision", &*commit),
        ("org.opencontainers.image.ref.name", "main"),
        ("org.opencontainers.image.base.name", &*base),
        ("org.opencontainers.image.base.digest", &*base_digest),
        (
            "org.opencontainers.image.source",
            &*bench.origin.path().display().to_string(),
        ),
        ("pipelined.project", "p"),
        ("pipelined.reason", "new commit"),
        (
            "pipelined.bases",
            &serde_json::json!([{ "name": base, "digest": base_digest }]).to_string(),
        ),
    ] {
        let same = |found: &Value| match key {
            // The order of keys is nobody's business.
            "pipelined.bases" => {
                serde_json::from_str::<Value>(found.as_str().unwrap()).unwrap()
                    == serde_json::from_str::<Value>(expected).unwrap()
            }
            _ => found == expected,
        };
        assert!(same(&labels[key]), "{key}: {labels}");
        assert!(same(&annotations[key]), "{key}: {annotations}");
    }
    assert_eq!(labels["org.opencontainers.image.title"], "kept");
    assert_eq!(labels["mine"], "yes");
    let created = annotations["org.opencontainers.image.created"].as_str().unwrap();
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");
    assert!(!dir.join(".release").exists(), "{}", build_log(&dir));
    drop(daemon);
}

/// Trouble with the second of two repositories: the first one's tag stays where it was.
#[rstest]
#[case("POST", "/b/blobs/", Fault::Answer(403, String::new()))]
#[case("PUT", "/b/manifests/sha256:", Fault::Drop)]
#[case("PUT", "/b/manifests/sha256:", Fault::Digest(format!("sha256:{}", "0".repeat(64))))]
fn all_or_nothing(#[case] method: &'static str, #[case] part: &'static str, #[case] fault: Fault) {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let (host, there) = (proxy.host(), registry.host());
    let project = format!("image.release = ['{host}/a:1', '{host}/b:1']\n");
    bench.config(&insecure(std::slice::from_ref(&host)), &project);
    let daemon = bench.site.start();
    let first = bench.repo.head();
    bench.site.wait_built("p", MAIN, &first);
    let before = seen(&format!("{there}/a:1")).unwrap();
    assert_eq!(seen(&format!("{there}/b:1")).as_ref(), Some(&before));
    let mean = fault.clone();
    proxy.set(move |r| r.is(method, part).then(|| mean.clone()));
    let commit = bench.push("second\n");
    // Not yet over: it is tried again.
    let job = wait_job(&bench.site, &commit, "an errored attempt", |job| {
        job.note.contains("errored")
    });
    assert_eq!(job.state, "queued");
    for name in ["a", "b"] {
        assert_eq!(seen(&format!("{there}/{name}:1")).as_ref(), Some(&before), "{name}");
    }
    let image = bench.image(MAIN);
    // What is told of is what is released.
    assert_eq!(
        (&image["digest"], &image["commit"]),
        (&before.as_str().into(), &first.as_str().into()),
        "{image}"
    );
    proxy.set(|_| None);
    let dir = bench.site.wait_built("p", MAIN, &commit);
    let after = seen(&format!("{there}/a:1")).unwrap();
    assert_ne!(after, before);
    assert_eq!(seen(&format!("{there}/b:1")).as_ref(), Some(&after));
    assert_eq!(bench.image(MAIN)["digest"], *after);
    // Built once.
    assert_eq!(build_log(&dir).matches("STEP 1/").count(), 1, "{}", build_log(&dir));
    assert!(!dir.join(".release").exists());
    drop(daemon);
}

#[test]
fn nothing_of_what_failed_its_test() {
    let bench = Bench::new("FROM localhost/busybox\nCOPY data /data\n");
    let registry = Registry::start(&bench.scratch);
    let host = registry.host();
    let top = format!("limit = 2\n{}", insecure(std::slice::from_ref(&host)));
    let remote = bench.origin.path().display();
    // One that never ends, ignores TERM, and has a child.
    let slow = format!(
        "[projects.slow]\nremote = '{remote}'\ntimeout = '8s'\n[projects.slow.image]\nrelease = ['{host}/slow:1']\n\
         test = ['sh', '-c', 'trap : TERM; sleep 1234 & while :; do sleep 1; done']\n"
    );
    bench.config(
        &format!("grace = '1s'\n{top}{slow}"),
        &format!("image = {{ release = ['{host}/p:1', 'localhost/p:1'], test = 'false' }}\n"),
    );
    let daemon = bench.site.start();
    let commit = bench.repo.head();
    let jobs = || crate::support::jobs::jobs(&bench.site.workdir);
    let ended = crate::support::scratch::wait_for_state("both to end", crate::support::scratch::SOON, || {
        let jobs = jobs();
        let done = jobs.len() == 2 && jobs.iter().all(|j| j.state == "done");
        if done { Ok(jobs) } else { Err(format!("{jobs:?}")) }
    });
    for job in ended {
        let expected = if job.project == "p" { "failed" } else { "timed out" };
        let dir = bench.site.job_dir(&job.project, MAIN, &format!("{}.tmp", &commit[..8]));
        assert_eq!(job.outcome().replace('_', " "), expected, "{job:?} {}", build_log(&dir));
        let report = crate::support::daemon::build_json(&dir);
        assert_eq!(report["failed_step"], "test", "{report}");
        assert_eq!(report["images"][0]["status"], "failed", "{report}");
        assert_eq!(seen(&format!("{host}/{}:1", job.project)), None);
        assert!(!dir.join(".release").exists());
    }
    assert!(
        !bench
            .podman
            .output(&["image", "exists", "localhost/p:1"])
            .status
            .success()
    );
    assert!(bench.podman.containers().is_empty(), "{:?}", bench.podman.containers());
    drop(daemon);
}

#[test]
fn into_the_storage_of_the_engine() {
    let bench = Bench::new(SCRATCH);
    bench.config("", "image.release = ['localhost/p:1', 'localhost/q/p']\n");
    let daemon = bench.site.start();
    for data in ["first\n", "second\n"] {
        let commit = bench.push(data);
        wait_outcome(&bench.site, &commit, "succeeded");
        let image = bench.image(MAIN);
        for name in ["localhost/p:1", "localhost/q/p:latest"] {
            let id = bench.podman.run(&["image", "inspect", "--format", "{{.Id}}", name]);
            assert_eq!(image["id"], *format!("sha256:{id}"), "{image}");
        }
        assert_eq!(image["state"], "current", "{image}");
        let released = image["released"].as_array().unwrap();
        assert_eq!(released.len(), 2, "{image}");
        assert!(released.iter().all(|r| r["now"].is_null()), "{image}");
    }
    drop(daemon);
}
