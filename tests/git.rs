//! Listing refs and checking out, against real git servers.

#![cfg(test)]

mod support;

use pipelined::git::{Checkout, ListError, Mirrors, RefList, checkout, list_refs};
use pipelined::model::{CommitId, Failure, FailureKind, JobId, RefName};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use pipelined::workdir::Trash;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::repo::{GIT_ENV, Repo, git_in};
use support::scratch::Scratch;
use support::servers::git_daemon::GitDaemon;
use support::servers::hostile::{Hostile, Manner};
use support::servers::http::{HttpGit, HttpOptions};
use support::servers::ssh::SshGit;

const LONG: Duration = Duration::from_secs(30);

fn runner(scratch: &Scratch) -> Runner {
    Runner {
        supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
        marker: Marker::job("git", JobId(1), 1),
        env: GIT_ENV.map(|(n, v)| (n.into(), v.into())).to_vec(),
        cancel: Cancel::new(),
        grace: Duration::from_millis(300),
        log: Some((scratch.join("build.log"), 1 << 30)),
        masks: Masks::default(),
    }
}

fn log(scratch: &Scratch) -> String {
    std::fs::read_to_string(scratch.join("build.log")).unwrap_or_default()
}

async fn list(scratch: &Scratch, remote: &str) -> Result<RefList, ListError> {
    list_refs(&runner(scratch), remote, scratch.path(), LONG).await
}

/// A checkout with nothing but the defaults of a config.
struct Wanted<'a> {
    remote: &'a str,
    reference: &'a [u8],
    commit: &'a str,
    shallow: bool,
    submodules: bool,
}

impl Wanted<'_> {
    /// Once straight from the remote, then by way of a new mirror, which must end alike.
    async fn get(&self, scratch: &Scratch, runner: &Runner) -> Result<PathBuf, Failure> {
        let _ = std::fs::remove_dir_all(scratch.join("mirrors"));
        let mirrors = mirrors(scratch);
        let straight = self.get_by(scratch, runner, None).await;
        let mirrored = self.get_by(scratch, runner, Some(&mirrors)).await;
        let kind = |result: &Result<PathBuf, Failure>| result.as_ref().map_err(|failure| failure.kind).cloned();
        assert_eq!(kind(&straight), kind(&mirrored), "{straight:?} and {mirrored:?}");
        mirrored
    }

    async fn get_by(&self, scratch: &Scratch, runner: &Runner, mirrors: Option<&Mirrors>) -> Result<PathBuf, Failure> {
        let dir = scratch.join("job/build");
        // Each checkout begins in a fresh job directory.
        let _ = std::fs::remove_dir_all(scratch.join("job"));
        scratch.mkdir("job");
        let wanted = Checkout {
            remote: self.remote,
            reference: &RefName::new(self.reference).unwrap(),
            commit: &CommitId::new(self.commit).unwrap(),
            dir: &dir,
            shallow: self.shallow,
            submodules: self.submodules,
            timeout: LONG,
            mirrors,
            ssh_socket: None,
        };
        checkout(runner, &wanted).await.map(|()| dir)
    }
}

fn mirrors(scratch: &Scratch) -> Mirrors {
    let trash = Trash::open(scratch.join("trash")).unwrap();
    Mirrors::new(scratch.join("mirrors"), move |path| trash.discard(path))
}

fn wanted<'a>(remote: &'a str, commit: &'a str) -> Wanted<'a> {
    Wanted {
        remote,
        reference: b"refs/heads/main",
        commit,
        shallow: true,
        submodules: false,
    }
}

fn commits(dir: &Path) -> usize {
    git_in(dir, ["rev-list", "--count", "HEAD"]).parse().unwrap()
}

/// Serves the same body to everybody as a web page.
fn web_page(body: &'static str) -> (String, std::thread::JoinHandle<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/repo.git", socket.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).unwrap_or(0) < 5 {
                return;
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
            let length = body.len();
            let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    (url, server)
}

#[tokio::test]
async fn lists_branches_and_peeled_tags_over_every_transport() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repos/a"));
    let commit = repo.commit(&[("Containerfile", "FROM scratch\n")]);
    let odd = b"refs/heads/\xff\"q'$(id)%";
    repo.set_ref(odd, &commit);
    let tag = repo.annotated_tag("v1", "HEAD");
    repo.annotated_tag("v1-again", &tag);
    repo.tag("light");
    let bare = repo.bare(scratch.join("repos/a.git"));
    let daemon = GitDaemon::start(&scratch, &scratch.join("repos"));
    let http = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions::default());
    let expected = RefList {
        refs: [
            &b"refs/heads/main"[..],
            odd,
            b"refs/tags/light",
            b"refs/tags/v1",
            b"refs/tags/v1-again",
        ]
        .map(|name| (RefName::new(name).unwrap(), CommitId::new(commit.clone()).unwrap()))
        .to_vec(),
        odd: Vec::new(),
    };
    let mut expected = expected;
    expected.refs.sort();
    let path = bare.path().display().to_string();
    for remote in [
        path.clone(),
        format!("file://{path}"),
        daemon.url("a.git"),
        http.url("a.git"),
    ] {
        assert_eq!(list(&scratch, &remote).await.as_ref(), Ok(&expected), "{remote}");
    }

    let ssh = SshGit::start(&scratch);
    let mut runner = runner(&scratch);
    runner.env.push(("GIT_SSH_COMMAND".into(), ssh.command().into()));
    let listed = list_refs(&runner, &ssh.url(bare.path()), scratch.path(), LONG).await;
    assert_eq!(listed.as_ref(), Ok(&expected));
}

#[tokio::test]
async fn an_empty_repository_is_empty_and_a_web_page_is_not() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repos/a"));
    let bare = repo.bare(scratch.join("repos/a.git"));
    let http = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions::default());
    for remote in [bare.path().display().to_string(), http.url("a.git")] {
        assert_eq!(list(&scratch, &remote).await, Ok(RefList::default()), "{remote}");
        let mut old = runner(&scratch);
        for (name, value) in [
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "protocol.version"),
            ("GIT_CONFIG_VALUE_0", "0"),
        ] {
            old.env.push((name.into(), value.into()));
        }
        let listed = list_refs(&old, &remote, scratch.path(), LONG).await;
        assert_eq!(listed, Ok(RefList::default()), "{remote} with protocol 0");
    }
    for body in ["", "<html>welcome</html>", "<html>\nwelcome\n</html>\n"] {
        let (url, _server) = web_page(body);
        let error = list(&scratch, &url).await.unwrap_err();
        assert!(matches!(error, ListError::NotGit { .. }), "{body:?}: {error}");
    }
    let hostile = Hostile::start(Manner::Rubbish);
    assert!(list(&scratch, &hostile.http_url()).await.is_err());
    let hostile = Hostile::start(Manner::HangUp);
    assert!(list(&scratch, &hostile.http_url()).await.is_err());
}

#[tokio::test]
async fn each_trouble_has_a_name_and_shows_no_password() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repos/a"));
    repo.commit(&[("f", "1")]);
    repo.bare(scratch.join("repos/a.git"));
    let auth = Some(("user", "p@ss word"));
    let http = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions { auth, tls: false });
    let with = |userinfo: &str| http.url("a.git").replace("://", &format!("://{userinfo}@"));

    let right = list(&scratch, &with("user:p%40ss%20word")).await.unwrap();
    assert_eq!(right.refs.len(), 1);
    assert!(!http.access_log().is_empty());

    let error = list(&scratch, &with("user:hunter2")).await.unwrap_err();
    assert!(matches!(error, ListError::Auth { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let error = list(&scratch, &http.url("a.git")).await.unwrap_err();
    assert!(matches!(error, ListError::Auth { .. }), "{error}");
    let error = list(&scratch, &with("user:p%40ss%20word").replace("a.git", "b.git")).await;
    assert!(matches!(error, Err(ListError::Missing { .. })), "{error:?}");
    let error = list(&scratch, "/nowhere/at/all").await.unwrap_err();
    assert!(matches!(error, ListError::Missing { .. }), "{error}");
    let error = list(&scratch, "http://127.0.0.1:1/x").await.unwrap_err();
    assert!(matches!(error, ListError::Unreachable { .. }), "{error}");
    let error = list(&scratch, "http://no-such-host.invalid/x").await.unwrap_err();
    assert!(matches!(error, ListError::HostUnknown { .. }), "{error}");

    let silent = Hostile::start(Manner::Silent);
    for url in [silent.http_url(), silent.git_url()] {
        let begin = Instant::now();
        let timeout = Duration::from_millis(300);
        let error = list_refs(&runner(&scratch), &url, scratch.path(), timeout).await;
        assert!(matches!(error, Err(ListError::TimedOut { .. })), "{error:?}");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn checks_out_one_commit_shallow_or_whole() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    repo.commit(&[("f", "1")]);
    repo.annotated_tag("v1", "HEAD");
    let commit = repo.commit(&[("f", "2")]);
    let url = format!("file://{}", repo.path().display());
    let runner = runner(&scratch);

    let dir = wanted(&url, &commit).get(&scratch, &runner).await.unwrap();
    assert_eq!(git_in(&dir, ["rev-parse", "HEAD"]), commit);
    assert_eq!(commits(&dir), 1);
    assert_eq!(std::fs::read(dir.join("f")).unwrap(), b"2");
    assert!(!dir.join(".git/objects/info/alternates").exists());

    let whole = Wanted {
        shallow: false,
        ..wanted(&url, &commit)
    };
    let dir = whole.get(&scratch, &runner).await.unwrap();
    assert_eq!(commits(&dir), 2);
    assert_eq!(git_in(&dir, ["describe"]), format!("v1-1-g{}", &commit[..7]));
    assert!(log(&scratch).contains("git fetch") || log(&scratch).contains(" fetch "));
}

#[tokio::test]
async fn odd_names_other_hashes_and_a_leaking_environment() {
    let scratch = Scratch::new();
    let repo = Repo::sha256(scratch.join("a"));
    let commit = repo.commit(&[("f", "1")]);
    let long = format!("refs/heads/{}", "x".repeat(200));
    for name in [
        &b"refs/heads/-\xff\"$(id)%'"[..],
        b"refs/tags/--upload-pack=x",
        long.as_bytes(),
    ] {
        repo.set_ref(name, &commit);
        let path = repo.path().display().to_string();
        let wanted = Wanted {
            reference: name,
            ..wanted(&path, &commit)
        };
        let mut runner = runner(&scratch);
        // As in a shell inside of another repository, or a hook.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            runner.env.push((name.into(), "/nowhere".into()));
        }
        let dir = wanted.get(&scratch, &runner).await.unwrap();
        assert_eq!(git_in(&dir, ["rev-parse", "HEAD"]), commit);
    }
}

#[tokio::test]
async fn a_branch_that_moved_does_not_lose_the_build() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repos/a"));
    let first = repo.commit(&[("f", "1")]);
    let second = repo.commit(&[("f", "2")]);
    let third = repo.commit(&[("f", "3")]);
    let bare = repo.bare(scratch.join("repos/a.git"));
    let path = bare.path().display().to_string();
    let runner = runner(&scratch);

    // By hash, also when it is no tip, and when it was forced away.
    wanted(&path, &first).get(&scratch, &runner).await.unwrap();
    // By ref, where the server wants it so.
    let mut old = runner.clone();
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "protocol.version"),
        ("GIT_CONFIG_VALUE_0", "0"),
    ] {
        old.env.push((name.into(), value.into()));
    }
    let dir = wanted(&path, &third).get(&scratch, &old).await.unwrap();
    assert_eq!(commits(&dir), 1);
    let dir = wanted(&path, &second).get(&scratch, &old).await.unwrap();
    assert_eq!(git_in(&dir, ["rev-parse", "HEAD"]), second);
    assert!(log(&scratch).contains("did not give the commit by its hash"));

    repo.reset(&first);
    let other = repo.commit(&[("f", "4")]);
    repo.push_to(&bare);
    wanted(&path, &second).get(&scratch, &runner).await.unwrap();
    let failure = wanted(&path, &second).get(&scratch, &old).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Superseded, "{failure}");
    assert!(failure.message.contains(&second) && failure.message.contains("refs/heads/main"));

    let failure = wanted(&path, &"0".repeat(40)).get(&scratch, &runner).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Superseded, "{failure}");
    let gone = Wanted {
        reference: b"refs/heads/gone",
        ..wanted(&path, &second)
    };
    let failure = gone.get(&scratch, &old).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Superseded, "{failure}");
    // A remote that does not answer says nothing about its commits.
    let failure = wanted("http://127.0.0.1:1/x", &other)
        .get(&scratch, &runner)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored, "{failure}");

    let blob = repo.git(&["rev-parse", "HEAD:f"]);
    repo.set_ref("refs/tags/blob", &blob);
    repo.push_to(&bare);
    let tag = Wanted {
        reference: b"refs/tags/blob",
        ..wanted(&path, &blob)
    };
    let failure = tag.get(&scratch, &runner).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed, "{failure}");
}

#[tokio::test]
async fn credentials_reach_the_server_and_nothing_else() {
    let scratch = Scratch::new();
    let sub = Repo::new(scratch.join("repos/sub"));
    sub.commit(&[("s", "1")]);
    let repo = Repo::new(scratch.join("repos/a"));
    repo.commit(&[("f", "1")]);
    git_in(
        repo.path(),
        [
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            "../sub",
            "sub",
        ],
    );
    let commit = repo.commit::<&str>(&[]);
    sub.bare(scratch.join("repos/sub.git"));
    repo.git(&["config", "-f", ".gitmodules", "submodule.sub.url", "../sub.git"]);
    let commit = match repo.commit::<&str>(&[]) {
        new if new != commit => new,
        _ => commit,
    };
    repo.bare(scratch.join("repos/a.git"));
    let auth = Some(("user", "hunter2"));
    let http = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions { auth, tls: false });
    let remote = http.url("a.git").replace("://", "://user:hunter2@");
    let wanted = Wanted {
        submodules: true,
        ..wanted(&remote, &commit)
    };
    let mut runner = runner(&scratch);
    // The user's own helper must not be given the password to keep.
    let kept = scratch.join("kept");
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "1".to_owned()),
        ("GIT_CONFIG_KEY_0", "credential.helper".to_owned()),
        ("GIT_CONFIG_VALUE_0", format!("store --file={}", kept.display())),
    ] {
        runner.env.push((name.into(), value.into()));
    }
    let dir = wanted.get(&scratch, &runner).await.unwrap();
    assert!(dir.join("sub/s").exists());
    assert!(!kept.exists());
    let found = Command::new("grep")
        .args(["-r", "-l", "hunter2"])
        .args([&dir, &scratch.join("build.log"), &scratch.join("mirrors")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[tokio::test]
async fn submodules_are_checked_out_and_missing_ones_explained() {
    let scratch = Scratch::new();
    let sub = Repo::new(scratch.join("sub"));
    let sub_commit = sub.commit(&[("s", "1")]);
    let repo = Repo::new(scratch.join("a"));
    let commit = repo.add_submodule("mod", &format!("file://{}", sub.path().display()));
    sub.commit(&[("s", "2")]);
    let path = format!("file://{}", repo.path().display());
    let with = |commit| Wanted {
        submodules: true,
        ..wanted(&path, commit)
    };
    let mut runner = runner(&scratch);
    // git's default: not for paths.
    let failure = with(&commit).get(&scratch, &runner).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored, "{failure}");
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "protocol.file.allow"),
        ("GIT_CONFIG_VALUE_0", "always"),
    ] {
        runner.env.push((name.into(), value.into()));
    }
    let dir = with(&commit).get(&scratch, &runner).await.unwrap();
    assert_eq!(std::fs::read(dir.join("mod/s")).unwrap(), b"1");
    assert_eq!(git_in(&dir.join("mod"), ["rev-parse", "HEAD"]), sub_commit);

    // A server that gives no single commits: the whole history is fetched.
    let mut old = runner.clone();
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_1", "protocol.version"),
        ("GIT_CONFIG_VALUE_1", "0"),
    ] {
        old.env.push((name.into(), value.into()));
    }
    let dir = with(&commit).get(&scratch, &old).await.unwrap();
    assert_eq!(std::fs::read(dir.join("mod/s")).unwrap(), b"1");
    assert!(log(&scratch).contains("submodules cannot be had without history"));

    let nowhere = "1234567890123456789012345678901234567890";
    repo.git(&["update-index", "--cacheinfo", &format!("160000,{nowhere},mod")]);
    repo.git(&["commit", "--quiet", "--message", "lost"]);
    let lost = repo.head();
    let failure = with(&lost).get(&scratch, &runner).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed, "{failure}");
    assert!(failure.message.contains(nowhere), "{failure}");

    std::fs::remove_dir_all(sub.path()).unwrap();
    let failure = with(&commit).get(&scratch, &runner).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Errored, "{failure}");
}
