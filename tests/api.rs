#![cfg(test)]
//! The control socket: nobody else's at any moment, found by any path, and hung by no client.

mod support;

use pipelined::api::{
    Cancelled, ClientError, Command, DaemonStatus, Looks, PokesSent, Polled, Queued, RebuildStarted, Refused, Reloaded,
    SOCKET, UpdatesRound, UpdatesStarted, bind, call, call_within, serve,
};
use pipelined::model::JobId;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::answering::Answering;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

type Method = hyper::Method;

/// A daemon that does nothing but answer.
struct Fake {
    workdir: PathBuf,
    serving: Answering,
    _dir: tempfile::TempDir,
}

impl Fake {
    fn start(below: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let workdir = dir.path().join(below);
        std::fs::create_dir_all(&workdir).unwrap();
        Self {
            serving: Answering::start(&workdir, answer),
            workdir,
            _dir: dir,
        }
    }

    fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, ClientError> {
        call(&self.workdir, Method::POST, path, Some(&body))
    }

    /// What a client without manners gets for these bytes.
    fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.workdir.join(SOCKET)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn posted(&self, path: &str, body: &str) -> String {
        let length = body.len();
        self.raw(&format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    fn stop(&mut self) {
        self.serving.stop();
    }
}

async fn answer(mut rx: mpsc::Receiver<Command>) {
    let mut held = Vec::new();
    while let Some(command) = rx.recv().await {
        match command {
            Command::Status(answer) => {
                let status = DaemonStatus {
                    pid: 7,
                    version: "1".to_owned(),
                    started: "2024-01-01T00:00:00Z".to_owned(),
                    mode: "running".to_owned(),
                    limit: 2,
                    config: "/c".to_owned(),
                    registries: Vec::new(),
                    hooks: Default::default(),
                    polls: Default::default(),
                };
                answer.send(Ok(status)).unwrap();
            }
            Command::Build {
                project,
                reference,
                answer,
            } => match (project.as_str(), reference.as_deref()) {
                ("slow", _) => held.push(answer),
                ("ruby", Some("main")) => answer.send(Ok(JobId(12))).unwrap(),
                _ => answer
                    .send(Err(Refused("there is no such project".to_owned())))
                    .unwrap(),
            },
            Command::Rebuild { asked, answer } => match asked.images.is_empty() {
                true => answer.send(Err(Refused("no image".to_owned()))).unwrap(),
                false => answer.send(Ok(RebuildStarted::default())).unwrap(),
            },
            Command::Cancel { jobs, answer } => {
                let (jobs, finishing) = jobs.into_iter().partition(|job| job.0 < 2);
                answer.send(Ok(Cancelled { jobs, finishing })).unwrap();
            }
            Command::Poll { project, answer } => answer.send(Ok(if project.is_some() { 1 } else { 3 })).unwrap(),
            Command::Pokes { asked, answer } => match asked.images.is_empty() {
                true => answer.send(Ok(PokesSent::default())).unwrap(),
                false => answer.send(Err(Refused("no such image".to_owned()))).unwrap(),
            },
            Command::Updates { asked, answer } => match asked.images.is_empty() {
                true => answer.send(Ok(UpdatesStarted { round: 4 })).unwrap(),
                false => answer.send(Err(Refused("no such image".to_owned()))).unwrap(),
            },
            Command::Hook { hints, answer, .. } => {
                let looks = Looks {
                    projects: hints.len(),
                    bases: 0,
                };
                answer.send(Ok(looks)).unwrap();
            }
            Command::UpdatesRound { round, answer } => {
                let round = UpdatesRound {
                    done: 1,
                    of: round as usize,
                    images: Vec::new(),
                    failed: Vec::new(),
                };
                answer.send(Ok(round)).unwrap();
            }
            Command::Reload(answer) => answer.send(Ok("nothing changed".to_owned())).unwrap(),
        }
    }
}

#[test]
fn every_request_reaches_the_daemon_and_its_answer_comes_back() {
    let fake = Fake::start("w");
    let status: DaemonStatus = call(&fake.workdir, Method::GET, "/status", None).unwrap();
    assert_eq!((status.pid, status.mode.as_str()), (7, "running"));
    let Queued { job } = fake.post("/build", json!({"project": "ruby", "ref": "main"})).unwrap();
    assert_eq!(job, JobId(12));
    let UpdatesStarted { round } = fake.post("/updates", json!({"rebuild": true})).unwrap();
    assert_eq!(round, 4);
    let round: UpdatesRound = call(&fake.workdir, Method::GET, "/updates/4", None).unwrap();
    assert!(!round.is_finished() && round.of == 4);
    let Cancelled { jobs, finishing } = fake.post("/cancel", json!({"jobs": [1, 2]})).unwrap();
    assert_eq!((&jobs[..], &finishing[..]), (&[JobId(1)][..], &[JobId(2)][..]));
    assert_eq!(fake.post::<Polled>("/poll", json!({})).unwrap().remotes, 3);
    assert!(fake.posted("/pokes", "").contains("{\"pokes\":[]}"));
    assert_eq!(
        fake.post::<Polled>("/poll", json!({"project": "a"})).unwrap().remotes,
        1
    );
    assert_eq!(
        fake.post::<Reloaded>("/reload", json!({})).unwrap().summary,
        "nothing changed"
    );
    assert!(
        fake.posted("/poll", "").contains("{\"remotes\":3}"),
        "a poll needs no body"
    );
}

#[test]
fn a_refusal_comes_with_its_reason() {
    let fake = Fake::start("w");
    match fake.post::<Queued>("/build", json!({"project": "no"})) {
        Err(ClientError::Refused(Refused(why))) => assert_eq!(why, "there is no such project"),
        other => panic!("{other:?}"),
    }
    let raw = fake.posted("/build", "{\"project\":\"no\"}");
    assert!(raw.starts_with("HTTP/1.1 409"), "{raw}");
    assert!(raw.ends_with("{\"error\":\"there is no such project\"}"), "{raw}");
}

#[test]
fn garbage_gets_one_clear_error_and_harms_nobody() {
    let fake = Fake::start("w");
    let long = format!("{{\"project\": \"{}\"}}", "a".repeat(200_000));
    for (path, body, status) in [
        ("/build", "", 400),
        ("/build", "{", 400),
        ("/build", "[]", 400),
        ("/build", "{\"project\": \"../etc\"}", 400),
        ("/build", "{\"project\": \"a\", \"branch\": \"main\"}", 400),
        ("/cancel", "{\"jobs\": [\"x\"]}", 400),
        ("/cancel", "\u{0}\u{1}", 400),
        ("/poll", "7", 400),
        ("/pokes", "{\"image\": []}", 400),
        ("/pokes", "{\"images\": [\"a\"]}", 409),
        ("/rebuild", "{}", 400),
        ("/rebuild", r#"{"images": [], "recurse": true}"#, 409),
        ("/rebuild", r#"{"images": ["ruby"], "matching": "r*"}"#, 400),
        ("/build", long.as_str(), 413),
        ("/nothing", "{}", 404),
        ("/status", "{}", 405),
    ] {
        let answer = fake.posted(path, body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path} {:.40}: {answer}",
            body
        );
        assert!(status == 413 || answer.contains("{\"error\":\""), "{answer}");
    }
    assert!(fake.raw("rubbish\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert!(
        fake.post::<Queued>("/build", json!({"project": "ruby", "ref": "main"}))
            .is_ok()
    );
}

#[test]
fn a_client_that_never_sends_hangs_neither_others_nor_the_stop() {
    let mut fake = Fake::start("w");
    let path = fake.workdir.join(SOCKET);
    let mut idle: Vec<UnixStream> = (0..50).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for stream in &mut idle[..25] {
        stream
            .write_all(b"POST /build HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            .unwrap();
    }
    let begin = Instant::now();
    assert!(call::<DaemonStatus>(&fake.workdir, Method::GET, "/status", None).is_ok());
    assert!(begin.elapsed() < Duration::from_secs(2));
    let begin = Instant::now();
    fake.stop();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(!path.exists(), "the socket is removed");
}

#[test]
fn a_daemon_that_does_not_answer_is_given_up() {
    let fake = Fake::start("w");
    let body = json!({"project": "slow"});
    let result: Result<Queued, _> = call_within(
        Duration::from_millis(200),
        &fake.workdir,
        Method::POST,
        "/build",
        Some(&body),
    );
    assert!(matches!(result, Err(ClientError::Hung { .. })), "{result:?}");
}

#[test]
fn no_socket_and_a_dead_one_mean_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |path: &Path| call::<DaemonStatus>(path, Method::GET, "/status", None).unwrap_err();
    assert!(matches!(ask(&dir.path().join("none")), ClientError::NoDaemon { .. }));
    assert!(matches!(ask(dir.path()), ClientError::NoDaemon { .. }));
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap());
    let error = ask(dir.path());
    assert!(matches!(error, ClientError::NoDaemon { .. }));
    assert!(error.to_string().contains("pipelined run --config"), "{error}");
}

fn mode(path: &Path) -> u32 {
    let meta = path.symlink_metadata().unwrap();
    assert!(meta.file_type().is_socket());
    meta.permissions().mode() & 0o777
}

#[tokio::test]
async fn mode_0600_from_the_first_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    // Looks as fast as it can, at whatever name a socket may have.
    let watcher = std::thread::spawn(move || {
        let mut seen = 0;
        while stopped.try_recv().is_err() {
            if let Ok(meta) = path.join(SOCKET).symlink_metadata() {
                assert_eq!(meta.permissions().mode() & 0o777, 0o600);
                seen += 1;
            }
            if let Ok(meta) = path.join(".pipelined.sock.new").symlink_metadata() {
                assert_eq!(meta.permissions().mode() & 0o077, 0);
            }
        }
        seen
    });
    for _ in 0..300 {
        let (listener, file) = bind(dir.path(), None).unwrap();
        assert_eq!(mode(&dir.path().join(SOCKET)), 0o600);
        drop((listener, file));
    }
    stop.send(()).unwrap();
    assert!(watcher.join().unwrap() > 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn what_a_dead_daemon_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap());
    let half = dir.path().join(".pipelined.sock.new");
    std::fs::create_dir(&half).unwrap();
    drop(std::os::unix::net::UnixListener::bind(half.join("s")).unwrap());
    let _bound = bind(dir.path(), None).unwrap();
    assert!(UnixStream::connect(dir.path().join(SOCKET)).is_ok());
}

#[test]
fn a_workdir_of_any_length_works() {
    let below = ["long"; 40].map(|part| format!("{part}-and-longer")).join("/");
    let fake = Fake::start(&below);
    assert!(fake.workdir.as_os_str().len() > 500);
    assert!(call::<DaemonStatus>(&fake.workdir, Method::GET, "/status", None).is_ok());
}

#[tokio::test]
async fn in_a_runtime_directory_the_workdir_has_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (workdir, runtime) = (dir.path().join("w"), dir.path().join("r"));
    std::fs::create_dir(&workdir).unwrap();
    std::fs::create_dir(&runtime).unwrap();
    for _ in 0..2 {
        let (listener, file) = bind(&workdir, Some(&runtime)).unwrap();
        let (tx, rx) = mpsc::channel(8);
        tokio::spawn(answer(rx));
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, tx, Arc::default(), shutdown.clone()));
        assert_eq!(mode(&runtime.join(SOCKET)), 0o600);
        assert_eq!(workdir.join(SOCKET).read_link().unwrap(), runtime.join(SOCKET));
        let path = workdir.clone();
        let asked = tokio::task::spawn_blocking(move || call::<DaemonStatus>(&path, Method::GET, "/status", None));
        assert_eq!(asked.await.unwrap().unwrap().pid, 7);
        shutdown.cancel();
        server.await.unwrap().unwrap();
        drop(file);
        assert!(workdir.join(SOCKET).symlink_metadata().is_err());
        assert!(!runtime.join(SOCKET).exists());
        // A daemon that was killed leaves its link.
        std::os::unix::fs::symlink("/nowhere", workdir.join(SOCKET)).unwrap();
    }
}
