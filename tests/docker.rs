//! The daemon with `engine = "docker"`, a dockerd of its own, and a real registry: with both of docker's builders.

#![cfg(test)]

mod support;

use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;
use support::daemon::{Site, build_json, build_log};
use support::docker::Docker;
use support::podman::{BUSYBOX, Podman};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for_state};
use support::servers::registry::Registry;

const MAIN: &str = "refs/heads/main";

/// The digest that skopeo sees; none if there is nothing.
fn seen(place: &str) -> Option<String> {
    let output = Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", "--no-creds"])
        .arg(format!("docker://{place}"))
        .env("REGISTRY_AUTH_FILE", "/nonexistent")
        .output()
        .unwrap();
    let digest = Sha256::digest(&output.stdout);
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    output.status.success().then(|| format!("sha256:{hex}"))
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A client that has BuildKit built in, or by way of buildx; none if there is none.
fn with_buildkit() -> Option<&'static str> {
    let old = Path::new("/usr/bin/docker");
    let version = Command::new(old).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let number = version.split_once("version ")?.1.split('.').next()?;
    let built_in = (18..23).contains(&number.parse::<u32>().ok()?);
    let buildx = Command::new(old).args(["buildx", "version"]).output().ok()?;
    (built_in || buildx.status.success()).then_some("/usr/bin/docker")
}

#[test]
fn docker_builds_and_pipelined_stages_tests_and_releases() {
    let scratch = Scratch::new();
    let Some(docker) = Docker::start(&scratch) else {
        eprintln!("dockerd does not start here: nothing is tested");
        return;
    };
    let bin = scratch.mkdir("bin");
    match with_buildkit() {
        Some(client) => std::os::unix::fs::symlink(client, bin.join("docker")).unwrap(),
        None => eprintln!("no docker client here has BuildKit: only the classic builder is tested"),
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let env = [
        ("PATH", path.as_str()),
        ("DOCKER_HOST", docker.host.as_str()),
        ("DOCKER_CONFIG", &scratch.mkdir("docker-config").display().to_string()),
        ("REGISTRY_AUTH_FILE", ""),
        ("HOME", &scratch.mkdir("home").display().to_string()),
        ("XDG_RUNTIME_DIR", &scratch.mkdir("runtime").display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let client = |args: &[&str]| succeeds(Command::new("docker").args(args).envs(env.clone()));
    let registry = Registry::start(&scratch);
    let host = registry.host();
    let archive = scratch.join("busybox.tar");
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    podman.run(&["save", "--quiet", "--output", archive.to_str().unwrap(), BUSYBOX]);
    client(&["load", "--quiet", "--input", archive.to_str().unwrap()]);
    let base = format!("{host}/busybox:1");
    let from = format!("docker-archive:{}", archive.display());
    let skopeo = ["copy", "--dest-tls-verify=false", &from, &format!("docker://{base}")];
    succeeds(Command::new("skopeo").args(skopeo));

    let repo = Repo::new(scratch.join("repo"));
    let containerfile = "ARG BASE\nFROM $BASE\nCOPY data /data\nCMD [\"cat\", \"/data\"]\n";
    let commit = |data: &str| repo.commit(&[("Containerfile", containerfile), ("data", data)]);
    let first = commit("good one\n");
    let remote = repo.path().display();
    let mut builders = vec![("classic", "0")];
    builders.extend(with_buildkit().map(|_| ("buildkit", "1")));
    let mut toml = format!(
        "interval = '100ms'\nengine = 'docker'\nretry = {{ attempts = 1 }}\n[registries.'{host}']\ninsecure = true\n"
    );
    for (name, value) in &builders {
        toml += &format!(
            "[projects.{name}]\nremote = '{remote}'\nenv = {{ DOCKER_BUILDKIT = '{value}' }}\n\
             [projects.{name}.image]\nbuild_args = {{ BASE = '{base}' }}\ntest = 'grep good /data'\n\
             staging = '{host}/staging/{name}:${{BUILD_SHORT_COMMIT}}'\nrelease = ['{host}/{name}/app:newest']\n"
        );
    }
    // Its base is only here, and it is nowhere before its release.
    toml += &format!(
        "[projects.direct]\nremote = '{remote}'\nenv = {{ DOCKER_BUILDKIT = '0' }}\n\
         [projects.direct.image]\nbuild_args = {{ BASE = '{BUSYBOX}' }}\ntest = 'grep good /data'\n\
         release = ['{host}/direct/app:newest', 'localhost/direct:newest']\n"
    );
    let site = Site::new(&scratch, &toml).with_env(env.clone());
    let daemon = site.start();
    let base_digest = seen(&base).unwrap();
    for (name, _) in &builders {
        let dir = site.wait_built(name, MAIN, &first);
        let (log, report) = (build_log(&dir), build_json(&dir));
        let digest = seen(&format!("{host}/{name}/app:newest"));
        assert!(digest.is_some(), "{log}");
        assert_eq!(
            digest,
            seen(&format!("{host}/staging/{name}:{}", short(&first))),
            "{log}"
        );
        assert_eq!(report["image"]["digest"].as_str(), digest.as_deref(), "{report}");
        assert!(log.contains(&format!("base {base} is {base_digest}")), "{log}");
        // The Containerfile that was built is the copy with the base as it was found.
        let pinned = match *name {
            "buildkit" => format!("FROM {host}/busybox@{base_digest}"),
            _ => "FROM sha256:".to_owned(),
        };
        assert!(log.contains(&pinned), "{pinned} is not in {log}");
        let newest = format!("{host}/{name}/app:newest");
        client(&["pull", "--quiet", &newest]);
        assert_eq!(client(&["run", "--rm", "--network=none", &newest]), "good one");
    }
    let direct = format!("{host}/direct/app:newest");
    site.wait_built("direct", MAIN, &first);
    assert!(seen(&direct).is_some());
    assert_eq!(
        client(&["run", "--rm", "--network=none", "localhost/direct:newest"]),
        "good one"
    );
    let id = |name: &str| client(&["inspect", "--format={{.Id}}", name]);
    client(&["pull", "--quiet", &direct]);
    assert_eq!(id(&direct), id("localhost/direct:newest"));

    let before: Vec<_> = builders
        .iter()
        .map(|(name, _)| seen(&format!("{host}/{name}/app:newest")))
        .collect();
    let second = commit("evil\n");
    for (name, _) in &builders {
        wait_for_state("the failure", SOON, || {
            let status = site.json(&["status", name, "--json"]);
            let job = &status["projects"][0]["refs"][0]["job"];
            let is = job["commit"] == second.as_str() && job["outcome"] == "failed";
            is.then_some(()).ok_or_else(|| status.to_string() + &daemon.log())
        });
    }
    let after: Vec<_> = builders
        .iter()
        .map(|(name, _)| seen(&format!("{host}/{name}/app:newest")))
        .collect();
    assert_eq!(before, after);
    assert_eq!(client(&["ps", "--all", "--quiet"]), "");
}
