//! The real apt in an image of real Debian packages, with a local repository.

use crate::common::Bench;
use crate::rootfs;
use std::path::Path;
use std::process::Command;

/// A package without anything in it.
fn deb(dir: &Path, name: &str, version: &str, more: &str) {
    let root = dir.join(format!("{name}-{version}"));
    std::fs::create_dir_all(root.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n\
         Description: a test\n{more}"
    );
    std::fs::write(root.join("DEBIAN/control"), control).unwrap();
    rootfs::run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&root).arg(dir));
    std::fs::remove_dir_all(root).unwrap();
}

/// Makes a repository of the packages in a directory; with further lines in its Release.
fn repository(dir: &Path, release: &str) {
    let packages = rootfs::run(Command::new("apt-ftparchive").args(["packages", "."]).current_dir(dir));
    std::fs::write(dir.join("Packages"), packages).unwrap();
    let text = rootfs::run(Command::new("apt-ftparchive").args(["release", "."]).current_dir(dir));
    std::fs::write(dir.join("Release"), format!("Origin: Test\nSuite: test\n{release}{text}")).unwrap();
}

/// As in the images of Debian: no lists, and hooks that clean up.
const CLEAN: &str = r#"APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
Acquire::GzipIndexes "true";
"#;

const BASE: &str = "localhost/debian";

fn debian() -> Bench {
    let mut bench = Bench::empty("");
    bench.auto();
    let context = bench.scratch.mkdir("context-debian");
    for place in ["old", "new", "expired"] {
        std::fs::create_dir_all(context.join(place)).unwrap();
    }
    deb(&context.join("old"), "tiny", "1.0-1", "");
    deb(&context.join("old"), "other", "1:0.9", "");
    for place in ["new", "expired"] {
        let place = context.join(place);
        deb(&place, "tiny", "1.0-1+deb12u1", "Depends: fresh\n");
        deb(&place, "fresh", "3", "");
        deb(&place, "other", "1:0.9", "");
    }
    deb(&context, "broken", "1", "Depends: nowhere\n");
    repository(&context.join("old"), "");
    repository(&context.join("new"), "");
    repository(&context.join("expired"), "Valid-Until: Thu, 01 Jan 2015 00:00:00 UTC\n");
    std::fs::write(context.join("docker-clean"), CLEAN).unwrap();
    let lines = "RUN mkdir -p /tmp /var/lib/dpkg/updates /var/lib/dpkg/info /var/lib/apt /var/cache/apt /var/log/apt \
        && touch /var/lib/dpkg/status /var/lib/dpkg/available && ldconfig\n\
        COPY old /repo/old\nCOPY new /repo/new\nCOPY expired /repo/expired\nCOPY broken_1_all.deb /\n\
        COPY docker-clean /etc/apt/apt.conf.d/docker-clean\n\
        RUN dpkg -i /repo/old/*.deb && rm -rf /var/lib/apt/lists/*\n";
    rootfs::build(&bench, "debian", &["apt", "dpkg", "dash", "coreutils", "sed", "grep", "libc-bin"], lines);
    bench
}

fn source(line: &str) -> String {
    format!("RUN echo 'deb {line}' >/etc/apt/sources.list\n")
}

#[test]
fn apt_finds_what_would_be_upgraded_and_does_not_guess() {
    let bench = debian();
    let new = source("[trusted=yes] file:/repo/new ./");
    let image = |name: &str, lines: &str| bench.derive(BASE, name, lines);

    let updates = image("updates", &new);
    let (needed, mut found) = bench.found(&updates);
    found.sort();
    assert!(needed);
    assert_eq!(found, ["fresh - 3", "tiny 1.0-1 1.0-1+deb12u1"]);
    let log = bench.log();
    assert!(log.contains("2 updates: ") && log.contains("tiny 1.0-1 → 1.0-1+deb12u1"), "{log}");
    assert!(log.contains("Inst tiny [1.0-1]"), "{log}");

    // Nothing of the image was changed by that.
    assert_eq!(bench.local("localhost/updates").id, updates.id);

    let none = image("none", &source("[trusted=yes] file:/repo/old ./"));
    assert_eq!(bench.found(&none), (false, vec![]));
    assert!(bench.log().contains("update check: no updates"), "{}", bench.log());

    let held = image("held", &format!("{new}RUN apt-mark hold tiny\n"));
    assert_eq!(bench.found(&held), (false, vec![]));

    // As another user, and with an entrypoint and a volume in the way.
    let odd = image(
        "odd",
        &format!("{new}USER 1234\nENTRYPOINT [\"/bin/false\"]\nVOLUME /var/lib/dpkg\nENV LC_ALL=de_DE.UTF-8\n"),
    );
    assert!(bench.found(&odd).0);

    let gone = "cannot tell whether there are updates";
    for (name, lines, words) in [
        ("gone", source("[trusted=yes] file:/gone ./"), gone),
        ("down", source("[trusted=yes] http://127.0.0.1:1/ ./"), gone),
        // One of two is enough.
        (
            "half",
            format!("{new}RUN echo 'deb [trusted=yes] http://127.0.0.1:1/ ./' >>/etc/apt/sources.list\n"),
            gone,
        ),
        ("unsigned", source("file:/repo/new ./"), "not signed"),
        ("expired", source("[trusted=yes] file:/repo/expired ./"), gone),
        ("sourceless", "RUN rm -f /etc/apt/sources.list\n".to_owned(), "apt has no sources"),
        ("nonsense", source("nonsense"), gone),
        (
            "broken",
            format!("{new}RUN dpkg --force-depends -i /broken_1_all.deb || true\n"),
            "dist-upgrade",
        ),
    ] {
        let error = bench.error(&image(name, &lines));
        assert!(error.contains(words), "{name}: {error}\n{}", bench.log());
        assert!(bench.log().contains(&format!("update check: error: {error}")), "{name}: {error}\n{}", bench.log());
    }
    // What was there before the refresh does not count either.
    let stale = image(
        "stale",
        &format!(
            "{}RUN apt-get -o APT::Sandbox::User=root update\n{}",
            source("[trusted=yes] file:/repo/old ./"),
            "RUN rm -r /repo/old\n"
        ),
    );
    assert!(bench.error(&stale).contains(gone));
}
