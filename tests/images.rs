//! Building and running images with the real engine: what reaches them, what does not, and how it may go wrong.

#![cfg(test)]

mod support;

use nix::sys::stat::{Mode, umask};
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use support::daemon::{Site, build_json, build_log, strays};
use support::podman::Podman;
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use support::witness::files_with;

/// The outcome of the newest job of a project's main branch, when it has one: its report.
#[track_caller]
fn wait_outcome(site: &Site, project: &str, outcome: &str) -> serde_json::Value {
    let dir = wait_for_state(&format!("{project} to have {outcome}"), SOON, || {
        let status = site.json(&["status", project, "--json"]);
        let job = &status["projects"][0]["refs"][0]["job"];
        let is = job["outcome"].as_str() == Some(outcome);
        is.then(|| job["dir"].as_str().unwrap().to_owned())
            .ok_or_else(|| status.to_string())
    });
    build_json(Path::new(&dir))
}

const CONTAINERFILE: &str = r#"
ARG BASE
FROM ${BASE} AS base
ARG GIVEN
ARG FROM_ENV
ARG BUILD_SHORT_COMMIT
ARG SECRET=none
ARG UNSET=default
RUN echo "$GIVEN|$FROM_ENV|$BUILD_SHORT_COMMIT|$SECRET|$UNSET|$UNDECLARED" >/args
FROM base AS final
COPY data /data
LABEL mine=1 pipelined.project=forged
CMD ["sh", "/build/run.sh"]
FROM base
RUN exit 9
"#;

const RUN: &str = r#"
touch /here 2>/dev/null && echo writable || echo read-only
touch /tmp/here && echo tmp
df -k /tmp | tail -n 1 | awk '{print $2}' >/drop/tmp-size
cat /args /data
env >/drop/env
ls /run/podman/podman.sock /var/run/docker.sock 2>/dev/null
echo from-run >/build/result
echo ready
until test -e /drop/gate; do sleep 0.02; done
"#;

#[test]
fn built_and_run_with_what_the_config_says() {
    // The daemon and all that it starts inherit it.
    umask(Mode::from_bits_truncate(0o027));
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[
        ("images/a,\"b\"/File", CONTAINERFILE),
        ("ctx/data", "data\n"),
        ("run.sh", RUN),
    ]);
    scratch.write("p.env", "SECRET=s3cret-qz81c4\nAPI_KEY=k3y-qz81c4\n");
    let toml = format!(
        r#"
interval = '1h'
[projects.p]
remote = '{}'
env = {{ FROM_ENV = 'of env', UNDECLARED = 'not seen', NAME = 'p-image' }}
env_file = './p.env'
[projects.p.image]
file = 'images/a,"b"/File'
context = 'ctx'
target = 'final'
build_args = {{ BASE = 'localhost/busybox:latest', GIVEN = '${{BUILD_PROJECT}}/${{NAME}}', NOT_DECLARED = 'x' }}
labels = {{ 'com.example.a' = '${{BUILD_REF}} $$', 'com.example.spaced' = 'a "b" c' }}
tags = ['localhost/${{NAME}}:${{BUILD_SHORT_COMMIT}}', 'localhost/p-image:newest']
[projects.p.run]
labels = {{ 'com.example.run' = '${{BUILD_NUMBER}}', 'pipelined.attempt' = 'forged' }}
env = {{ OWN = '${{BUILD_REF_NAME}}!' }}
tmpfs = '25%'
"#,
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml).with_env(podman.env());
    let daemon = site.start();
    let running = site.job_dir("p", "refs/heads/main", &format!("{}.tmp", short(&commit)));
    // Whenever somebody looks, build.json is whole.
    let mut steps = 0;
    wait_for_state("the run", SOON, || {
        if let Ok(bytes) = std::fs::read(running.join("build.json")) {
            let report: serde_json::Value = serde_json::from_slice(&bytes).expect("build.json is whole");
            assert_eq!((&report["state"], &report["outcome"]), (&"running".into(), &().into()));
            steps = report["steps"].as_array().unwrap().len();
        }
        let log = std::fs::read_to_string(running.join("build.log")).unwrap_or_default();
        log.contains("\nready\n")
            .then_some(())
            .ok_or_else(|| format!("{log}{}", daemon.log()))
    });
    assert_eq!(steps, 5);
    let names = podman.containers();
    let [name] = &names[..] else { panic!("{names:?}") };
    assert!(name.starts_with(&format!("pipelined-p-{}-", short(&commit))), "{name}");
    let container: serde_json::Value = serde_json::from_str(&podman.run(&["inspect", name])).unwrap();
    let labels = &container[0]["Config"]["Labels"];
    assert_eq!(labels["com.example.run"], "1");
    assert_eq!(labels["pipelined.project"], "p");
    assert_ne!(labels["pipelined.attempt"], "forged");
    let arguments: Vec<String> = strays(&site.workdir).into_iter().map(|(_, line)| line).collect();
    assert!(arguments.iter().any(|l| l.contains("--env=SECRET")), "{arguments:?}");
    assert!(!arguments.iter().any(|l| l.contains("qz81c4")), "{arguments:?}");
    std::fs::write(running.join("drop/gate"), "").unwrap();
    let dir = site.wait_built("p", "refs/heads/main", &commit);

    let log = build_log(&dir);
    let said = format!(
        "\nread-only\ntmp\np/p-image|of env|{}|none|default|\ndata\nready\n",
        short(&commit)
    );
    assert!(log.contains(&said), "{log}");
    for header in ["checkout: $ git ", "build: $ podman build ", "run: $ podman run "] {
        assert!(
            log.lines().any(|l| l.starts_with("=== ") && l.contains(header)),
            "{header}: {log}"
        );
    }
    let size: u64 = std::fs::read_to_string(dir.join("drop/tmp-size"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let memory: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(size.abs_diff(memory / 4) < memory / 100, "{size} of {memory}");
    assert_eq!(std::fs::read(dir.join("build/result")).unwrap(), b"from-run\n");

    let env = std::fs::read_to_string(dir.join("drop/env")).unwrap();
    let env: BTreeMap<&str, &str> = env.lines().filter_map(|l| l.split_once('=')).collect();
    let id = podman.run(&["inspect", "--format", "{{.Id}}", "localhost/p-image:newest"]);
    for (name, expected) in [
        ("FROM_ENV", "of env"),
        ("SECRET", "s3cret-qz81c4"),
        ("API_KEY", "k3y-qz81c4"),
        ("OWN", "main!"),
        ("BUILD_PATH", "/build"),
        ("BUILD_DROP", "/drop"),
        ("BUILD_COMMIT", &commit),
        ("BUILD_IMAGE", &format!("localhost/p-image:{}", short(&commit))),
        ("BUILD_IMAGE_ID", &format!("sha256:{id}")),
        ("CI", "true"),
    ] {
        assert_eq!(env.get(name), Some(&expected), "{name}");
    }
    for none in ["BUILD_DIR", "BUILD_LOG", "TEST_WORKDIR", "PIPELINED_JOB"] {
        assert!(!env.contains_key(none), "{none}");
    }

    let image: serde_json::Value = serde_json::from_str(&podman.run(&["inspect", "localhost/p-image:newest"])).unwrap();
    let labels = &image[0]["Config"]["Labels"];
    for (label, expected) in [
        ("com.example.a", "refs/heads/main $"),
        ("com.example.spaced", "a \"b\" c"),
        ("mine", "1"),
        ("pipelined.project", "p"),
        ("pipelined.reason", "new commit"),
        ("org.opencontainers.image.revision", &commit),
        ("org.opencontainers.image.ref.name", "main"),
    ] {
        assert_eq!(labels[label], *expected, "{label}");
    }
    let history = podman.run(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", &id]);
    assert!(
        !history.contains("qz81c4") && !image.to_string().contains("qz81c4"),
        "{history}"
    );
    assert!(podman.containers().is_empty() && podman.working_containers().is_empty());
    // Only what the run itself wrote has it.
    assert_eq!(files_with(&site.workdir, "qz81c4"), [dir.join("drop/env")]);
    assert!(!daemon.log().contains("qz81c4"));

    let report = build_json(&dir);
    assert_eq!(report["state"], "done");
    assert_eq!(report["outcome"], "succeeded");
    assert_eq!(report["image"]["id"], format!("sha256:{id}"));
    assert_eq!(report["image"]["containerfile"], "images/a,\"b\"/File");
    assert_eq!(
        report["image"]["bases"],
        serde_json::json!(["localhost/busybox:latest"])
    );
    let steps: Vec<&str> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["setup", "checkout", "pull", "build", "run"]);
    assert!(
        report["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|s| s["duration_ms"].is_i64() && s["error"].is_null())
    );
    for key in [
        "queued",
        "started",
        "finished",
        "duration_ms",
        "attempt",
        "number",
        "cause",
        "engine",
    ] {
        assert!(!report[key].is_null(), "{key}");
    }
    for (path, mode) in [
        ("", 0o750),
        ("drop", 0o750),
        ("build", 0o750),
        ("build.log", 0o640),
        ("build.json", 0o640),
        ("build/run.sh", 0o640),
    ] {
        let found = dir.join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path:?} is {found:o}");
    }
}

#[test]
fn bases_from_this_machine_and_every_pull_policy() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let repo = Repo::new(scratch.join("repo"));
    let text = "ARG B=localhost/busybox\nFROM $B\nLABEL x=1\n";
    let commit = repo.commit(&[("Dockerfile", text)]);
    let remote = repo.path().display();
    let mut toml = "interval = '1h'\nlimit = 2\nretry = { attempts = 1 }\n".to_owned();
    for pull in ["never", "missing", "newer", "always"] {
        toml += &format!("[projects.{pull}]\nremote = '{remote}'\nimage = {{ pull = '{pull}' }}\n");
        let args = "build_args = { B = 'localhost/not-there:1' }";
        toml += &format!("[projects.{pull}-lost]\nremote = '{remote}'\nimage = {{ pull = '{pull}', {args} }}\n");
    }
    // A registry where nobody is.
    let args = "build_args = { B = '127.0.0.1:9/x:1' }";
    toml += &format!("[projects.registry]\nremote = '{remote}'\nimage = {{ {args} }}\n");
    let site = Site::new(&scratch, &toml).with_env(podman.env());
    let _daemon = site.start();
    for pull in ["never", "missing", "newer", "always"] {
        let dir = site.wait_built(pull, "refs/heads/main", &commit);
        assert!(!build_log(&dir).contains("podman pull"), "{}", build_log(&dir));
        let lost = format!("{pull}-lost");
        if pull == "never" {
            wait_outcome(&site, &lost, "failed");
            continue;
        }
        let report = wait_outcome(&site, &lost, "errored");
        let error = report["error"].as_str().unwrap();
        assert!(
            error.contains("localhost/not-there:1 is not in the storage of podman"),
            "{error}"
        );
        assert_eq!(report["failed_step"], "pull");
    }
    let report = wait_outcome(&site, "registry", "errored");
    assert!(
        report["error"]
            .as_str()
            .unwrap()
            .contains("cannot pull 127.0.0.1:9/x:1"),
        "{report}"
    );
}

#[test]
fn what_fails_is_said_once_and_latest_stays() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let outside = scratch.write("outside/Containerfile", "FROM localhost/busybox\n");
    let good = "FROM localhost/busybox\nLABEL a=1\n";
    let make = |name: &str, text: &str| {
        let repo = Repo::new(scratch.join(name));
        let commit = repo.commit(&[("Containerfile", text), ("a", "1")]);
        (repo, commit)
    };
    let (repo, before) = make("runs", good);
    let none = Repo::new(scratch.join("none"));
    none.commit(&[("a", "1")]);
    let (links, _) = make("links", good);
    symlink(&outside, links.path().join("link")).unwrap();
    symlink(scratch.join("outside"), links.path().join("dir")).unwrap();
    links.commit::<&str>(&[]);
    make("syntax", "FROM localhost/busybox\nNONSENSE x\n");
    make(
        "sleeps",
        "FROM localhost/busybox\nRUN trap '' TERM; sleep 4711 & sleep 4711\n",
    );
    make(
        "exits",
        "FROM localhost/busybox\nCMD [\"sh\", \"-c\", \"echo bye; exit 5\"]\n",
    );
    let project = |name: &str, repo: &str, rest: &str| {
        format!(
            "[projects.{name}]\nremote = '{}'\n{rest}\n",
            scratch.join(repo).display()
        )
    };
    let toml = "interval = '200ms'\nlimit = 3\ngrace = '300ms'\nretry = { attempts = 3, delay = '50ms' }\n".to_owned()
        + &project("runs", "runs", "image = { tags = ['localhost/runs:newest'] }")
        + &project("none", "none", "image = {}")
        + &project("file", "links", "image = { file = 'link' }")
        + &project("file-dir", "links", "image = { file = 'dir/Containerfile' }")
        + &project("context", "links", "image = { context = 'dir' }")
        + &project("nowhere", "links", "image = { file = 'images/x' }")
        + &project("stage", "links", "image = { target = 'nothing' }")
        + &project("tag", "links", "image = { tags = ['localhost/x:${BUILD_REF}'] }")
        + &project("syntax", "syntax", "image = {}")
        + &project("sleeps", "sleeps", "timeout = '3s'\nimage = {}")
        + &project("exits", "exits", "image = {}\nrun = {}")
        + &project("no-command", "links", "image = {}\nrun = { command = 'nothing-there' }")
        + &project(
            "run-sleeps",
            "links",
            "timeout = '3s'\nimage = {}\nrun = { command = 'sleep 4711' }",
        );
    let site = Site::new(&scratch, &toml).with_env(podman.env());
    let daemon = site.start();
    site.wait_built("runs", "refs/heads/main", &before);
    let id = podman.run(&["inspect", "--format", "{{.Id}}", "localhost/runs:newest"]);
    let bad = repo.commit(&[("Containerfile", "FROM localhost/busybox\nRUN echo before; exit 7\n")]);
    for (project, step, words) in [
        ("none", "pull", "neither Containerfile nor Dockerfile"),
        ("file", "pull", "link leads out of the repository"),
        ("file-dir", "pull", "dir/Containerfile leads out of the repository"),
        ("context", "pull", "dir leads out of the repository"),
        ("nowhere", "pull", "there is no images/x in the repository"),
        ("stage", "build", "podman build exited with"),
        (
            "tag",
            "pull",
            "\"localhost/x:refs/heads/main\" is not an image reference",
        ),
        ("syntax", "build", "podman build exited with"),
        ("exits", "run", "the container exited with 5"),
        ("no-command", "run", "the command cannot be started in this image"),
    ] {
        let report = wait_outcome(&site, project, "failed");
        let error = report["error"].as_str().unwrap();
        assert!(error.contains(words), "{project}: {error}");
        assert_eq!(
            (&report["failed_step"], &report["attempt"]),
            (&step.into(), &1.into()),
            "{project}"
        );
    }
    for (project, step) in [("sleeps", "build"), ("run-sleeps", "run")] {
        let report = wait_outcome(&site, project, "timed out");
        assert_eq!(report["failed_step"], step);
        assert!(
            report["error"].as_str().unwrap().contains("its timeout of 3s"),
            "{report}"
        );
    }
    let report = wait_outcome(&site, "runs", "failed");
    assert_eq!(report["commit"], bad.as_str());
    assert!(
        report["error"].as_str().unwrap().contains("podman build exited with 7"),
        "{report}"
    );
    let dir = site.job_dir("runs", "refs/heads/main", &format!("{}.tmp", short(&bad)));
    assert!(build_log(&dir).contains("\nbefore\n"));
    assert_eq!(site.latest("runs", "refs/heads/main").as_deref(), Some(short(&before)));
    assert_eq!(
        podman.run(&["inspect", "--format", "{{.Id}}", "localhost/runs:newest"]),
        id
    );
    wait_for("nothing to be left", SOON, || {
        strays(&site.workdir).is_empty().then_some(())
    });
    assert!(podman.containers().is_empty() && podman.working_containers().is_empty());
    assert!(!daemon.log().contains("tried again in"), "{}", daemon.log());
}

#[test]
fn an_engine_that_is_not_installed_is_waited_for() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("Containerfile", "FROM scratch\nCOPY a /a\n"), ("a", "1")]);
    let bin = scratch.mkdir("bin");
    let find = |name: &str| {
        let path = std::env::var_os("PATH").unwrap();
        std::env::split_paths(&path)
            .map(|p| p.join(name))
            .find(|p| p.is_file())
            .unwrap()
    };
    symlink(find("git"), bin.join("git")).unwrap();
    let toml = format!(
        "interval = '1h'\nretry = {{ attempts = 99, delay = '200ms', max_delay = '200ms' }}\n\
         [projects.p]\nremote = '{}'\nimage = {{}}\n",
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml)
        .with_env(podman.env())
        .with_env([("PATH", bin.as_os_str())]);
    let _daemon = site.start();
    wait_for_state("the retry", SOON, || {
        let status = site.json(&["status", "--json"]);
        let note = status["jobs"][0]["note"].as_str().unwrap_or_default().to_owned();
        (note.contains("podman") && note.contains("installed") && note.contains("tried again"))
            .then_some(())
            .ok_or_else(|| status.to_string())
    });
    // Installed meanwhile: with a PATH of its own, so that its helpers are found.
    let wrapper = format!(
        "PATH='{}' exec '{}' \"$@\"",
        std::env::var("PATH").unwrap(),
        find("podman").display()
    );
    let script = scratch.script("podman-wrapper", &wrapper);
    std::fs::rename(script, bin.join("podman")).unwrap();
    let latest = wait_for_state("the build", SOON, || {
        let latest = site.latest("p", "refs/heads/main");
        latest.ok_or_else(|| site.json(&["status", "--json"]).to_string())
    });
    assert!(latest.starts_with(&format!("{}.", short(&commit))), "{latest}");
}
