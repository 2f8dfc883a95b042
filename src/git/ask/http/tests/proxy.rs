//! By an http proxy: whole URLs for http, CONNECT for https.

use super::server::{Act, Server, answer, good};
use super::{Remote, SHORT, login};
use crate::git::ask::reply::Reply;
use crate::git::list::ListError;
use crate::git::world::Proxy;
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for};
use crate::support::servers::http::{HttpGit, HttpOptions};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

fn by(url: String, login: Option<(&str, &str)>) -> Proxy {
    let login = login.map(|(u, p)| super::login(u, p));
    Proxy::Http { url, login }
}

/// Connects to wherever it is told; gives back its URL and what it was told.
async fn tunnel() -> (String, Arc<Mutex<Vec<String>>>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = socket.accept().await.unwrap();
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let to = head.split(' ').nth(1).unwrap().to_owned();
                log.lock().unwrap().push(head);
                let mut server = TcpStream::connect(to).await.unwrap();
                client.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (url, told)
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let scratch = Scratch::new();
    Repo::new(scratch.join("repos/x")).commit(&[("a", "1")]);
    let options = HttpOptions { auth: None, tls: true };
    let server = HttpGit::start(&scratch, &scratch.join("repos"), options);
    let (proxy, told) = tunnel().await;
    let mut remote = Remote::new(server.url("x"));
    remote.settings.tls.ca_file = Some(server.ca_file());
    remote.settings.proxy = by(proxy, Some(("Aladdin", "open sesame")));
    remote.keys.known = Some((server.url(""), login("u", "p")));
    assert_eq!(Remote::refs(remote.ask().await).len(), 1);
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    let told = told.lock().unwrap();
    let [head] = told.as_slice() else { panic!("{told:?}") };
    assert!(head.starts_with("CONNECT 127.0.0.1:"), "{head}");
    assert!(
        head.contains("Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"),
        "{head}"
    );
    wait_for("requests", SOON, || (server.requests().len() == 3).then_some(()));
}

#[tokio::test]
async fn http_names_whole_urls() {
    let proxy = Server::start(|_, request| good(request));
    let mut remote = Remote::new("http://nowhere.invalid/x");
    remote.settings.proxy = by(proxy.url(""), Some(("Aladdin", "open sesame")));
    assert_eq!(Remote::refs(remote.ask().await).len(), 1);
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    for request in proxy.requests() {
        let line = request.lines().next().unwrap();
        assert!(line.contains(" http://nowhere.invalid/x/"), "{line}");
        let lower = request.to_lowercase();
        assert!(lower.contains("host: nowhere.invalid\r\n"), "{request}");
        assert!(lower.contains("proxy-authorization: basic qwx"), "{request}");
    }
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn proxies_that_refuse() {
    for (status, word) in [("407 No", "wants a login"), ("403 Forbidden", "does not connect")] {
        let proxy = Server::start(move |_, _| Act::Answer(answer(status, "", "")));
        for scheme in ["http", "https"] {
            let mut remote = Remote::new(format!("{scheme}://nowhere.invalid/x"));
            remote.settings.proxy = by(proxy.url(""), None);
            let error = remote.error().await;
            if scheme == "http" && status.starts_with("403") {
                assert!(matches!(error, ListError::Auth { .. }), "{error}");
                continue;
            }
            assert!(matches!(error, ListError::Unreachable { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(word) && text.contains(&proxy.url("")), "{text}");
        }
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut remote = Remote::new("https://nowhere.invalid/x");
    remote.settings.proxy = by(format!("http://{closed}"), None);
    let error = remote.error().await.to_string();
    assert!(
        error.contains("by the proxy") && error.contains("Connection refused"),
        "{error}"
    );
    remote.settings.proxy = by("http://no.proxy.invalid:1".into(), None);
    let error = remote.error().await;
    assert!(
        matches!(&error, ListError::HostUnknown { said, .. } if said.contains("by the proxy")),
        "{error}"
    );
    let silent = Server::start(|_, _| Act::Stop(String::new()));
    remote.settings.proxy = by(silent.url(""), None);
    remote.limits.connect = SHORT;
    let error = remote.error().await;
    assert!(matches!(error, ListError::TimedOut { timeout: SHORT, .. }), "{error}");
    silent.wait_until_closed().await;
}
