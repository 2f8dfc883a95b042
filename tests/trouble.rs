//! A disk that is full, a workdir that cannot be used, a database that is another's: one clear error, and nothing lost.

#![cfg(test)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::daemon::{Site, build_log};
use support::jobs::{jobs, wait_job, wait_outcome};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for_state};

const MAIN: &str = "refs/heads/main";

/// A small file system of its own, for as long as it is held.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(dir: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(&dir)
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_our_trouble_and_passes() {
    let scratch = Scratch::new();
    let path = scratch.path().display();
    let repo = Repo::new(scratch.join("repo"));
    let first = repo.commit(&[("f", "1")]);
    let site = Site::new(
        &scratch,
        &format!(
            "interval = \"100ms\"\ngrace = \"300ms\"\n[retry]\nattempts = 2\ndelay = \"100ms\"\n[projects.p]\n\
             remote = \"{path}/repo\"\nprepare_callback = [\"sh\", \"-c\", \"[ ! -e {path}/loud ] || seq 1000000\"]\n"
        ),
    );
    // Where mounting is not allowed there is nothing to fill.
    let Some(_mount) = Tmpfs::mount(site.workdir.clone()) else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let daemon = site.start();
    site.wait_built("p", MAIN, &first);
    // The job itself fills it, so that not even its end can be recorded: that waits, and the daemon goes on.
    let loud = scratch.write("loud", "");
    let second = repo.commit(&[("f", "2")]);
    let told = |text: &str| {
        wait_for_state(text, SOON, || {
            daemon.log().contains(text).then_some(()).ok_or_else(|| daemon.log())
        });
    };
    told("cannot record a decision");
    assert!(
        site.json(&["status", "--json"])["daemon"].is_object(),
        "the daemon is gone"
    );
    std::fs::remove_file(loud).unwrap();
    std::fs::remove_dir_all(site.job_dir("p", MAIN, &format!("{}.tmp", short(&second)))).unwrap();
    let row = wait_outcome(&site, &second, "succeeded");
    assert_eq!(row.attempts.len(), 2, "{row:?}");
    // It is full before the job begins.
    let filler = site.workdir.join("filler");
    let _ = std::fs::write(&filler, vec![0; 4 << 20]);
    let third = repo.commit(&[("f", "3")]);
    wait_for_state("the trouble to be told", SOON, || {
        let log = daemon.log();
        let full = log.matches("disk is full").count() + log.matches("No space left").count();
        (full > 4).then_some(()).ok_or(log)
    });
    std::fs::remove_file(filler).unwrap();
    wait_job(&site, &third, "an outcome", |job| job.state == "done");
    let fourth = repo.commit(&[("f", "4")]);
    wait_outcome(&site, &fourth, "succeeded");
    assert_eq!(jobs(&site.workdir).iter().filter(|job| job.state != "done").count(), 0);
    let dir = site.wait_built("p", MAIN, &fourth);
    assert!(build_log(&dir).contains("prepare_callback"));
    drop(daemon);
}

/// `run` in this workdir ends with 1 and an error that names all of these.
#[track_caller]
fn refused(site: &Site, workdir: &Path, words: &[&str]) {
    let output = site.cli(&["run", "--workdir", workdir.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for word in words {
        assert!(error.contains(word), "{word} is not in {error}");
    }
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn a_workdir_that_cannot_be_used() {
    let scratch = Scratch::new();
    let site = Site::new(&scratch, "");
    let file = scratch.write("file", "");
    refused(&site, &file.join("below"), &["cannot", "file/below"]);
    refused(&site, &file, &["cannot", "file"]);
    refused(&site, Path::new("/proc/nosuch/x"), &["cannot", "/proc/nosuch"]);
    // Also root cannot write to what is mounted read-only.
    let mount = scratch.mkdir("readonly");
    if let Some(mount) = Tmpfs::mount(mount) {
        let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&mount.0).status();
        assert!(remounted.unwrap().success());
        refused(&site, &mount.0, &["Read-only file system"]);
        refused(&site, &mount.0.join("new"), &["Read-only file system"]);
    }
}

#[test]
fn a_database_that_is_not_ours_to_use_stays_as_it_is() {
    let scratch = Scratch::new();
    let site = Site::new(&scratch, "");
    let database = site.workdir.join("pipelined.db");
    drop(site.start());
    let good = std::fs::read(&database).unwrap();
    let mut damaged = good.clone();
    for byte in damaged.iter_mut().skip(100).step_by(7) {
        *byte ^= 0x5a;
    }
    let mut newer = good.clone();
    // user_version, at byte 60 (sqlite.org/fileformat.html).
    newer[60..64].copy_from_slice(&99u32.to_be_bytes());
    let other = b"this is not a database, but somebody's notes\n".repeat(50);
    for (name, bytes, words) in [
        ("damaged", damaged, &["pipelined.db", "damaged"][..]),
        ("newer", newer, &["pipelined.db", "newer"]),
        ("other", other, &["pipelined.db"]),
        ("cut", good[..good.len() / 2].to_vec(), &["pipelined.db"]),
    ] {
        std::fs::write(&database, &bytes).unwrap();
        refused(&site, &site.workdir, words);
        assert!(
            std::fs::read(&database).unwrap() == bytes,
            "{name}: the file was changed"
        );
    }
    std::fs::write(&database, good).unwrap();
    drop(site.start());
}
