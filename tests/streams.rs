//! Asking over git:// and ssh in process, against real servers and bad ones, compared with `git ls-remote`.

#![cfg(test)]

mod support;

use pipelined::git::ask::ssh::Masters;
use pipelined::git::ask::stream::Memory;
use pipelined::git::ask::{Digest, Limits, Missed, Reply, daemon};
use pipelined::git::{ListError, RefList, Ssh, list_refs};
use pipelined::model::JobId;
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::repo::{GIT_ENV, Repo, git_in};
use support::scratch::{SOON, Scratch};
use support::servers::git_daemon::GitDaemon;
use support::servers::hostile::{Hostile, Manner};
use support::servers::ssh::SshGit;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(30),
    first_byte: Duration::from_secs(30),
    whole: Duration::from_secs(60),
    size: 16 << 20,
};

/// For servers that do not answer.
const SHORT: Limits = Limits {
    connect: Duration::from_millis(400),
    first_byte: Duration::from_millis(400),
    whole: Duration::from_millis(1500),
    size: 16 << 20,
};

fn runner() -> Runner {
    Runner {
        supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
        marker: Marker::job("streams", JobId(1), 1),
        env: GIT_ENV.map(|(n, v)| (n.into(), v.into())).to_vec(),
        cancel: Cancel::new(),
        grace: Duration::from_millis(300),
        log: None,
        masks: Masks::default(),
    }
}

async fn by_git(scratch: &Scratch, remote: &str, ssh: &str) -> RefList {
    let runner = runner().with_env([("GIT_SSH_COMMAND".into(), ssh.into())]);
    list_refs(&runner, remote, scratch.path(), SOON).await.unwrap()
}

/// One remote over ssh, asked again and again.
struct Asker {
    masters: Masters,
    ssh: Ssh,
    limits: Limits,
    memory: Memory,
    known: Option<Digest>,
}

impl Asker {
    fn new(scratch: &Scratch, ssh: &str) -> Self {
        Self::with(masters(scratch, Duration::from_secs(60)), ssh)
    }

    fn with(masters: Masters, ssh: &str) -> Self {
        Self {
            masters,
            ssh: Ssh::Command(ssh.to_owned()),
            limits: LIMITS,
            memory: Memory::default(),
            known: None,
        }
    }

    async fn ask(&mut self, remote: &str) -> Result<Reply, Missed> {
        let Self {
            masters,
            ssh,
            limits,
            memory,
            known,
        } = self;
        let reply = masters.ask(ssh, remote, memory, *known, limits).await;
        if let Ok(Reply::Refs { digest, .. }) = &reply {
            *known = Some(*digest);
        }
        reply
    }

    async fn refs(&mut self, remote: &str) -> RefList {
        self.known = None;
        list(self.ask(remote).await)
    }

    async fn error(&mut self, remote: &str) -> ListError {
        match self.ask(remote).await {
            Err(Missed::Error(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

fn masters(scratch: &Scratch, idle: Duration) -> Masters {
    Masters::new(runner(), scratch.path(), &scratch.mkdir("s"), idle).unwrap()
}

/// Returns when it is so; connections live on meanwhile.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect(what);
}

#[track_caller]
fn list(reply: Result<Reply, Missed>) -> RefList {
    match reply {
        Ok(Reply::Refs { list, .. }) => list,
        other => panic!("{other:?}"),
    }
}

/// Every shape of repository, beneath `repos`.
fn repositories(scratch: &Scratch) -> Vec<PathBuf> {
    let odd = Repo::new(scratch.join("repos/it's a \"repo\"! $(id) %41"));
    let commit = odd.commit(&[("f", "1")]);
    odd.set_ref(b"refs/heads/\xff\"q'$(id)%", &commit);
    odd.set_ref("refs/pull/1/head", &commit);
    let tag = odd.annotated_tag("v1", "HEAD");
    odd.annotated_tag("v1-again", &tag);
    odd.tag("light");
    let empty = Repo::new(scratch.join("repos/empty"));
    let long = Repo::sha256(scratch.join("repos/sha256"));
    long.commit(&[("f", "1")]);
    long.annotated_tag("v1", "HEAD");
    let empty_long = Repo::sha256(scratch.join("repos/empty-sha256"));
    let detached = Repo::new(scratch.join("repos/detached"));
    detached.commit(&[("f", "1")]);
    detached.git(&["switch", "--quiet", "--detach"]);
    let big = big(scratch, 10_000);
    let all = [&odd, &empty, &long, &empty_long, &detached, &big];
    all.map(|repo| repo.path().to_owned()).to_vec()
}

fn big(scratch: &Scratch, refs: usize) -> Repo {
    let repo = Repo::new(scratch.join("repos/big"));
    let commit = repo.commit(&[("f", "1")]);
    let packed: String = (0..refs).map(|n| format!("{commit} refs/heads/b{n:05}\n")).collect();
    std::fs::write(repo.path().join(".git/packed-refs"), packed).unwrap();
    repo
}

/// What there is of our connections: every process that has a control socket of ours in its arguments.
fn processes(scratch: &Scratch) -> Vec<i32> {
    let needle = scratch.join("s/ssh-").display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let names_it = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&needle)
    };
    pids.filter(names_it).collect()
}

/// The ssh among them, without supervisor and shell.
fn master_processes(scratch: &Scratch) -> Vec<i32> {
    let is_ssh = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "ssh\n");
    processes(scratch).into_iter().filter(is_ssh).collect()
}

/// What lies in the directories of the sockets.
fn sockets(scratch: &Scratch) -> usize {
    let dirs = scratch.join("s").read_dir().unwrap().flatten();
    dirs.map(|dir| dir.path().read_dir().map_or(0, Iterator::count)).sum()
}

fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

#[tokio::test]
async fn lists_what_git_lists_and_nothing_twice() {
    let scratch = Scratch::new();
    let repos = repositories(&scratch);
    let daemon = GitDaemon::start(&scratch, &scratch.join("repos"));
    for settings in ["AcceptEnv GIT_PROTOCOL", "AcceptEnv NOTHING"] {
        let ssh = SshGit::start_with(&scratch, settings);
        let masters = masters(&scratch, SOON);
        for repo in &repos {
            let mut asker = Asker::with(masters.clone(), &ssh.command());
            let url = ssh.url(repo).replace('%', "%25");
            let expected = by_git(&scratch, &url, &ssh.command()).await;
            assert_eq!(asker.refs(&url).await, expected, "{url} with {settings}");
            assert_eq!(asker.ask(&url).await, Ok(Reply::Unchanged), "{url} with {settings}");
            let speaks_v2 = settings.contains("PROTOCOL");
            assert_eq!(!asker.memory.is_empty(), speaks_v2, "{url}");
        }
    }
    for repo in &repos {
        let name = repo.file_name().unwrap().to_str().unwrap().replace('%', "%25");
        let url = daemon.url(&name);
        let expected = by_git(&scratch, &url, "").await;
        let mut memory = Memory::default();
        for _ in 0..2 {
            let reply = daemon::ask(&url, &mut memory, None, &LIMITS).await.unwrap();
            let Reply::Refs { list, digest } = reply else {
                panic!("{url}")
            };
            assert_eq!(list, expected, "{url}");
            assert!(!memory.is_empty());
            let again = daemon::ask(&url, &mut memory, Some(digest), &LIMITS).await;
            assert_eq!(again, Ok(Reply::Unchanged), "{url}");
        }
    }
}

#[tokio::test]
async fn one_connection_for_many_questions() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    repo.commit(&[("f", "1")]);
    // As small as an administrator may set it.
    for (sessions, questions) in [("MaxSessions 10", 50), ("MaxSessions 1", 12)] {
        let ssh = SshGit::start_with(&scratch, &format!("AcceptEnv GIT_PROTOCOL\n{sessions}"));
        let url = Arc::new(ssh.url(repo.path()));
        let masters = masters(&scratch, Duration::from_secs(60));
        let questions = (0..questions).map(|_| {
            let (mut asker, url) = (Asker::with(masters.clone(), &ssh.command()), url.clone());
            tokio::spawn(async move { asker.refs(&url).await })
        });
        let questions: Vec<_> = questions.collect();
        let first = by_git(&scratch, &url, &ssh.command()).await;
        for question in questions {
            assert_eq!(question.await.unwrap(), first);
        }
        assert_eq!(ssh.logins(), 2, "one of git's and one of ours, with {sessions}");
    }
}

#[tokio::test]
async fn a_push_is_seen_and_a_home_is_found() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    repo.commit(&[("f", "1")]);
    let ssh = SshGit::start(&scratch);
    let mut asker = Asker::new(&scratch, &ssh.command());
    let url = ssh.url(repo.path());
    let before = list(asker.ask(&url).await);
    let commit = repo.commit(&[("f", "2")]);
    let after = list(asker.ask(&url).await);
    assert_ne!(before, after);
    assert_eq!(after.refs[0].1.as_str(), commit);
    assert_eq!(asker.ask(&url).await, Ok(Reply::Unchanged));
    // Made anew with other hashes.
    std::fs::remove_dir_all(repo.path()).unwrap();
    Repo::sha256(repo.path()).commit(&[("f", "1")]);
    assert_eq!(list(asker.ask(&url).await).refs[0].1.as_str().len(), 64);

    // `~` is the server's to expand, and what it says of it is git's own.
    let home = url.replace(&repo.path().display().to_string(), "/~/no-such-repository");
    let error = asker.error(&home).await;
    assert!(matches!(error, ListError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("'~/no-such-repository'"), "{error}");
}

#[tokio::test]
async fn lost_connections_are_made_again() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    repo.commit(&[("f", "1")]);
    let mut ssh = SshGit::start(&scratch);
    let mut asker = Asker::new(&scratch, &ssh.command());
    let url = ssh.url(repo.path());
    asker.refs(&url).await;

    ssh.restart();
    asker.refs(&url).await;
    assert_eq!(ssh.logins(), 1);
    ssh.end_connections();
    asker.refs(&url).await;
    assert_eq!(ssh.logins(), 2);
    signal(master_processes(&scratch)[0], nix::sys::signal::SIGKILL);
    asker.refs(&url).await;
    assert_eq!(ssh.logins(), 3);

    // One that hangs costs its question, and no other.
    signal(master_processes(&scratch)[0], nix::sys::signal::SIGSTOP);
    asker.limits = SHORT;
    let error = asker.error(&url).await;
    assert!(matches!(error, ListError::TimedOut { .. }), "{error}");
    asker.limits = LIMITS;
    asker.refs(&url).await;
    assert_eq!(ssh.logins(), 4);
    until("the hanging one to end", || master_processes(&scratch).len() == 1).await;
    assert_eq!(sockets(&scratch), 1);
}

#[tokio::test]
async fn nothing_is_left_when_all_is_over() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    repo.commit(&[("f", "1")]);
    let ssh = SshGit::start(&scratch);
    let url = ssh.url(repo.path());
    let mut asker = Asker::new(&scratch, &ssh.command());
    asker.refs(&url).await;
    assert_eq!((master_processes(&scratch).len(), sockets(&scratch)), (1, 1));
    asker.masters.end().await;
    assert_eq!((processes(&scratch), sockets(&scratch)), (vec![], 0));

    let mut asker = Asker::new(&scratch, &ssh.command());
    asker.refs(&url).await;
    drop(asker);
    until("the end with the last owner", || processes(&scratch).is_empty()).await;
    until("no directory", || scratch.join("s").read_dir().unwrap().count() == 1).await;

    let cancel = Cancel::new();
    let runner = Runner {
        cancel: cancel.clone(),
        ..runner()
    };
    let masters = Masters::new(runner, scratch.path(), &scratch.join("s"), SOON).unwrap();
    let mut asker = Asker::with(masters, &ssh.command());
    asker.refs(&url).await;
    cancel.ask();
    until("the end by a cancel", || processes(&scratch).is_empty()).await;
}

#[tokio::test]
async fn an_idle_connection_ends_when_nothing_goes_over_it() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    repo.commit(&[("f", "1")]);
    let ssh = SshGit::start(&scratch);
    let url = ssh.url(repo.path());
    let mut asker = Asker::with(masters(&scratch, Duration::from_millis(300)), &ssh.command());
    asker.refs(&url).await;
    until("the end of an idle connection", || processes(&scratch).is_empty()).await;
    assert_eq!(sockets(&scratch), 0);
    asker.refs(&url).await;
    assert_eq!(ssh.logins(), 2);
}

#[tokio::test]
async fn each_trouble_has_a_name() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    repo.commit(&[("f", "1")]);
    let ssh = SshGit::start(&scratch);
    let url = ssh.url(repo.path());
    let mut asker = Asker::new(&scratch, &ssh.command());
    asker.refs(&url).await;
    let error = asker.error(&format!("{url}/not/there")).await;
    assert!(matches!(error, ListError::Missing { .. }), "{error}");
    assert_eq!(ssh.logins(), 1, "a missing repository is no reason to connect anew");

    let command = ssh.command();
    // The server's own key is a good one, but not the user's.
    let no_key = command.replace("/user -o", "/host -o");
    let error = Asker::new(&scratch, &no_key).error(&url).await;
    assert!(
        matches!(&error, ListError::Auth { said, .. } if said.contains("Permission denied")),
        "{error}"
    );
    let unknown = command.replace("/known_hosts", "/nothing");
    let error = Asker::new(&scratch, &unknown).error(&url).await;
    assert!(
        matches!(&error, ListError::Auth { said, .. } if said.contains("Host key")),
        "{error}"
    );
    let error = asker.error("ssh://git:secret@127.0.0.1:1/x").await;
    assert!(matches!(error, ListError::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    let error = asker.error("no-such-host.invalid:x").await;
    assert!(matches!(error, ListError::HostUnknown { .. }), "{error}");

    let silent = Hostile::start(Manner::Silent);
    asker.limits = SHORT;
    let begin = Instant::now();
    let error = asker.error(&silent.git_url().replace("git://", "ssh://")).await;
    assert!(matches!(error, ListError::TimedOut { .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn what_the_user_configured_otherwise_is_left_to_git() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    repo.commit(&[("f", "1")]);
    let ssh = SshGit::start(&scratch);
    let url = ssh.url(repo.path());
    let config = scratch.write("config", "Host *\n  ControlMaster auto\n  ControlPath /nowhere/%h\n");
    for (command, why) in [
        (
            format!("{} -o ControlPath=/nowhere/x", ssh.command()),
            "ControlPath /nowhere/x",
        ),
        (format!("ssh -F {}", config.display()), "ControlMaster auto"),
        ("false".to_owned(), "no OpenSSH"),
        ("echo".to_owned(), "no OpenSSH"),
        ("no-such-ssh".to_owned(), "no OpenSSH"),
    ] {
        let missed = Asker::new(&scratch, &command).ask(&url).await;
        assert!(
            matches!(&missed, Err(Missed::Unable(said)) if said.contains(why)),
            "{command}: {missed:?}"
        );
    }
    // What a shell makes of it is honoured, and the user's `SetEnv` hides ours no more than ours the user's.
    let options = ssh.command();
    let config = scratch.write("config", "Host *\n  SetEnv A=b\n");
    let command = options.replace("-F /dev/null", &format!("-F \"${{X}}{}\"", config.display()));
    let mut asker = Asker::new(&scratch, &format!("LC_ALL=C {command}"));
    asker.refs(&url).await;
    assert!(!asker.memory.is_empty());
    // A program, by GIT_SSH.
    let program = scratch.script("my-ssh", &format!("exec {options} \"$@\""));
    asker.ssh = Ssh::Program(program);
    asker.refs(&url).await;
    for remote in ["https://h/x", "/x", "h:-x", "-h:x"] {
        let missed = asker.ask(remote).await;
        assert!(matches!(missed, Err(Missed::Unable(_))), "{remote}: {missed:?}");
    }
}

#[tokio::test]
async fn a_fetch_goes_over_the_same_connection() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("a"));
    let commit = repo.commit(&[("f", "1")]);
    let ssh = SshGit::start(&scratch);
    let url = ssh.url(repo.path());
    // Plain `ssh`, as the daemon's user would have configured it.
    scratch.script("bin/ssh", &format!("exec /usr/bin/{} \"$@\"", ssh.command()));
    let path = format!("{}:{}", scratch.join("bin").display(), std::env::var("PATH").unwrap());
    let runner = runner().with_env([("PATH".into(), path.into())]);
    let masters = Masters::new(runner.clone(), scratch.path(), &scratch.mkdir("s"), SOON).unwrap();
    assert_eq!(masters.socket_if_alive(&Ssh::Default, &url), None);
    let reply = masters
        .ask(&Ssh::Default, &url, &mut Memory::default(), None, &LIMITS)
        .await;
    assert_eq!(list(reply).refs[0].1.as_str(), commit);
    let socket = masters.socket_if_alive(&Ssh::Default, &url).unwrap();
    assert_eq!(masters.socket_if_alive(&Ssh::Command("ssh".to_owned()), &url), None);

    let into = Repo::new(scratch.join("into"));
    let fetch = async |socket: &Path| {
        let variables = pipelined::git::environment(&runner, &url, true, scratch.path())
            .await
            .unwrap();
        let argv = ["git", "fetch", "--quiet", &url, "main"].map(Into::into);
        let runner = runner.with_env(pipelined::git::sharing(variables, Some(socket)));
        let step = pipelined::model::Step::Checkout;
        let done = runner.capture(step, &argv, into.path(), SOON, 1 << 10).await.unwrap();
        assert!(done.success(), "{}", done.stderr);
        assert_eq!(git_in(into.path(), ["rev-parse", "FETCH_HEAD"]), commit);
    };
    fetch(&socket).await;
    assert_eq!(ssh.logins(), 1);
    masters.end().await;
    fetch(&socket).await;
    assert_eq!(ssh.logins(), 2);
}

#[tokio::test]
async fn a_bad_git_server_costs_its_own_question() {
    for (manner, is_silent) in [
        (Manner::Silent, true),
        (Manner::Trickle, false),
        (Manner::Rubbish, false),
        (Manner::HangUp, false),
    ] {
        let server = Hostile::start(manner);
        let begin = Instant::now();
        let missed = daemon::ask(&server.git_url(), &mut Memory::default(), None, &SHORT).await;
        let Err(Missed::Error(error)) = missed else {
            panic!("{manner:?}: {missed:?}")
        };
        assert_eq!(
            matches!(error, ListError::TimedOut { .. }),
            is_silent,
            "{manner:?}: {error}"
        );
        assert!(begin.elapsed() < Duration::from_secs(5), "{manner:?}");
        assert_eq!(server.connections(), 1, "{manner:?}");
    }
    for (url, is_known) in [("git://127.0.0.1:1/x", true), ("git://no-such-host.invalid/x", false)] {
        let missed = daemon::ask(url, &mut Memory::default(), None, &LIMITS).await;
        match missed {
            Err(Missed::Error(ListError::Unreachable { .. })) => assert!(is_known, "{url}"),
            Err(Missed::Error(ListError::HostUnknown { .. })) => assert!(!is_known, "{url}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    let scratch = Scratch::new();
    big(&scratch, 10_000);
    let server = GitDaemon::start(&scratch, &scratch.join("repos"));
    let small = Limits { size: 10_000, ..LIMITS };
    let missed = daemon::ask(&server.url("big"), &mut Memory::default(), None, &small).await;
    assert!(
        matches!(missed, Err(Missed::Error(ListError::TooLong { .. }))),
        "{missed:?}"
    );
    let missed = daemon::ask(&server.url("none"), &mut Memory::default(), None, &LIMITS).await;
    assert!(
        matches!(missed, Err(Missed::Error(ListError::Auth { .. }))),
        "{missed:?}"
    );
}

/// Answers connection after connection with these bytes once the client has spoken, hangs up or waits for the client's
/// end, and gives back what the clients said first.
fn canned(answers: Vec<(&'static str, bool)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/x", socket.local_addr().unwrap());
    let serve = move || {
        let mut heard = Vec::new();
        for (answer, hangs_up) in answers {
            let (mut stream, _) = socket.accept().unwrap();
            let mut said = vec![0; 4096];
            let count = stream.read(&mut said).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            if !hangs_up {
                // The client's end.
                let _ = stream.read_to_end(&mut Vec::new());
            }
            heard.push(String::from_utf8_lossy(&said[..count]).into_owned());
        }
        heard
    };
    (url, std::thread::spawn(serve))
}

#[tokio::test]
async fn a_server_that_is_another_now_is_asked_from_the_start() {
    const REF: &str = "003daaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa refs/heads/main\n0000";
    const HELLO: &str = "000eversion 2\n000cls-refs\n0000";
    let whole: &'static str = format!("{HELLO}{REF}").leak();
    let (url, server) = canned(vec![
        (HELLO, true),
        (whole, true),
        ("", true),
        (REF, true),
        (&whole[..20], false),
    ]);
    // A real server, for the memory of one that speaks v2.
    let scratch = Scratch::new();
    Repo::new(scratch.join("repos/a"));
    let real = GitDaemon::start(&scratch, &scratch.join("repos"));
    let mut memory = Memory::default();
    daemon::ask(&real.url("a"), &mut memory, None, &LIMITS).await.unwrap();
    let v2 = memory;

    // Cut behind the hello at first, whole at the second connection: but that is none from the start.
    let missed = daemon::ask(&url, &mut memory, None, &LIMITS).await;
    assert!(missed.is_err() && memory.is_empty(), "{missed:?}");
    memory = v2;
    assert_eq!(list(daemon::ask(&url, &mut memory, None, &LIMITS).await).refs.len(), 1);
    assert!(memory.is_empty(), "it speaks v0 now");
    let missed = daemon::ask(&url, &mut memory, None, &SHORT).await;
    assert!(
        matches!(missed, Err(Missed::Error(ListError::TimedOut { .. }))),
        "{missed:?}"
    );
    let early = server
        .join()
        .unwrap()
        .iter()
        .map(|said| said.contains("command="))
        .collect::<Vec<_>>();
    assert_eq!(early, [true, false, true, false, false]);
}
