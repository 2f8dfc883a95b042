//! The same with what other programs make: podman pulls and records, skopeo packs anew, podman writes indexes.

use crate::common::Bench;
use crate::support::podman::Podman;
use pipelined::config::Pull;
use pipelined::engine::{PullAccess, RegistryAccess};
use pipelined::model::Used;
use std::process::Command;

/// A context of one file, and of these further lines.
fn context(bench: &Bench, more: &str) -> String {
    // Once: its time is part of the layer.
    if !bench.scratch.join("context/file").exists() {
        bench.scratch.write("context/file", "content");
    }
    bench.scratch.write(
        "context/Containerfile",
        format!("FROM scratch\nCOPY file /file\n{more}"),
    );
    bench.scratch.join("context").display().to_string()
}

/// A base as podman has pulled it, and as it would be recorded.
async fn pulled(bench: &Bench) -> Used {
    let mut runner = bench.tools.runner.with_env(bench.env.iter().cloned());
    let log = bench.scratch.join("pull.log");
    runner.log = Some((log.clone(), 1 << 20));
    let mut access = PullAccess::new(bench.scratch.join("pull"));
    let insecure = RegistryAccess {
        insecure: true,
        ca_file: None,
    };
    access.registries.insert(bench.proxy.host(), insecure);
    let name = bench.reference("base:1").to_string();
    let bases = bench
        .tools
        .engine
        .pull_bases(&runner, &[name], Pull::Always, &access, crate::support::scratch::SOON)
        .await
        .unwrap_or_else(|failure| panic!("{failure}: {}", std::fs::read_to_string(log).unwrap_or_default()));
    Used {
        base: bases[0].used(),
        layers: None,
    }
}

fn skopeo(args: &[&str]) {
    let output = Command::new("skopeo")
        .args(args)
        .env("REGISTRY_AUTH_FILE", "/nonexistent")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn push(podman: &Podman, image: &str, place: &str) {
    podman.run(&[
        "push",
        "--quiet",
        "--tls-verify=false",
        image,
        &format!("docker://{place}"),
    ]);
}

#[tokio::test]
async fn packed_anew_by_skopeo() {
    let (bench, podman) = Bench::with_podman();
    let place = format!("{}/base:1", bench.registry.host());
    podman.run(&["build", "--quiet", "--tag", "made", &context(&bench, "ENV A=1")]);
    push(&podman, "made", &place);
    let used = pulled(&bench).await;
    let (before, compared) = bench.look(std::slice::from_ref(&used), None).await.unwrap();
    assert_eq!(compared, Vec::new());
    let docker = format!("docker://{place}");
    let dir = format!("dir:{}", bench.scratch.mkdir("home").display());
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--src-no-creds",
        "--dest-decompress",
        &docker,
        &dir,
    ]);
    let layout = format!("oci:{}", bench.scratch.join("layout").display());
    skopeo(&["copy", "--dest-compress-format", "zstd", &dir, &layout]);
    // Else it finds out that the registry has the layer in another form, and takes that.
    let options = [
        "copy",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "--dest-no-creds",
    ];
    skopeo(&[&options[..], &[&layout, &docker]].concat());
    let (now, compared) = bench.look(std::slice::from_ref(&used), None).await.unwrap();
    assert_ne!(now, before, "it was packed no other way");
    assert!(compared[0].same, "{compared:?}");
}

#[tokio::test]
async fn an_index_that_podman_writes() {
    let (bench, podman) = Bench::with_podman();
    let place = format!("{}/base:1", bench.registry.host());
    let build = |tag: &str, platform: &str, more: &str| {
        let dir = context(&bench, more);
        podman.run(&[
            "build",
            "--quiet",
            "--no-cache",
            "--platform",
            platform,
            "--tag",
            tag,
            &dir,
        ])
    };
    let publish = |images: &[&str]| {
        podman.run(&["manifest", "create", "list"]);
        for image in images {
            podman.run(&[
                "manifest",
                "add",
                "list",
                &format!("containers-storage:localhost/{image}"),
            ]);
        }
        podman.run(&[
            "manifest",
            "push",
            "--all",
            "--tls-verify=false",
            "list",
            &format!("docker://{place}"),
        ]);
        podman.run(&["manifest", "rm", "list"]);
    };
    let (here, there) = match crate::made::this_machine().as_str() {
        "linux/arm64" => ("linux/arm64", "linux/amd64"),
        _ => ("linux/amd64", "linux/arm64"),
    };
    build("mine", here, "ENV A=1");
    build("other", there, "ENV A=1");
    publish(&["mine"]);
    let used = pulled(&bench).await;
    assert_eq!(used.base.platform.as_deref(), Some(here));
    let uses = std::slice::from_ref(&used);
    assert_eq!(bench.look(uses, None).await.unwrap().1, Vec::new());

    publish(&["mine", "other"]);
    bench.asked();
    let (_, compared) = bench.look(uses, None).await.unwrap();
    assert!(compared[0].same, "{compared:?}");
    assert_eq!(bench.asked(), ["HEAD 1", "GET manifest"]);
    // Only the other one is there for a while.
    publish(&["other"]);
    let (_, compared) = bench.look(uses, None).await.unwrap();
    assert!(compared[0].same && compared[0].absent, "{compared:?}");
    build("mine", here, "ENV A=2");
    publish(&["other", "mine"]);
    let (_, compared) = bench.look(uses, None).await.unwrap();
    assert!(
        !compared[0].same && compared[0].how.contains("config differs: Env"),
        "{compared:?}"
    );
    // What podman pulls now is what is there.
    let used = pulled(&bench).await;
    assert_eq!(bench.look(&[used], None).await.unwrap().1, Vec::new());
}
