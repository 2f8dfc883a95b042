//! Promise 4 on a running daemon: what HUP, `pipelined reload` and `watch_config` change, and what they leave alone.

#![cfg(test)]

mod support;

use nix::sys::signal::Signal;
use std::path::PathBuf;
use support::daemon::{Daemon, Site, build_log, wait_log};
use support::jobs::{job_of, jobs, wait_job, wait_outcome};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for, wait_for_state};

const MAIN: &str = "refs/heads/main";

struct Bench {
    site: Site,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let gate = "echo word is $WORD\nwhile [ -e \"$HOLD\" ]; do sleep 0.05; done";
        scratch.script("gate", gate);
        scratch.script("after", "echo then $WORD");
        let site = Site::new(&scratch, "");
        Self { site, scratch }
    }

    fn repo(&self, name: &str) -> (Repo, String) {
        let repo = Repo::new(self.scratch.join(name));
        let commit = repo.commit(&[("name", name)]);
        (repo, commit)
    }

    /// A project's table; it holds for as long as there is a file `hold-NAME`.
    fn project(&self, name: &str, word: &str, more: &str) -> String {
        let path = self.scratch.path().display();
        format!(
            "[projects.{name}]\nremote = \"{path}/{name}\"\nprepare_callback = \"{path}/gate\"\n\
             success_callback = \"{path}/after\"\nenv = {{ WORD = \"{word}\", HOLD = \"{path}/hold-{name}\" }}\n{more}\n"
        )
    }

    fn write(&self, limit: usize, more: &str, projects: &[String]) {
        self.site.write_config(&format!(
            "interval = \"100ms\"\ngrace = \"300ms\"\nlimit = {limit}\n{more}\n{}",
            projects.concat()
        ));
    }

    fn hold(&self, name: &str) -> PathBuf {
        self.scratch.write(format!("hold-{name}"), "")
    }

    /// HUP, and its effect.
    #[track_caller]
    fn hup(&self, daemon: &Daemon) {
        let before = reloads(daemon);
        daemon.signal(Signal::SIGHUP);
        wait_for_state("the reload", SOON, || {
            (reloads(daemon) > before).then_some(()).ok_or_else(|| daemon.log())
        });
    }
}

/// How many reloads have ended, well or not.
fn reloads(daemon: &Daemon) -> usize {
    let log = daemon.log();
    log.matches("reloaded: ").count() + log.matches("the config was not reloaded").count()
}

#[test]
fn hup_changes_the_next_job_and_which_projects_there_are() {
    let bench = Bench::new();
    let (a, first) = bench.repo("a");
    let [(_, of_b), (_, of_c), (_, of_d)] = ["b", "c", "d"].map(|name| bench.repo(name));
    let all = |word: &str, c: &str| {
        let [b, c, d] = [("b", ""), ("c", c), ("d", "")].map(|(name, more)| bench.project(name, word, more));
        [bench.project("a", word, ""), b, c, d]
    };
    let hold = bench.hold("a");
    bench.write(1, "", &all("old", "")[..1]);
    let daemon = bench.site.start();
    let dir = bench.site.job_dir("a", MAIN, &format!("{}.tmp", short(&first)));
    wait_log(&dir, "word is old");
    bench.write(1, "", &all("old", "")[..3]);
    bench.hup(&daemon);
    for commit in [&of_b, &of_c] {
        wait_job(&bench.site, commit, "a queued job", |job| job.state == "queued");
    }

    // In the middle of a build: b goes, c is disabled, d comes, a has another word.
    let [a2, _, c2, d2] = all("new", "enabled = false");
    bench.write(1, "", &[a2, c2, d2]);
    bench.hup(&daemon);
    let gone = wait_outcome(&bench.site, &of_b, "skipped");
    assert_eq!(gone.note, "the project was removed from the config");
    let disabled = wait_outcome(&bench.site, &of_c, "skipped");
    assert_eq!(disabled.note, "the project was disabled");
    wait_job(&bench.site, &of_d, "d to be watched", |job| job.state == "queued");
    let explained = String::from_utf8(bench.site.cli(&["explain", "b"]).stdout).unwrap();
    assert!(explained.contains("removed from the config"), "{explained}");

    // The limit: d waits for it, and need not any more.
    let [a2, b2, c2, d2] = all("new", "");
    bench.write(2, "", &[a2.clone(), c2.clone(), d2.clone()]);
    bench.hup(&daemon);
    bench.site.wait_built("d", MAIN, &of_d);
    bench.site.wait_built("c", MAIN, &of_c);
    assert_eq!(job_of(&bench.site.workdir, &first).unwrap().state, "running");
    bench.write(2, "", &[a2, b2, c2, d2]);
    bench.hup(&daemon);
    bench.site.wait_built("b", MAIN, &of_b);

    std::fs::remove_file(hold).unwrap();
    let log = build_log(&bench.site.wait_built("a", MAIN, &first));
    assert!(log.contains("\nthen old\n"), "a running job's spec changed: {log}");
    let next = a.commit(&[("name", "next")]);
    let log = build_log(&bench.site.wait_built("a", MAIN, &next));
    assert!(log.contains("\nword is new\n") && log.contains("\nthen new\n"), "{log}");
    let ran = jobs(&bench.site.workdir)
        .into_iter()
        .filter(|job| !job.attempts.is_empty());
    assert_eq!(ran.count(), 5, "each commit ran once");
}

#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_told() {
    let bench = Bench::new();
    let (a, first) = bench.repo("a");
    let good = [bench.project("a", "good", "")];
    bench.write(1, "", &good);
    let daemon = bench.site.start();
    bench.site.wait_built("a", MAIN, &first);
    let bad = "limit = 0\nintervall = \"1s\"\n[projects.a]\nremote = 7\nbranches = [\"/(/\"]\n";
    bench.site.write_config(bad);
    bench.hup(&daemon);
    let log = daemon.log();
    let file = bench.site.config.display();
    for place in [":2:", ":3:1", ":5:10", ":6:"] {
        assert!(log.contains(&format!("{file}{place}")), "{place} is not in {log}");
    }
    assert!(log.contains("the old one stays in force"), "{log}");
    let reload = bench
        .site
        .command(&["reload", "--workdir", bench.site.workdir.to_str().unwrap()]);
    let answer = { reload }.output().unwrap();
    assert_eq!(answer.status.code(), Some(3), "{answer:?}");
    let told = String::from_utf8(answer.stderr).unwrap();
    for text in ["intervall", "interval", "limit", "remote", "branches"] {
        assert!(told.contains(text), "{text} is not in {told}");
    }
    let commit = a.commit(&[("name", "the old config works on")]);
    let log = build_log(&bench.site.wait_built("a", MAIN, &commit));
    assert!(log.contains("word is good"));
    // No file at all is no config either.
    std::fs::remove_file(&bench.site.config).unwrap();
    bench.hup(&daemon);
    let commit = a.commit(&[("name", "without a file")]);
    bench.site.wait_built("a", MAIN, &commit);
    bench.write(1, "", &good);
    let answer = bench.site.cli(&["reload"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
}

#[test]
fn watch_config_and_log_level() {
    let bench = Bench::new();
    let (a, first) = bench.repo("a");
    a.tag("v1");
    let word = |word: &str| [bench.project("a", word, "")];
    bench.write(1, "watch_config = true", &word("first"));
    let daemon = bench.site.start();
    bench.site.wait_built("a", MAIN, &first);
    assert!(!daemon.log().contains("DEBUG"));
    let built_with = |expected: &str| {
        let commit = a.commit(&[("name", expected)]);
        let log = build_log(&bench.site.wait_built("a", MAIN, &commit));
        assert!(log.contains(&format!("word is {expected}\n")), "{log}");
    };
    // In place.
    bench.write(1, "watch_config = true", &word("second"));
    wait_for("the first reload", SOON, || (reloads(&daemon) == 1).then_some(()));
    built_with("second");
    // Replaced, as editors do it.
    let there = bench.site.config.clone();
    let aside = bench.scratch.join("aside.toml");
    let third = bench.project("a", "third", "tags = [\"v*\"]");
    bench.write(1, "watch_config = true\nlog_level = \"debug\"", &[third]);
    let text = std::fs::read(&there).unwrap();
    wait_for("the second reload", SOON, || (reloads(&daemon) == 2).then_some(()));
    built_with("third");
    // That a tag is skipped is told at level debug only.
    wait_for("the level", SOON, || {
        daemon.log().contains("DEBUG skipped").then_some(())
    });
    let text = String::from_utf8(text)
        .unwrap()
        .replace("third", "fourth")
        .replace("debug", "warn");
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(&aside, &there).unwrap();
    wait_for("the file to be in force", SOON, || {
        let commit = a.commit(&[("name", "again")]);
        let log = build_log(&bench.site.wait_built("a", MAIN, &commit));
        log.contains("word is fourth\n").then_some(())
    });
    let before = daemon.log().len();
    built_with("fourth");
    assert_eq!(&daemon.log()[before..], "", "at level warn a good job says nothing");
    // A bad file: told, and nothing changes.
    bench.site.write_config("nonsense = 1\n");
    wait_for("the mistake", SOON, || daemon.log().contains("nonsense").then_some(()));
    built_with("fourth");
}
