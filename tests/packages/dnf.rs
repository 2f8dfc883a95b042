//! The real dnf 4 (Debian has it) in an image of Debian packages, with a local repository.

use crate::common::Bench;
use crate::rootfs;
use std::path::Path;
use std::process::Command;

/// A package without anything in it.
fn rpm(dir: &Path, name: &str, version: &str, release: &str) {
    let work = dir.join("rpmbuild");
    std::fs::create_dir_all(&work).unwrap();
    let spec = work.join("a.spec");
    let text = format!(
        "Name: {name}\nVersion: {version}\nRelease: {release}\nSummary: a test\nLicense: MIT\nBuildArch: noarch\n\
         %description\na test\n%files\n"
    );
    std::fs::write(&spec, text).unwrap();
    let define = |name: &str, value: &Path| format!("--define={name} {}", value.display());
    rootfs::run(
        Command::new("rpmbuild")
            .args(["-bb", "--quiet", "--nodeps"])
            .args([define("_topdir", &work), define("_rpmdir", dir)])
            .arg("--define=_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.rpm")
            .arg(&spec)
            .env("HOME", &work),
    );
    std::fs::remove_dir_all(work).unwrap();
}

fn repository(dir: &Path) {
    rootfs::run(Command::new("createrepo_c").arg("--quiet").arg(dir));
}

const BASE: &str = "localhost/rpm";

fn repo(name: &str, url: &str, more: &str) -> String {
    let text = format!("[{name}]\\nname={name}\\nbaseurl={url}\\ngpgcheck=0\\nenabled=1\\n{more}");
    format!("RUN printf '{text}\\n' >/etc/yum.repos.d/{name}.repo\n")
}

#[test]
fn dnf_finds_what_would_be_upgraded_and_does_not_guess() {
    let mut bench = Bench::empty("");
    bench.auto();
    let context = bench.scratch.mkdir("context-rpm");
    let (old, new) = (context.join("old"), context.join("new"));
    for dir in [&old, &new] {
        std::fs::create_dir(dir).unwrap();
    }
    let long = "a-package-with-a-name-that-is-longer-than-a-column-of-the-table-is";
    rpm(&old, "tiny", "1.0", "1.el9");
    rpm(&old, "same", "2", "3");
    rpm(&old, long, "1", "1");
    rpm(&new, "tiny", "1.0", "2.el9_3");
    rpm(&new, "same", "2", "3");
    rpm(&new, long, "1.20230815git", "1");
    for dir in [&old, &new] {
        repository(dir);
    }
    // What dpkg knows of is left out of the image: it is none of dpkg's.
    let lines = "RUN mkdir -p /tmp /var/cache /etc/yum.repos.d /etc/dnf && ldconfig && rm -rf /var/lib/dpkg \
        && printf '[main]\\nskip_if_unavailable=True\\n' >/etc/dnf/dnf.conf\n\
        COPY old /repo/old\nCOPY new /repo/new\n\
        RUN rpm --initdb && rpm -i --force-debian --nodeps /repo/old/*.rpm\n";
    rootfs::build(
        &bench,
        "rpm",
        &["dnf", "rpm", "bash", "dash", "coreutils", "libc-bin"],
        lines,
    );

    let new = repo("new", "file:///repo/new", "");
    let image = |name: &str, lines: &str| bench.derive(BASE, name, lines);
    let (needed, mut found) = bench.found(&image("updates", &new));
    found.sort();
    assert!(needed, "{}", bench.log());
    assert_eq!(
        found,
        [
            format!("{long} 1-1 1.20230815git-1"),
            "tiny 1.0-1.el9 1.0-2.el9_3".to_owned()
        ]
    );
    assert_eq!(
        bench.found(&image("none", &repo("old", "file:///repo/old", ""))),
        (false, vec![])
    );

    for (name, lines) in [
        ("down", repo("down", "http://127.0.0.1:1/", "")),
        // Which the image would have passed over.
        (
            "skipped",
            repo("old", "file:///repo/old", "") + &repo("down", "http://127.0.0.1:1/", "skip_if_unavailable=1"),
        ),
        ("without", "RUN true\n".to_owned()),
    ] {
        let error = bench.error(&image(name, &lines));
        assert!(error.starts_with("dnf "), "{name}: {error}\n{}", bench.log());
    }
}
