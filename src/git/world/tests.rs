//! What settings mean together, without git. tests/world/urls.rs asks git itself.

use super::*;
use crate::git::remote::Remote;
use std::path::Path;

const NETRC: &[u8] = b"machine h login of-netrc password n\nmachine ::1 login six password 6\n";

/// `config` is lines of `KEY=VALUE`, or of `KEY` alone.
fn world(config: &str, environment: &[(&str, &str)]) -> World {
    let list: String = config
        .lines()
        .map(|line| format!("{}\0", line.trim().replacen('=', "\n", 1)))
        .collect();
    let variables = Variables::new(environment.iter().map(|(n, v)| (n.into(), v.into())));
    World::new(
        list.as_bytes(),
        b"git version 2.47.3 (x)\n",
        NETRC,
        variables,
        Path::new("/cwd"),
    )
}

#[test]
fn without_settings() {
    let settings = world("", &[]).http("https://h/x");
    let expected = HttpSettings {
        proxy: Proxy::None,
        headers: Vec::new(),
        tls: Tls {
            verify: true,
            ca_file: None,
            ca_path: None,
        },
        user_agent: "git/2.47.3".to_owned(),
        follow_redirects: true,
        unable: None,
    };
    assert_eq!(settings, expected);
}

#[test]
fn headers_add_up_and_an_empty_one_clears() {
    let config = "http.extraheader=A: 1\nhttp.extraheader=B: 2\nhttp.https://h/.extraheader=\n\
                  http.https://h/.extraheader=Authorization: Basic c2VjcmV0\nhttp.https://x/.extraheader=C: 3";
    let names = |url: &str| -> Vec<String> {
        let settings = world(config, &[]).http(url);
        assert!(!format!("{settings:?}").contains("c2VjcmV0"));
        settings.headers.into_iter().map(|header| header.name).collect()
    };
    assert_eq!(names("https://h/r"), ["Authorization"]);
    assert_eq!(names("https://x/r"), ["A", "B", "C"]);
    assert_eq!(names("http://h/r"), ["A", "B"]);
}

#[test]
fn tls_and_the_rest() {
    let config = "http.sslverify=false\nhttp.https://h.sslverify\nhttp.sslcainfo=~/ca.pem\nhttp.sslcapath=rel\n\
                  http.useragent=mine\nhttp.followredirects=initial\nhttp.https://h/no.followredirects=no";
    let settings = world(config, &[("HOME", "/home/u")]).http("https://h/x");
    assert!(settings.tls.verify);
    assert_eq!(settings.tls.ca_file.unwrap(), Path::new("/home/u/ca.pem"));
    assert_eq!(settings.tls.ca_path.unwrap(), Path::new("/cwd/rel"));
    assert_eq!(settings.user_agent, "mine");
    assert!(settings.follow_redirects);
    let settings = world(config, &[("HOME", "/home/u")]).http("https://h/no/x");
    assert!(!settings.follow_redirects);
    assert_eq!(settings.unable, None);
    let environment = [
        ("GIT_SSL_NO_VERIFY", ""),
        ("GIT_SSL_CAINFO", "/e/ca"),
        ("GIT_SSL_CAPATH", "/e/path"),
        ("GIT_HTTP_USER_AGENT", "env"),
    ];
    let settings = world(config, &environment).http("https://h/x");
    assert!(!settings.tls.verify);
    assert_eq!(settings.tls.ca_file.unwrap(), Path::new("/e/ca"));
    assert_eq!(settings.tls.ca_path.unwrap(), Path::new("/e/path"));
    assert_eq!(settings.user_agent, "env");
    let agent = world("http.extraheader=user-agent: h", &[("GIT_USER_AGENT", "g")]);
    assert_eq!(agent.http("http://h").user_agent, "h");
    assert_eq!(agent.http("http://h").headers, []);
    assert_eq!(world("", &[("GIT_USER_AGENT", "g")]).http("http://h").user_agent, "g");
}

#[test]
fn what_only_git_can_is_left_to_git() {
    let unable = |config: &str, environment: &[(&str, &str)]| world(config, environment).http("https://h/x").unable;
    for config in [
        "http.sslcert=/c",
        "http.https://h/.sslkey=/k",
        "http.sslversion=tlsv1.3",
        "http.sslcipherlist=X",
        "http.pinnedpubkey=/p",
        "http.cookiefile=/c",
        "http.delegation=always",
        "http.emptyauth=true",
        "http.emptyauth",
        "http.proactiveauth=basic",
        "http.curloptresolve=h:443:127.0.0.1",
        "http.sslverify=perhaps",
        "http.followredirects=perhaps",
        "http.extraheader",
        "http.extraheader=Accept-Encoding: x",
        "http.sslcainfo=~other/x",
        "http.sslcainfo=%(prefix)/x",
        "http.sslcainfo",
        "http.proxy",
        "http.proxy=socks5://p",
        "http.useragent",
    ] {
        assert!(unable(config, &[]).is_some(), "{config}");
        let other = config.replacen("http.", "http.https://other/.", 1);
        if !config.contains("//h/") {
            assert_eq!(unable(&other, &[]), None, "{other} is for another server");
        }
    }
    for harmless in [
        "http.version=HTTP/2",
        "http.sslbackend=openssl",
        "http.savecookies=true",
        "http.postbuffer=1",
        "http.lowspeedlimit=1",
        "http.proxysslcert=/c",
        "http.sslversion=x\nhttp.https://h.sslversion=",
        "http.delegation=none",
        "http.emptyauth=auto",
        "http.proactiveauth=none",
        "http.cookiefile=",
        "http.curloptresolve=x\nhttp.curloptresolve=",
        "http.proxyauthmethod=ntlm",
        "http.proxy=",
    ] {
        assert_eq!(unable(harmless, &[]), None, "{harmless}");
    }
    assert!(unable("", &[("GIT_SSL_CERT", "/c")]).is_some());
    assert_eq!(unable("http.sslversion=x", &[("GIT_SSL_VERSION", "")]), None);
    assert_eq!(unable("http.sslcert=/c", &[]).unwrap(), "http.sslCert is set");
    assert!(world("", &[]).http("https://").unable.is_some());
    let latin = World::new(b"http.proxy\n\xff\0", b"", b"", Variables::new([]), Path::new("/"));
    assert!(latin.http("https://h").unable.is_some());
}

#[test]
fn rewrites() {
    // tests/world/urls.rs compares with git.
    let world = world(
        "url.b.insteadof=h\nurl.a.insteadof=ht\nurl.c.insteadof=ht\nurl.z.pushinsteadof=https://h",
        &[],
    );
    assert_eq!(world.rewrite("https://h"), "atps://h");
    assert_eq!(world.rewrite("ssh://h"), "ssh://h");
}

#[test]
fn transports() {
    let allowed = |config: &str, environment: &[(&str, &str)]| -> String {
        let world = world(config, environment);
        let all = ["http", "https", "git", "ssh", "file", "ext"];
        all.into_iter()
            .filter(|t| world.allows(t))
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (config, environment, expected) in [
        ("", &[][..], "http https git ssh file"),
        ("", &[("GIT_PROTOCOL_FROM_USER", "0")], "http https git ssh"),
        ("", &[("GIT_ALLOW_PROTOCOL", "file:ext")], "file ext"),
        ("protocol.http.allow=always", &[("GIT_ALLOW_PROTOCOL", "")], ""),
        ("protocol.allow=never\nprotocol.https.allow=Always", &[], "https"),
        ("protocol.git.allow=never", &[], "http https ssh file"),
        ("protocol.allow=user", &[("GIT_PROTOCOL_FROM_USER", "no")], ""),
        (
            "protocol.ssh.allow=whatever\nprotocol.http.allow",
            &[],
            "https git file",
        ),
    ] {
        assert_eq!(allowed(config, environment), expected, "{config} {environment:?}");
    }
}

#[test]
fn ssh_and_protocol() {
    let all =
        "core.sshcommand=ssh -4\nssh.variant=plink\ncore.gitproxy=x\nprotocol.version=1\ntransfer.hiderefs=refs/x";
    let (bare, set) = (world("", &[]), world(all, &[("GIT_SSH", "/bin/s")]));
    assert_eq!(bare.ssh(), Ssh::Default);
    assert_eq!(set.ssh(), Ssh::Command("ssh -4".to_owned()));
    assert_eq!(
        world(all, &[("GIT_SSH_COMMAND", "e")]).ssh(),
        Ssh::Command("e".to_owned())
    );
    assert_eq!(world("", &[("GIT_SSH", "/bin/s")]).ssh(), Ssh::Program("/bin/s".into()));
    assert_eq!(
        (bare.ssh_variant(), set.ssh_variant()),
        (None, Some("plink".to_owned()))
    );
    assert_eq!(
        world(all, &[("GIT_SSH_VARIANT", "tortoise")]).ssh_variant().unwrap(),
        "tortoise"
    );
    assert_eq!((bare.git_proxy(), set.git_proxy()), (false, true));
    assert!(world("", &[("GIT_PROXY_COMMAND", "x")]).git_proxy());
    assert!(!world("", &[("GIT_PROXY_COMMAND", "")]).git_proxy());
    assert_eq!((bare.protocol_v2(), set.protocol_v2()), (true, false));
    assert!(world("protocol.version=0\nprotocol.version=2", &[]).protocol_v2());
    assert_eq!((bare.hides_refs(), set.hides_refs()), (false, true));
    assert!(world("uploadpack.hiderefs=!refs/x", &[]).hides_refs());
}

#[test]
fn logins_go_to_their_own_server_only() {
    let world = world("", &[]);
    let login = |remote: &str, url: &str| {
        let login = world.login(&Remote::new(remote), url)?;
        Some(format!("{}:{}", login.username, login.password))
    };
    for (remote, url, expected) in [
        ("https://u:p@h/x", "https://h/x", Some("u:p")),
        ("https://u:@h/x", "https://h/x", Some("u:")),
        ("https://u:p@h:443/x", "https://H/x", Some("u:p")),
        // Rewritten to another server, scheme or port: what is written for one is not told to another.
        ("https://u:p@h/x", "https://evil/x", None),
        ("https://u:p@x/x", "http://x/x", None),
        ("https://u:p@x/x", "https://x:8443/x", None),
        ("https://u:p@x/x", "https://h/x", Some("of-netrc:n")),
        ("https://x/x", "https://a%40:b@h/x", Some("a@:b")),
        ("https://h/x", "https://h/x", Some("of-netrc:n")),
        ("https://h/x", "https://h:8443/x", Some("of-netrc:n")),
        ("https://of-netrc@h/x", "https://h/x", Some("of-netrc:n")),
        ("https://other@h/x", "https://h/x", None),
        ("http://[::1]:80/x", "http://[::1]:80/x", Some("six:6")),
        ("https://nobody/x", "https://nobody/x", None),
        ("/a/path", "/a/path", None),
    ] {
        assert_eq!(login(remote, url).as_deref(), expected, "{remote} {url}");
    }
    let name = World::credentials(&Remote::new("https://tok@h/x"), "https://h/x").unwrap();
    assert_eq!((name.username.as_str(), name.password), ("tok", None));
}

#[test]
fn nothing_is_shown() {
    let world = world("http.extraheader=A: hunter2", &[("GIT_SSH_COMMAND", "hunter2")]);
    let shown = format!(
        "{world:?} {:?}",
        world.login(&Remote::new("https://h/x"), "https://h/x")
    );
    assert_eq!(shown, "World(***) Some(Login(***))");
}
