//! Which paths changed between two commits: never fewer than did, and an honest answer where nobody can tell.

#![cfg(test)]

mod support;

use bstr::{BString, ByteSlice};
use pipelined::git::{AtCommit, Changed, Mirrors, Since, changed_paths, default_branch};
use pipelined::model::{CommitId, Failure, FailureKind, JobId};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use pipelined::workdir::Trash;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use support::repo::{GIT_ENV, Repo, git_in};
use support::scratch::{SOON, Scratch};
use support::servers::http::{HttpGit, HttpOptions};
use support::witness::files_with;

/// A repository, what is pushed of it, and a mirror.
struct Bench {
    mirrors: Mirrors,
    repo: Repo,
    bare: Repo,
    url: String,
    runner: Runner,
    first: String,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        Self::of(|scratch| Repo::new(scratch.join("repo")))
    }

    fn of(make: impl Fn(&Scratch) -> Repo) -> Self {
        let scratch = Scratch::new();
        let repo = make(&scratch);
        let first = repo.commit(&[("a", "1"), ("dir/b", "1"), ("c", "a long line to know it by\n")]);
        let bare = repo.bare(scratch.join("repos/a.git"));
        let trash = Trash::open(scratch.join("trash")).unwrap();
        Self {
            mirrors: Mirrors::new(scratch.join("mirrors"), move |path| trash.discard(path)),
            url: bare.path().display().to_string(),
            runner: Runner {
                masks: Masks::default(),
                supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
                marker: Marker::job("changed", JobId(1), 1),
                env: GIT_ENV.map(|(n, v)| (n.into(), v.into())).to_vec(),
                cancel: Cancel::new(),
                grace: Duration::from_millis(300),
                log: Some((scratch.join("build.log"), 1 << 30)),
            },
            repo,
            bare,
            first,
            scratch,
        }
    }

    fn mirror(&self) -> PathBuf {
        self.mirrors.path(&self.url, false)
    }

    fn push(&self) {
        self.repo.push_to(&self.bare);
    }

    fn commit(&self, files: &[(&str, &str)]) -> String {
        let commit = self.repo.commit(files);
        self.push();
        commit
    }

    async fn ask(&self, since: Option<&str>, commit: &str) -> Result<Changed, Failure> {
        let since = since.map(|commit| CommitId::new(commit).unwrap());
        let wanted = AtCommit {
            remote: &self.url,
            mirrors: &self.mirrors,
            ssh_socket: None,
            dir: self.scratch.path(),
            commit: &CommitId::new(commit).unwrap(),
            timeout: SOON,
        };
        let since = since.as_ref().map_or(Since::DefaultBranch, Since::Commit);
        changed_paths(&self.runner, &wanted, since).await
    }

    async fn paths(&self, since: &str, commit: &str) -> Vec<String> {
        paths(self.ask(Some(since), commit).await)
    }

    async fn paths_of_branch(&self, commit: &str) -> Vec<String> {
        paths(self.ask(None, commit).await)
    }

    async fn branch(&self) -> Option<String> {
        let dir = self.scratch.path();
        let name = default_branch(&self.runner, &self.url, None, dir, SOON).await.unwrap();
        name.map(|name| name.to_string())
    }

    /// Drops from the bare repository what no ref holds.
    fn prune(&self) {
        self.bare.git(&["reflog", "expire", "--expire=now", "--all"]);
        self.bare.git(&["gc", "--quiet", "--prune=now"]);
    }
}

#[track_caller]
fn paths(changed: Result<Changed, Failure>) -> Vec<String> {
    match changed.unwrap() {
        Changed::Paths(paths) => paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_unknown(changed: Result<Changed, Failure>, part: &str) {
    match changed.unwrap() {
        Changed::Unknown(why) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_push_changed() {
    let bench = Bench::new();
    let second = bench.commit(&[("a", "2"), ("new/x y", "1")]);
    assert_eq!(bench.paths(&bench.first, &second).await, ["a", "new/x y"]);
    // Back to what it was: nothing of what happened in between counts.
    fs::remove_dir_all(bench.repo.path().join("new")).unwrap();
    let third = bench.commit(&[("a", "1")]);
    assert_eq!(bench.paths(&bench.first, &third).await, [""; 0]);
    assert_eq!(bench.paths(&second, &third).await, ["a", "new/x y"]);
    assert_eq!(bench.paths(&third, &third).await, [""; 0]);
    // What is in the mirror is not asked for again.
    fs::rename(bench.bare.path(), bench.scratch.join("away")).unwrap();
    assert_eq!(bench.paths(&second, &third).await, ["a", "new/x y"]);
}

#[tokio::test]
async fn names_modes_links_and_bytes() {
    let bench = Bench::new();
    let dir = bench.repo.path();
    let odd = OsStr::from_bytes(b"od\xffd\n");
    fs::write(dir.join(odd), "1").unwrap();
    fs::rename(dir.join("c"), dir.join("renamed")).unwrap();
    fs::set_permissions(dir.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(dir.join("dir/b")).unwrap();
    std::os::unix::fs::symlink("../a", dir.join("dir/b")).unwrap();
    let second = bench.commit(&[]);
    let expected: Vec<BString> = [&b"a"[..], b"c", b"dir/b", b"od\xffd\n", b"renamed"]
        .map(BString::from)
        .into();
    assert_eq!(
        bench.ask(Some(&bench.first), &second).await.unwrap(),
        Changed::Paths(expected)
    );
}

#[tokio::test]
async fn settings_of_the_user_hide_nothing() {
    let mut bench = Bench::new();
    let inner = Repo::new(bench.scratch.join("inner"));
    inner.commit(&[("x", "1")]);
    let before = bench.repo.add_submodule("sub", &inner.path().display().to_string());
    bench.push();
    inner.commit(&[("x", "2")]);
    let sub = bench.repo.path().join("sub");
    let fetch = ["-c", "protocol.file.allow=always", "pull", "--quiet"];
    git_in(&sub, fetch);
    fs::rename(bench.repo.path().join("c"), bench.repo.path().join("d")).unwrap();
    let after = bench.commit(&[(".gitattributes", "* -diff diff=x\n")]);
    let config = "[diff]\nignoreSubmodules = all\nrenames = copies\nrelative = true\nexternal = false\nnoprefix = true\n\
                  [diff \"x\"]\ntextconv = false\ncommand = false\n[core]\nquotePath = true\n";
    let file = bench.scratch.write("gitconfig", config);
    bench.runner = bench.runner.with_env([("GIT_CONFIG_GLOBAL".into(), file.into())]);
    assert_eq!(bench.paths(&before, &after).await, [".gitattributes", "c", "d", "sub"]);
}

#[tokio::test]
async fn merges_and_forced_pushes() {
    let bench = Bench::new();
    bench.repo.branch("side");
    let side = bench.repo.commit(&[("side", "1")]);
    bench.repo.switch("main");
    let main = bench.commit(&[("main", "1")]);
    bench.repo.git(&["merge", "--quiet", "--no-edit", "side"]);
    let merge = bench.repo.head();
    bench.push();
    assert_eq!(bench.paths(&main, &merge).await, ["side"]);
    assert_eq!(bench.paths(&side, &merge).await, ["main"]);
    // Forced: what was there before, and what is there now, differ in both.
    assert_eq!(bench.paths(&main, &side).await, ["main", "side"]);
    // Another history, with the same files or not.
    bench.repo.git(&["switch", "--quiet", "--orphan", "other"]);
    let other = bench.commit(&[("a", "1")]);
    assert_eq!(bench.ask(Some(&merge), &other).await.unwrap(), Changed::Unrelated);
    assert_eq!(bench.ask(None, &other).await.unwrap(), Changed::Unrelated);
}

#[tokio::test]
async fn a_commit_that_was_forced_away() {
    let bench = Bench::new();
    let away = bench.commit(&[("a", "2")]);
    assert_eq!(bench.paths(&bench.first, &away).await, ["a"]);
    bench.repo.reset(&bench.first);
    let new = bench.commit(&[("n", "1")]);
    bench.prune();
    // The mirror still has it.
    assert_eq!(bench.paths(&away, &new).await, ["a", "n"]);
    // The mirror is thrown away in between: the new commit comes again, the old one does not.
    fs::remove_dir_all(bench.mirror()).unwrap();
    assert_unknown(bench.ask(Some(&away), &new).await, &away);
    assert_eq!(bench.paths(&bench.first, &new).await, ["n"]);
    assert_unknown(bench.ask(Some(&bench.first), &away).await, &away);
}

#[tokio::test]
async fn a_new_branch_is_compared_with_where_it_left_the_default_one() {
    let bench = Bench::new();
    let second = bench.commit(&[("a", "2")]);
    bench.repo.branch("new");
    let new = bench.repo.commit(&[("n", "1")]);
    bench.repo.switch("main");
    let main = bench.commit(&[("a", "3"), ("m", "1")]);
    assert_eq!(bench.branch().await.as_deref(), Some("refs/heads/main"));
    assert_eq!(bench.paths_of_branch(&new).await, ["n"]);
    assert_eq!(bench.paths_of_branch(&second).await, [""; 0]);
    assert_eq!(bench.paths_of_branch(&main).await, [""; 0]);
    // HEAD is what the remote says now.
    bench.bare.git(&["symbolic-ref", "HEAD", "refs/heads/new"]);
    assert_eq!(bench.branch().await.as_deref(), Some("refs/heads/new"));
    assert_eq!(bench.paths_of_branch(&main).await, ["a", "m"]);
    // Detached, or of a branch that is not there: it names none.
    bench.bare.git(&["symbolic-ref", "HEAD", "refs/heads/none"]);
    assert_eq!(bench.branch().await, None);
    assert_unknown(bench.ask(None, &new).await, "HEAD");
    bench.bare.git(&["update-ref", "--no-deref", "HEAD", &main]);
    assert_eq!(bench.branch().await, None);
    assert_unknown(bench.ask(None, &new).await, "HEAD");
}

#[tokio::test]
async fn five_thousand_files_and_sha256() {
    let bench = Bench::of(|scratch| Repo::sha256(scratch.join("repo")));
    let names: Vec<String> = (0..5000).map(|n| format!("many/{n:04}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let many = bench.commit(&files);
    assert_eq!(bench.paths(&bench.first, &many).await, names);
}

#[tokio::test]
async fn a_mirror_that_is_damaged_is_made_anew() {
    let bench = Bench::new();
    let second = bench.commit(&[("a", "2")]);
    for what in ["objects", "HEAD", "objects/pack"] {
        assert_eq!(bench.paths(&bench.first, &second).await, ["a"]);
        let path = bench.mirror().join(what);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
        assert_eq!(bench.paths(&bench.first, &second).await, ["a"], "without {what}");
    }
    // No place for one at all: no answer, and no failure.
    fs::remove_dir_all(bench.scratch.join("mirrors")).unwrap();
    bench.scratch.write("mirrors", "a file");
    assert_unknown(bench.ask(Some(&bench.first), &second).await, "mirror");
}

#[tokio::test]
async fn over_http_with_a_password_that_nobody_sees() {
    let mut bench = Bench::new();
    let auth = Some(("user", "hunter2secret"));
    let options = HttpOptions {
        auth,
        ..HttpOptions::default()
    };
    let http = HttpGit::start(&bench.scratch, &bench.scratch.join("repos"), options);
    let plain = http.url("a.git");
    bench.url = plain.replace("://", "://user:hunter2secret@");
    bench.repo.branch("new");
    let new = bench.commit(&[("n", "1")]);
    assert_eq!(bench.branch().await.as_deref(), Some("refs/heads/main"));
    assert_eq!(bench.paths_of_branch(&new).await, ["n"]);
    assert_eq!(bench.paths(&bench.first, &new).await, ["n"]);
    for place in ["mirrors", "build.log"] {
        let path = bench.scratch.join(place);
        let found = match path.is_dir() {
            true => files_with(&path, "hunter2secret"),
            false if fs::read_to_string(&path).unwrap().contains("hunter2secret") => vec![path],
            false => Vec::new(),
        };
        assert_eq!(found, Vec::<PathBuf>::new());
    }
    // Gone from the server, and from here.
    bench.repo.switch("main");
    bench.repo.git(&["branch", "--quiet", "-D", "new"]);
    bench.push();
    bench.prune();
    let main = bench.commit(&[("m", "1")]);
    fs::remove_dir_all(bench.mirror()).unwrap();
    assert_unknown(bench.ask(Some(&new), &main).await, &new);
    // A wrong password, and a server that is not there, are the remote's trouble: to be tried again, not to be guessed.
    let other = bench.commit(&[("m", "2")]);
    bench.url = plain.replace("://", "://user:wrong@");
    let failure = bench.ask(Some(&bench.first), &other).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored);
    assert!(!failure.message.contains("wrong@"), "{failure}");
    drop(http);
    bench.url = plain;
    assert_eq!(bench.ask(None, &other).await.unwrap_err().kind, FailureKind::Errored);
    let dir = bench.scratch.path();
    let failure = default_branch(&bench.runner, &bench.url, None, dir, SOON)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored);
}

#[tokio::test]
async fn a_cancel_ends_it() {
    let bench = Bench::new();
    bench.runner.cancel.ask();
    let failure = bench.ask(None, &bench.first).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled);
}
