//! The real pacman (Debian has it) in an image of Debian packages, with a local repository.

use crate::common::Bench;
use crate::rootfs;
use std::path::Path;
use std::process::Command;

fn desc(name: &str, version: &str) -> String {
    format!(
        "%FILENAME%\n{name}-{version}-any.pkg.tar.gz\n\n%NAME%\n{name}\n\n%VERSION%\n{version}\n\n%DESC%\na test\n\n\
         %CSIZE%\n1\n\n%ISIZE%\n1\n\n%ARCH%\nany\n\n%BUILDDATE%\n1\n\n"
    )
}

/// As repo-add makes it.
fn repository(dir: &Path, packages: &[(&str, &str)]) {
    let tree = dir.join("tree");
    for (name, version) in packages {
        let place = tree.join(format!("{name}-{version}"));
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("desc"), desc(name, version)).unwrap();
    }
    rootfs::run(
        Command::new("tar")
            .args(["--create", "--gzip", "--file"])
            .arg(dir.join("test.db"))
            .arg("--directory")
            .arg(&tree)
            .args(packages.iter().map(|(name, version)| format!("{name}-{version}"))),
    );
    std::fs::remove_dir_all(tree).unwrap();
}

const BASE: &str = "localhost/arch";

fn conf(server: &str, more: &str) -> String {
    format!(
        "RUN printf '[options]\\nArchitecture = auto\\nSigLevel = Never\\n{more}\\n[test]\\nServer = {server}\\n' \
         >/etc/pacman.conf\n"
    )
}

#[test]
fn pacman_finds_what_would_be_upgraded_and_does_not_guess() {
    let mut bench = Bench::empty("");
    bench.auto();
    let context = bench.scratch.mkdir("context-arch");
    for (place, packages) in [
        ("old", &[("tiny", "1.0-1"), ("other", "1:2-3")][..]),
        ("new", &[("tiny", "1.0-2"), ("other", "1:3-1")]),
    ] {
        std::fs::create_dir(context.join(place)).unwrap();
        repository(&context.join(place), packages);
    }
    // What is installed, as pacman has it on record.
    for (name, version) in [("tiny", "1.0-1"), ("other", "1:2-3")] {
        let place = context.join("local").join(format!("{name}-{version}"));
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("desc"), desc(name, version)).unwrap();
        std::fs::write(place.join("files"), "%FILES%\n\n").unwrap();
    }
    std::fs::write(context.join("local/ALPM_DB_VERSION"), "9\n").unwrap();
    let lines = "RUN mkdir -p /tmp /var/lib/pacman /var/cache && ldconfig && rm -rf /var/lib/dpkg\n\
        COPY local /var/lib/pacman/local\nCOPY old /repo/old\nCOPY new /repo/new\n";
    rootfs::build(
        &bench,
        "arch",
        &["pacman-package-manager", "dash", "coreutils", "libc-bin"],
        lines,
    );

    let image = |name: &str, lines: &str| bench.derive(BASE, name, lines);
    let (needed, mut found) = bench.found(&image("updates", &conf("file:///repo/new", "")));
    found.sort();
    assert!(needed, "{}", bench.log());
    assert_eq!(found, ["other 1:2-3 1:3-1", "tiny 1.0-1 1.0-2"]);
    let one = image("ignored", &conf("file:///repo/new", "IgnorePkg = other"));
    assert_eq!(bench.found(&one), (true, vec!["tiny 1.0-1 1.0-2".to_owned()]));
    let all = image("all-ignored", &conf("file:///repo/new", "IgnorePkg = other tiny"));
    assert_eq!(bench.found(&all), (false, vec![]));
    assert_eq!(
        bench.found(&image("none", &conf("file:///repo/old", ""))),
        (false, vec![])
    );

    for (name, lines) in [
        ("down", conf("http://127.0.0.1:1", "")),
        ("gone", conf("file:///gone", "")),
        ("unsigned", conf("file:///repo/new", "SigLevel = Required")),
        ("without", "RUN printf '[options]\\n' >/etc/pacman.conf\n".to_owned()),
        ("nonsense", "RUN printf 'nonsense\\n' >/etc/pacman.conf\n".to_owned()),
        // What was fetched before is not what there is.
        (
            "stale",
            conf("file:///repo/old", "") + "RUN pacman -Sy && rm -r /repo/old\n",
        ),
    ] {
        let error = bench.error(&image(name, &lines));
        assert!(
            error.contains("pacman") || error.contains("error: "),
            "{name}: {error}\n{}",
            bench.log()
        );
    }
}
