//! Looks at real repositories, held against what git says of them.

mod churn;
mod glance;
mod place;
mod shapes;
mod watching;

use super::*;
use crate::git::refs::parse;
use std::ffi::OsStr;
use std::process::Command;

/// An empty directory for a test.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("pl-").tempdir().unwrap()
}

/// Git, untouched by the settings of whoever runs the tests.
fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "Test"),
        ("GIT_AUTHOR_EMAIL", "test@example.org"),
        ("GIT_COMMITTER_NAME", "Test"),
        ("GIT_COMMITTER_EMAIL", "test@example.org"),
    ]);
    command
}

#[track_caller]
fn git_os<A: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = A>) -> Vec<u8> {
    let output = command(dir).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output.stdout
}

/// Runs git with words; gives back what it says.
#[track_caller]
fn git(dir: &Path, words: &str) -> String {
    let said = git_os(dir, words.split(' '));
    String::from_utf8(said).unwrap().trim_end().to_owned()
}

/// A repository with one commit on main.
fn repository(dir: &Path, format: &str) {
    std::fs::create_dir_all(dir).unwrap();
    git(dir, &format!("init -q --template= -b main --object-format={format}"));
    git(dir, "config gc.auto 0");
    commit(dir);
}

fn commit(dir: &Path) -> String {
    git(dir, "commit -q --allow-empty -m message");
    git(dir, "rev-parse HEAD")
}

/// What git lists.
#[track_caller]
fn listed(path: &Path) -> RefList {
    let question = ["ls-remote", "--heads", "--tags", "--"].map(OsStr::new);
    let answer = git_os(Path::new("/"), question.into_iter().chain([path.as_os_str()]));
    parse(&answer).unwrap()
}

/// What we list, without any memory.
#[track_caller]
fn looked(path: &Path) -> RefList {
    match look(path, &mut Memory::default(), None) {
        Ok(Reply::Refs { list, digest: said }) => {
            assert_eq!(said, digest(&list));
            list
        }
        other => panic!("{path:?}: {other:?}"),
    }
}

/// The phrase with which a path is left to git.
#[track_caller]
fn unable(path: &Path, memory: &mut Memory, known: Option<Digest>) -> String {
    match look(path, memory, known) {
        Err(Missed::Unable(why)) => why,
        other => panic!("{path:?}: {other:?}"),
    }
}
