//! The same with docker, by each of its builders: it writes more into an image's config than others do.

use crate::common::*;
use crate::support::docker::Docker;
use crate::support::servers::registry::Registry;
use pipelined::model::Reason;
use rstest::rstest;
use std::process::Command;

/// A client that has BuildKit built in.
fn with_buildkit() -> Option<&'static str> {
    let old = "/usr/bin/docker";
    let version = Command::new(old).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let number = version.split_once("version ")?.1.split('.').next()?;
    (18..23).contains(&number.parse::<u32>().ok()?).then_some(old)
}

#[rstest]
fn by_each_builder(#[values("0", "1")] buildkit: &str) {
    let bench = Bench::new(SCRATCH);
    let Some(docker) = Docker::start(&bench.scratch) else {
        eprintln!("dockerd does not start here: nothing is tested");
        return;
    };
    let bin = bench.scratch.mkdir("bin");
    match with_buildkit() {
        Some(client) => std::os::unix::fs::symlink(client, bin.join("docker")).unwrap(),
        None if buildkit == "0" => {}
        None => {
            eprintln!("no docker client here has BuildKit: it is not tested");
            return;
        }
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let env = [("PATH", path.as_str()), ("DOCKER_HOST", docker.host.as_str())];
    let bench = Bench {
        site: bench.site.with_env(env),
        ..bench
    };
    // It goes before its directory does.
    let _docker = docker;
    let registry = Registry::start(&bench.scratch);
    let host = registry.host();
    bench.config(
        &format!("engine = 'docker'\n{}", insecure(std::slice::from_ref(&host))),
        &format!("env = {{ DOCKER_BUILDKIT = '{buildkit}' }}\nimage.release = ['{host}/a:1', 'localhost/p:1']\n"),
    );
    let place = format!("{host}/a:1");
    let first = bench.released();
    let (before, commit) = (seen(&place), bench.repo.head());
    let done = bench.rebuild(Reason::BaseUpdated, &commit, &[("p", Some(first))]);
    assert_eq!(
        (done.outcome.as_str(), done.status("p")),
        ("succeeded", "unchanged"),
        "{}",
        done.log
    );
    assert_eq!(seen(&place), before);
    // Files have the time of the build.
    let done = bench.rebuild(Reason::Schedule, &commit, &[("p", Some(first))]);
    assert_eq!(
        (done.outcome.as_str(), done.status("p")),
        ("succeeded", "released"),
        "{}",
        done.log
    );
    assert!(done.log.contains("its layers differ"), "{}", done.log);
    assert_ne!(seen(&place), before);
}
