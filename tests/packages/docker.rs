//! The same with docker.

use crate::common::{Bench, block_on, standing};
use crate::support::docker::Docker;
use crate::support::podman::busybox_context;
use pipelined::config::EngineKind;
use pipelined::engine::Engine;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn docker_looks_into_images_too() {
    let mut bench = Bench::empty("");
    let Some(docker) = Docker::start(&bench.scratch) else {
        eprintln!("dockerd does not start here: nothing is tested");
        return;
    };
    bench.tools.engine = Arc::new(Engine::new(EngineKind::Docker));
    bench
        .tools
        .runner
        .env
        .push(("DOCKER_HOST".into(), docker.host.clone().into()));
    let run = |args: &[&str]| {
        let mut command = Command::new("docker");
        command
            .args(args)
            .env("DOCKER_HOST", &docker.host)
            .env("DOCKER_BUILDKIT", "0");
        crate::rootfs::run(&mut command).trim().to_owned()
    };
    let context = bench.scratch.join("context");
    busybox_context(&context);
    std::fs::rename(context.join("Containerfile"), context.join("Dockerfile")).unwrap();
    run(&[
        "build",
        "--quiet",
        "--network=none",
        "--tag=busybox",
        &context.display().to_string(),
    ]);
    let id = run(&["image", "inspect", "--format", "{{.Id}}", "busybox"]);
    let image = standing("localhost/busybox:latest", Some(&id), None);
    bench.script(
        "grep -E 'NoNewPrivs|CapBnd' /proc/self/status; printf 'UPGRADE_NEEDED\\na 1 2\\n' >$PIPELINED_UPDATE_RESULT",
    );
    assert_eq!(bench.found(&image), (true, vec!["a 1 2".to_owned()]));
    let log = bench.log();
    assert!(
        log.contains("NoNewPrivs:\t1") && log.contains("CapBnd:\t00000000000000eb"),
        "{log}"
    );
    bench.script("exit 9");
    assert!(bench.error(&image).contains("exited with 9"));
    bench.command(&["no-such-command"]);
    assert!(bench.error(&image).contains("cannot be started"));
    bench.image.update.timeout = Duration::from_secs(3);
    bench.script("trap '' TERM; while :; do sleep 1; done");
    let error = block_on(bench.look(&image)).unwrap_err();
    assert!(error.message.contains("after its timeout"), "{error:?}");
    assert_eq!(run(&["ps", "--all", "--quiet"]), "");
}
