//! nginx and `git http-backend`.

use super::{Remote, SHORT, login};
use crate::git::ask::reply::{Missed, Reply};
use crate::git::list::ListError;
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use crate::support::servers::http::{HttpGit, HttpOptions};
use std::fmt::Write;

/// The first letters of all methods until now; nginx writes its log a moment after its answer.
#[track_caller]
fn wait_methods(server: &HttpGit, expected: &str) {
    wait_for_state("requests", SOON, || {
        let methods: String = server.requests().iter().map(|(_, method)| &method[..1]).collect();
        (methods == expected).then_some(()).ok_or(methods)
    });
}

fn connections(server: &HttpGit) -> usize {
    let mut connections: Vec<u64> = server.requests().iter().map(|(n, _)| *n).collect();
    connections.sort_unstable();
    connections.dedup();
    connections.len()
}

#[tokio::test]
async fn one_request_a_poll_over_one_connection() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repos/x"));
    let first = repo.commit(&[("a", "1")]);
    repo.annotated_tag("v1", "HEAD");
    let server = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions::default());
    let mut remote = Remote::new(server.url("x"));
    let expected = |main: &str| {
        [("refs/heads/main", main), ("refs/tags/v1", first.as_str())].map(|(n, c)| (n.to_owned(), c.to_owned()))
    };
    assert_eq!(Remote::refs(remote.ask().await), expected(&first));
    wait_methods(&server, "GP");
    for _ in 0..3 {
        assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    }
    wait_methods(&server, "GPPPP");
    let second = repo.commit(&[("a", "2")]);
    assert_eq!(Remote::refs(remote.ask().await), expected(&second));
    wait_methods(&server, "GPPPPP");
    assert_eq!(connections(&server), 1);
}

#[tokio::test]
async fn tls_of_a_private_ca_with_a_login() {
    let scratch = Scratch::new();
    Repo::new(scratch.join("repos/x")).commit(&[("a", "1")]);
    let options = HttpOptions {
        auth: Some(("user", "good")),
        tls: true,
    };
    let server = HttpGit::start(&scratch, &scratch.join("repos"), options);
    let mut remote = Remote::new(server.url("x"));
    let error = remote.error().await;
    assert!(matches!(error, ListError::Untrusted { .. }), "{error}");
    let text = error.to_string();

    remote.settings.tls.ca_file = Some(scratch.join("none"));
    let error = remote.error().await.to_string();
    assert!(error.contains("/none") && error != text, "{error}");
    remote.settings.tls.ca_file = Some(scratch.write("empty", "nothing"));
    let error = remote.error().await.to_string();
    assert!(error.contains("/empty"), "{error}");

    // The CA file's own change is enough.
    let ca = scratch.join("ca");
    remote.settings.tls.ca_file = Some(ca.clone());
    assert!(matches!(remote.error().await, ListError::Untrusted { .. }));
    std::fs::copy(server.ca_file(), &ca).unwrap();
    let error = remote.error().await;
    assert!(matches!(error, ListError::Auth { .. }), "{error}");

    remote.keys.helper = Some(login("user", "bad"));
    assert!(matches!(remote.error().await, ListError::Auth { .. }));
    assert_eq!(remote.keys.log(), ["fill", "fill", "reject bad"]);
    remote.keys.helper = Some(login("user", "good"));
    assert_eq!(Remote::refs(remote.ask().await).len(), 1);
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    assert_eq!(remote.keys.log()[3..], ["fill", "approve good"]);
    wait_for("a request with a login", SOON, || {
        server.access_log().lines().last()?.ends_with(" 200 user").then_some(())
    });

    // Without a look at the certificate, and by a directory of CAs.
    remote.settings.tls.ca_file = None;
    remote.settings.tls.ca_path = Some(ca.parent().unwrap().join("cas"));
    std::fs::copy(&ca, scratch.mkdir("cas").join("a.pem")).unwrap();
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    remote.settings.tls.ca_path = None;
    remote.settings.tls.verify = false;
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
}

#[tokio::test]
async fn a_certificate_for_another_host() {
    let scratch = Scratch::new();
    Repo::new(scratch.join("repos/x")).commit(&[("a", "1")]);
    let options = HttpOptions { auth: None, tls: true };
    let server = HttpGit::start(&scratch, &scratch.join("repos"), options);
    let mut remote = Remote::new(server.url("x").replace("127.0.0.1", "127.1.1.1.nip.invalid"));
    assert!(matches!(remote.error().await, ListError::HostUnknown { .. }));
    remote.url = server.url("x").replace("127.0.0.1", "localhost");
    remote.settings.tls.ca_file = Some(server.ca_file());
    assert_eq!(Remote::refs(remote.ask().await).len(), 1);
    // http to a TLS port, and the other way round.
    remote.url = server.url("x").replace("https", "http");
    let error = remote.error().await;
    assert!(matches!(error, ListError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn protocols_come_and_go() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repos/x"));
    repo.commit(&[("a", "1")]);
    repo.annotated_tag("v1", "HEAD");
    let server = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions::default());
    let mut remote = Remote::new(server.url("x"));
    let v2 = Remote::refs(remote.ask().await);
    assert_eq!(v2.len(), 2);
    server.speak_v0(true);
    // A POST in vain, then the handshake, whose answer is the list.
    assert_eq!(Remote::refs(remote.ask().await), v2);
    wait_methods(&server, "GPPG");
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    wait_methods(&server, "GPPGG");
    repo.branch("more");
    assert_eq!(Remote::refs(remote.ask().await).len(), 3);
    server.speak_v0(false);
    assert_eq!(Remote::refs(remote.ask().await).len(), 3);
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    wait_methods(&server, "GPPGGGGPP");
}

#[tokio::test]
async fn empty_repositories_and_other_formats() {
    let scratch = Scratch::new();
    let path = scratch.join("repos/x");
    let repo = Repo::new(&path);
    let server = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions::default());
    let mut remote = Remote::new(server.url("x"));
    assert_eq!(Remote::refs(remote.ask().await), []);
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    let sha1 = repo.commit(&[("a", "1")]);
    assert_eq!(Remote::refs(remote.ask().await)[0].1, sha1);

    std::fs::remove_dir_all(&path).unwrap();
    let error = remote.error().await;
    assert!(matches!(error, ListError::Missing { .. }), "{error}");
    let sha256 = Repo::sha256(&path).commit(&[("a", "1")]);
    assert_eq!(sha256.len(), 64);
    assert_eq!(Remote::refs(remote.ask().await)[0].1, sha256);
    // Made again between two polls.
    std::fs::remove_dir_all(&path).unwrap();
    let sha1 = Repo::new(&path).commit(&[("b", "1")]);
    assert_eq!(Remote::refs(remote.ask().await)[0].1, sha1);
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
}

#[tokio::test]
async fn many_refs_and_the_size_limit() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repos/x"));
    let commit = repo.commit(&[("a", "1")]);
    let mut packed = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    for n in 0..10_000 {
        writeln!(packed, "{commit} refs/tags/v{n:05}").unwrap();
    }
    std::fs::write(repo.path().join(".git/packed-refs"), packed).unwrap();
    let server = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions::default());
    let mut remote = Remote::new(server.url("x"));
    remote.limits.size = 100_000;
    assert_eq!(
        remote.ask().await,
        Err(Missed::Error(ListError::TooLong {
            remote: "remote".into(),
            limit: 100_000
        }))
    );
    remote.limits.size = 1 << 20;
    assert_eq!(Remote::refs(remote.ask().await).len(), 10_001);
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    repo.delete_ref("refs/tags/v00007");
    assert_eq!(Remote::refs(remote.ask().await).len(), 10_000);
}

#[tokio::test]
async fn many_remotes_share_few_connections() {
    let scratch = Scratch::new();
    Repo::new(scratch.join("repos/x")).commit(&[("a", "1")]);
    let server = HttpGit::start(&scratch, &scratch.join("repos"), HttpOptions::default());
    let first = Remote::new(server.url("x"));
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (http, url) = (first.http.clone(), server.url("x"));
        lanes.spawn(async move {
            for _ in 0..25 {
                let mut remote = Remote::new(url.clone());
                remote.http = http.clone();
                assert_eq!(Remote::refs(remote.ask().await).len(), 1);
                assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
    wait_for("requests", SOON, || (server.requests().len() == 300).then_some(()));
    assert!(connections(&server) <= 8, "{}", connections(&server));
}

#[tokio::test]
async fn nobody_is_there() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut remote = Remote::new(format!("http://{closed}/x"));
    let error = remote.error().await;
    let said = "Connection refused".to_owned();
    let remote_name = "remote".to_owned();
    assert_eq!(
        error,
        ListError::Unreachable {
            remote: remote_name,
            said
        }
    );
    for scheme in ["http", "https"] {
        remote.url = format!("{scheme}://nowhere.invalid/x");
        remote.limits.connect = SHORT * 100;
        let error = remote.error().await;
        assert!(matches!(error, ListError::HostUnknown { .. }), "{error}");
    }
}
