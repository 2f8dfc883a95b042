//! What a stranger broke once: an engine that is killed, variables that mean something to the engine, values of env files
//! in places that can be seen, refs that look alike, a remote that was mended.

#![cfg(test)]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use support::daemon::{Site, build_log};
use support::jobs::{wait_job, wait_outcome};
use support::podman::Podman;
use support::repo::Repo;
use support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use support::witness::files_with;

/// The podman client of this site whose arguments hold all of these words.
fn client(workdir: &Path, words: &[&str]) -> Option<Pid> {
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let cmdline = String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).ok()?).replace('\0', " ");
        let is = cmdline.starts_with("podman ")
            && cmdline.contains(workdir.to_str().unwrap())
            && words.iter().all(|word| cmdline.contains(word));
        is.then_some(Pid::from_raw(pid))
    })
}

#[test]
fn an_engine_that_is_killed_is_our_trouble_and_leaves_nothing() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("Containerfile", "FROM localhost/busybox\nRUN echo up; sleep 4713\n")]);
    let toml = format!(
        "interval = '200ms'\ngrace = '500ms'\nretry = {{ attempts = 2, delay = '1h' }}\n\
         [projects.p]\nremote = '{}'\nimage = {{ pull = 'never' }}\n",
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml).with_env(podman.env());
    let _daemon = site.start();
    let first = site.ref_dir("p", "refs/heads/main");
    wait_for("the RUN", SOON, || {
        let log = std::fs::read_dir(&first)
            .ok()?
            .flatten()
            .next()?
            .path()
            .join("build.log");
        std::fs::read_to_string(log).ok()?.contains("\nup\n").then_some(())
    });
    let pid = client(&site.workdir, &["build"]).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    let job = wait_job(&site, &commit, "the retry", |job| job.note.contains("tried again in"));
    assert_eq!((job.state.as_str(), job.attempts.len()), ("queued", 1), "{job:?}");
    assert!(job.note.contains("podman was ended by SIGKILL"), "{job:?}");
    assert_eq!(podman.working_containers(), Vec::<String>::new());
    assert!(site.cli(&["cancel", "p"]).status.success());
}

#[test]
fn variables_that_the_engine_would_heed_reach_only_the_image() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[(
        "Containerfile",
        "FROM localhost/busybox\nARG HOME\nARG CONTAINER_HOST\nRUN echo \"$HOME $CONTAINER_HOST\" >/args\n\
         CMD [\"sh\", \"-c\", \"cp /args /drop/args; env >/drop/env\"]\n",
    )]);
    let toml = format!(
        "interval = '200ms'\n[projects.p]\nremote = '{}'\n\
         image = {{ pull = 'never', build_args = {{ HOME = '/nowhere', CONTAINER_HOST = 'tcp://nobody:1' }} }}\n\
         run = {{ env = {{ PATH = '/app/bin:/bin', CONTAINERS_CONF = '/nowhere' }} }}\n",
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml).with_env(podman.env());
    let _daemon = site.start();
    let dir = site.wait_built("p", "refs/heads/main", &commit);
    assert_eq!(
        std::fs::read_to_string(dir.join("drop/args")).unwrap(),
        "/nowhere tcp://nobody:1\n"
    );
    let env = std::fs::read_to_string(dir.join("drop/env")).unwrap();
    assert!(
        env.contains("PATH=/app/bin:/bin\n") && env.contains("CONTAINERS_CONF=/nowhere\n"),
        "{env}"
    );
}

#[test]
fn what_an_env_file_sets_is_refused_where_it_could_be_seen() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("Containerfile", "FROM scratch\nARG LEAK\nCOPY a /a\n"), ("a", "1")]);
    let env_file = scratch.write("secret.env", "TOKEN=hunter4711\n");
    let places = [
        ("args", "image = { build_args = { LEAK = '${TOKEN}' } }"),
        ("labels", "image = { labels = { leak = '${TOKEN}' } }"),
        ("tags", "image = { tags = ['localhost/x:${TOKEN}'] }"),
        ("copy", "rsync = { destination = '/tmp/${TOKEN}' }"),
    ];
    let mut toml = "interval = '200ms'\n".to_owned();
    for (name, rest) in places {
        toml += &format!(
            "[projects.{name}]\nremote = '{}'\nenv_file = '{}'\n{rest}\n",
            repo.path().display(),
            env_file.display()
        );
    }
    let site = Site::new(&scratch, &toml).with_env(podman.env());
    let daemon = site.start();
    for (name, _) in places {
        let note = wait_for_state(name, SOON, || {
            let status = site.json(&["status", name, "--json"]);
            let job = &status["projects"][0]["refs"][0]["job"];
            let failed = job["outcome"] == "failed";
            failed
                .then(|| job["note"].as_str().unwrap().to_owned())
                .ok_or_else(|| status.to_string())
        });
        assert!(note.contains("TOKEN comes from an env_file"), "{name}: {note}");
    }
    assert!(!commit.is_empty());
    assert_eq!(
        files_with(&site.workdir, "hunter4711"),
        Vec::<std::path::PathBuf>::new()
    );
    assert!(!daemon.log().contains("hunter4711"));
}

#[test]
fn names_that_look_alike_and_a_remote_that_was_mended() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("f", "1")]);
    repo.set_ref("refs/heads/refs/heads/main", &commit);
    let with = |remote: &Path| {
        format!(
            "interval = '200ms'\n[projects.p]\nremote = '{}'\nbranches = ['main']\n",
            remote.display()
        )
    };
    let site = Site::new(&scratch, &with(&scratch.join("nothing")));
    let daemon = site.start();
    wait_for("the trouble", SOON, || {
        let status = site.json(&["status", "--json"]);
        (!status["projects"][0]["trouble"].is_null()).then_some(())
    });
    site.write_config(&with(repo.path()));
    daemon.signal(Signal::SIGHUP);
    wait_outcome(&site, &commit, "succeeded");
    assert!(site.json(&["status", "--json"])["projects"][0]["trouble"].is_null());

    let built = site.cli(&["build", "p", "refs/heads/main", "--wait"]);
    assert!(built.status.success(), "{built:?}");
    let dir = site.wait_latest("p", "refs/heads/main", &format!("{}.2", &commit[..8]));
    assert!(build_log(&dir).contains("refs/heads/main at"));
}
