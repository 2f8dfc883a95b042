//! Which settings are for a URL, and what it is rewritten to.

use crate::home::Home;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A config in which every pattern has a name of its own, by which the winner is known.
fn agents(patterns: &[String]) -> String {
    let mut config = "[http]\n\tuserAgent = none\n".to_owned();
    for (index, pattern) in patterns.iter().enumerate() {
        config += &format!("[http {}]\n\tuserAgent = {index}\n", quoted(pattern));
    }
    config
}

async fn agree(patterns: &[String], urls: &[String]) -> Result<(), String> {
    let home = Home::new(&agents(patterns));
    let world = home.world().await;
    for url in urls {
        // Git refuses to answer for a URL that it calls invalid; when it fetches, no pattern fits one.
        let git = home.git(&["config", "--get-urlmatch", "http.userAgent", url]);
        let ours = world.http(url).user_agent;
        if ours != git.clone().unwrap_or("none".to_owned()) {
            return Err(format!("{url}: {ours} here, {git:?} for git, of {patterns:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn urls_match_as_git_matches_them() {
    let patterns = [
        "https://h",
        "https://h/",
        "https://h/a",
        "https://h/a/",
        "https://h/a/b",
        "https://h/a%2Fb",
        "https://h/%7e",
        "https://h/q?x=1",
        "https://u@h/a",
        "https://u%40@h",
        "https://@h/e",
        "https://u:p@h/p",
        "https://h:443/port",
        "https://h:8443",
        "http://h:0080/",
        "https://*.example.org",
        "https://*.example.org/deep",
        "https://a.example.org",
        "https://*.*.org",
        "https://a*.example.org/x",
        "https://[::1]",
        "https://[::1]:8080",
        "https://h./dot",
        "https://h/x/../y",
        "https://h/..",
        "https://h/%zz",
        "https://h:0",
        "ssh://h/a",
        "HTTPS://UPPER/Path",
        "*",
        "",
    ];
    let urls = [
        "https://h",
        "https://H:443/a",
        "https://h:0443/a/b/c",
        "https://h:",
        "https://h/a%2fb/c",
        "https://h/~/x",
        "https://h/q?x=1",
        "https://h/q?x=1/y",
        "https://h/q?x=12",
        "https://u@h/a/b",
        "https://u:secret@h/a/b",
        "https://u%40@h/",
        "https://@h/e/f",
        "https://u:p@h/p",
        "https://v@h/a",
        "https://h:8443/a",
        "http://h:80/z",
        "http://h/z",
        "https://b.example.org/deep/er",
        "https://a.example.org/deep/er",
        "https://a.b.example.org/",
        "https://x.y.org/",
        "https://example.org.",
        "https://abc.example.org/x",
        "https://[::1]/r",
        "https://[::1]:8080/r",
        "https://h./dot/x",
        "https://h/y/z",
        "https://h/x/../a/b",
        "https://h/./a/./b",
        "https://h/a/b/..",
        "https://h/a/b/.",
        "https://h//..//a",
        "https://h/%2e/a",
        "https://h/..",
        "https://h/%zz",
        "https://h/%",
        "https://h:99999/",
        "https://h:0/a",
        "https://h:0000000443/a",
        "https://h:8x/",
        "https://:443/",
        "https:///a",
        "https://a b/",
        "https://u@v@h/",
        "https://upper/Path/x",
        "https://upper/path/x",
        "https://h/\u{e4}",
        "https://h#frag",
    ];
    let owned = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let (mut patterns, urls) = (owned(&patterns), owned(&urls));
    agree(&patterns, &urls).await.unwrap();
    // Of equals the later wins, so the order must not be what decides between others.
    patterns.reverse();
    agree(&patterns, &urls).await.unwrap();
}

/// URLs from few letters, so that they often fit each other.
fn url() -> impl Strategy<Value = String> {
    let part = |values: &'static [&'static str]| proptest::sample::select(values);
    let scheme = part(&["http", "https", "HTTPS"]);
    let user = part(&["", "", "", "u@", "v@", "u:p@", "%75@", "@"]);
    let host = part(&["a.b", "A.b", "c.b", "a.b.", "*.b", "a.*", "*.*", "b", "a..b", "[::1]"]);
    let port = part(&["", "", ":", ":80", ":443", ":0443", ":8080", ":0", ":x"]);
    let segment = part(&[
        "/x", "/y", "/x", "/", "/.", "/..", "/%78", "/%2f", "/X", "/x y", "/%", "?q", "#x", "/x.",
    ]);
    let path = proptest::collection::vec(segment, 0..5);
    (scheme, user, host, port, path)
        .prop_map(|(scheme, user, host, port, path)| format!("{scheme}://{user}{host}{port}{}", path.concat()))
}

#[test]
fn any_urls_match_as_git_matches_them() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: 12,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let lists = (
        proptest::collection::vec(url(), 1..12),
        proptest::collection::vec(url(), 24),
    );
    TestRunner::new(config)
        .run(&lists, |(patterns, urls)| {
            runtime.block_on(agree(&patterns, &urls)).map_err(TestCaseError::fail)
        })
        .unwrap();
}

#[tokio::test]
async fn urls_are_rewritten_as_git_rewrites_them() {
    let home = Home::new(
        "[url \"ssh://git@h/\"]\n\tinsteadOf = https://h/\n\tinsteadOf = gh:\n\
         [url \"https://mirror/\"]\n\tinsteadOf = https://h/team/\n\tinsteadOf = equal:\n\
         [url \"second:\"]\n\tpushInsteadOf = https://p/\n\
         [url \"third:\"]\n\tinsteadOf = equal:\n\
         [url \"second:\"]\n\tinsteadOf = equal:\n\tinsteadOf = pp:\n\
         [url \"gh:\"]\n\tinsteadOf = twice:\n\
         [url \"Case/Kept.git\"]\n\tinsteadOf = c:\n\
         [url \"dots.in.base/\"]\n\tinsteadOf = d:\n",
    );
    let world = home.world().await;
    let mut changed = 0;
    for remote in [
        "https://h/x.git",
        "https://H/x.git",
        "https://h/team/x.git",
        "https://h/tea",
        "https://h",
        "gh:me/x",
        "equal:x",
        "pp:x",
        "https://p/x",
        "twice:x",
        "c:",
        "d:x",
        "/srv/x",
        "git@h:x",
    ] {
        let git = home.git(&["ls-remote", "--get-url", remote]).unwrap();
        assert_eq!(world.rewrite(remote), git, "{remote}");
        changed += usize::from(git != remote);
    }
    assert_eq!(changed, 9);
}
