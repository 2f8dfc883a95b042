//! The short way from a commit to a checkout: mirrors that fetch only what is new, may vanish at any time, and are
//! never the reason why a checkout fails.

#![cfg(test)]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipelined::git::{Checkout, Mirrors, checkout};
use pipelined::model::{CommitId, Failure, FailureKind, JobId, RefName};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use pipelined::workdir::Trash;
use rstest::rstest;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::daemon::{Site, strays};
use support::jobs::wait_outcome;
use support::repo::{GIT_ENV, Repo, git_in};
use support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use support::servers::hostile::{Hostile, Manner};
use support::servers::http::{HttpGit, HttpOptions};
use support::witness::files_with;

/// A repository behind http, mirrors, and a place for checkouts.
struct Bench {
    http: HttpGit,
    mirrors: Mirrors,
    repo: Repo,
    bare: Repo,
    runner: Runner,
    scratch: Scratch,
}

/// What differs between checkouts.
#[derive(Clone, Copy)]
struct Way {
    shallow: bool,
    reference: &'static str,
}

const SHALLOW: Way = Way {
    shallow: true,
    reference: "refs/heads/main",
};
const WHOLE: Way = Way {
    shallow: false,
    ..SHALLOW
};

impl Bench {
    fn new() -> Self {
        Self::with(|scratch| Repo::new(scratch.join("repo")))
    }

    /// With noise in it, by which fetching all of it is told from fetching what is new.
    fn with(make: impl Fn(&Scratch) -> Repo) -> Self {
        let scratch = Scratch::new();
        let repo = make(&scratch);
        repo.commit(&[("noise", noise(200_000, 1)), ("f", b"1".to_vec())]);
        repo.annotated_tag("v1", "HEAD");
        repo.commit(&[("f", "2")]);
        let bare = repo.bare(scratch.join("repos/a.git"));
        let http = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions::default());
        Self {
            mirrors: open(&scratch),
            runner: Runner {
                supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
                marker: Marker::job("mirror", JobId(1), 1),
                env: GIT_ENV.map(|(n, v)| (n.into(), v.into())).to_vec(),
                cancel: Cancel::new(),
                grace: Duration::from_millis(300),
                log: Some((scratch.join("build.log"), 1 << 30)),
                masks: Masks::default(),
            },
            http,
            repo,
            bare,
            scratch,
        }
    }

    fn url(&self) -> String {
        self.http.url("a.git")
    }

    fn mirror(&self, way: Way) -> PathBuf {
        self.mirrors.path(&self.url(), way.shallow)
    }

    fn push<C: AsRef<[u8]>>(&self, files: &[(&str, C)]) -> String {
        let commit = self.repo.commit(files);
        self.repo.push_to(&self.bare);
        commit
    }

    async fn try_get(&self, way: Way, commit: &str, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.scratch.mkdir(name).join("build");
        let wanted = Checkout {
            remote: &self.url(),
            reference: &RefName::new(way.reference).unwrap(),
            commit: &CommitId::new(commit).unwrap(),
            dir: &dir,
            shallow: way.shallow,
            submodules: false,
            timeout: SOON,
            mirrors: Some(&self.mirrors),
            ssh_socket: None,
        };
        checkout(&self.runner, &wanted).await.map(|()| dir)
    }

    /// A checkout in a new job directory, which is as all of them must be.
    async fn get(&self, way: Way, commit: &str) -> PathBuf {
        let n = fs::read_dir(self.scratch.path()).unwrap().count();
        let dir = self.try_get(way, commit, &format!("job-{n}")).await.unwrap();
        assert_sound(&dir, commit, &self.url());
        let count = git_in(&dir, ["rev-list", "--count", "HEAD"]);
        let all = git_in(self.bare.path(), ["rev-list", "--count", commit]);
        assert_eq!(count, if way.shallow { "1" } else { &all });
        dir
    }

    /// The bytes that the server sent, a number for each request since the last call.
    fn sent(&self, seen: &mut usize) -> Vec<u64> {
        let sent: Vec<u64> = self.http.bytes_sent();
        let new = sent[*seen..].to_vec();
        *seen = sent.len();
        new
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("build.log")).unwrap_or_default()
    }
}

fn open(scratch: &Scratch) -> Mirrors {
    let trash = Trash::open(scratch.join("trash")).unwrap();
    Mirrors::new(scratch.join("mirrors"), move |path| trash.discard(path))
}

/// Bytes that cannot be packed.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// It stands alone, and looks like a clone of its remote.
#[track_caller]
fn assert_sound(dir: &Path, commit: &str, url: &str) {
    assert_eq!(fs::read_to_string(dir.join(".git/HEAD")).unwrap().trim(), commit);
    assert_eq!(git_in(dir, ["status", "--porcelain"]), "");
    assert_eq!(git_in(dir, ["remote", "get-url", "origin"]), url);
    git_in(dir, ["fsck", "--full", "--strict"]);
    let objects = dir.join(".git/objects");
    assert!(!objects.join("info/alternates").exists());
    for file in all_files(&objects) {
        assert_eq!(file.metadata().unwrap().nlink(), 1, "{file:?} is linked");
    }
    assert_eq!(files_with(&dir.join(".git"), "/mirrors/"), Vec::<PathBuf>::new());
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] })
        .collect()
}

#[rstest]
#[case(SHALLOW)]
#[case(WHOLE)]
#[tokio::test]
async fn only_what_is_new_comes_over_the_wire(#[case] way: Way) {
    let bench = Bench::new();
    let mut seen = 0;
    let first = bench.repo.head();
    bench.get(way, &first).await;
    assert!(bench.sent(&mut seen).iter().sum::<u64>() > 200_000);

    let second = bench.push(&[("f", "3")]);
    bench.get(way, &second).await;
    let sent = bench.sent(&mut seen);
    assert!(!sent.is_empty() && sent.iter().sum::<u64>() < 5_000, "{sent:?}");

    // What is known is not asked for; only tags may have changed, and they are of use only where there is history.
    for commit in [&second, &first] {
        bench.get(way, commit).await;
        let sent = bench.sent(&mut seen);
        assert!(if way.shallow { sent.is_empty() } else { sent.len() == 2 }, "{sent:?}");
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bench.mirror(way).parent().unwrap()), 0o700);
    assert!(!bench.mirror(way).join("FETCH_HEAD").exists());
}

#[tokio::test]
async fn whole_histories_are_described_by_the_tags_of_now() {
    let bench = Bench::new();
    let commit = bench.repo.head();
    let dir = bench.get(WHOLE, &commit).await;
    assert_eq!(git_in(&dir, ["describe"]), format!("v1-1-g{}", &commit[..7]));
    // As when a commit is built first as a branch's, then as a tag's. Names change places, and some go.
    bench.repo.annotated_tag("v2/a", "HEAD");
    bench.repo.push_to(&bench.bare);
    assert_eq!(git_in(&bench.get(WHOLE, &commit).await, ["describe"]), "v2/a");
    bench.repo.delete_ref("refs/tags/v2/a");
    bench.repo.annotated_tag("v2", "HEAD");
    bench.repo.push_to(&bench.bare);
    assert_eq!(git_in(&bench.get(WHOLE, &commit).await, ["describe"]), "v2");
    bench.repo.delete_ref("refs/tags/v2");
    // One of another branch is none of this one's.
    bench.repo.branch("other");
    bench.push(&[("g", "1")]);
    bench.repo.annotated_tag("v3", "HEAD");
    bench.repo.push_to(&bench.bare);
    let dir = bench.get(WHOLE, &commit).await;
    assert_eq!(git_in(&dir, ["tag"]), "v1");
    assert_eq!(git_in(&bench.get(SHALLOW, &commit).await, ["tag"]), "");
}

#[rstest]
#[tokio::test]
async fn sha256_too(#[values(SHALLOW, WHOLE)] way: Way) {
    let bench = Bench::with(|scratch| Repo::sha256(scratch.join("repo")));
    bench.get(way, &bench.repo.head()).await;
    bench.get(way, &bench.push(&[("f", "3")])).await;
}

/// The one pack of a mirror.
fn pack(mirror: &Path) -> PathBuf {
    let mut packs = all_files(&mirror.join("objects/pack")).into_iter();
    packs.find(|p| p.extension().is_some_and(|e| e == "pack")).unwrap()
}

fn write(path: PathBuf, bytes: impl AsRef<[u8]>) {
    let _ = fs::remove_file(&path);
    fs::write(path, bytes).unwrap();
}

/// How often a mirror is thrown away for a damage: git may heal it by itself, when it fetches what is missing.
type Times = std::ops::RangeInclusive<usize>;
const NEVER: Times = 0..=0;
const ONCE: Times = 1..=1;
const PERHAPS: Times = 0..=1;

/// What may be wrong with a mirror.
type Damage = (&'static str, fn(&Path), Times);

const DAMAGES: &[Damage] = &[
    ("gone", |m| fs::remove_dir_all(m).unwrap(), NEVER),
    (
        "an empty directory",
        |m| {
            fs::remove_dir_all(m).unwrap();
            fs::create_dir(m).unwrap();
        },
        ONCE,
    ),
    (
        "a file",
        |m| {
            fs::remove_dir_all(m).unwrap();
            fs::write(m, "x").unwrap();
        },
        ONCE,
    ),
    (
        "a link to nowhere",
        |m| {
            fs::remove_dir_all(m).unwrap();
            symlink("nowhere", m).unwrap();
        },
        ONCE,
    ),
    ("garbage in HEAD", |m| write(m.join("HEAD"), "\0garbage"), ONCE),
    ("no HEAD", |m| fs::remove_file(m.join("HEAD")).unwrap(), ONCE),
    ("garbage in config", |m| write(m.join("config"), "[core\n\0"), ONCE),
    ("no objects", |m| fs::remove_dir_all(m.join("objects")).unwrap(), ONCE),
    ("no pack", |m| fs::remove_file(pack(m)).unwrap(), PERHAPS),
    (
        "half a pack",
        |m| {
            let bytes = fs::read(pack(m)).unwrap();
            write(pack(m), &bytes[..bytes.len() / 2]);
        },
        PERHAPS,
    ),
    (
        "a pack with a hole",
        |m| {
            let mut bytes = fs::read(pack(m)).unwrap();
            let end = bytes.len() - 40;
            bytes[12..end].fill(0);
            write(pack(m), bytes);
        },
        PERHAPS,
    ),
    (
        "another format",
        |m| {
            fs::remove_dir_all(m).unwrap();
            let other = Repo::sha256(m.with_extension("other"));
            other.commit(&[("f", "1")]);
            other.bare(m);
        },
        ONCE,
    ),
    (
        "garbage in a ref",
        |m| {
            for file in all_files(&m.join("refs/pipelined")) {
                write(file, "garbage");
            }
        },
        PERHAPS,
    ),
    (
        "locks",
        |m| {
            for lock in [
                "shallow.lock",
                "packed-refs.lock",
                "HEAD.lock",
                "config.lock",
                "refs/pipelined/x.lock",
            ] {
                write(m.join(lock), "");
            }
            write(m.join("objects/pack/tmp_pack_x"), noise(1000, 2));
            write(m.join("objects/pack/pack-x.keep"), "");
            fs::create_dir(m.join("objects/tmp_objdir-incoming-x")).unwrap();
        },
        NEVER,
    ),
];

#[rstest]
#[tokio::test]
async fn a_damaged_mirror_costs_a_retry_and_never_a_job(#[values(SHALLOW, WHOLE)] way: Way) {
    let bench = Bench::new();
    let mirror = bench.mirror(way);
    for (n, (what, damage, times)) in DAMAGES.iter().enumerate() {
        // At first sight the commit is in the mirror, or it is not.
        for known in [true, false] {
            let _ = fs::remove_dir_all(&mirror);
            let _ = fs::remove_file(&mirror);
            let mut commit = bench.push(&[("f", format!("{n}, {known}"))]);
            bench.get(way, &commit).await;
            damage(&mirror);
            let before = bench.log().len();
            for turn in 0..2 {
                if turn > 0 || !known {
                    commit = bench.push(&[("f", format!("{n}, {known}, {turn}"))]);
                }
                bench.get(way, &commit).await;
            }
            let log = &bench.log()[before..];
            let thrown = log.matches("the mirror is thrown away").count();
            assert!(times.contains(&thrown), "{what}, known {known}: {log}");
            assert!(
                !log.contains("straight from the remote"),
                "{what}, known {known}: {log}"
            );
            let left = all_files(&mirror);
            let dead = |p: &&PathBuf| ["lock", "keep"].iter().any(|e| p.extension().is_some_and(|x| x == *e));
            assert_eq!(left.iter().find(dead), None, "{what}");
            // What git heals is whole but for the commits that nobody asked for again.
            if *times != PERHAPS {
                git_in(&mirror, ["fsck"]);
            }
        }
    }
    let trash = bench.scratch.join("trash");
    wait_for("an empty trash", SOON, || {
        fs::read_dir(&trash).unwrap().next().is_none().then_some(())
    });
}

#[tokio::test]
async fn no_place_for_mirrors_is_no_reason_to_fail() {
    let mut bench = Bench::new();
    let commit = bench.repo.head();
    bench.scratch.write("mirrors", "in the way");
    bench.get(SHALLOW, &commit).await;
    assert!(bench.log().contains("straight from the remote"), "{}", bench.log());
    // Nor is one where nothing can be thrown away.
    fs::remove_file(bench.scratch.join("mirrors")).unwrap();
    bench.scratch.mkdir("mirrors");
    bench.mirrors = Mirrors::new(bench.scratch.join("mirrors"), |path| {
        match path.starts_with(path.ancestors().nth(2).unwrap().join("mirrors")) {
            true => Err(std::io::Error::other("no")),
            false => fs::remove_dir_all(path),
        }
    });
    write(bench.mirror(SHALLOW), "in the way");
    bench.get(SHALLOW, &commit).await;
    assert!(bench.log().contains("cannot throw"), "{}", bench.log());
}

#[tokio::test]
async fn a_mirror_that_is_no_repository_does_not_lead_git_to_another() {
    let bench = Bench::new();
    let commit = bench.repo.head();
    let around = Repo::new(bench.scratch.path());
    let empty = bench.mirror(SHALLOW);
    fs::create_dir_all(&empty).unwrap();
    bench.get(SHALLOW, &commit).await;
    assert_eq!(around.git(&["for-each-ref"]), "");
}

#[tokio::test]
async fn only_the_remote_tells_that_a_commit_is_gone() {
    let bench = Bench::new();
    let gone = bench.repo.head();
    bench.get(SHALLOW, &gone).await;
    bench.repo.reset("HEAD^");
    let now = bench.push(&[("f", "forced")]);
    bench.get(SHALLOW, &now).await;
    let packs = || all_files(&bench.mirror(SHALLOW).join("objects/pack"));
    let before = packs();
    // What nobody has is no fault of the mirror's.
    let failure = bench.try_get(SHALLOW, &"1".repeat(40), "lost").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Superseded, "{failure}");
    assert_eq!(packs(), before);
    // Nor is a server that is down, and what is known does not need one.
    fs::rename(bench.bare.path(), bench.scratch.join("away")).unwrap();
    let failure = bench.try_get(SHALLOW, &"2".repeat(40), "down").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored, "{failure}");
    assert_eq!(packs(), before);
    let dir = bench.try_get(SHALLOW, &now, "known").await.unwrap();
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"forced");
    assert!(!bench.log().contains("thrown away"), "{}", bench.log());
}

#[tokio::test]
async fn checkouts_outlive_their_mirror_and_one_another() {
    let bench = Bench::new();
    let commit = bench.repo.head();
    let mut dirs = Vec::new();
    for way in [SHALLOW, WHOLE, SHALLOW, WHOLE] {
        dirs.push(bench.get(way, &commit).await);
    }
    assert_ne!(bench.mirror(SHALLOW), bench.mirror(WHOLE));
    // What a build does to its repository is nobody else's trouble.
    let spoilt = dirs.remove(0);
    for file in all_files(&spoilt.join(".git/objects")) {
        write(file, "spoilt");
    }
    bench.get(SHALLOW, &commit).await;
    fs::remove_dir_all(bench.scratch.join("mirrors")).unwrap();
    for dir in dirs {
        assert_sound(&dir, &commit, &bench.url());
    }
}

#[tokio::test]
async fn many_at_once_share_one_fetch() {
    let bench = Bench::new();
    let commit = bench.repo.head();
    let get = |name, way| bench.try_get(way, &commit, name);
    let (a, b, c, d) = tokio::join!(get("a", SHALLOW), get("b", SHALLOW), get("c", SHALLOW), get("d", WHOLE));
    for dir in [a, b, c, d] {
        assert_sound(&dir.unwrap(), &commit, &bench.url());
    }
    // A pack for each kind.
    let big = bench.http.bytes_sent().into_iter().filter(|bytes| *bytes > 200_000);
    assert_eq!(big.count(), 2);
}

#[tokio::test]
async fn a_mirror_that_vanishes_meanwhile_is_made_again() {
    let bench = Bench::new();
    let head = bench.repo.head();
    bench.get(WHOLE, &head).await;
    let mirror = bench.mirror(WHOLE);
    // Somebody removes it, again and again, at every moment of a checkout.
    let stop = Cancel::new();
    let (stopped, removed) = (stop.clone(), mirror.clone());
    let remover = std::thread::spawn(move || {
        let mut times = 0;
        while !stopped.is_asked() {
            times += usize::from(fs::remove_dir_all(&removed).is_ok());
            std::thread::sleep(Duration::from_millis(7));
        }
        times
    });
    for _ in 0..10 {
        bench.get(WHOLE, &head).await;
    }
    stop.ask();
    assert!(remover.join().unwrap() > 5);
}

#[tokio::test]
async fn whoever_waits_for_a_mirror_can_be_cancelled() {
    let mut bench = Bench::new();
    let hostile = Hostile::start(Manner::Silent);
    let remote = hostile.http_url();
    let commit = CommitId::new("1".repeat(40)).unwrap();
    let reference = RefName::new("refs/heads/main").unwrap();
    let cancels = [Cancel::new(), Cancel::new()];
    let mirrors = open(&bench.scratch);
    let logs = ["first.log", "second.log"].map(|name| bench.scratch.join(name));
    let mut tries = Vec::new();
    for (n, cancel) in cancels.iter().enumerate() {
        bench.runner.cancel = cancel.clone();
        bench.runner.log = Some((logs[n].clone(), 1 << 20));
        let dir = bench.scratch.mkdir(format!("hang-{n}")).join("build");
        let (runner, mirrors, remote) = (bench.runner.clone(), mirrors.clone(), remote.clone());
        let (commit, reference) = (commit.clone(), reference.clone());
        tries.push(tokio::spawn(async move {
            let wanted = Checkout {
                remote: &remote,
                reference: &reference,
                commit: &commit,
                dir: &dir,
                shallow: true,
                submodules: false,
                timeout: SOON,
                mirrors: Some(&mirrors),
                ssh_socket: None,
            };
            checkout(&runner, &wanted).await
        }));
        let (log, text) = (logs[n].clone(), ["fetch", "waiting for another job"][n]);
        tokio::task::spawn_blocking(move || {
            wait_for(text, SOON, || {
                fs::read_to_string(&log).ok()?.contains(text).then_some(())
            });
        })
        .await
        .unwrap();
    }
    for n in [1, 0] {
        cancels[n].insist();
        let failure = (&mut tries[n]).await.unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Cancelled, "{failure}");
    }
}

#[tokio::test]
async fn a_fetch_that_was_killed_leaves_nothing_in_the_way() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("f", "1")]);
    // A fetch that hangs when all of its locks are taken: the transport is a script of ours.
    let hold = scratch.join("hold");
    let script = scratch.script(
        "ssh",
        &format!(
            "test -e '{}' && exec sleep 1000\nshift\nexec sh -c \"$1\"",
            hold.display()
        ),
    );
    let toml = format!(
        "interval = '100ms'\n[projects.p]\nremote = 'ssh://h{}'\n",
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml).with_env([("GIT_SSH_COMMAND", script), ("GIT_SSH_VARIANT", "simple".into())]);
    let mut daemon = site.start();
    site.wait_built("p", "refs/heads/main", &commit);
    let mirrors = site.workdir.join("pipelined.mirrors");
    let mirror = fs::read_dir(&mirrors).unwrap().next().unwrap().unwrap().path();

    let second = repo.commit(&[("f", "2")]);
    // The list of refs must get through, and the fetch must not.
    let fetches = || {
        let all = strays(&site.workdir).into_iter();
        all.filter(|(_, command)| command.contains(" fetch ") && !command.contains("supervise"))
            .map(|(pid, _)| pid)
    };
    let dir = site.job_dir("p", "refs/heads/main", &format!("{}.tmp", &second[..8]));
    let pid: Pid = wait_for("a fetch", SOON, || {
        if dir.exists() {
            scratch.write("hold", "");
        }
        fetches().next()
    });
    daemon.kill_9();
    let _ = kill(pid, Signal::SIGKILL);
    for lock in ["shallow.lock", "packed-refs.lock"] {
        write(mirror.join(lock), "");
    }
    fs::remove_file(&hold)
        .or_else(|e| {
            if e.kind() == std::io::ErrorKind::NotFound {
                Ok(())
            } else {
                Err(e)
            }
        })
        .unwrap();
    let daemon = site.start();
    wait_outcome(&site, &second, "succeeded");
    drop(daemon);
    let locks = all_files(&mirror)
        .into_iter()
        .filter(|f| f.extension().is_some_and(|e| e == "lock"));
    assert_eq!(locks.count(), 0);
    git_in(&mirror, ["fsck"]);
}

#[tokio::test]
async fn files_come_out_right_with_many_writers() {
    let bench = Bench::new();
    let names: Vec<String> = (0..1500).map(|n| format!("d{}/f{n}", n % 40)).collect();
    let files: Vec<(&str, String)> = names.iter().map(|name| (name.as_str(), format!("in {name}"))).collect();
    bench.repo.commit(&files);
    let work = bench.repo.path();
    for n in (0..1500).step_by(7) {
        fs::set_permissions(work.join(&names[n]), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for n in (3..1500).step_by(11) {
        fs::remove_file(work.join(&names[n])).unwrap();
        symlink("../noise", work.join(&names[n])).unwrap();
    }
    let commit = bench.push(&[(".gitattributes", "*.x text eol=crlf\n"), ("a.x", "1\n2\n")]);
    for way in [SHALLOW, WHOLE] {
        let dir = bench.get(way, &commit).await;
        for name in &names {
            let (here, there) = (dir.join(name), work.join(name));
            let (a, b) = (here.symlink_metadata().unwrap(), there.symlink_metadata().unwrap());
            assert_eq!(a.mode() & 0o170_111, b.mode() & 0o170_111, "{name}");
            assert_eq!(fs::read_link(&here).ok(), fs::read_link(&there).ok(), "{name}");
            assert_eq!(fs::read(&here).unwrap(), fs::read(&there).unwrap(), "{name}");
        }
        assert_eq!(fs::read(dir.join("a.x")).unwrap(), b"1\r\n2\r\n");
    }
}

#[tokio::test]
async fn filters_as_of_lfs_see_the_remote_and_fail_the_checkout() {
    let mut bench = Bench::new();
    let seen = bench.scratch.join("seen");
    let smudge = bench.scratch.script(
        "smudge",
        &format!(
            "git remote get-url origin >>'{}'\nread -r pointer\ntest \"$pointer\" != bad\necho big",
            seen.display()
        ),
    );
    let smudge = bench
        .scratch
        .script("smudge-or-fail", &format!("set -e\n. '{}'", smudge.display()));
    let config = bench.scratch.write(
        "filters",
        format!(
            "[filter \"big\"]\n\tsmudge = {}\n\tclean = cat\n\trequired = true\n",
            smudge.display()
        ),
    );
    bench.runner.env.push(("GIT_CONFIG_GLOBAL".into(), config.into()));
    let names: Vec<String> = (0..300).map(|n| format!("plain{n}")).collect();
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    files.extend([(".gitattributes", "*.big filter=big\n"), ("a.big", "pointer\n")]);
    let commit = bench.push(&files);
    let dir = bench.try_get(SHALLOW, &commit, "good").await.unwrap();
    assert_eq!(fs::read(dir.join("a.big")).unwrap(), b"big\n");
    assert_eq!(fs::read_to_string(&seen).unwrap().trim(), bench.url());

    let bad = bench.push(&[("b.big", "bad\n")]);
    let failure = bench.try_get(SHALLOW, &bad, "bad").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored, "{failure}");
    // The filter's fault is not the mirror's.
    assert!(!bench.log().contains("thrown away"), "{}", bench.log());
}

#[tokio::test]
async fn a_mirror_that_has_grown_is_packed_anew_and_forgets() {
    let bench = Bench::new();
    let forced = bench.repo.head();
    bench.get(SHALLOW, &forced).await;
    bench.repo.reset("HEAD^");
    let packs = || {
        let files = all_files(&bench.mirror(SHALLOW).join("objects/pack")).into_iter();
        files.filter(|f| f.extension().is_some_and(|e| e == "pack")).count()
    };
    let url = bench.url();
    let tend = || bench.mirrors.tend(&bench.runner, &url, true);
    let mut last = String::new();
    while packs() < 32 {
        assert!(!tend().await.unwrap(), "not due with {} packs", packs());
        last = bench.push(&[("f", format!("commit {}", packs()))]);
        bench
            .try_get(SHALLOW, &last, &format!("grow-{}", packs()))
            .await
            .unwrap();
    }
    // Not while a job has its turn; and a job that comes need not wait for it.
    let held = tokio::join!(bench.try_get(SHALLOW, &last, "meanwhile"), tend());
    held.0.unwrap();
    if !held.1.unwrap() {
        assert!(tend().await.unwrap());
    }
    assert_eq!(packs(), 1);
    let mirror = bench.mirror(SHALLOW);
    assert_eq!(all_files(&mirror.join("refs/pipelined")).len(), 8);
    let known = git_in(
        &mirror,
        ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"],
    );
    assert!(known.contains(&last));
    assert!(
        !known.contains(&forced),
        "a commit that was forced away is kept for ever"
    );
    git_in(&mirror, ["fsck"]);
    let mut seen = bench.http.bytes_sent().len();
    bench.get(SHALLOW, &last).await;
    assert_eq!(bench.sent(&mut seen), Vec::<u64>::new());
    bench.get(SHALLOW, &bench.push(&[("f", "after")])).await;
    assert!(bench.sent(&mut seen).iter().sum::<u64>() < 5_000);
}

#[tokio::test]
async fn mirrors_of_remotes_that_nobody_has_are_thrown_away() {
    let bench = Bench::new();
    let commit = bench.repo.head();
    let url = bench.url();
    bench.get(SHALLOW, &commit).await;
    bench.get(WHOLE, &commit).await;
    let other = bench.scratch.mkdir("mirrors/not-ours");
    let with_password = url.replace("://", "://user:hunter2@");
    assert_eq!(
        bench
            .mirrors
            .prune([(url.as_str(), true), (url.as_str(), false)])
            .unwrap(),
        0
    );
    assert_eq!(bench.mirrors.prune([(with_password.as_str(), true)]).unwrap(), 1);
    assert!(bench.mirror(SHALLOW).exists() && !bench.mirror(WHOLE).exists());
    assert_eq!(bench.mirrors.prune([]).unwrap(), 1);
    assert!(other.exists() && !bench.mirror(SHALLOW).exists());
}

#[test]
fn the_trash_is_emptied_whatever_is_in_it() {
    let scratch = Scratch::new();
    let trash_dir = scratch.join("trash");
    let empty = || fs::read_dir(&trash_dir).unwrap().next().is_none();
    let fill = |dir: &Path| {
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/f"), "x").unwrap();
        symlink("/", dir.join("a/root")).unwrap();
        for locked in ["a/b", "a"] {
            fs::set_permissions(dir.join(locked), fs::Permissions::from_mode(0o555)).unwrap();
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap();
    };
    // What a crash left.
    fill(&trash_dir.join("left"));
    let trash = Trash::open(&trash_dir).unwrap();
    wait_for_state("an empty trash", SOON, || {
        if empty() { Ok(()) } else { Err(format!("{trash_dir:?}")) }
    });
    for n in 0..20 {
        let path = scratch.join("thing");
        match n % 3 {
            0 => fill(&path),
            1 => fs::write(&path, "x").unwrap(),
            _ => symlink(scratch.join("nowhere"), &path).unwrap(),
        }
        trash.discard(&path).unwrap();
        assert!(path.symlink_metadata().is_err());
    }
    trash.discard(&scratch.join("thing")).unwrap();
    wait_for("an empty trash", SOON, || empty().then_some(()));
}

#[tokio::test]
async fn a_mirror_that_cannot_be_packed_is_thrown_away() {
    let bench = Bench::new();
    bench.get(SHALLOW, &bench.repo.head()).await;
    let mirror = bench.mirror(SHALLOW);
    for n in 0..40 {
        fs::write(mirror.join(format!("objects/pack/pack-{n:040}.pack")), "garbage").unwrap();
    }
    let lost = format!("{}\n", "1".repeat(40));
    fs::write(mirror.join("refs/pipelined").join(lost.trim()), &lost).unwrap();
    let tended = bench.mirrors.tend(&bench.runner, &bench.url(), true).await;
    assert!(tended.is_err(), "{tended:?}");
    assert!(!mirror.exists());
    bench.get(SHALLOW, &bench.repo.head()).await;
}
