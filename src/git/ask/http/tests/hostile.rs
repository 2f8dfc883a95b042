//! Servers that keep quiet, trickle, hang up and lie, at every step.

use super::server::{ADVERTISEMENT, Act, RESULT, Server, answer, good, greeting, packets, result};
use super::{Remote, SHORT, login};
use crate::git::ask::reply::{Missed, Reply};
use crate::git::list::ListError;
use std::time::{Duration, Instant};

/// A server that is good until request number `bad`.
fn turning(bad: usize, act: impl Fn() -> Act + Send + Sync + 'static) -> Server {
    Server::start(move |n, request| if n < bad { good(request) } else { act() })
}

/// An answer whose end never comes.
fn endless(text: &str) -> String {
    let (head, body) = text.split_once("Content-Length: ").unwrap();
    let (_, body) = body.split_once("\r\n").unwrap();
    half(&format!("{head}Content-Length: 99999\r\n{body}"))
}

fn half(text: &str) -> String {
    text[..text.len() - 10].to_owned()
}

async fn times_out(remote: &mut Remote, server: &Server, limit: Duration) {
    let begin = Instant::now();
    let error = remote.error().await;
    let expected = ListError::TimedOut {
        remote: "remote".into(),
        timeout: limit,
    };
    assert_eq!(error, expected);
    assert!(begin.elapsed() < Duration::from_secs(20));
    server.wait_until_closed().await;
}

#[tokio::test]
async fn whoever_is_silent_is_left_in_time() {
    // The greeting, the first list, the second list.
    for bad in 0..3 {
        let server = turning(bad, || Act::Stop(String::new()));
        let mut remote = Remote::new(server.url("/x"));
        if bad == 2 {
            remote.ask().await.unwrap();
        }
        remote.limits.first_byte = SHORT;
        times_out(&mut remote, &server, SHORT).await;
        // And not asked a second time.
        assert_eq!(server.requests().len(), bad + 1);
    }
}

#[tokio::test]
async fn whoever_trickles_is_left_in_time() {
    let header = "HTTP/1.1 200 OK\r\nX-";
    let page = "HTTP/1.1 401 No\r\nContent-Length: 9999\r\n\r\n";
    let (greeting, result) = (endless(&greeting()), endless(&result()));
    for (bad, text) in [
        (0, header),
        (0, page),
        (0, &greeting),
        (1, header),
        (1, page),
        (1, &result),
        (2, header),
        (2, &result),
    ] {
        for act in [Act::Stop, Act::Trickle] {
            let told = text.to_owned();
            let server = turning(bad, move || act(told.clone()));
            let mut remote = Remote::new(server.url("/x"));
            if bad == 2 {
                remote.ask().await.unwrap();
            }
            remote.limits.whole = SHORT;
            times_out(&mut remote, &server, SHORT).await;
            assert_eq!(server.requests().len(), bad + 1);
        }
    }
}

#[tokio::test]
async fn tls_that_never_ends() {
    let server = Server::start(|_, _| Act::Stop(String::new()));
    let mut remote = Remote::new(server.https_url("/x"));
    remote.limits.connect = SHORT;
    times_out(&mut remote, &server, SHORT).await;
}

#[tokio::test]
async fn no_tls_at_all() {
    use std::io::{Read, Write};
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/x", socket.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let error = Remote::new(url).error().await;
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    server.join().unwrap();
}

#[tokio::test]
async fn whoever_lies_is_asked_once_more_and_then_told() {
    let page = answer("200 OK", "Content-Type: text/html\r\n", "<html>log in</html>");
    let advertised = |lines: &[&str]| answer("200 OK", ADVERTISEMENT, &packets(lines));
    let listed = |body: &str| answer("200 OK", RESULT, body);
    let cases = [
        Act::HangUp(String::new()),
        Act::HangUp(half(&greeting())),
        Act::HangUp(half(&result())),
        Act::HangUp("\0\x7f<html>\n".to_owned()),
        Act::HangUp("HTTP/1.1 200 OK\r\n\r\n".to_owned()),
        Act::Answer(page),
        Act::Answer(answer("200 OK", "", "")),
        Act::Answer(answer("500 Oh No", "", "sorry")),
        Act::Answer(answer("403 Forbidden", "", "")),
        Act::Answer(answer("204 No Content", "", "")),
        Act::Answer(advertised(&["# service=git-upload-pack", "."])),
        Act::Answer(advertised(&["version 2", "."])),
        Act::Answer(advertised(&["ERR no such thing"])),
        Act::Answer(answer("200 OK", ADVERTISEMENT, "")),
        Act::Answer(listed("")),
        Act::Answer(listed("00000000")),
        Act::Answer(listed("003fnot")),
        Act::Answer(listed(&packets(&["ERR access denied", "."]))),
        Act::Answer(listed(&packets(&["hello refs/heads/main", "."]))),
        Act::Answer(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(200_000))),
        Act::Answer(answer("200 OK", &format!("{RESULT}Content-Encoding: gzip\r\n"), "0000")),
    ];
    for (case, act) in cases.into_iter().enumerate() {
        let (Act::Answer(text) | Act::HangUp(text) | Act::Stop(text) | Act::Trickle(text)) = &act;
        let (text, keep) = (text.clone(), matches!(act, Act::Answer(_)));
        // Lists only: the greeting is good.
        let told = text.clone();
        let server = Server::start(move |n, request| match (n, keep) {
            (0 | 1, _) => good(request),
            (_, true) if request.starts_with("POST") => Act::Answer(told.clone()),
            (_, false) if request.starts_with("POST") => Act::HangUp(told.clone()),
            _ => good(request),
        });
        let mut remote = Remote::new(server.url("/x"));
        remote.ask().await.unwrap();
        let first = remote.ask().await;
        assert!(first.is_err(), "{case}: {first:?}");
        // The end of a kept connection alone says nothing, so a fresh one is tried.
        let silent = text.is_empty();
        let methods = if silent {
            "GETPOSTPOSTPOSTGETPOSTPOST"
        } else {
            "GETPOSTPOSTGETPOST"
        };
        assert_eq!(server.methods().concat(), methods, "{case}");
        assert_eq!(remote.ask().await, first, "{case}");
        // Everything is bad.
        let server = turning(2, move || {
            if keep {
                Act::Answer(text.clone())
            } else {
                Act::HangUp(text.clone())
            }
        });
        let mut remote = Remote::new(server.url("/x"));
        remote.ask().await.unwrap();
        let first = remote.ask().await;
        assert!(first.is_err(), "{case}: {first:?}");
        let shown = format!("{first:?}");
        assert!(!shown.contains('\0') && !shown.contains("127.0.0.1"), "{shown}");
        assert!(
            server.requests().len() <= if silent { 5 } else { 4 },
            "{case}: {:?}",
            server.methods()
        );
        assert_eq!(remote.ask().await, first, "{case}");
    }
}

#[tokio::test]
async fn one_odd_answer_costs_a_handshake_and_nothing_else() {
    for odd in [
        answer("502 Bad Gateway", "", "oops"),
        answer("200 OK", RESULT, ""),
        answer("401 Unauthorized", "", ""),
        answer("200 OK", "Content-Type: text/html\r\n", "<p>"),
    ] {
        let server = Server::start(move |n, request| match n {
            2 => Act::Answer(odd.clone()),
            _ => good(request),
        });
        let mut remote = Remote::new(server.url("/x"));
        remote.ask().await.unwrap();
        assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
        assert_eq!(server.methods().concat(), "GETPOSTPOSTGETPOST");
        assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
        assert_eq!(server.requests().len(), 6);
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let server = Server::start(|_, request| match good(request) {
        // It said keep-alive, as HTTP/1.1 does by saying nothing.
        Act::Answer(text) => Act::HangUp(text),
        other => other,
    });
    let mut remote = Remote::new(server.url("/x"));
    remote.ask().await.unwrap();
    for n in 0..10 {
        server.wait_unseen_until_closed();
        assert_eq!(remote.ask().await, Ok(Reply::Unchanged), "{n}");
    }
    // And without waiting, where the end may come in the middle of the question.
    for n in 0..10 {
        assert_eq!(remote.ask().await, Ok(Reply::Unchanged), "{n}");
    }
}

#[tokio::test]
async fn busy_servers_are_left_alone() {
    for (status, headers, wait) in [
        ("429 Too Many Requests", "Retry-After: 120\r\n", Some(120)),
        ("503 Service Unavailable", "", None),
        ("503 Service Unavailable", "Retry-After: x\r\n", None),
    ] {
        for bad in 0..3 {
            let server = turning(bad, move || Act::Answer(answer(status, headers, "")));
            let mut remote = Remote::new(server.url("/x"));
            if bad == 2 {
                remote.ask().await.unwrap();
            }
            let ListError::Busy { wait: told, said, .. } = remote.error().await else {
                panic!("{status}")
            };
            assert_eq!(told, wait.map(Duration::from_secs));
            assert!(said.contains(status), "{said}");
            assert_eq!(server.requests().len(), bad + 1);
        }
    }
}

#[tokio::test]
async fn a_body_may_not_be_longer_than_the_limit() {
    let line = packets(&["1111111111111111111111111111111111111111 refs/heads/main"]);
    let body = line.repeat(1000) + "0000";
    let chunked = format!(
        "HTTP/1.1 200 OK\r\n{RESULT}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let lying = format!("HTTP/1.1 200 OK\r\n{RESULT}Content-Length: 99999999999\r\n\r\n");
    for text in [answer("200 OK", RESULT, &body), chunked, lying] {
        let told = text.clone();
        let server = Server::start(move |_, request| match good(request) {
            Act::Answer(_) if request.starts_with("POST") => Act::Answer(told.clone()),
            other => other,
        });
        let mut remote = Remote::new(server.url("/x"));
        remote.limits.size = body.len() as u64 - 1;
        let error = remote.error().await;
        assert!(matches!(error, ListError::TooLong { .. }), "{error}");
        if text.contains("99999999999") {
            server.wait_until_closed().await;
            continue;
        }
        remote.limits.size += 1;
        assert_eq!(Remote::refs(remote.ask().await).len(), 1);
    }
}

#[tokio::test]
async fn dumb_servers_are_left_to_git() {
    let body = format!("{}\trefs/heads/main\n", "a".repeat(40));
    let server = Server::start(move |_, _| Act::Answer(answer("200 OK", "Content-Type: text/plain\r\n", &body)));
    assert!(Remote::new(server.url("/x")).unable().await.contains("dumb"));
    let mut remote = Remote::new("http://h/a?b");
    assert!(remote.unable().await.contains("URL"));
    remote.settings.unable = Some("a client certificate".into());
    assert_eq!(remote.ask().await, Err(Missed::Unable("a client certificate".into())));
}

#[tokio::test]
async fn a_silent_one_does_not_hold_up_another() {
    let silent = Server::start(|_, _| Act::Stop(String::new()));
    let fine = Server::start(|_, request| good(request));
    let mut slow = Remote::new(silent.url("/x"));
    let mut quick = Remote::new(fine.url("/x"));
    quick.http = slow.http.clone();
    quick.keys.known = Some((fine.url(""), login("u", "p")));
    slow.limits.whole = Duration::from_secs(3);
    let slow = tokio::spawn(async move { slow.ask().await });
    for _ in 0..5 {
        quick.ask().await.unwrap();
    }
    assert!(!slow.is_finished());
    assert!(slow.await.unwrap().is_err());
}
