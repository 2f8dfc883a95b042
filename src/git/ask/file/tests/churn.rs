//! Refs that change while they are looked at.

use super::*;
use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const REFS: usize = 30;

/// Git itself moves refs forward and packs them, all the time.
#[test]
fn git_updates_and_packs() {
    let (dir, commits) = repository_with_commits(40);
    let path = dir.path();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // It may meet a lock of the other's.
                let _ = command(path).args(["pack-refs", "--all"]).output();
            }
        });
        scope.spawn(|| {
            commits.iter().for_each(|commit| move_all(path, commit));
            over.store(true, Ordering::Relaxed);
        });
        look_until(&over, &AtomicU32::new(0), path, &commits);
    });
    assert_eq!(looked(path), listed(path));
}

/// The same steps in the same order, a hundred times faster than processes can take them.
#[test]
fn updates_and_packs_at_full_speed() {
    let (dir, commits) = repository_with_commits(300);
    let (path, over, looks) = (dir.path(), AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The look that comes next meets the packing, and has seen the loose refs.
            let seen = || {
                let before = looks.load(Ordering::Relaxed);
                while looks.load(Ordering::Relaxed) == before && !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            let git = path.join(".git");
            let replace = |name: &str, content: &str| {
                let lock = git.join(format!("{name}.lock"));
                std::fs::write(&lock, content).unwrap();
                std::fs::rename(lock, git.join(name)).unwrap();
            };
            for commit in &commits {
                (0..REFS).for_each(|n| replace(&format!("refs/heads/b{n}"), commit));
                seen();
                let lines = (0..REFS).map(|n| format!("{commit} refs/heads/b{n}\n"));
                let header = "# pack-refs with: peeled fully-peeled \n".to_owned();
                replace("packed-refs", &std::iter::once(header).chain(lines).collect::<String>());
                (0..REFS).for_each(|n| std::fs::remove_file(git.join(format!("refs/heads/b{n}"))).unwrap());
            }
            over.store(true, Ordering::Relaxed);
        });
        look_until(&over, &looks, path, &commits);
    });
    assert_eq!(looked(path), listed(path));
}

/// A repository with some commits, the first of which all refs have.
fn repository_with_commits(count: usize) -> (tempfile::TempDir, Vec<String>) {
    let dir = scratch();
    repository(dir.path(), "sha1");
    let tree = git(dir.path(), "rev-parse HEAD^{tree}");
    let commits: Vec<String> = (0..count)
        .map(|n| git(dir.path(), &format!("commit-tree -m {n} {tree}")))
        .collect();
    move_all(dir.path(), &commits[0]);
    (dir, commits)
}

/// Looks all the time: no ref may be missing, and none may go back.
fn look_until(over: &AtomicBool, looks: &AtomicU32, path: &Path, commits: &[String]) {
    let age: HashMap<&str, usize> = commits
        .iter()
        .enumerate()
        .map(|(age, hash)| (hash.as_str(), age))
        .collect();
    let (mut memory, mut known) = (Memory::default(), None);
    let (mut lists, mut given_up) = (0, 0);
    let mut ages = vec![0; REFS];
    // A panic here must not leave the others running for ever.
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        while !over.load(Ordering::Relaxed) {
            match look(path, &mut memory, known) {
                Ok(Reply::Unchanged) => {}
                Ok(Reply::Refs { list, digest }) => {
                    known = Some(digest);
                    lists += 1;
                    let refs: HashMap<String, &str> = list
                        .refs
                        .iter()
                        .map(|(name, commit)| (name.to_string(), commit.as_str()))
                        .collect();
                    for (n, last) in ages.iter_mut().enumerate() {
                        let now = refs.get(&format!("refs/heads/b{n}")).map(|commit| age[commit]);
                        assert!(now.is_some_and(|now| now >= *last), "b{n}: {now:?} after {last}");
                        *last = now.unwrap_or_default();
                    }
                }
                Err(Missed::Unable(_)) => given_up += 1,
                Err(error) => panic!("{error:?}"),
            }
            looks.fetch_add(1, Ordering::Relaxed);
        }
    }));
    over.store(true, Ordering::Relaxed);
    if let Err(panic) = seen {
        std::panic::resume_unwind(panic);
    }
    assert!(
        lists > 5 && lists > given_up,
        "{lists} lists, {given_up} times given up"
    );
}

fn move_all(path: &Path, commit: &str) {
    let text: String = (0..REFS)
        .map(|n| format!("update refs/heads/b{n} {commit}\n"))
        .collect();
    let moved = || {
        let mut child = command(path);
        child
            .args(["update-ref", "--stdin"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait().unwrap().success()
    };
    // The other's lock may be in the way.
    while !moved() {}
}

/// A list is whole when no loose ref has come to light; one that has gone is packed or deleted.
#[test]
fn a_loose_ref_that_comes_to_light_is_read() {
    let dir = scratch();
    repository(dir.path(), "sha1");
    let heads = dir.path().join(".git/refs/heads");
    let survey = || Survey::take(&Repository::find(dir.path()).unwrap()).unwrap();
    let before = survey();
    assert!(survey().confirms(&before));
    std::fs::copy(heads.join("main"), heads.join("x")).unwrap();
    let with = survey();
    assert!(!with.confirms(&before));
    std::fs::remove_file(heads.join("main")).unwrap();
    assert!(survey().confirms(&with) && !before.confirms(&survey()));
}

/// Changes so close together that the file system's clock does not tell them apart: each look sees the last one.
#[test]
fn changes_within_one_tick_are_seen() {
    let dir = scratch();
    repository(dir.path(), "sha1");
    let commits = [commit(dir.path()), commit(dir.path())];
    let (lock, file) = (
        dir.path().join(".git/refs/heads/x.lock"),
        dir.path().join(".git/refs/heads/x"),
    );
    let (mut memory, mut known) = (Memory::default(), None);
    for n in 0..300 {
        let commit = &commits[n % 2];
        std::fs::write(&lock, format!("{commit}\n")).unwrap();
        std::fs::rename(&lock, &file).unwrap();
        match look(dir.path(), &mut memory, known).unwrap() {
            Reply::Unchanged => panic!("{n}: not seen"),
            Reply::Refs { list, digest } => {
                known = Some(digest);
                assert!(
                    list.refs
                        .iter()
                        .any(|(name, seen)| name.short() == "x" && seen.as_str() == commit),
                    "{n}"
                );
            }
        }
    }
}

/// What changes no ref is no change; and what was read long enough after the last change is not read again.
#[test]
fn unchanged_is_told_without_reading() {
    let dir = scratch();
    repository(dir.path(), "sha1");
    git(dir.path(), "tag -a -m m noted");
    let mut memory = Memory::default();
    let Reply::Refs { digest: known, .. } = look(dir.path(), &mut memory, None).unwrap() else {
        panic!()
    };
    for change in [
        "pack-refs --all",
        "gc -q",
        "checkout -q --detach",
        "config some.key value",
    ] {
        git(dir.path(), change);
        assert_eq!(
            look(dir.path(), &mut memory, Some(known)),
            Ok(Reply::Unchanged),
            "{change}"
        );
    }
    git(dir.path(), "branch loose");
    let Ok(Reply::Refs { digest: known, .. }) = look(dir.path(), &mut memory, Some(known)) else {
        panic!()
    };
    let (repository, begin) = (Repository::find(dir.path()).unwrap(), Instant::now());
    let survey = || Survey::take(&repository).unwrap().fingerprint;
    while !memory.trusts(survey(), Some(known)) {
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert_eq!(look(dir.path(), &mut memory, Some(known)), Ok(Reply::Unchanged));
        std::thread::sleep(Duration::from_millis(50));
    }
    // Without its objects the loose ref cannot be read.
    let objects = dir.path().join(".git/objects");
    std::fs::rename(&objects, dir.path().join("aside")).unwrap();
    std::fs::create_dir(&objects).unwrap();
    assert_eq!(look(dir.path(), &mut memory, Some(known)), Ok(Reply::Unchanged));
    assert_eq!(unable(dir.path(), &mut memory, None), "a ref whose object is missing");
}

#[test]
fn a_reftable_is_listed_by_git_and_unchanged_by_us() {
    let dir = scratch();
    git(dir.path(), "init -q --template= -b main --ref-format=reftable");
    commit(dir.path());
    let mut memory = Memory::default();
    assert_eq!(unable(dir.path(), &mut memory, None), "refs in a reftable");
    let known = digest(&listed(dir.path()));
    memory.learned(known);
    let begin = Instant::now();
    // Right after a change git is asked until its clock has ticked.
    while look(dir.path(), &mut memory, Some(known)) != Ok(Reply::Unchanged) {
        assert!(begin.elapsed() < Duration::from_secs(30));
        memory.learned(known);
        std::thread::sleep(Duration::from_millis(100));
    }
    commit(dir.path());
    assert_eq!(unable(dir.path(), &mut memory, Some(known)), "refs in a reftable");
}
