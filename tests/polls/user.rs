//! The user's git world, by the environment of the daemon and of a project; and that nobody is ever asked anything.

use crate::common::{Calls, MAIN, count, of, polls, project, wait_polls, wait_trouble};
use crate::support::daemon::Site;
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use crate::support::servers::http::{HttpGit, HttpOptions};
use crate::support::servers::ssh::SshGit;
use crate::support::spy::Spy;
use crate::support::witness::files_with;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// That these words are in nothing that the site shows or leaves behind.
#[track_caller]
fn assert_secret(site: &Site, spy: &Spy, words: &[&str]) {
    assert_eq!(spy.seen(), Default::default(), "in arguments");
    let shown: Vec<u8> = [&["status"][..], &["status", "--json"], &["config"], &["plan"]]
        .into_iter()
        .flat_map(|args| {
            let output = site.cli(args);
            [output.stdout, output.stderr].concat()
        })
        .collect();
    let shown = String::from_utf8_lossy(&shown);
    for word in words {
        assert_eq!(files_with(&site.workdir, word), [] as [PathBuf; 0], "{word}");
        assert_eq!(files_with(&site.log, word), [] as [PathBuf; 0], "{word}");
        assert!(!shown.contains(word), "{word} in {shown}");
    }
}

#[test]
fn settings_for_http_hold_for_polls_and_builds() {
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    let repo = Repo::new(scratch.join("source"));
    let first = repo.commit(&[("a", "1")]);
    let served = repo.bare(root.join("via/repo.git"));
    let token = "if ($http_x_token != \"t0ken-5e11a\") { return 403; }";
    let plain = HttpGit::start_with(&scratch, &root, HttpOptions::default(), token);
    let tls = HttpOptions { auth: None, tls: true };
    let secure = HttpGit::start_with(&scratch, &root, tls, token);
    let [unverified, untrusted] = [(), ()].map(|()| HttpGit::start(&scratch, &root, tls));
    let forward = "location /via/ { proxy_pass http://$http_host$request_uri; }";
    let proxy = HttpGit::start_with(&scratch, &root, HttpOptions::default(), forward);
    let own = HttpGit::start_with(&scratch, &root, HttpOptions::default(), &token.replace("5e11a", "0wn"));

    let site = Site::new(&scratch, "");
    let gitconfig = format!(
        "[url {plain:?}]\n\tinsteadOf = short:\n\
         [http {plain:?}]\n\tproxy = {proxy}\n\textraHeader = X-Token: t0ken-5e11a\n\
         [http {secure:?}]\n\tsslCAInfo = {ca}\n\textraHeader = X-Token: t0ken-5e11a\n\
         [http {unverified:?}]\n\tsslVerify = false\n",
        plain = plain.url(""),
        proxy = proxy.url(""),
        secure = secure.url(""),
        unverified = unverified.url(""),
        ca = secure.ca_file().display(),
    );
    std::fs::write(&site.gitconfig, gitconfig).unwrap();
    let calls = Calls::of(&scratch, &["git"]);
    let site = site.with_env([("PATH", &calls.path)]);
    let with_token = "env = { GIT_CONFIG_COUNT = '1', GIT_CONFIG_KEY_0 = 'http.extraHeader', \
                      GIT_CONFIG_VALUE_0 = 'X-Token: t0ken-0wn' }";
    let good = [
        ("rewritten", "short:via/repo.git".to_owned(), ""),
        ("secure", secure.url("via/repo.git"), ""),
        ("unverified", unverified.url("via/repo.git"), ""),
        ("own", own.url("via/repo.git"), with_token),
    ];
    let toml = "interval = '200ms'\nlimit = 3\n".to_owned()
        + &good
            .each_ref()
            .map(|(name, url, more)| project(name, url, more))
            .concat()
        + &project("untrusted", &untrusted.url("via/repo.git"), "")
        + &project("without", &own.url("via/repo.git"), "");
    site.write_config(&toml);
    let spy = Spy::start(&["5e11a"]);
    let daemon = site.start();
    for (name, ..) in &good {
        site.wait_built(name, MAIN, &first);
    }
    wait_trouble(&site, "untrusted", "certificate is not trusted");
    wait_trouble(&site, "without", "not allowed in (it answers 403");
    // By the proxy and nowhere else, with the header, and in process.
    let servers = [&plain, &secure, &unverified, &proxy];
    let before = servers.map(|server| server.looks("/via/").len());
    wait_for("five more looks at each", SOON, || {
        let enough = servers
            .iter()
            .zip(before)
            .all(|(server, before)| server.looks("/via/").len() >= before + 5);
        enough.then_some(())
    });
    for (server, before) in servers.into_iter().zip(before) {
        let looks = server.looks("/via/");
        assert!(looks[before..].iter().all(|look| look.method == "POST"), "{looks:?}");
    }
    let direct = plain.looks("/via/").len().abs_diff(proxy.looks("/via/").len());
    assert!(direct <= 1, "{direct} requests were not sent by the proxy");
    let fallback = |remote: &serde_json::Value| remote["fallback"].is_string();
    let noteworthy = polls(&site)["noteworthy"].as_array().unwrap().clone();
    assert!(!noteworthy.iter().any(fallback), "{noteworthy:?}");
    assert!(
        !calls.all().iter().any(|call| call.contains("ls-remote")),
        "{:?}",
        calls.all()
    );
    assert!(!daemon.log().contains("0wn"));
    let second = repo.commit(&[("a", "2")]);
    repo.push_to(&served);
    for (name, ..) in &good {
        site.wait_built(name, MAIN, &second);
    }
    assert_secret(&site, &spy, &["5e11a"]);
}

#[test]
fn logins_come_from_where_git_has_them_and_stay_secret() {
    const WORDS: [&str; 2] = ["pw-4c71d", "pw-0ther"];
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    let repo = Repo::new(scratch.join("source"));
    let first = repo.commit(&[("a", "1")]);
    repo.bare(root.join("repo.git"));
    let start = |password| {
        let auth = Some(("robot", password));
        HttpGit::start(&scratch, &root, HttpOptions { auth, tls: false })
    };
    let [helped, later] = [start(WORDS[0]), start(WORDS[1])];
    scratch.write(
        "home/.netrc",
        format!("machine localhost login robot password {}\n", WORDS[0]),
    );
    let told = scratch.write("told", "");
    let given = scratch.write("given", "wrong-pw");
    // One helper for each server, with the server's name before what it is told to do.
    let helper = |name: &str, password: &str| {
        let body = format!(
            "cat >/dev/null; echo {name} $1 >>'{}'\n[ \"$1\" != get ] || printf 'username=robot\\npassword=%s\\n' {password}",
            told.display()
        );
        scratch.script(name, &body).display().to_string()
    };
    let site = Site::new(&scratch, "");
    let gitconfig = format!(
        "[credential {:?}]\n\thelper = {}\n[credential {:?}]\n\thelper = {}\n",
        helped.url(""),
        helper("helped", WORDS[0]),
        later.url(""),
        helper("later", &format!("\"$(cat '{}')\"", given.display())),
    );
    std::fs::write(&site.gitconfig, gitconfig).unwrap();
    let asked = scratch.join("asked");
    let ask = scratch
        .script("ask", &format!("echo \"$*\" >>'{}'", asked.display()))
        .display()
        .to_string();
    let home = scratch.join("home").display().to_string();
    let site = site.with_env([
        ("HOME", home.as_str()),
        ("XDG_CONFIG_HOME", &home),
        ("DISPLAY", ":0"),
        ("SSH_ASKPASS", &ask),
        ("SSH_ASKPASS_REQUIRE", "force"),
    ]);
    let remotes = [
        ("helped", helped.url("repo.git")),
        ("netrc", helped.url("repo.git").replace("127.0.0.1", "localhost")),
        (
            "in-url",
            helped.url("repo.git").replace("//", &format!("//robot:{}@", WORDS[0])),
        ),
    ];
    let toml = "interval = '150ms'\nlimit = 3\nlog_level = 'debug'\n".to_owned()
        + &remotes.each_ref().map(|(name, url)| project(name, url, "")).concat()
        + &project("later", &later.url("repo.git"), "")
        + &project(
            "nobody",
            &later
                .url("repo.git")
                .replace("127.0.0.1", "localhost")
                .replace("//", "//nobody@"),
            "",
        );
    site.write_config(&toml);
    let spy = Spy::start(&WORDS);
    let daemon = site.start();
    for (name, _) in &remotes {
        site.wait_built(name, MAIN, &first);
    }
    let refused = wait_trouble(&site, "later", "the login of the credential helper was refused");
    wait_trouble(&site, "nobody", "no credential helper knows a password");
    let notes = || std::fs::read_to_string(&told).unwrap();
    let times = |what: &str| notes().matches(what).count();
    assert!(times("helped get") >= 1 && times("helped store") >= 1, "{}", notes());
    assert_eq!(times("helped erase"), 0, "{}", notes());
    // For a login that works the helper is not asked again; for one that does not, once for each look.
    let (before, unchanged) = (times("helped"), count(&site, "unchanged"));
    let requests = helped.looks("/repo.git/").len();
    wait_for("more looks", SOON, || {
        (count(&site, "unchanged") >= unchanged + 20).then_some(())
    });
    assert_eq!(times("helped"), before, "{}", notes());
    assert!(
        helped.looks("/repo.git/")[requests..]
            .iter()
            .all(|look| look.method == "POST")
    );
    assert!(times("later get").abs_diff(times("later erase")) <= 1, "{}", notes());
    assert!(
        times("later get") <= 7,
        "the wrong password was tried without a pause: {}",
        notes()
    );
    assert_eq!(of(&site, "later")["trouble"]["since"], refused["since"]);
    let log = daemon.log();
    assert!(!log.contains("idle connection"), "libraries talk at debug: {log}");
    let warned = log
        .lines()
        .filter(|line| line.contains(" WARN ") && line.contains("helper was refused"));
    assert_eq!(warned.count(), 1, "{log}");
    std::fs::write(&given, WORDS[1]).unwrap();
    assert!(site.cli(&["poll", "later"]).status.success());
    site.wait_built("later", MAIN, &first);
    assert!(times("later store") >= 1, "{}", notes());
    assert!(
        !asked.exists(),
        "a person was asked: {:?}",
        std::fs::read_to_string(&asked)
    );
    assert_secret(&site, &spy, &WORDS);
}

/// A daemon with a terminal of its own.
struct Terminal(Child, Option<i32>);

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal ends with the daemon, which takes a hangup for a reload.
        match self.1 {
            Some(daemon) => kill(Pid::from_raw(daemon), Signal::SIGTERM).unwrap(),
            None => self.0.kill().unwrap(),
        }
        self.0.wait().unwrap();
    }
}

#[test]
fn nobody_is_asked_at_a_terminal() {
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    Repo::new(scratch.join("source")).bare(root.join("repo.git"));
    let auth = Some(("robot", "pw"));
    let http = HttpGit::start(&scratch, &root, HttpOptions { auth, tls: false });
    let ssh = SshGit::start(&scratch);
    let fallback = "env = { GIT_CONFIG_COUNT = '1', GIT_CONFIG_KEY_0 = 'protocol.version', GIT_CONFIG_VALUE_0 = '0' }";
    let toml = "interval = '200ms'\n".to_owned()
        + &project("http", &http.url("repo.git"), "")
        + &project("http-git", &http.url("repo.git"), fallback)
        // Its host key is known to nobody.
        + &project("ssh", &ssh.url(&root.join("repo.git")), "")
        + &project("ssh-git", &ssh.url(&root.join("repo.git")), fallback);
    let site = Site::new(&scratch, &toml);
    let command = site.command(&["run"]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let seen = scratch.join("seen");
    let mut terminal = Command::new("script");
    terminal
        .args(["--quiet", "--flush", "--command", &line.join(" ")])
        .arg(&seen)
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut terminal = Terminal(terminal.spawn().unwrap(), None);
    let pid = wait_for_state("the daemon", SOON, || {
        let output = site.cli(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["daemon"]["pid"].as_i64().ok_or_else(|| format!("{output:?}"))
    });
    terminal.1 = Some(pid.try_into().unwrap());
    for name in ["http", "http-git", "ssh", "ssh-git"] {
        wait_trouble(&site, name, "not allowed in");
    }
    wait_polls(&site, 2);
    let seen = std::fs::read_to_string(&seen).unwrap();
    assert!(seen.contains("cannot ask the remote"), "{seen}");
    // Git's words for that it does not ask.
    let seen = seen.replace("could not read Username for", "");
    for word in ["Username for", "Password for", "'s password", "continue connecting"] {
        assert!(!seen.contains(word), "{word} in {seen}");
    }
}
