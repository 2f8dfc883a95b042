//! The real apt in an image of real Debian packages, with a local repository.

use crate::common::Bench;
use crate::rootfs;
use pipelined::config::EnvLayer;
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
    rootfs::run(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(&root)
            .arg(dir),
    );
    std::fs::remove_dir_all(root).unwrap();
}

/// Makes a repository of the packages in a directory; with further lines in its Release.
fn repository(dir: &Path, release: &str) {
    let packages = rootfs::run(Command::new("apt-ftparchive").args(["packages", "."]).current_dir(dir));
    std::fs::write(dir.join("Packages"), packages).unwrap();
    let text = rootfs::run(Command::new("apt-ftparchive").args(["release", "."]).current_dir(dir));
    std::fs::write(
        dir.join("Release"),
        format!("Origin: Test\nSuite: test\n{release}{text}"),
    )
    .unwrap();
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
    let sources = bench.scratch.mkdir("context-debian/sources");
    for (name, lines) in SOURCES {
        let list: String = lines.iter().map(|line| format!("deb {line}\n")).collect();
        std::fs::write(sources.join(format!("{name}.list")), list).unwrap();
        let conf = format!("Dir::Etc::sourcelist \"/sources/{name}.list\";\n");
        std::fs::write(sources.join(name), conf).unwrap();
    }
    let lines = "RUN mkdir -p /tmp /var/lib/dpkg/updates /var/lib/dpkg/info /var/lib/apt /var/cache/apt /var/log/apt \
        && touch /var/lib/dpkg/status /var/lib/dpkg/available && ldconfig\n\
        COPY old /repo/old\nCOPY new /repo/new\nCOPY expired /repo/expired\nCOPY sources /sources\nCOPY broken_1_all.deb /\n\
        COPY docker-clean /etc/apt/apt.conf.d/docker-clean\n\
        RUN dpkg -i /repo/old/*.deb && rm -rf /var/lib/apt/lists/*\n";
    rootfs::build(
        &bench,
        "debian",
        &[
            "apt",
            "dpkg",
            "dash",
            "coreutils",
            "sed",
            "grep",
            "diffutils",
            "libc-bin",
        ],
        lines,
    );
    bench
}

/// Where packages come from: each is a file for APT_CONFIG.
const SOURCES: [(&str, &[&str]); 9] = [
    ("new", &["[trusted=yes] file:/repo/new ./"]),
    ("old", &["[trusted=yes] file:/repo/old ./"]),
    ("gone", &["[trusted=yes] file:/gone ./"]),
    ("down", &["[trusted=yes] http://127.0.0.1:1/ ./"]),
    // One of two is enough.
    (
        "half",
        &[
            "[trusted=yes] file:/repo/new ./",
            "[trusted=yes] http://127.0.0.1:1/ ./",
        ],
    ),
    ("unsigned", &["file:/repo/new ./"]),
    ("expired", &["[trusted=yes] file:/repo/expired ./"]),
    ("without", &[]),
    ("nonsense", &["nonsense"]),
];

#[test]
fn apt_finds_what_would_be_upgraded_and_does_not_guess() {
    let mut bench = debian();
    let from = |bench: &mut Bench, source: &str| {
        let variable = ("APT_CONFIG".to_owned(), format!("/sources/{source}"));
        bench.project.env = vec![EnvLayer::Table([variable].into())];
    };
    let image = bench.local(BASE);
    from(&mut bench, "new");
    let (needed, mut found) = bench.found(&image);
    found.sort();
    assert!(needed);
    assert_eq!(found, ["fresh - 3", "tiny 1.0-1 1.0-1+deb12u1"]);
    let log = bench.log();
    assert!(
        log.contains("2 updates: ") && log.contains("tiny 1.0-1 → 1.0-1+deb12u1"),
        "{log}"
    );
    assert!(log.contains("Inst tiny [1.0-1]") && !log.contains("set -uf"), "{log}");
    // Nothing of the image was changed by that.
    assert_eq!(bench.local(BASE).id, image.id);

    let held = bench.derive(BASE, "held", "RUN apt-mark hold tiny\n");
    assert_eq!(bench.found(&held), (false, vec![]));
    // As another user, and with an entrypoint, a language and a volume in the way.
    let lines = "USER 1234\nENTRYPOINT [\"/bin/false\"]\nVOLUME /var/lib/dpkg\nENV LC_ALL=de_DE.UTF-8\n";
    assert!(bench.found(&bench.derive(BASE, "odd", lines)).0);

    let broken = bench.derive(
        BASE,
        "broken",
        "RUN dpkg --force-depends -i /broken_1_all.deb || true\n",
    );
    let error = bench.error(&broken);
    assert!(
        error.starts_with("E: ") && error.contains("Unmet dependencies"),
        "{error}\n{}",
        bench.log()
    );

    from(&mut bench, "old");
    assert_eq!(bench.found(&image), (false, vec![]));
    assert!(bench.log().contains("update check: no updates"), "{}", bench.log());
    // What was there before the refresh does not count.
    let lines = "RUN APT_CONFIG=/sources/old apt-get -o APT::Sandbox::User=root update && rm -r /repo/old\n";
    let stale = bench.derive(BASE, "stale", lines);
    let stale = bench.error(&stale);
    assert!(
        stale.contains("file:/repo/old") && stale.contains("see update-check.log"),
        "{stale}\n{}",
        bench.log()
    );

    for (source, words) in [
        ("gone", "file:/gone"),
        ("down", "http://127.0.0.1:1"),
        ("half", "http://127.0.0.1:1"),
        (
            "unsigned",
            "E: The repository 'file:/repo/new ./ Release' is not signed.",
        ),
        ("expired", "expired"),
        ("without", "apt has no sources"),
        ("nonsense", "E: Malformed entry"),
    ] {
        from(&mut bench, source);
        let error = bench.error(&image);
        assert!(error.contains(words), "{source}: {error}\n{}", bench.log());
        assert!(
            bench.log().contains(&format!("update check: error: {error}")),
            "{source}: {error}\n{}",
            bench.log()
        );
    }
}
