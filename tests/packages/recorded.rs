//! Package managers that cannot be had here: scripts in their places that say what the real ones say. Where each text comes
//! from stands beside it.

use crate::common::Bench;
use crate::support::podman::{BUSYBOX_CONTAINERFILE, busybox_context};
use pipelined::config::EnvLayer;
use pipelined::model::Standing;
use std::os::unix::fs::PermissionsExt;

/// busybox with a script as `/usr/bin/NAME` and for `rpm`, and further lines.
fn image(bench: &Bench, tag: &str, name: &str, script: &str, more: &str) -> Standing {
    let context = bench.scratch.mkdir(format!("context-{tag}"));
    busybox_context(&context);
    for (name, script) in [(name, script), ("rpm", RPM)] {
        let file = context.join("bin").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let lines = format!("{BUSYBOX_CONTAINERFILE}COPY bin /usr/bin\n{more}");
    std::fs::write(context.join("Containerfile"), lines).unwrap();
    bench.build_in(tag, &context)
}

/// `rpm -q --qf '%{EVR}\n' NAME.ARCH`
const RPM: &str = r#"case $* in
*curl.x86_64) echo 8.11.1-4.fc42 ;;
*kernel.x86_64) echo 6.1-1; echo 6.2-1 ;;
*bind-libs-lite.x86_64) echo 32:9.11.4-9.P2.el7 ;;
*) echo "package $4 is not installed"; exit 1 ;;
esac
"#;

/// A script that answers by the words of the command line: (pattern, what it says, exit code).
fn answers(table: &[(&str, &str, u8)]) -> String {
    let mut script = "case \" $* \" in\n".to_owned();
    for (pattern, text, code) in table {
        script += &format!("{pattern})\ncat <<'SAID'\n{text}\nSAID\nexit {code} ;;\n");
    }
    script + "*) echo \"unexpected: $*\" >&2; exit 99 ;;\nesac\n"
}

/// One case: a name, what the manager answers, and what is expected: packages, or words of the error.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str, u8)>, Result<&'a [&'a str], &'a str>);

fn check(manager: &str, more: &str, cases: &[Case<'_>]) {
    let mut bench = Bench::empty("");
    bench.auto();
    // One image for all: which case it is is told by a variable.
    let scripts = cases
        .iter()
        .map(|(tag, table, _)| format!("if [ \"$CASE\" = {tag} ]; then\n{}fi\n", answers(table)));
    let image = image(&bench, manager, manager, &scripts.collect::<String>(), more);
    for (tag, _, expected) in cases {
        bench.project.env = vec![EnvLayer::Table([("CASE".to_owned(), (*tag).to_owned())].into())];
        match expected {
            Ok(updates) => {
                let (needed, found) = bench.found(&image);
                assert_eq!(
                    (needed, found),
                    (!updates.is_empty(), updates.iter().map(|u| (*u).to_owned()).collect()),
                    "{tag}: {}",
                    bench.log()
                );
            }
            Err(words) => {
                let error = bench.error(&image);
                assert!(error.contains(words), "{manager} {tag}: {error}\n{}", bench.log());
            }
        }
    }
}

// apt before 2.1, which does not know APT::Update::Error-Mode: what failed is told, and the exit code is 0.
// apt-pkg/update.cc (ListUpdate) for the warnings.
#[test]
fn apt_of_old() {
    let (update, upgrade) = ("*' update '*", "*' dist-upgrade '*");
    let got = "Hit:1 http://deb.debian.org/debian buster InRelease\nReading package lists...";
    let failed = "Hit:1 http://deb.debian.org/debian buster InRelease
Err:2 http://security.debian.org buster/updates InRelease
  Could not connect to security.debian.org:80
Reading package lists...
W: Failed to fetch http://security.debian.org/dists/buster/updates/InRelease  Could not connect
W: Some index files failed to download. They have been ignored, or old ones used instead.";
    let unsigned = "Get:1 http://deb.debian.org/debian buster InRelease [122 kB]
Reading package lists...
W: An error occurred during the signature verification. The repository is not updated and the previous index files will
be used. GPG error: http://deb.debian.org/debian buster InRelease: NO_PUBKEY 648ACFD622F3D138";
    let list =
        "Inst libc6:i386 [2.28-10] (2.28-10+deb10u2 Debian:10.13/oldoldstable [i386]) [libc-bin:amd64 on libc6:i386]
Inst libc-bin [2.28-10] (2.28-10+deb10u2 Debian:10.13/oldoldstable [amd64]) []
Conf libc-bin (2.28-10+deb10u2 Debian:10.13/oldoldstable [amd64])";
    let both = "libc6:i386 2.28-10 2.28-10+deb10u2";
    check(
        "apt-get",
        "RUN mkdir -p /var/lib/dpkg && echo Package: libc6 >/var/lib/dpkg/status\n",
        &[
            (
                "updates",
                vec![(update, got, 0), (upgrade, list, 0)],
                Ok(&[both, "libc-bin 2.28-10 2.28-10+deb10u2"]),
            ),
            (
                "failed",
                vec![(update, failed, 0), (upgrade, "", 0)],
                Err("Err:2 http://security.debian.org"),
            ),
            (
                "unsigned",
                vec![(update, unsigned, 0), (upgrade, "", 0)],
                Err("signature verification"),
            ),
            (
                "broken",
                vec![(update, got, 0), (upgrade, "E: Unable to correct problems", 100)],
                Err("E: Unable"),
            ),
            (
                "odd",
                vec![(update, got, 0), (upgrade, "Inst odd", 0)],
                Err("not understood"),
            ),
        ],
    );
}

// apk-tools 2.14 and 3.0, of which 2.14.10 was run for the warnings and errors, which end with 0 for what is on the same
// machine; src/app_update.c for the last line of `update` and its exit code, which counts what is unavailable or stale; src/commit.c for the lines of `upgrade --simulate`, whose numbers are padded since 3.0; the packages are those of
// saltstack/salt pull request 36921.
const APK_UPDATE: &str = "fetch https://dl-cdn.alpinelinux.org/alpine/v3.19/main/x86_64/APKINDEX.tar.gz
v3.19.1-70-g7e8d2ac8f54 [https://dl-cdn.alpinelinux.org/alpine/v3.19/main]
OK: 23001 distinct packages available";
const APK_UPGRADE: &str = "(1/6) Installing libressl2.4-libcrypto@edge (2.4.3-r1)
(2/6) Upgrading borgbackup (1.0.7-r0 -> 1.0.7-r1)
( 5/12) Upgrading python2@edge (2.7.12-r3 -> 2.7.12-r4)
(6/6) Purging old (1-r0)
OK: 285 MiB in 101 packages";

#[test]
fn apk() {
    let update = "*' update '*";
    let upgrade = "*' upgrade --simulate '*";
    let repositories =
        "RUN mkdir -p /etc/apk && echo https://dl-cdn.alpinelinux.org/alpine/v3.19/main >/etc/apk/repositories\n";
    let none = "OK: 7 MiB in 15 packages";
    let old = format!("WARNING: This apk-tools is OLD! Some packages might not function properly.\n{none}");
    let ignored = "WARNING: Ignoring https://dl-cdn.alpinelinux.org/alpine/v3.19/main: No such file or directory
OK: 15 distinct packages available";
    let gone = "WARNING: opening /gone: No such file or directory\nOK: 0 distinct packages available";
    let down = "fetch http://127.0.0.1:1/x/x86_64/APKINDEX.tar.gz
WARNING: updating and opening http://127.0.0.1:1/x: could not connect to server (check repositories file)
1 unavailable, 0 stale; 0 distinct packages available";
    let untrusted = "WARNING: opening /repo/new: UNTRUSTED signature\nOK: 0 distinct packages available";
    let broken = "ERROR: unable to select packages:
  foo-1.0-r0:
    breaks: world[foo=0.9-r0]";
    check(
        "apk",
        repositories,
        &[
            (
                "updates",
                vec![(update, APK_UPDATE, 0), (upgrade, APK_UPGRADE, 0)],
                Ok(&[
                    "libressl2.4-libcrypto@edge - 2.4.3-r1",
                    "borgbackup 1.0.7-r0 1.0.7-r1",
                    "python2@edge 2.7.12-r3 2.7.12-r4",
                ]),
            ),
            ("none", vec![(update, APK_UPDATE, 0), (upgrade, none, 0)], Ok(&[])),
            ("old", vec![(update, APK_UPDATE, 0), (upgrade, &old, 0)], Ok(&[])),
            (
                "ignored",
                vec![(update, ignored, 0), (upgrade, none, 0)],
                Err("WARNING: Ignoring"),
            ),
            (
                "gone",
                vec![(update, gone, 0), (upgrade, none, 0)],
                Err("WARNING: opening /gone"),
            ),
            (
                "down",
                vec![(update, down, 1), (upgrade, none, 0)],
                Err("apk update ended with exit code 1 (1 unavailable"),
            ),
            (
                "quiet",
                vec![(update, down, 0), (upgrade, none, 0)],
                Err("WARNING: updating and opening"),
            ),
            (
                "untrusted",
                vec![(update, untrusted, 0), (upgrade, none, 0)],
                Err("UNTRUSTED"),
            ),
            (
                "broken",
                vec![(update, APK_UPDATE, 0), (upgrade, broken, 1)],
                Err("apk upgrade ended with exit code 1"),
            ),
        ],
    );
    check("apk", "", &[("sourceless", vec![], Err("apk has no repositories"))]);
}

// dnf 5: libdnf5-cli/output for the table of check-upgrade, of which only the exit code counts, as
// dnf5/commands/check-upgrade/check-upgrade.cpp has it; repoquery answers by the format that it is given. The packages are
// those of webmin/webmin issue 2501.
#[test]
fn dnf5() {
    let repolist = ("*' repolist '*", "repo id repo name\nfedora  Fedora 42 - x86_64", 0);
    let table = "Updating and loading repositories:\nRepositories loaded.\nUpgrades\n\
                 curl.x86_64 8.11.1-5.fc42 updates\nlibdrm.x86_64 2.4.125-1.fc42 updates";
    let query = "@ curl x86_64 0:8.11.1-5.fc42\n@ kernel x86_64 6.3-1\n@ new x86_64 1-1";
    let (check_update, repoquery) = ("*' check-update '*", "*' repoquery '*");
    let down = ">>> Curl error (7): Could not connect to server for http://127.0.0.1:1/repodata/repomd.xml
Failed to download metadata (baseurl: \"http://127.0.0.1:1/\") for repository \"fedora\"";
    check(
        "dnf5",
        "",
        &[
            (
                "updates",
                vec![repolist, (check_update, table, 100), (repoquery, query, 0)],
                Ok(&["curl 8.11.1-4.fc42 8.11.1-5.fc42", "kernel 6.2-1 6.3-1", "new - 1-1"]),
            ),
            (
                "none",
                vec![repolist, (check_update, "Repositories loaded.", 0)],
                Ok(&[]),
            ),
            (
                "down",
                vec![repolist, (check_update, down, 1)],
                Err("dnf5 check-update ended with exit code 1"),
            ),
            ("odd", vec![repolist, (check_update, "", 2)], Err("exit code 2")),
        ],
    );
}

// yum 3: yumcommands.py (CheckUpdateCommand) for the exit code, output.py (fmtColumns) for lines that are broken where a
// column is too narrow.
const YUM: &str = "Loaded plugins: fastestmirror, ovl
Determining fastest mirrors
 * base: mirror.example.org

bind-libs-lite.x86_64                32:9.11.4-26.P2.el7_9.16           updates
a-package-with-a-name-that-is-longer-than-a-column.noarch
                                     1.20230815-1.el7                   updates
kernel.x86_64                        6.3-1                              updates
Obsoleting Packages
grub2.x86_64                         1:2.02-0.87.el7.centos.14          updates
    grub2.x86_64                     1:2.02-0.80.el7.centos             @System";

#[test]
fn yum() {
    let clean = ("*' clean expire-cache '*", "Cleaning repos: base updates", 0);
    let none = "Loaded plugins: fastestmirror, ovl\nLoading mirror speeds from cached hostfile";
    let down = "Cannot find a valid baseurl for repo: base/7/x86_64";
    let check_update = "*' check-update '*";
    check(
        "yum",
        "",
        &[
            (
                "updates",
                vec![clean, (check_update, YUM, 100)],
                Ok(&[
                    "bind-libs-lite 32:9.11.4-9.P2.el7 32:9.11.4-26.P2.el7_9.16",
                    "a-package-with-a-name-that-is-longer-than-a-column - 1.20230815-1.el7",
                    "kernel 6.2-1 6.3-1",
                ]),
            ),
            ("none", vec![clean, (check_update, none, 0)], Ok(&[])),
            (
                "down",
                vec![clean, (check_update, down, 1)],
                Err("yum check-update ended with exit code 1"),
            ),
        ],
    );
}

// microdnf 3.9: dnf/dnf-utils.c for the table and its summary, `--assumeno` ends with 0; the packages are those of
// openshift/ocm-container pull request 284.
const MICRODNF: &str = "Downloading metadata...
Package                                         Repository               Size
Installing:
 expat-2.5.0-2.el9_4.x86_64                     ubi-9-baseos-rpms    119.9 kB
Upgrading:
 libsepol-3.6-1.el9.x86_64                      ubi-9-baseos-rpms    339.3 kB
  replacing libsepol-3.5-1.el9.x86_64                                        
 rpm-4.16.1.3-29.el9.x86_64                     ubi-9-baseos-rpms    553.8 kB
  replacing rpm-4.16.1.3-27.el9_3.x86_64                                     
 dbus-libs-1:1.12.20-8.el9.x86_64               ubi-9-baseos-rpms    155.3 kB
   replacing dbus-libs-1:1.12.20-7.el9_1.x86_64                              
Transaction Summary:
 Installing:        1 packages
 Reinstalling:      0 packages
 Upgrading:         3 packages
 Obsoleting:        0 packages
 Removing:          0 packages
 Downgrading:       0 packages
Operation aborted.";

#[test]
fn microdnf() {
    let upgrade = "*' --refresh --assumeno upgrade '*";
    let none = "Downloading metadata...\nNothing to do.";
    let down = "Downloading metadata...\nerror: cannot update repo 'ubi-9-baseos-rpms': Cannot download repomd.xml: \
                Cannot download repodata/repomd.xml: All mirrors were tried";
    check(
        "microdnf",
        "",
        &[
            (
                "updates",
                vec![(upgrade, MICRODNF, 0)],
                Ok(&[
                    "libsepol 3.5-1.el9 3.6-1.el9",
                    "rpm 4.16.1.3-27.el9_3 4.16.1.3-29.el9",
                    "dbus-libs 1:1.12.20-7.el9_1 1:1.12.20-8.el9",
                ]),
            ),
            ("none", vec![(upgrade, none, 0)], Ok(&[])),
            (
                "down",
                vec![(upgrade, down, 1)],
                Err("microdnf upgrade ended with exit code 1"),
            ),
            ("silent", vec![(upgrade, "", 0)], Err("not understood")),
            (
                "other",
                vec![(upgrade, "Downloading metadata...", 0)],
                Err("not understood"),
            ),
        ],
    );
}

#[test]
fn images_without_a_manager_or_a_shell_are_an_error() {
    let mut bench = Bench::new();
    bench.auto();
    let error = bench.error(&bench.local(crate::support::podman::BUSYBOX));
    assert!(
        error.contains("none of these is in the image: use a command"),
        "{error}"
    );
    let context = bench.scratch.mkdir("context-bare");
    std::fs::write(context.join("Containerfile"), "FROM scratch\nCOPY Containerfile /\n").unwrap();
    let error = bench.error(&bench.build_in("bare", &context));
    assert!(error.contains("there is no shell in the image"), "{error}");
}
