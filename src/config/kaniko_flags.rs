//! Flags that are handed on to kaniko's executor.
//!
//! It exists so that what pipelined sets itself is not set twice, to something else: a flag that takes the place of a
//! key must never get through.

use super::text::Mistake;

/// Flags that pipelined sets, and what takes their place.
const OURS: &[(&str, &str)] = &[
    ("--context", "write `context` in the image's table"),
    ("--dockerfile", "write `file` in the image's table"),
    ("--destination", "write `staging` or `release` in the image's table"),
    ("--build-arg", "write `build_args` in the image's table"),
    ("--label", "write `labels` in the image's table"),
    ("--target", "write `target` in the image's table"),
    ("--secret", "write `secrets` in the image's table"),
    (
        "--cache",
        "write `cache` in the image's table and `cache_repo` in [kaniko]",
    ),
    ("--cache-repo", "write `cache_repo` in [kaniko]"),
    ("--snapshot-mode", "write `snapshot_mode` in [kaniko]"),
    ("--snapshotMode", "write `snapshot_mode` in [kaniko]"),
    ("--digest-file", "leave it out: the digest is read and recorded"),
    (
        "--no-push",
        "leave it out: without `staging` nothing is pushed by the build",
    ),
    (
        "--tar-path",
        "leave it out: without `staging` the image is written to a file",
    ),
    (
        "--tarPath",
        "leave it out: without `staging` the image is written to a file",
    ),
    ("--registry-certificate", "write `ca_file` in [registries.\"HOST\"]"),
    ("--insecure", "write `insecure` in [registries.\"HOST\"]"),
    ("--insecure-pull", "write `insecure` in [registries.\"HOST\"]"),
    ("--insecure-registry", "write `insecure` in [registries.\"HOST\"]"),
    ("--skip-tls-verify", "write `insecure` in [registries.\"HOST\"]"),
    ("--skip-tls-verify-pull", "write `insecure` in [registries.\"HOST\"]"),
    (
        "--skip-tls-verify-registry",
        "write `insecure` in [registries.\"HOST\"]",
    ),
];

/// One flag with its value.
pub(super) fn flag(text: &str) -> Result<String, Mistake> {
    let name = text.split('=').next().unwrap_or_default();
    let fine = name.strip_prefix("--").is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphanumeric()) && !rest.contains(char::is_whitespace)
    });
    if !fine {
        return Err(
            Mistake::new("a flag of kaniko begins with `--`").help("write its value after `=`, as in \"--flag=value\"")
        );
    }
    match OURS.iter().find(|(ours, _)| *ours == name) {
        Some((ours, help)) => Err(Mistake::new(format!("`{ours}` is set by pipelined")).help(*help)),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_flags_that_are_not_ours() {
        for fine in [
            "--reproducible",
            "--compression=zstd",
            "--cache-ttl=6h",
            "--context-sub-path=x",
            "--image-fs-extract-retry=3",
        ] {
            assert_eq!(flag(fine), Ok(fine.to_owned()));
        }
        for bad in [
            "",
            "-f",
            "-d=x",
            "--",
            "--=x",
            "reproducible",
            "--a b",
            "---x",
            "--cache",
            "--cache=true",
            "--tarPath=/x",
        ] {
            assert!(flag(bad).is_err(), "{bad}");
        }
    }
}
