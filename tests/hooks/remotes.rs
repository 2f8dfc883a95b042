//! A push is heard of by each sender's hook, signed as they sign, and built at once; anything else leads to nothing.

use crate::common::*;
use crate::support::daemon::{Daemon, Site};
use crate::support::jobs::jobs;
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use serde_json::json;
use std::process::Command;

const MAIN: &str = "refs/heads/main";

type Headers<'a> = Vec<(&'a str, &'a str)>;

/// Dropped in this order.
struct Bench {
    daemon: Daemon,
    site: Site,
    repos: Vec<Repo>,
    scratch: Scratch,
}

impl Bench {
    /// Two projects follow the first repository, one the second; none is polled within the test.
    fn start(hooks: bool) -> Self {
        let scratch = Scratch::new();
        let repos: Vec<Repo> = ["one", "two"].map(|name| Repo::new(scratch.join(name))).into();
        let projects = [("a", 0), ("b", 0), ("c", 1)];
        let first: Vec<String> = repos.iter().map(|repo| repo.commit(&[("file", "first")])).collect();
        let table = |(name, repo): (&str, usize)| {
            // As people write it: the key is the same.
            format!(
                "[projects.{name}]\nremote = \"file://{}/\"\n",
                repos[repo].path().display()
            )
        };
        let tables = projects.map(table).concat();
        let hooks = if hooks { secrets(&scratch) } else { String::new() };
        let site = Site::new(
            &scratch,
            &format!("interval = '1h'\nlisten = '127.0.0.1:0'\nlog_level = 'debug'\n{hooks}{tables}"),
        );
        let daemon = site.start();
        for (name, repo) in projects {
            site.wait_built(name, MAIN, &first[repo]);
        }
        Self {
            daemon,
            site,
            repos,
            scratch,
        }
    }

    fn remote(&self, n: usize) -> String {
        self.repos[n].path().display().to_string()
    }

    fn push(&self, n: usize, what: &str) -> String {
        self.repos[n].commit(&[("file", what)])
    }

    fn jobs(&self) -> usize {
        jobs(&self.site.workdir).len()
    }

    /// Waits until so many questions were asked since.
    #[track_caller]
    fn wait_asked(&self, before: u64, more: u64) {
        wait_for_state("the remotes to be asked", SOON, || {
            let asked = asked(&self.site);
            if asked >= before + more {
                Ok(())
            } else {
                Err(format!("{asked}, {}", self.daemon.log()))
            }
        });
    }
}

#[test]
fn each_sender_makes_a_push_be_built_at_once() {
    let bench = Bench::start(true);
    let door = door(&bench.site);
    let url = bench.remote(0);
    let gitlab =
        json!({ "object_kind": "push", "project": { "git_http_url": url, "git_ssh_url": "git@h:x.git" } }).to_string();
    let github = json!({ "repository": { "clone_url": url, "ssh_url": "git@h:x.git" } }).to_string();
    let form = format!("payload={}", github.replace('&', "%26"));
    let of = |text: &str| format!("sha256={}", hmac(SECRET, text));
    let (signed, bare, signed_form) = (of(&github), hmac(SECRET, &github), of(&form));
    let bearer = format!("Bearer {SECRET}");
    let by_form = format!("remote={url}");
    let by_token = format!("project=a&project=b&token={}", SECRET.replace(' ', "+"));
    let urlencoded = ("content-type", "application/x-www-form-urlencoded");
    let sent: [(&str, Headers<'_>, &str); 8] = [
        (
            "gitlab",
            vec![("X-Gitlab-Token", SECRET), ("X-Gitlab-Event", "Push Hook")],
            &gitlab,
        ),
        (
            "github",
            vec![("X-Hub-Signature-256", &signed), ("X-GitHub-Event", "push")],
            &github,
        ),
        (
            "github",
            vec![
                ("X-Hub-Signature-256", &signed_form),
                ("X-GitHub-Event", "push"),
                urlencoded,
            ],
            &form,
        ),
        (
            "gitea",
            vec![("X-Gitea-Signature", &bare), ("X-Gitea-Event", "push")],
            &github,
        ),
        (
            "gitea",
            vec![("X-Forgejo-Signature", &bare), ("X-Forgejo-Event", "push")],
            &github,
        ),
        (
            "gitea",
            vec![("X-Hub-Signature-256", &signed), ("X-GitHub-Event", "push")],
            &github,
        ),
        ("form", vec![("Authorization", &bearer)], &by_form),
        ("form", vec![urlencoded], &by_token),
    ];
    for (n, (sender, headers, body)) in sent.iter().enumerate() {
        let commit = bench.push(0, &format!("push {n}"));
        let answer = post(&door, &format!("/hooks/{sender}"), headers, body);
        assert_eq!(answer.poked(), (2, 0), "{sender}");
        for project in ["a", "b"] {
            bench.site.wait_built(project, MAIN, &commit);
        }
        // Not one byte less, nor another one.
        let damaged = body.replacen("remote", "remotf", 1).replacen("file", "filf", 1);
        let wrong: Vec<(&str, &str)> = headers.iter().map(|(name, _)| (*name, "sha256=0")).collect();
        let refused = post(
            &door,
            &format!("/hooks/{sender}"),
            &wrong,
            &damaged.replace("token=", "token=x"),
        );
        assert_eq!(
            (refused.status, refused.body.as_str()),
            (403, "{\"error\":\"refused\"}")
        );
    }
    assert_eq!(counts(&bench.site), [8, 8, 0]);
    let told = bench.daemon.log().matches("a webhook was refused").count();
    assert_eq!(told, 1, "once a minute: {}", bench.daemon.log());
    let text = String::from_utf8(bench.site.cli(&["status"]).stdout).unwrap();
    let line = format!("webhooks: taken on {door}; since the start 8 accepted, 8 refused, 0 too many");
    assert!(text.contains(&line), "{text}");
    nothing_is_told(&bench.site, &bench.daemon);
}

#[test]
fn a_forged_hook_changes_nothing() {
    let bench = Bench::start(true);
    let (door, jobs) = (door(&bench.site), bench.jobs());
    let bearer = format!("Bearer {SECRET}");
    let form = |body: &str| post(&door, "/hooks/form", &[("authorization", &bearer)], body);
    // Remotes that have not moved.
    let before = asked(&bench.site);
    assert_eq!(
        form(&format!("remote={}&remote={}", bench.remote(0), bench.remote(1))).poked(),
        (3, 0)
    );
    bench.wait_asked(before, 2);
    // What nobody follows.
    for body in ["project=z", "remote=https://git.example.org/x", "image=r.io/base:1"] {
        assert_eq!(form(body).poked(), (0, 0));
    }
    // Commits that are claimed, and are not there.
    let claimed = json!({
        "object_kind": "push", "ref": "refs/heads/evil", "after": "a".repeat(40),
        "project": { "git_http_url": bench.remote(0) },
    });
    let before = asked(&bench.site);
    let answer = post(
        &door,
        "/hooks/gitlab",
        &[("x-gitlab-token", SECRET)],
        &claimed.to_string(),
    );
    assert_eq!(answer.poked(), (2, 0));
    bench.wait_asked(before, 1);
    assert_eq!(bench.jobs(), jobs, "{}", bench.daemon.log());
    // What says nothing of refs.
    let issue = json!({ "object_kind": "issue", "project": { "git_http_url": bench.remote(0) } }).to_string();
    let answer = post(&door, "/hooks/gitlab", &[("x-gitlab-token", SECRET)], &issue);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{\"poked\":{\"projects\":0,\"bases\":0}}")
    );
    // What makes no sense, from one who knows the secret.
    for (path, body) in [("gitlab", "{"), ("form", ""), ("form", "project=../x")] {
        let headers = [("x-gitlab-token", SECRET), ("authorization", bearer.as_str())];
        let answer = post(&door, &format!("/hooks/{path}"), &headers, body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.starts_with("{\"error\":"), "{answer:?}");
    }
    assert_eq!(bench.jobs(), jobs);
}

#[test]
fn many_hooks_within_a_second_are_two_questions() {
    let bench = Bench::start(true);
    let door = door(&bench.site);
    let bearer = format!("Bearer {SECRET}");
    let before = asked(&bench.site);
    let begin = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(
            post(&door, "/hooks/form", &[("authorization", &bearer)], "project=c").poked(),
            (1, 0)
        );
    }
    let took = begin.elapsed().as_secs();
    let commit = bench.push(1, "the last one is not lost");
    post(&door, "/hooks/form", &[("authorization", &bearer)], "project=c").poked();
    bench.site.wait_built("c", MAIN, &commit);
    let questions = asked(&bench.site) - before;
    assert!((2..=took + 4).contains(&questions), "{questions} in {took} s");
}

#[test]
fn the_socket_needs_no_secret_unless_there_is_one() {
    let bench = Bench::start(false);
    // By TCP nobody is heard.
    let door = door(&bench.site);
    for sender in ["gitlab", "github", "gitea", "registry", "form"] {
        let answer = post(&door, &format!("/hooks/{sender}"), &[], "project=c");
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    assert_eq!(
        bench.daemon.log().matches("there is no secret for its sender").count(),
        1
    );
    assert!(
        bench.daemon.log().contains("nobody is heard there"),
        "{}",
        bench.daemon.log()
    );
    let commit = bench.push(1, "by curl");
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--data", "project=c", "--unix-socket"])
        .arg(bench.site.workdir.join("pipelined.sock"))
        .arg("http://localhost/hooks/form")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&curl.stdout),
        "{\"poked\":{\"projects\":1,\"bases\":0}}",
        "{curl:?}"
    );
    bench.site.wait_built("c", MAIN, &commit);
    // One that is configured is wanted there too.
    let file = bench.scratch.write("token", SECRET);
    let config = std::fs::read_to_string(&bench.site.config).unwrap();
    std::fs::write(&bench.site.config, format!("{config}[hooks]\nform = {file:?}\n")).unwrap();
    assert!(bench.site.cli(&["reload"]).status.success());
    let inside = |headers: &[(&str, &str)]| post_inside(&bench.site.workdir, "/hooks/form", headers, "project=c");
    assert_eq!(inside(&[]).status, 403);
    assert_eq!(
        inside(&[("authorization", &format!("Bearer {SECRET}"))]).poked(),
        (1, 0)
    );
    assert_eq!(post_inside(&bench.site.workdir, "/hooks/gitlab", &[], "{}").status, 200);
    assert_eq!(post_inside(&bench.site.workdir, "/hooks/nobody", &[], "{}").status, 404);
}
