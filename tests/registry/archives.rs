//! Archives that are not what they say are refused, each with a reason.

use crate::common::*;
use crate::support::scratch::Scratch;
use pipelined::registry::RegistryError;

#[track_caller]
fn why(result: Result<pipelined::registry::Archive, RegistryError>) -> String {
    match result {
        Err(RegistryError::Archive { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_lies_is_refused() {
    let scratch = Scratch::new();
    let image = Image::new("lies");
    let config = format!("{}.json", sha256(&image.config));
    let items = |layers: &str| format!(r#"[{{"Config":"{config}","Layers":{layers}}}]"#);
    let three = items(r#"["a","b","a"]"#);
    let packed = gzip(&image.layers[1]);
    let cut = &packed[..packed.len() - 100];
    let other = b"other".to_vec();
    let (a, b) = (&image.layers[0], &image.layers[1]);
    let all = |a: &[u8], b: &[u8], config_bytes: &[u8], items: &str| {
        tar(&[
            ("a", a),
            ("b", b),
            (&config, config_bytes),
            ("manifest.json", items.as_bytes()),
        ])
    };
    for (bytes, expected) in [
        (all(a, &other, &image.config, &three), "not what its config says"),
        (all(a, &gzip(&other), &image.config, &three), "not what its config says"),
        (all(a, cut, &image.config, &three), ""),
        (all(a, b, b"{}", &three), "something else"),
        (all(a, b, &image.config, &items(r#"["a"]"#)), "do not fit"),
        (
            all(a, b, &image.config, &items(r#"["a","b","c"]"#)),
            "\"c\" is not in it",
        ),
        (all(a, b"->b", &image.config, &three), "is no file"),
        (all(a, b"->/etc/passwd", &image.config, &three), "is not in it"),
        (all(a, b"->../../../etc/passwd", &image.config, &three), "is not in it"),
        (all(a, b, &image.config, "[]"), "0 images"),
        (all(a, b, &image.config, "{"), "cannot be read"),
        (tar(&[("a", a), ("a", b), ("manifest.json", b"[]")]), "twice"),
        (tar(&[("a", a)]), "no image"),
        (b"hello".repeat(1000), "no tar archive"),
        (gzip(&image.docker_20()), "no tar archive"),
        (Vec::new(), "no image"),
    ] {
        let found = why(opened(&scratch, &scratch.write("x", bytes)).await);
        assert!(found.contains(expected), "{found:?} without {expected:?}");
    }
    // Nothing stays behind.
    assert_eq!(std::fs::read_dir(scratch.join("layers")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_config_comes_as_it_was_written() {
    let scratch = Scratch::new();
    let image = Image::new("config");
    for (name, bytes) in [
        ("20", image.docker_20()),
        ("25", image.docker_25()),
        ("kaniko", image.kaniko()),
    ] {
        let file = scratch.write(name, bytes);
        let archive = archive(&scratch, &file).await;
        // Also of a file that has no name any more.
        std::fs::remove_file(&file).unwrap();
        let config = archive.config_blob().await.unwrap();
        assert_eq!(config.as_ref(), Some(&image.config), "{name}");
    }
}

#[tokio::test]
async fn every_cut_is_seen() {
    let scratch = Scratch::new();
    let image = Image::new("cuts");
    for whole in [image.docker_20(), image.kaniko()] {
        // Up to the last bytes of manifest.json, in steps that hit headers and contents.
        let end = whole.windows(13).rposition(|w| w == b"manifest.json").unwrap();
        for length in (0..end + 512).step_by(48_611).chain([end, end + 512]) {
            let result = opened(&scratch, &scratch.write("x", &whole[..length])).await;
            assert!(!why(result).is_empty());
        }
    }
}

#[tokio::test]
async fn layouts_are_checked_to_the_last_byte() {
    let scratch = Scratch::new();
    let (config, layer) = (b"{}".to_vec(), gzip(&tar(&[("f", b"x")])));
    let descriptor = |kind: &str, bytes: &[u8]| {
        serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{}", sha256(bytes)),
            "size": bytes.len(),
        })
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar+gzip", &layer)],
    })
    .to_string()
    .into_bytes();
    let layout = |tops: usize, layer_bytes: &[u8], manifest_bytes: &[u8]| {
        let top = descriptor("manifest.v1+json", &manifest);
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": vec![top; tops] }).to_string();
        let name = |bytes: &[u8]| format!("blobs/sha256/{}", sha256(bytes));
        tar(&[
            ("index.json", index.as_bytes()),
            (&name(&manifest), manifest_bytes),
            (&name(&config), &config),
            (&name(&layer), layer_bytes),
        ])
    };
    let fine = opened(&scratch, &scratch.write("x", layout(1, &layer, &manifest))).await;
    assert_eq!(fine.unwrap().manifest().bytes, manifest);
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    for (bytes, expected) in [
        (layout(2, &layer, &manifest), "2 images"),
        (layout(0, &layer, &manifest), "0 images"),
        (layout(1, &flip(&layer), &manifest), "something else"),
        (layout(1, &layer, &flip(&manifest)), "something else"),
        (layout(1, &layer[1..], &manifest), "bytes in it and not"),
    ] {
        let found = why(opened(&scratch, &scratch.write("x", bytes)).await);
        assert!(found.contains(expected), "{found:?} without {expected:?}");
    }
}

#[tokio::test]
async fn only_files_are_read() {
    let scratch = Scratch::new();
    let image = Image::new("files").write(&scratch, "image");
    std::os::unix::fs::symlink(&image, scratch.join("link")).unwrap();
    nix::unistd::mkfifo(&scratch.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["link", "pipe", "layers", "nothing"] {
        assert!(!why(opened(&scratch, &scratch.join(name)).await).is_empty());
    }
}
