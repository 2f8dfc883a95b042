//! A site with a project, and what others than the daemon see of its registries.

use crate::support::daemon::Site;
use crate::support::podman::Podman;
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const MAIN: &str = "refs/heads/main";

/// A Containerfile that needs no base.
pub const SCRATCH: &str = "FROM scratch\nCOPY data /data\n";

/// The remote `origin` of whatever projects a test has, and where it is pushed from.
pub struct Bench {
    pub site: Site,
    pub podman: Podman,
    pub repo: Repo,
    pub origin: Repo,
    pub scratch: Scratch,
}

impl Bench {
    /// With one commit, in which `main` has this Containerfile.
    pub fn new(containerfile: &str) -> Self {
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        if !containerfile.starts_with("FROM scratch") {
            podman.load_busybox();
        }
        let repo = Repo::new(scratch.join("repo"));
        repo.commit(&[("Containerfile", containerfile), ("data", "first\n")]);
        let origin = repo.bare(scratch.join("origin"));
        // No login of whoever runs the tests.
        let home = scratch.mkdir("home").display().to_string();
        let mut env = podman.env();
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
            env.push((name.to_owned(), home.clone()));
        }
        Self {
            site: Site::new(&scratch, "").with_env(env),
            podman,
            repo,
            origin,
            scratch,
        }
    }

    /// Replaces the config: `top` are keys of its own and registries, `project` is what the project `p` has.
    pub fn config(&self, top: &str, project: &str) {
        let retry = match top.contains("retry.") {
            true => "",
            false => "retry = { attempts = 3, delay = '1s' }\n",
        };
        let remote = self.origin.path().display();
        let toml = format!("interval = '1h'\n{retry}{top}\n[projects.p]\nremote = '{remote}'\n{project}");
        self.site.write_config(&toml);
    }

    /// Commits data, and pushes all there is.
    pub fn push(&self, data: &str) -> String {
        let commit = self.repo.commit(&[("data", data)]);
        self.repo.push_to(&self.origin);
        commit
    }

    /// Of `pipelined images`, what it has of a branch's image.
    #[track_caller]
    pub fn image(&self, reference: &str) -> Value {
        let images = self.site.json(&["images", "--json"]);
        let found = images.as_array().unwrap().iter().find(|i| i["ref"] == reference);
        found.unwrap_or_else(|| panic!("{reference}: {images}")).clone()
    }

    /// The directory of a commit's first run, as long as that has not succeeded.
    pub fn running(&self, commit: &str) -> PathBuf {
        let name = format!("{}.tmp", crate::support::repo::short(commit));
        self.site.job_dir("p", MAIN, &name)
    }
}

/// What the config says of registries without TLS.
pub fn insecure(hosts: &[String]) -> String {
    let table = |host: &String| format!("[registries.'{host}']\ninsecure = true\n");
    hosts.iter().map(table).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hash}")
}

pub fn skopeo(args: &[&str]) -> std::process::Output {
    let mut command = Command::new("skopeo");
    command.args(args).env("REGISTRY_AUTH_FILE", "/nonexistent");
    command.output().unwrap()
}

/// The manifest that skopeo finds there without TLS; none if there is nothing.
pub fn manifest(place: &str) -> Option<Vec<u8>> {
    let place = format!("docker://{place}");
    let output = skopeo(&["inspect", "--raw", "--tls-verify=false", "--no-creds", &place]);
    output.status.success().then_some(output.stdout)
}

/// Its digest.
pub fn seen(place: &str) -> Option<String> {
    manifest(place).map(|bytes| sha256(&bytes))
}

/// Skopeo brings all of it home, and finds each digest right.
#[track_caller]
pub fn whole(scratch: &Scratch, place: &str) {
    let dir = scratch.mkdir(format!("whole-{}", &sha256(place.as_bytes())[7..]));
    let (from, to) = (format!("docker://{place}"), format!("dir:{}", dir.display()));
    let output = skopeo(&["copy", "--src-tls-verify=false", "--src-no-creds", &from, &to]);
    assert!(output.status.success(), "{place}: {output:?}");
}

/// A file, empty while it is not there.
pub fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// The newest job of a commit with this outcome, and its report.
#[track_caller]
pub fn report(site: &Site, commit: &str, outcome: &str) -> Value {
    crate::support::jobs::wait_outcome(site, commit, outcome);
    let status = site.json(&["status", "--json", "--all"]);
    let projects = status["projects"].as_array().unwrap().iter();
    let mut refs = projects.flat_map(|p| p["refs"].as_array().unwrap());
    let job = refs
        .find(|r| r["job"]["commit"] == commit)
        .unwrap_or_else(|| panic!("{status}"));
    let dir = job["job"]["dir"].as_str().unwrap().to_owned();
    wait_for_state("the report", SOON, || {
        let text = text(&Path::new(&dir).join("build.json"));
        let report: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {dir}"))?;
        Ok(report)
    })
}
