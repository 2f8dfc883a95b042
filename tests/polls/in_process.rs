//! What a poll costs servers and this machine: one request over a kept connection, and no process.

use crate::common::{Calls, MAIN, count, of, polls, project, wait_polls};
use crate::support::daemon::Site;
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use crate::support::servers::git_daemon::GitDaemon;
use crate::support::servers::http::{HttpGit, HttpOptions, Look};
use crate::support::servers::ssh::SshGit;
use std::collections::BTreeSet;

/// The requests of one connection, without those of others that had ended before.
#[track_caller]
fn all_are_posts_of_one_connection(looks: &[Look]) {
    for look in looks {
        assert_eq!(
            (look.method.as_str(), look.connection),
            ("POST", looks[0].connection),
            "{looks:?}"
        );
    }
}

#[test]
fn an_unchanged_remote_is_one_request_and_no_process() {
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    let repo = Repo::new(scratch.join("source"));
    let first = repo.commit(&[("a", "1")]);
    let served = repo.bare(root.join("repo.git"));
    let http = HttpGit::start(&scratch, &root, HttpOptions::default());
    let https = HttpGit::start(&scratch, &root, HttpOptions { auth: None, tls: true });
    let git = GitDaemon::start(&scratch, &root);
    let ssh = SshGit::start(&scratch);
    let remotes = [
        ("http", http.url("repo.git")),
        ("https", https.url("repo.git")),
        ("git", git.url("repo.git")),
        ("ssh", ssh.url(served.path())),
    ];
    let toml = "interval = '150ms'\nlimit = 4\n".to_owned()
        + &remotes.each_ref().map(|(name, url)| project(name, url, "")).concat();
    let calls = Calls::of(&scratch, &["git", "ssh"]);
    let site = Site::new(&scratch, &toml).with_env([
        ("GIT_SSH_COMMAND", ssh.command()),
        ("GIT_SSL_CAINFO", https.ca_file().display().to_string()),
        ("PATH", calls.path.clone()),
    ]);
    let _daemon = site.start();
    for (name, _) in &remotes {
        site.wait_built(name, MAIN, &first);
    }
    let looks = || [http.looks("/repo.git/"), https.looks("/repo.git/")];
    let (before, called, logins) = (looks(), calls.all(), ssh.logins());
    let (asked, unchanged) = (count(&site, "asked"), count(&site, "unchanged"));
    let after = wait_for_state("ten more looks at each", SOON, || {
        let after = looks();
        let enough = after
            .iter()
            .zip(&before)
            .all(|(after, before)| after.len() >= before.len() + 10);
        enough.then(|| after.clone()).ok_or_else(|| format!("{after:?}"))
    });
    for (after, before) in after.iter().zip(&before) {
        all_are_posts_of_one_connection(&after[before.len()..]);
    }
    wait_polls(&site, 4);
    let (asked, unchanged) = (count(&site, "asked") - asked, count(&site, "unchanged") - unchanged);
    assert!(
        asked >= 25 && asked.abs_diff(unchanged) <= 4,
        "{asked} asked, {unchanged} unchanged"
    );
    assert_eq!(
        calls.all()[called.len()..],
        [] as [&str; 0],
        "processes for unchanged remotes"
    );
    assert_eq!(ssh.logins(), logins, "logins for unchanged remotes");
    assert_eq!(polls(&site)["noteworthy"].as_array().unwrap().len(), 0);

    // All of them were looked at indeed.
    let second = repo.commit(&[("a", "2")]);
    repo.push_to(&served);
    for (name, _) in &remotes {
        site.wait_built(name, MAIN, &second);
        assert!(of(&site, name)["fallback"].is_null());
    }
    assert!(
        !calls.all().iter().any(|call| call.contains("ls-remote")),
        "{:?}",
        calls.all()
    );
}

#[test]
fn what_only_git_can_ask_is_told_and_built() {
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    let repo = Repo::new(scratch.join("source"));
    let first = repo.commit(&[("a", "1")]);
    let served = repo.bare(root.join("dumb/repo.git"));
    served.git(&["update-server-info"]);
    let files = format!("location /dumb/ {{ root {}; }}", root.display());
    let dumb = HttpGit::start_with(&scratch, &root, HttpOptions::default(), &files);
    let ssh = SshGit::start(&scratch);
    // Takes what git gives to any ssh, and not what only OpenSSH knows.
    let plain = scratch.script(
        "plain-connect",
        &format!(
            "case \"$*\" in *-G*|*-M*|*-S*) exit 255;; esac\nexec {} \"$@\"",
            ssh.command()
        ),
    );
    let calls = Calls::of(&scratch, &["git"]);
    let toml = "interval = '200ms'\nlimit = 2\n".to_owned()
        + &project("dumb", &dumb.url("dumb/repo.git"), "shallow = false")
        + &project(
            "plain",
            &ssh.url(served.path()),
            &format!("env = {{ GIT_SSH_COMMAND = {plain:?}, GIT_SSH_VARIANT = 'ssh' }}"),
        );
    let site = Site::new(&scratch, &toml).with_env([("PATH", &calls.path)]);
    let _daemon = site.start();
    for name in ["dumb", "plain"] {
        site.wait_built(name, MAIN, &first);
    }
    let text = String::from_utf8(site.cli(&["status"]).stdout).unwrap();
    for name in ["dumb", "plain"] {
        assert!(text.contains(&format!("{name}: asked by git ls-remote, as ")), "{text}");
        assert!(of(&site, name)["trouble"].is_null(), "{text}");
    }
    assert!(calls.all().iter().any(|call| call.starts_with("git ls-remote ")));
    let second = repo.commit(&[("a", "2")]);
    repo.push_to(&served);
    served.git(&["update-server-info"]);
    for name in ["dumb", "plain"] {
        site.wait_built(name, MAIN, &second);
    }
}

#[test]
fn a_connection_that_the_server_ends_between_polls_is_no_trouble() {
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    let repo = Repo::new(scratch.join("source"));
    let first = repo.commit(&[("a", "1")]);
    let served = repo.bare(root.join("repo.git"));
    let tls = HttpOptions { auth: None, tls: true };
    let few = HttpGit::start_with(&scratch, &root, tls, "keepalive_requests 3;");
    let none = HttpGit::start_with(&scratch, &root, HttpOptions::default(), "keepalive_timeout 0;");
    let ssh = SshGit::start(&scratch);
    let toml = "interval = '100ms'\nlimit = 3\n".to_owned()
        + &project("few", &few.url("repo.git"), "")
        + &project("none", &none.url("repo.git"), "")
        + &project("ssh", &ssh.url(served.path()), "");
    let site = Site::new(&scratch, &toml).with_env([
        ("GIT_SSH_COMMAND", ssh.command()),
        ("GIT_SSL_CAINFO", few.ca_file().display().to_string()),
    ]);
    let daemon = site.start();
    for name in ["few", "none", "ssh"] {
        site.wait_built(name, MAIN, &first);
    }
    let [before_few, before_none] = [&few, &none].map(|server| server.looks("/repo.git/").len());
    for _ in 0..3 {
        ssh.end_connections();
        wait_polls(&site, 12);
    }
    let [few, none] = [
        &few.looks("/repo.git/")[before_few..],
        &none.looks("/repo.git/")[before_none..],
    ];
    let connections = |looks: &[Look]| looks.iter().map(|look| look.connection).collect::<BTreeSet<_>>().len();
    assert!(connections(few) >= few.len() / 3, "{few:?}");
    assert_eq!(connections(none), none.len());
    assert!(
        few.iter().chain(none).all(|look| look.method == "POST"),
        "{few:?} {none:?}"
    );
    assert_eq!(count(&site, "failed"), 0, "{}", daemon.log());
    assert_eq!(
        polls(&site)["noteworthy"].as_array().unwrap().len(),
        0,
        "{}",
        polls(&site)
    );
}
