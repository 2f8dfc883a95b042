//! Redirects, logins and headers: who may see what.

use super::server::{Act, Server, answer, good};
use super::{Remote, login};
use crate::git::ask::reply::Reply;
use crate::git::list::ListError;
use crate::git::world::Header;

const QUERY: &str = "/info/refs?service=git-upload-pack";

fn redirect(status: &str, to: &str) -> Act {
    Act::Answer(answer(status, &format!("Location: {to}\r\n"), "moved"))
}

fn basic(request: &str) -> Option<&str> {
    let line = request
        .lines()
        .find(|l| l.to_lowercase().starts_with("authorization: "))?;
    Some(&line["authorization: ".len()..])
}

#[tokio::test]
async fn a_redirect_is_followed_once() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let server = Server::start(move |_, request| match request.contains(" /old/") {
            true => redirect(status, &format!("/new.git{QUERY}")),
            false => good(request),
        });
        let mut remote = Remote::new(server.url("/old"));
        remote.keys.known = Some((server.url(""), login("a", "b")));
        assert_eq!(Remote::refs(remote.ask().await).len(), 1);
        assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
        let lines: Vec<String> = server
            .requests()
            .iter()
            .map(|r| r.lines().next().unwrap().to_owned())
            .collect();
        let expected = [
            format!("GET /old{QUERY} HTTP/1.1"),
            format!("GET /new.git{QUERY} HTTP/1.1"),
            "POST /new.git/git-upload-pack HTTP/1.1".to_owned(),
            "POST /new.git/git-upload-pack HTTP/1.1".to_owned(),
        ];
        assert_eq!(lines, expected);
        assert!(
            server.requests().iter().all(|r| basic(r).is_some()),
            "{:?}",
            server.requests()
        );
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn nothing_secret_goes_to_another_origin() {
    let other = Server::start(|_, request| good(request));
    let to = format!("{}{QUERY}", other.other_url("/x"));
    let server = Server::start(move |_, _| redirect("301 Moved Permanently", &to));
    let mut remote = Remote::new(server.url("/x"));
    remote.keys.known = Some((server.url(""), login("user", "secret")));
    remote.settings.headers = vec![Header {
        name: "X-Token".into(),
        value: "secret".into(),
    }];
    for _ in 0..2 {
        remote.ask().await.unwrap();
    }
    let first = &server.requests()[0];
    assert!(
        first.to_lowercase().contains("x-token: secret") && basic(first).is_some(),
        "{first}"
    );
    assert_eq!(other.methods(), ["GET", "POST", "POST"]);
    for request in other.requests() {
        assert!(!request.contains("secret") && basic(&request).is_none(), "{request}");
    }

    // A login of the other one's own is sent there.
    let mut remote = Remote::new(server.url("/x"));
    remote.keys.known = Some((other.other_url(""), login("user", "own")));
    remote.ask().await.unwrap();
    assert!(server.requests().iter().skip(1).all(|r| basic(r).is_none()));
    assert!(other.requests()[3..].iter().all(|r| basic(r).is_some()));
}

#[tokio::test]
async fn a_redirect_takes_the_helpers_login_along_or_drops_it() {
    let wants = || Act::Answer(answer("401 Unauthorized", "WWW-Authenticate: Basic realm=x\r\n", ""));
    let other = Server::start(move |_, request| match basic(request) {
        Some(_) => good(request),
        None => wants(),
    });
    let to = format!("{}{QUERY}", other.other_url("/x"));
    let server = Server::start(move |_, request| match basic(request) {
        Some(_) => redirect("302 Found", &to),
        None => wants(),
    });
    let mut remote = Remote::new(server.url("/x"));
    remote.keys.helper = Some(login("user", "word"));
    remote.ask().await.unwrap();
    // Asked anew for the other origin, whose first request had no login.
    assert_eq!(remote.keys.log(), ["fill", "fill", "approve word"]);
    assert!(basic(&other.requests()[0]).is_none());
    remote.ask().await.unwrap();
    assert_eq!(remote.keys.log().len(), 3);
    assert!(basic(other.requests().last().unwrap()).is_some());
}

#[tokio::test]
async fn bad_redirects() {
    let server = Server::start(|n, request| {
        let path = request.split(' ').nth(1).unwrap();
        match path.split('/').nth(1).unwrap() {
            "loop" => redirect("301 Moved Permanently", path),
            "page" => redirect("302 Found", "/login?back=1"),
            "none" => Act::Answer(answer("302 Found", "", "")),
            "file" => redirect("302 Found", &format!("file:///etc{QUERY}")),
            "post" if request.starts_with("POST") => redirect("301 Moved Permanently", "/x/git-upload-pack"),
            _ => good(&format!("{request}{n}")),
        }
    });
    for (path, word) in [
        ("/loop", "more than 5 times"),
        ("/page", "redirects to http://127.0.0.1"),
        ("/none", "redirects to"),
        ("/file", "redirects to file:"),
        ("/post", "301 Moved Permanently"),
    ] {
        let mut remote = Remote::new(server.url(path));
        let error = remote.error().await.to_string();
        assert!(error.contains(word), "{path}: {error}");
        assert_eq!(remote.error().await.to_string(), error);
    }
    let mut remote = Remote::new(server.url("/loop"));
    remote.settings.follow_redirects = false;
    let error = remote.error().await.to_string();
    assert!(error.contains("http.followRedirects"), "{error}");
}

#[tokio::test]
async fn schemes_that_only_git_can_do() {
    for (headers, why) in [
        ("WWW-Authenticate: Negotiate\r\n", "the server wants Negotiate"),
        ("WWW-Authenticate: Bearer realm=\"x\"\r\n", "the server wants Bearer"),
    ] {
        let server = Server::start(move |_, _| Act::Answer(answer("401 Unauthorized", headers, "")));
        assert_eq!(Remote::new(server.url("/x")).unable().await, why);
    }
    let server = Server::start(|_, _| Act::Answer(answer("401 Unauthorized", "", "")));
    let error = Remote::new(server.url("/x")).error().await;
    assert!(matches!(error, ListError::Auth { .. }), "{error}");
}

#[tokio::test]
async fn a_login_that_stops_working_is_asked_for_again() {
    let server = Server::start(|n, request| match (n, basic(request)) {
        // The second password holds from the fourth request on.
        (0..=2, Some("Basic dTox")) | (3.., Some("Basic dToy")) => good(request),
        _ => Act::Answer(answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", "")),
    });
    let mut remote = Remote::new(server.url("/x"));
    remote.keys.known = Some((server.url(""), login("u", "1")));
    remote.ask().await.unwrap();
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    remote.keys.helper = Some(login("u", "2"));
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    assert_eq!(remote.ask().await, Ok(Reply::Unchanged));
    assert_eq!(remote.keys.log(), ["fill", "approve 2"]);
    let methods = server.methods().concat();
    assert_eq!(methods, "GETPOSTPOSTPOSTGETGETPOSTPOST");
}

#[tokio::test]
async fn headers_of_the_user_win() {
    let server = Server::start(|_, request| match basic(request) {
        Some("Token abc") => good(request),
        _ => Act::Answer(answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", "")),
    });
    let mut remote = Remote::new(server.url("/x"));
    let header = |name: &str, value: &str| Header {
        name: name.into(),
        value: value.into(),
    };
    remote.keys.known = Some((server.url(""), login("u", "1")));
    remote.settings.headers = vec![
        header("authorization", "Token abc"),
        header("User-Agent", "mine"),
        header("A", "1"),
        header("a", "2"),
    ];
    remote.ask().await.unwrap();
    for request in server.requests() {
        let lower = request.to_lowercase();
        assert_eq!(lower.matches("user-agent: ").count(), 1, "{request}");
        assert!(lower.contains("user-agent: mine") && lower.contains("a: 1\r\n") && lower.contains("a: 2\r\n"));
        assert!(lower.contains("git-protocol: version=2"), "{request}");
        assert!(!lower.contains("accept-encoding"), "{request}");
    }
    remote.settings.headers = vec![header("authorization", "Token old")];
    let error = remote.error().await;
    assert!(matches!(error, ListError::Auth { .. }), "{error}");
    assert_eq!(remote.keys.log(), [""; 0]);
    remote.settings.headers = vec![header("bad name", "x")];
    assert!(remote.unable().await.contains("header"));
}

#[tokio::test]
async fn a_question_is_small() {
    let server = Server::start(|_, request| good(request));
    let mut remote = Remote::new(server.url("/group/project.git"));
    for _ in 0..2 {
        remote.ask().await.unwrap();
    }
    let requests = server.requests();
    let post = requests.last().unwrap();
    assert!(
        post.starts_with("POST ") && post.len() < 600,
        "{} bytes: {post}",
        post.len()
    );
}
