//! What is told when refs change.

use super::*;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};

/// Long enough for a busy machine; who waits that long has failed.
const SOON: Duration = Duration::from_secs(20);

struct Watched {
    watch: RefWatch,
    told: Receiver<String>,
}

impl Watched {
    fn start() -> Self {
        let (sender, told) = channel();
        let tell = move |remote: &str| drop(sender.send(remote.to_owned()));
        let watch = RefWatch::start(tell).unwrap();
        Self { watch, told }
    }

    fn watch(&mut self, remote: &str) {
        self.watch.watch(remote, &local_path(remote).unwrap()).unwrap();
    }

    /// Waits until all of these were told of; nothing else may be.
    #[track_caller]
    fn expect(&self, remotes: &[&str]) {
        let mut waiting: BTreeSet<&str> = remotes.iter().copied().collect();
        while !waiting.is_empty() {
            let told = self
                .told
                .recv_timeout(SOON)
                .unwrap_or_else(|_| panic!("in vain for {waiting:?}"));
            assert!(remotes.contains(&told.as_str()), "{told}");
            waiting.remove(told.as_str());
        }
    }

    /// Forgets what was told up to now, for which a change of `remote` is made and waited for.
    fn drain(&self, remote: &str, path: &Path) {
        git(path, "update-ref refs/heads/drain HEAD");
        self.expect_at_last(remote);
        git(path, "update-ref -d refs/heads/drain");
        self.expect_at_last(remote);
        while self.told.recv_timeout(Duration::from_millis(200)).is_ok() {}
    }

    #[track_caller]
    fn expect_at_last(&self, remote: &str) {
        while self.told.recv_timeout(SOON).unwrap() != remote {}
    }
}

#[test]
fn every_change_of_refs_is_told() {
    let dir = scratch();
    let path = dir.path().join("r");
    repository(&path, "sha1");
    let remote = path.to_str().unwrap();
    let mut watched = Watched::start();
    let changes = [
        "commit -q --allow-empty -m m",
        "branch new",
        "tag -a -m m noted",
        "pack-refs --all",
        "branch deep/er/still",
        "update-ref refs/heads/deep/er/more HEAD",
        "update-ref -d refs/heads/deep/er/more",
        "branch -D new",
        "checkout -q --detach",
    ];
    for change in changes {
        watched.watch(remote);
        watched.drain(remote, &path);
        watched.watch(remote);
        git(&path, change);
        watched.expect_at_last(remote);
    }
    watched.drain(remote, &path);
    watched.watch(remote);
    // Looks, objects, logs and the index are no changes.
    looked(&path);
    git(&path, "status");
    git(&path, "commit-tree -m m HEAD^{tree}");
    git(&path, "update-index --refresh");
    listed(&path);
    assert_eq!(watched.told.recv_timeout(Duration::from_millis(300)).ok(), None);
}

/// Directories that are made and filled at once: by the order of watch and look nothing is missed.
#[test]
fn no_change_is_missed_in_new_directories() {
    let dir = scratch();
    let path = dir.path().join("r");
    repository(&path, "sha1");
    let remote = path.to_str().unwrap();
    let mut watched = Watched::start();
    watched.watch(remote);
    for n in 0..50 {
        let made = path.join(format!(".git/refs/heads/d{n}/e"));
        std::fs::create_dir_all(&made).unwrap();
        std::fs::copy(path.join(".git/refs/heads/main"), made.join("x.lock")).unwrap();
        std::fs::rename(made.join("x.lock"), made.join("x")).unwrap();
        let name = format!("d{n}/e/x");
        // As the daemon does: watch, look, and sleep until told.
        loop {
            watched.watch(remote);
            if looked(&path)
                .refs
                .iter()
                .any(|(found, _)| found.short() == name.as_str())
            {
                break;
            }
            watched.expect(&[remote]);
        }
    }
}

#[test]
fn two_names_of_one_repository() {
    let dir = scratch();
    let path = dir.path().join("r");
    repository(&path, "sha1");
    std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
    git(&path, "worktree add -q --detach ../tree");
    let [a, b, c] = ["r", "link", "tree"].map(|name| format!("file://{}/{name}", dir.path().display()));
    let mut watched = Watched::start();
    for remote in [&a, &b, &c] {
        watched.watch(remote);
    }
    git(&path, "branch one");
    watched.expect(&[&a, &b, &c]);
    watched.watch.unwatch(&b);
    watched.drain(&a, &path);
    git(&path, "branch two");
    watched.expect(&[&a, &c]);
    watched.watch.unwatch(&a);
    watched.watch.unwatch(&c);
    watched.watch.unwatch("never watched");
    while watched.told.recv_timeout(Duration::from_millis(200)).is_ok() {}
    git(&path, "branch three");
    assert_eq!(watched.told.recv_timeout(Duration::from_millis(300)).ok(), None);
}

/// A repository that comes, goes and comes again is watched again as soon as it is polled.
#[test]
fn a_repository_that_is_made_again() {
    let dir = scratch();
    let path = dir.path().join("r");
    let remote = path.to_str().unwrap();
    let mut watched = Watched::start();
    watched.watch(remote);
    let again: [fn(&Path); 3] = [
        |_| {},
        |path| std::fs::remove_dir_all(path).unwrap(),
        |path| std::fs::rename(path, path.with_extension("away")).unwrap(),
    ];
    for away in again {
        away(&path);
        watched.watch(remote);
        repository(&path, "sha1");
        watched.watch(remote);
        git(&path, "branch new");
        watched.expect_at_last(remote);
    }
    // The one that was renamed is another's now.
    let (moved, remote) = (path.with_extension("away"), path.to_str().unwrap());
    watched.drain(remote, &path);
    git(&moved, "branch elsewhere");
    assert_eq!(watched.told.recv_timeout(Duration::from_millis(300)).ok(), None);
    // Gone and made again between two polls.
    std::fs::remove_dir_all(&path).unwrap();
    repository(&path, "sha1");
    watched.watch(remote);
    watched.drain(remote, &path);
}

#[test]
fn a_reftable_is_watched() {
    let dir = scratch();
    let path = dir.path().join("r");
    std::fs::create_dir(&path).unwrap();
    git(&path, "init -q --template= -b main --ref-format=reftable");
    let remote = path.to_str().unwrap();
    let mut watched = Watched::start();
    watched.watch(remote);
    commit(&path);
    watched.expect(&[remote]);
}
