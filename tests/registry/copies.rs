//! Copies are the same bytes, on one registry without sending them and between two with every byte looked at.

use crate::common::*;
use crate::support::scratch::Scratch;
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::Registry;
use pipelined::model::Digest;
use pipelined::registry::{Parsed, RegistryError};
use std::process::Command;
use std::sync::Mutex;

#[tokio::test]
async fn by_mount_and_across() {
    let scratch = Scratch::new();
    let (one, two) = (Registry::start(&scratch), Registry::start(&scratch));
    let (first, second) = (Faults::start(one.port(), |_| None), Faults::start(two.port(), |_| None));
    let (runner, registries) = (runner(&scratch), open(&[first.host(), second.host()]));
    let archive = archive(&scratch, &Image::new("copy").write(&scratch, "a")).await;
    let staged = reference(&format!("{}/staging:1", first.host()));
    let pushed = registries.push(&runner, &archive, &staged, None, &quiet).await.unwrap();
    let from = staged.with_digest(pushed.digest.clone());
    for (proxy, registry, place, sent) in [
        (&first, &one, "released/by/mount", 0),
        (&second, &two, "released/across", 3),
    ] {
        first.forget();
        second.forget();
        let notes = Mutex::new(Vec::new());
        let note = |line: &str| notes.lock().unwrap().push(line.to_owned());
        let to = reference(&format!("{}/{place}:v1", proxy.host()));
        let copied = registries.copy(&runner, &from, &to, &note).await.unwrap();
        assert_eq!(copied, pushed);
        assert_eq!(proxy.count("PUT", "/blobs/uploads/"), sent, "{notes:?}");
        assert_eq!(first.count("GET", "/blobs/"), sent);
        let place = format!("{}/{place}", registry.host());
        assert_eq!(seen_plain(&format!("{place}:v1")), None, "a copy moves no tag");
        registries.tag(&runner, &copied, &to, &quiet).await.unwrap();
        assert_eq!(
            brought_home(&scratch, &format!("{place}:v1")),
            (pushed.bytes.clone(), 5)
        );
        // Once more is nothing.
        proxy.forget();
        registries.copy(&runner, &from, &to, &quiet).await.unwrap();
        assert_eq!((proxy.count("POST", ""), proxy.count("PUT", "")), (0, 0));
    }
}

/// An index of two images, each with a tag of its own too.
fn index(scratch: &Scratch, place: &str, children: &[(&str, &[u8], String)]) -> String {
    let list: Vec<_> = children
        .iter()
        .map(|(arch, bytes, digest)| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": bytes.len(),
                "platform": { "architecture": arch, "os": "linux" },
            })
        })
        .collect();
    let kind = "application/vnd.oci.image.index.v1+json";
    let text = serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "manifests": list }).to_string();
    let file = scratch.write("index", &text);
    let (host, repository) = place.split_once('/').unwrap();
    let output = Command::new("curl")
        .args([
            "--noproxy",
            "*",
            "-sf",
            "-X",
            "PUT",
            "-H",
            &format!("Content-Type: {kind}"),
            "--data-binary",
        ])
        .arg(format!("@{}", file.display()))
        .arg(format!("http://{host}/v2/{repository}/manifests/all"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    format!("sha256:{}", sha256(text.as_bytes()))
}

#[tokio::test]
async fn an_index_with_its_images() {
    let scratch = Scratch::new();
    let (one, two) = (Registry::start(&scratch), Registry::start(&scratch));
    let (runner, registries) = (runner(&scratch), open(&[one.host(), two.host()]));
    let place = format!("{}/multi", one.host());
    let mut children = Vec::new();
    for arch in ["amd64", "arm64"] {
        let archive = archive(&scratch, &Image::new(arch).write(&scratch, arch)).await;
        let target = reference(&format!("{place}:{arch}"));
        children.push((
            arch,
            registries.push(&runner, &archive, &target, None, &quiet).await.unwrap(),
        ));
    }
    let list: Vec<_> = children
        .iter()
        .map(|(arch, m)| (*arch, &m.bytes[..], m.digest.to_string()))
        .collect();
    let digest = index(&scratch, &place, &list);
    let from = reference(&format!("{place}:all"));
    assert_eq!(
        registries.head(&runner, &from).await.unwrap().unwrap().digest.as_str(),
        digest
    );
    for registry in [&one, &two] {
        let to = reference(&format!("{}/other:all", registry.host()));
        let copied = registries.copy(&runner, &from, &to, &quiet).await.unwrap();
        let Parsed::Index { manifests } = &copied.parsed else {
            panic!("{copied:?}")
        };
        assert_eq!(manifests[1].platform.as_ref().unwrap().architecture, "arm64");
        registries.tag(&runner, &copied, &to, &quiet).await.unwrap();
        assert_eq!(seen_plain(&to.to_string()).as_ref(), Some(&digest));
        assert_eq!(brought_home(&scratch, &to.to_string()).0, copied.bytes);
    }
}

#[tokio::test]
async fn a_source_that_lies_or_breaks() {
    let scratch = Scratch::new();
    let (one, two) = (Registry::start(&scratch), Registry::start(&scratch));
    let source = Faults::start(one.port(), |_| None);
    let (runner, registries) = (runner(&scratch), open(&[one.host(), source.host(), two.host()]));
    let impatient = open_with(&[source.host(), two.host()], short_deadlines());
    let archive = archive(&scratch, &Image::new("source").write(&scratch, "a")).await;
    let staged = reference(&format!("{}/staging:1", one.host()));
    let pushed = release(&registries, &runner, &archive, &staged).await.unwrap();
    let from = reference(&format!("{}/staging:1", source.host()));
    let copy = async |name: &str| {
        let to = reference(&format!("{}/{name}:1", two.host()));
        let copied = impatient.copy(&runner, &from, &to, &quiet).await;
        let at = format!("{}/{name}@{}", two.host(), pushed.digest);
        assert_eq!(seen_plain(&at).is_some(), copied.is_ok(), "{name}");
        copied
    };
    // Each once: a second try goes well.
    for fault in [Fault::Drop, Fault::Truncate, Fault::Stall, Fault::Hang] {
        for part in ["/manifests/", "/blobs/"] {
            let done = std::sync::atomic::AtomicBool::new(false);
            let name = format!("{fault:?}{}", part.trim_matches('/')).to_lowercase();
            let fault = fault.clone();
            source.set(move |request| {
                let first = request.is("GET", part) && !done.swap(true, std::sync::atomic::Ordering::SeqCst);
                first.then(|| fault.clone())
            });
            copy(&name).await.unwrap();
        }
    }
    // A blob that is another: the target never gets the whole of it.
    source.set(|r| r.is("GET", "/blobs/").then_some(Fault::Twist));
    let error = copy("wrongblob").await.unwrap_err();
    assert!(matches!(error, RegistryError::Lied { .. }), "{error}");
    let there = Command::new("find")
        .arg(two.data())
        .args(["-path", "*wrongblob/_layers/*", "-name", "link"])
        .output();
    assert_eq!(String::from_utf8_lossy(&there.unwrap().stdout), "");
    // A manifest that is announced as another.
    let other = Digest::new(format!("sha256:{}", "0".repeat(64))).unwrap();
    let announced = other.to_string();
    source.set(move |r| r.is("GET", "/manifests/").then(|| Fault::Digest(announced.clone())));
    let error = copy("wrongmanifest").await.unwrap_err();
    assert!(matches!(error, RegistryError::Lied { .. }), "{error}");
}
