//! The daemon with `engine = "kaniko"`: with a staging reference and without, and cut off at every bad moment.
//!
//! The executor is the stand-in, always: what the real one is tested with is in [`crate::executor`].

use crate::support::daemon::{Daemon, Site, build_json, build_log, wait_log};
use crate::support::executor::{self, EXECUTOR};
use crate::support::jobs::{Row, job_of, wait_job, wait_outcome};
use crate::support::podman::{BUSYBOX, Podman};
use crate::support::repo::{Repo, short};
use crate::support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::{Registry, RegistryOptions};
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::process::Command;

const MAIN: &str = "refs/heads/main";
const LOGIN: (&str, &str) = ("me", "hunter2-5c1e");

struct Bench {
    site: Site,
    podman: Podman,
    repo: Repo,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        eprintln!("kaniko: the stand-in is tested with the daemon, and not the real executor");
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        podman.load_busybox();
        executor::load(&podman, &scratch);
        Self {
            site: Site::new(&scratch, "").with_env(podman.env()).with_env([
                ("HOME", scratch.mkdir("home").as_os_str()),
                ("REGISTRY_AUTH_FILE", "".as_ref()),
                ("XDG_RUNTIME_DIR", scratch.mkdir("runtime").as_os_str()),
            ]),
            podman,
            repo: Repo::new(scratch.join("repo")),
            scratch,
        }
    }

    /// The config: `top` before the tables, and one project with `project` in its tables.
    fn config(&self, top: &str, project: &str) {
        let remote = self.repo.path().display();
        self.site.write_config(&format!(
            "interval = '100ms'\ngrace = '300ms'\nretry = {{ attempts = 1 }}\nengine = 'kaniko'\n{top}\n\
             [projects.p]\nremote = '{remote}'\n{project}\n"
        ));
    }

    fn commit(&self, containerfile: &str, data: &str) -> String {
        self.repo.commit(&[("Containerfile", containerfile), ("data", data)])
    }

    /// Where the newest job of a commit stands.
    fn dir(&self, commit: &str) -> PathBuf {
        let job = job_of(&self.site.workdir, commit).unwrap();
        let name = job.attempts.last().unwrap();
        let running = self.site.job_dir("p", MAIN, &format!("{name}.tmp"));
        if running.exists() {
            running
        } else {
            self.site.job_dir("p", MAIN, name)
        }
    }

    /// Waits for the outcome; the error in the report, and the log.
    #[track_caller]
    fn ended(&self, commit: &str, outcome: &str) -> (String, String) {
        wait_job(&self.site, commit, &format!("{commit} to be {outcome}"), |job| {
            assert!(
                job.state != "done" || job.outcome() == outcome,
                "{job:?}: {}",
                build_log(&self.dir(commit))
            );
            job.outcome() == outcome
        });
        // It is renamed after its end is on record.
        wait_for("the report", SOON, || {
            let dir = self.dir(commit);
            let report = std::fs::read(dir.join("build.json")).ok()?;
            let log = std::fs::read(dir.join("build.log")).ok()?;
            let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
            let error = report["error"].as_str().unwrap_or_default().to_owned();
            (report["state"] == "done").then(|| (error, String::from_utf8_lossy(&log).into_owned()))
        })
    }

    /// The images as they are told of, by their names.
    fn images(&self) -> Vec<serde_json::Value> {
        let images = self.site.json(&["images", "--json"]);
        images.as_array().unwrap_or_else(|| panic!("{images}")).clone()
    }

    #[track_caller]
    fn wait_no_containers(&self) {
        wait_for_state("containers to be gone", SOON, || {
            let left = self.podman.containers();
            left.is_empty().then_some(()).ok_or_else(|| format!("{left:?}"))
        });
    }

    /// Puts busybox into a registry.
    fn push_busybox(&self, place: &str, creds: Option<&str>) {
        let archive = self.scratch.join("busybox.tar");
        self.podman
            .run(&["save", "--quiet", "--output", archive.to_str().unwrap(), BUSYBOX]);
        let mut command = Command::new("skopeo");
        command.args(["copy", "--dest-tls-verify=false"]);
        command.args(creds.map(|creds| format!("--dest-creds={creds}")));
        command.arg(format!("docker-archive:{}", archive.display()));
        let output = command.arg(format!("docker://{place}")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// The digest that skopeo sees; none if there is nothing.
fn seen(place: &str, creds: &str) -> Option<String> {
    let output = Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", creds])
        .arg(format!("docker://{place}"))
        .env("REGISTRY_AUTH_FILE", "/nonexistent")
        .output()
        .unwrap();
    let digest = Sha256::digest(&output.stdout);
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    output.status.success().then(|| format!("sha256:{hex}"))
}

const OPEN: &str = "--no-creds";

fn kaniko() -> String {
    format!("[kaniko]\nimage = '{EXECUTOR}'\n")
}

fn insecure(host: &str) -> String {
    format!("[registries.'{host}']\ninsecure = true\n")
}

#[test]
fn without_staging_the_archive_is_tested_and_released_also_after_a_crash() {
    let bench = Bench::new();
    let registry = Registry::start(&bench.scratch);
    let base = format!("{}/base/busybox:1", registry.host());
    bench.push_busybox(&base, None);
    let pinned = format!("{}/base/busybox@{}", registry.host(), seen(&base, OPEN).unwrap());
    let faults = Faults::start(registry.port(), |_| None);
    let host = faults.host();
    let top = kaniko() + &insecure(&registry.host()) + &insecure(&host);
    let project = format!(
        "[projects.p.image]\nbuild_args = {{ BASE = '{base}' }}\ntest = 'grep good /data'\n\
         release = ['{host}/a/app:${{BUILD_SHORT_COMMIT}}', '{host}/b/app:newest']\n"
    );
    bench.config(&top, &project);
    let containerfile = "ARG BASE\nFROM $BASE\nCOPY data /data\n";
    let first = bench.commit(containerfile, "good one\n");
    let mut daemon = bench.site.start();
    let (_, log) = bench.ended(&first, "succeeded");
    assert!(log.contains("executor: the stand-in builds"), "{log}");
    let from = format!("executor: | FROM {pinned}");
    assert!(log.contains(&from), "{from} is not in {log}");
    let newest = format!("{host}/b/app:newest");
    let digest = seen(&newest, OPEN).unwrap();
    assert_eq!(
        seen(&format!("{host}/a/app:{}", short(&first)), OPEN),
        Some(digest.clone())
    );
    let report = build_json(&bench.dir(&first));
    assert_eq!(report["image"]["digest"], digest.as_str(), "{report}");
    let [image] = &bench.images()[..] else { panic!() };
    assert_eq!(
        (&image["digest"], &image["state"]),
        (&digest.as_str().into(), &"current".into())
    );
    assert_eq!(image["bases"][0]["digests"][0], seen(&base, OPEN).unwrap(), "{image}");
    bench.podman.run(&["pull", "--quiet", "--tls-verify=false", &newest]);
    assert_eq!(bench.podman.run(&["run", "--rm", &newest, "cat", "/data"]), "good one");
    let label = bench.podman.run(&[
        "inspect",
        "--format={{index .Labels \"org.opencontainers.image.revision\"}}",
        &newest,
    ]);
    assert_eq!(label, first);

    // Nothing is released of an image whose test fails.
    let bad = bench.commit(containerfile, "evil one\n");
    let (error, _) = bench.ended(&bad, "failed");
    assert!(error.contains("test"), "{error}");
    assert_eq!(seen(&newest, OPEN), Some(digest.clone()));
    assert_eq!(seen(&format!("{host}/a/app:{}", short(&bad)), OPEN), None);

    // A crash between the two references.
    faults.set(|request| request.is("PUT", "/b/app/manifests/newest").then_some(Fault::Hang));
    faults.forget();
    let last = bench.commit(containerfile, "good two\n");
    wait_for("the second reference", SOON, || {
        (faults.count("PUT", "/b/app/manifests/newest") > 0).then_some(())
    });
    let half = seen(&format!("{host}/a/app:{}", short(&last)), OPEN).unwrap();
    assert_eq!(seen(&newest, OPEN), Some(digest.clone()));
    daemon.kill_9();
    faults.set(|_| None);
    let _daemon = bench.site.start();
    let (_, log) = bench.ended(&last, "succeeded");
    assert!(log.contains("has begun to release"), "{log}");
    assert_eq!(
        log.matches("the stand-in builds").count(),
        1,
        "it was built again: {log}"
    );
    assert_eq!((seen(&newest, OPEN), half != digest), (Some(half), true));
    bench.wait_no_containers();
    let left = bench.dir(&last);
    for gone in [".kaniko", ".release", ".pinned", ".engine", ".auth"] {
        assert!(!left.join(gone).exists(), "{gone} is left");
    }
}

#[test]
fn with_staging_the_executor_pushes_with_the_logins_that_it_needs() {
    let bench = Bench::new();
    let auth = RegistryOptions {
        auth: Some(LOGIN),
        ..RegistryOptions::default()
    };
    let [staging, bases, other] = [(); 3].map(|()| Registry::start_with(&bench.scratch, auth));
    let (user, password) = LOGIN;
    let creds = format!("--creds={user}:{password}");
    let base = format!("{}/busybox:1", bases.host());
    bench.push_busybox(&base, Some(&format!("{user}:{password}")));
    let base_digest = seen(&base, &creds).unwrap();
    bench.scratch.write("password", password);
    let login = |registry: &Registry| {
        let file = bench.scratch.join("password");
        format!(
            "{}username = '{user}'\npassword_file = '{}'\n",
            insecure(&registry.host()),
            file.display()
        )
    };
    let top = kaniko() + &login(&staging) + &login(&bases) + &login(&other);
    let (s, o) = (staging.host(), other.host());
    let project = format!(
        "[projects.p.images.lower]\nfile = 'Containerfile'\nbuild_args = {{ BASE = '{base}' }}\n\
         test = 'grep good /data'\nstaging = '{s}/staging/lower:${{BUILD_SHORT_COMMIT}}'\n\
         release = ['{s}/app:newest', '{o}/app:newest']\n\
         [projects.p.images.upper]\nfile = 'Upper'\nstaging = '{s}/staging/upper:${{BUILD_SHORT_COMMIT}}'\n"
    );
    bench.config(&top, &project);
    let containerfile = "ARG BASE\nFROM $BASE\nCOPY data /data\n";
    let upper = format!("FROM {o}/app:newest\n");
    let commit = |containerfile: &str| {
        bench
            .repo
            .commit(&[("Containerfile", containerfile), ("data", "good"), ("Upper", &upper)])
    };
    let first = commit(containerfile);
    let daemon = bench.site.start();
    let (_, log) = bench.ended(&first, "succeeded");
    let staged = seen(&format!("{s}/staging/lower:{}", short(&first)), &creds).unwrap();
    for place in [format!("{s}/app:newest"), format!("{o}/app:newest")] {
        assert_eq!(seen(&place, &creds).as_ref(), Some(&staged), "{place}");
    }
    let lower = bench
        .images()
        .into_iter()
        .find(|image| image["image"] == "lower")
        .unwrap();
    assert_eq!(lower["digest"], staged.as_str());
    // The lower image goes where releases go; it is built by an executor that does not know of it.
    let builds: Vec<&str> = log.lines().filter(|l| l.contains("the stand-in builds")).collect();
    let [of_lower, of_upper] = &builds[..] else {
        panic!("{log}")
    };
    assert!(
        of_lower.contains(&s) && of_lower.contains(&bases.host()) && !of_lower.contains(&o),
        "{of_lower}"
    );
    assert!(of_upper.contains(&s) && !of_upper.contains(&bases.host()), "{of_upper}");
    // Each base as it was found: what this job has built is where it is staged, and not what is released yet.
    assert!(
        log.contains(&format!("executor: | FROM {}/busybox@{base_digest}\n", bases.host())),
        "{log}"
    );
    let sibling = format!("executor: | FROM {s}/staging/lower@{staged}\n");
    assert!(log.contains(&sibling), "{sibling} is not in {log}");
    let encoded = "bWU6aHVudGVyMi01YzFl";
    assert!(!log.contains(password) && !log.contains(encoded), "{log}");

    // The executor says that it has pushed, and the registry does not know of it.
    let lie = commit(&format!("{containerfile}#! pretend\n"));
    let (error, _) = bench.ended(&lie, "errored");
    assert!(error.contains("the registry does not have it"), "{error}");
    assert_eq!(seen(&format!("{s}/app:newest"), &creds), Some(staged));
    assert!(!daemon.log().contains(password));
    bench.wait_no_containers();
}

#[test]
fn what_kaniko_cannot_see_is_said_before_it_builds() {
    let bench = Bench::new();
    let images = "[projects.p.images.lower]\nfile = 'Lower'\nrelease = ['127.0.0.1:9/lower:1']\n\
                  release_refs = ['v*']\n\
                  [projects.p.images.upper]\nfile = 'Upper'\n[projects.p.images.local]\nfile = 'Local'\n\
                  [projects.p.images.there]\nfile = 'Lower'\nrelease = ['${PLACE}/there:1']\n\
                  [projects.p.images.staged]\nfile = 'Lower'\nstaging = '${PLACE}/staged:1'\n\
                  [projects.p.env]\nPLACE = 'localhost'\n";
    bench.config(&kaniko(), images);
    let commit = bench.repo.commit(&[
        ("Lower", "FROM scratch\n"),
        ("Upper", "FROM 127.0.0.1:9/lower:1\n"),
        ("Local", "FROM localhost/busybox:latest\n"),
    ]);
    let _daemon = bench.site.start();
    let (_, log) = bench.ended(&commit, "failed");
    for (name, words) in [
        (
            "upper",
            "127.0.0.1:9/lower:1 was built by this job, and kaniko can only find it on a registry: give lower",
        ),
        (
            "local",
            "localhost/busybox:latest is in an engine's storage, into which kaniko cannot see",
        ),
        (
            "there",
            "localhost/there:1: kaniko cannot release into the engine's storage",
        ),
        (
            "staged",
            "localhost/staged:1: it is the engine's storage, and no registry",
        ),
    ] {
        assert!(log.contains(words), "{name}: {log}");
    }
    assert_eq!(log.matches("the stand-in builds").count(), 1, "{log}");
}

/// A build that never ends by itself, as far as its executor.
fn hanging(bench: &Bench) -> String {
    let commit = bench.commit("FROM scratch\n#! hang\n", &format!("{:?}", std::time::Instant::now()));
    wait_job(&bench.site, &commit, "it to run", |job| job.state == "running");
    // It is recorded first, and made second.
    let dir = wait_for("its directory", SOON, || {
        Some(bench.dir(&commit)).filter(|dir| dir.exists())
    });
    wait_log(&dir, "\nup\n");
    assert_eq!(bench.podman.containers().len(), 1);
    commit
}

fn cancel(bench: &Bench, job: &Row) {
    let output = bench.site.cli(&["cancel", "--job", &job.id.to_string()]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn no_executor_outlives_its_job() {
    let bench = Bench::new();
    bench.config(&kaniko(), "[projects.p.image]\n");
    let mut daemon = bench.site.start();
    let cancelled = hanging(&bench);
    cancel(&bench, &job_of(&bench.site.workdir, &cancelled).unwrap());
    wait_outcome(&bench.site, &cancelled, "cancelled");
    bench.wait_no_containers();

    let crashed = hanging(&bench);
    daemon.kill_9();
    assert_eq!(bench.podman.containers().len(), 1);
    let before = bench.podman.containers();
    let daemon = bench.site.start();
    // It runs again, in another container.
    wait_for_state("another container", SOON, || {
        let now = bench.podman.containers();
        let another = now.len() == 1 && now != before;
        another.then_some(()).ok_or_else(|| format!("{now:?}"))
    });
    wait_job(&bench.site, &crashed, "a second attempt", |job| job.attempts.len() == 2);
    cancel(&bench, &job_of(&bench.site.workdir, &crashed).unwrap());
    wait_outcome(&bench.site, &crashed, "cancelled");
    bench.wait_no_containers();

    // What is read of the config when a job begins: its timeout, and another executor.
    bench.config(&kaniko(), "timeout = '2s'\n[projects.p.image]\n");
    hup(&daemon);
    let late = hanging(&bench);
    wait_outcome(&bench.site, &late, "timed out");
    bench.wait_no_containers();
}

fn hup(daemon: &Daemon) {
    let reloads = || daemon.log().matches("reloaded: ").count();
    let before = reloads();
    daemon.signal(Signal::SIGHUP);
    wait_for_state("the reload", SOON, || {
        (reloads() > before).then_some(()).ok_or_else(|| daemon.log())
    });
}

#[test]
fn another_executor_and_another_login_are_of_the_next_job() {
    let bench = Bench::new();
    let auth = RegistryOptions {
        auth: Some(LOGIN),
        ..RegistryOptions::default()
    };
    let registry = Registry::start_with(&bench.scratch, auth);
    let host = registry.host();
    let config = |image: &str, password: &str| {
        let file = bench.scratch.write(format!("password-{password}"), password);
        let top = format!(
            "[kaniko]\nimage = '{image}'\n{}username = 'me'\npassword_file = '{}'\n",
            insecure(&host),
            file.display()
        );
        bench.config(&top, &format!("[projects.p.image]\nrelease = ['{host}/app:1']\n"));
    };
    // It has no executor for an entrypoint.
    config(BUSYBOX, "wrong");
    let first = bench.commit("FROM scratch\n", "1");
    let daemon = bench.site.start();
    wait_job(&bench.site, &first, "an end", |job| job.state == "done");
    let log = build_log(&bench.dir(&first));
    assert!(log.contains(BUSYBOX) && !log.contains("the stand-in builds"), "{log}");

    config(EXECUTOR, "wrong");
    hup(&daemon);
    let second = bench.commit("FROM scratch\n", "2");
    wait_job(&bench.site, &second, "an end", |job| job.state == "done");
    let error = build_json(&bench.dir(&second))["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("release:"), "{error}");

    config(EXECUTOR, LOGIN.1);
    hup(&daemon);
    let third = bench.commit("FROM scratch\n", "3");
    bench.ended(&third, "succeeded");
    let creds = format!("--creds={}:{}", LOGIN.0, LOGIN.1);
    assert!(seen(&format!("{host}/app:1"), &creds).is_some());

    // Another engine: the same project, built by podman.
    let remote = bench.repo.path().display();
    let file = bench.scratch.join(format!("password-{}", LOGIN.1));
    bench.site.write_config(&format!(
        "interval = '100ms'\n{}username = 'me'\npassword_file = '{}'\n\
         [projects.p]\nremote = '{remote}'\n[projects.p.image]\nrelease = ['{host}/app:1']\n",
        insecure(&host),
        file.display()
    ));
    hup(&daemon);
    let fourth = bench.commit("FROM scratch\nCOPY data /data\n", "4");
    let (_, log) = bench.ended(&fourth, "succeeded");
    assert!(log.contains("$ podman build ") && !log.contains("stand-in"), "{log}");
}
