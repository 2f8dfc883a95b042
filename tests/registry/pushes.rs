//! Each kind of archive comes to a registry as an image that skopeo takes.

use crate::common::*;
use crate::support::podman::{BUSYBOX, Podman};
use crate::support::scratch::Scratch;
use crate::support::servers::faults::{Fault, Faults, Request};
use crate::support::servers::registry::Registry;
use pipelined::registry::Parsed;
use std::sync::Mutex;

#[tokio::test]
async fn every_form_of_one_image() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let (runner, registries) = (runner(&scratch), open(&[registry.host()]));
    let image = Image::new("forms");
    let mut digests = Vec::new();
    for (name, bytes) in [
        ("docker20", image.docker_20()),
        ("docker25", image.docker_25()),
        ("kaniko", image.kaniko()),
    ] {
        let archive = archive(&scratch, &scratch.write(name, bytes)).await;
        let place = format!("{}/forms/{name}", registry.host());
        let target = reference(&format!("{place}:1"));
        assert_eq!(registries.head(&runner, &target).await.unwrap(), None);
        let pushed = registries.push(&runner, &archive, &target, None, &quiet).await.unwrap();
        assert_eq!(seen_plain(&format!("{place}:1")), None, "a push moves no tag");
        let digest = pushed.digest.to_string();
        assert_eq!(seen_plain(&format!("{place}@{digest}")).as_ref(), Some(&digest));
        registries.tag(&runner, &pushed, &target, &quiet).await.unwrap();
        assert_eq!(seen_plain(&format!("{place}:1")).as_ref(), Some(&digest));
        // Two different layers, the config, the manifest, skopeo's version.
        assert_eq!(brought_home(&scratch, &format!("{place}:1")), (pushed.bytes.clone(), 5));
        let head = registries.head(&runner, &target).await.unwrap().unwrap();
        assert_eq!(
            (&head.digest, head.size),
            (&pushed.digest, Some(pushed.bytes.len() as u64))
        );
        let manifest = registries.manifest(&runner, &target).await.unwrap();
        assert_eq!(manifest, pushed);
        let Parsed::Image { config, layers } = &manifest.parsed else {
            panic!("{manifest:?}")
        };
        assert_eq!(layers.len(), 3);
        let blob = registries.config_blob(&runner, &target, config).await.unwrap();
        assert_eq!(blob, image.config);
        digests.push(digest);
    }
    // Compressed the same way each time; kaniko has compressed it by itself.
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
    assert_eq!(std::fs::read_dir(scratch.join("layers")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_podman_saves() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let registry = Registry::start(&scratch);
    let (runner, registries) = (runner(&scratch), open(&[registry.host()]));
    let id = podman.run(&["image", "inspect", "--format", "{{.Id}}", BUSYBOX]);
    for form in ["oci-archive", "docker-archive"] {
        let file = scratch.join(form);
        podman.run(&[
            "save",
            "--quiet",
            "--format",
            form,
            "--output",
            &file.display().to_string(),
            BUSYBOX,
        ]);
        let archive = archive(&scratch, &file).await;
        let target = reference(&format!("{}/podman/{form}:1", registry.host()));
        let pushed = release(&registries, &runner, &archive, &target).await.unwrap();
        assert_eq!(seen_plain(&target.to_string()), Some(pushed.digest.to_string()));
        podman.run(&["pull", "--quiet", "--tls-verify=false", &target.to_string()]);
        let pulled = podman.run(&["image", "inspect", "--format", "{{.Id}}", &target.to_string()]);
        podman.run(&[
            "run",
            "--rm",
            "--network",
            "none",
            &target.to_string(),
            "/bin/busybox",
            "true",
        ]);
        if form == "oci-archive" {
            assert_eq!(pulled, id, "the image's id stays");
        }
    }
}

#[tokio::test]
async fn what_is_there_is_not_sent_again() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let proxy = Faults::start(registry.port(), |_| None);
    let (runner, registries) = (runner(&scratch), open(&[proxy.host()]));
    let image = Image::new("again");
    let archive = archive(&scratch, &image.write(&scratch, "a")).await;
    let target = reference(&format!("{}/again:1", proxy.host()));
    let notes = Mutex::new(Vec::new());
    let note = |line: &str| notes.lock().unwrap().push(line.to_owned());
    let first = registries.push(&runner, &archive, &target, None, &note).await.unwrap();
    assert_eq!(proxy.count("PUT", "/blobs/uploads/"), 3);
    registries.tag(&runner, &first, &target, &note).await.unwrap();
    proxy.forget();
    let second = registries.push(&runner, &archive, &target, None, &note).await.unwrap();
    registries.tag(&runner, &second, &target, &note).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(proxy.count("POST", ""), 0);
    assert_eq!(proxy.count("PUT", "/manifests/1"), 0, "the tag was there already");
    let notes = notes.into_inner().unwrap();
    let count = |word: &str| notes.iter().filter(|line| line.ends_with(word)).count();
    assert_eq!((count("uploaded"), count("already there")), (3, 3), "{notes:?}");
}

/// What a repository of the same registry has is not sent; a registry that will not lend gets it as before.
#[tokio::test]
async fn layers_of_a_base_are_lent() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let plain = Faults::start(registry.port(), |_| None);
    let refuses = |status: u16| {
        move |request: &Request| {
            let is_mount = request.is("POST", "mount=");
            is_mount.then(|| Fault::Answer(status, String::new()))
        }
    };
    let (denies, misses) = (
        Faults::start(registry.port(), refuses(403)),
        Faults::start(registry.port(), refuses(404)),
    );
    let runner = runner(&scratch);
    let base = Image::new("base");
    let mut image = Image::new("own");
    // One of its two layers is the base's.
    image.layers = vec![base.layers[0].clone(), image.layers[1].clone(), base.layers[0].clone()];
    let ids: Vec<_> = image.layers.iter().map(|l| format!("sha256:{}", sha256(l))).collect();
    image.config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids },
    })
    .to_string()
    .into_bytes();
    let base = archive(&scratch, &base.write(&scratch, "base")).await;
    let image = archive(&scratch, &image.write(&scratch, "image")).await;
    // How many of the layers and the config are sent, and how often a loan is asked for.
    for (proxy, name, lender, sent, asked) in [
        (&plain, "lent", Some("base"), 2, 3),
        (&plain, "nobody", None, 3, 0),
        (&plain, "base", Some("base"), 2, 0),
        (&plain, "empty", Some("not/there"), 3, 3),
        (&plain, "elsewhere", Some("127.0.0.1:1/base"), 3, 0),
        (&denies, "denied", Some("base"), 3, 1),
        (&misses, "missing", Some("base"), 3, 1),
    ] {
        let registries = open(&[proxy.host()]);
        let at = |name: &str| match name.contains(':') {
            true => reference(&format!("{name}:1")),
            false => reference(&format!("{}/{name}:1", proxy.host())),
        };
        release(&registries, &runner, &base, &at("base")).await.unwrap();
        proxy.forget();
        let (target, lender) = (at(name), lender.map(at));
        let pushed = registries.push(&runner, &image, &target, lender.as_ref(), &quiet).await;
        let pushed = pushed.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(proxy.count("PUT", "/blobs/uploads/"), sent, "{name}");
        assert_eq!(proxy.count("POST", "mount="), asked, "{name}");
        registries.tag(&runner, &pushed, &target, &quiet).await.unwrap();
        let home = format!("{}/{name}:1", registry.host());
        assert_eq!(brought_home(&scratch, &home).0, pushed.bytes, "{name}");
    }
}

/// The daemon runs jobs as tasks of their own: a call may go from thread to thread.
#[test]
fn calls_can_be_parts_of_tasks() {
    fn is_send<T: Send>(_: T) {}
    let scratch = Scratch::new();
    let (runner, registries) = (runner(&scratch), open(&[]));
    let image = reference("a");
    is_send(registries.head(&runner, &image));
    is_send(registries.copy(&runner, &image, &image, &quiet));
    let archive = async {
        let archive = archive(&scratch, scratch.path()).await;
        release(&registries, &runner, &archive, &image).await
    };
    is_send(archive);
}
