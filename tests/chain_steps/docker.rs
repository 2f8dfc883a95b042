//! The same with docker, by each of its builders.

use crate::scene::{Answers, Scene, on};
use crate::support::docker::Docker;
use pipelined::model::{Digest, FailureKind, Step};
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

fn docker(daemon: &Docker, args: &[&str]) -> String {
    let output = Command::new("docker")
        .args(args)
        .env("DOCKER_HOST", &daemon.host)
        .env("DOCKER_BUILDKIT", "0")
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[rstest]
#[tokio::test]
async fn by_each_builder(#[values("0", "1")] buildkit: &str) {
    let mut scene = Scene::new("FROM HOST/parent:1\nCOPY data /child\n");
    let Some(daemon) = Docker::start(&scene.bench.scratch) else {
        eprintln!("dockerd does not start here: nothing is tested");
        return;
    };
    let bin = scene.bench.scratch.mkdir("bin");
    match with_buildkit() {
        Some(client) => std::os::unix::fs::symlink(client, bin.join("docker")).unwrap(),
        None if buildkit == "0" => {}
        None => {
            eprintln!("no docker client here has BuildKit: it is not tested");
            return;
        }
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    scene.env = [
        ("PATH", path.as_str()),
        ("DOCKER_HOST", daemon.host.as_str()),
        ("DOCKER_BUILDKIT", buildkit),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let old = scene.release("HOST/parent:1", "old");
    scene.release("HOST/parent:1", "new");
    let place = scene.text("HOST/parent:1");
    docker(&daemon, &["pull", &place]);
    let generation = |id: &Digest| {
        docker(
            &daemon,
            &[
                "image",
                "inspect",
                "--format",
                "{{.Config.Labels.generation}}",
                id.as_str(),
            ],
        )
    };
    for (id, pull) in [(1, "missing"), (2, "newer")] {
        let config = scene.config_with("engine = 'docker'\n", &format!("[projects.p.image]\npull = '{pull}'\n"));
        let ended = scene
            .run(
                scene.work(&config, id),
                Answers::go(on(scene.reference("HOST/parent:1"), &old)),
            )
            .await;
        ended.good();
        assert_eq!(generation(ended.image().id.as_ref().unwrap()), "old", "{}", ended.log);
        assert_eq!(ended.image().bases[0].digests.first(), Some(&old));
        docker(
            &daemon,
            &["rmi", "--force", &format!("{}@{old}", scene.text("HOST/parent"))],
        );
    }

    // Of its storage: the old one has lost its name.
    let exact = format!("{}@{old}", scene.text("HOST/parent"));
    docker(&daemon, &["pull", &exact]);
    let id = Digest::new(docker(&daemon, &["image", "inspect", "--format", "{{.Id}}", &exact])).unwrap();
    docker(&daemon, &["tag", &place, "localhost/parent:1"]);
    scene
        .bench
        .repo
        .commit(&[("Containerfile", "FROM localhost/parent:1\nCOPY data /child\n")]);
    scene.bench.repo.push_to(&scene.bench.origin);
    let config = scene.config_with("engine = 'docker'\n", "[projects.p.image]\n");
    let ended = scene
        .run(
            scene.work(&config, 3),
            Answers::go(on(scene.reference("localhost/parent:1"), &id)),
        )
        .await;
    match buildkit {
        // It knows no ids: what it has built on is seen, and not taken.
        "1" => {
            ended.failed(Step::Build, FailureKind::Errored);
        }
        _ => {
            ended.good();
            assert_eq!(generation(ended.image().id.as_ref().unwrap()), "old", "{}", ended.log);
        }
    }
}
