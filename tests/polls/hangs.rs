//! What hangs, floods or trickles costs itself, and nobody else.

use crate::common::{MAIN, count, of, project, wait_trouble};
use crate::support::daemon::{Daemon, Site};
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use crate::support::servers::hostile::{Hostile, Manner};
use crate::support::servers::http::{HttpGit, HttpOptions};
use crate::support::servers::scripted::{Server, good};
use std::time::{Duration, Instant};

#[test]
fn black_holes_hold_up_nobody() {
    let scratch = Scratch::new();
    let good = Server::start(|_, request| good(request));
    let holes = [Manner::Silent, Manner::Silent, Manner::Trickle].map(Hostile::start);
    let [silent, silent_git, trickle] = &holes;
    let mut toml = "interval = '1s'\npoll_timeout = '3s'\n[defaults]\ninitial = 'none'\n".to_owned();
    for n in 0..200 {
        toml += &project(&format!("p{n:03}"), &good.url(&format!("/p{n:03}")), "");
    }
    // On the same host, so that they might take the places of the good ones.
    toml += &project("hole", &silent.http_url(), "");
    toml += &project("hole-git", &silent_git.git_url(), "");
    toml += &project("hole-trickle", &trickle.http_url(), "");
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    wait_for_state("rounds", SOON, || {
        let rounds = good.times("POST /p").len() / 200;
        (rounds >= 5).then_some(()).ok_or_else(|| daemon.log())
    });
    for name in ["hole", "hole-git", "hole-trickle"] {
        wait_trouble(&site, name, "no answer within 3s");
    }
    let longest = (0..200).map(|n| {
        let times = good.times(&format!("POST /p{n:03}/"));
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    });
    let longest = longest.max().unwrap();
    assert!(longest < Duration::from_secs(2), "one waited for {longest:?}");
    let polls = count(&site, "failed");
    assert!((3..=12).contains(&polls), "{polls} failed");
}

/// The most memory that it ever had, in MiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn an_endless_answer_costs_no_more_than_the_limit() {
    let scratch = Scratch::new();
    let floods = [Manner::Flood, Manner::Flood].map(Hostile::start);
    let toml = "interval = '100ms'\npoll_size_limit = '4MiB'\npoll_timeout = '30s'\n".to_owned()
        + &project("http", &floods[0].http_url(), "")
        + &project("git", &floods[1].git_url(), "");
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    for name in ["http", "git"] {
        wait_trouble(&site, name, "longer than 4194304 bytes: raise `poll_size_limit`");
    }
    wait_for_state("more of them", SOON, || {
        let enough = floods.iter().all(|flood| flood.connections() >= 4);
        enough.then_some(()).ok_or_else(|| daemon.log())
    });
    let peak = peak(&daemon);
    assert!(peak < 60, "{peak} MiB for answers of at most 4 MiB");
}

#[test]
fn the_limits_are_the_config_s_and_a_reload_s() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("srv/repo"));
    let commit = repo.commit(&[("a", "1")]);
    for n in 0..100 {
        repo.tag(&format!("tag-{n}"));
    }
    let http = HttpGit::start(&scratch, &scratch.join("srv"), HttpOptions::default());
    let silent = Hostile::start(Manner::Silent);
    let toml = |size: &str, timeout: &str| {
        format!("interval = '100ms'\npoll_size_limit = '{size}'\npoll_timeout = '{timeout}'\n")
            + &project("big", &http.url("repo"), "")
            + &project("silent", &silent.http_url(), "")
    };
    let site = Site::new(&scratch, &toml("4KiB", "300ms"));
    let daemon = site.start();
    wait_trouble(&site, "big", "longer than 4096 bytes");
    wait_trouble(&site, "silent", "no answer within 300ms");
    assert_eq!(of(&site, "big")["refs"].as_array().unwrap().len(), 0);
    site.write_config(&toml("1MiB", "1s"));
    let begin = Instant::now();
    assert!(site.cli(&["reload"]).status.success());
    assert!(site.cli(&["poll"]).status.success());
    site.wait_built("big", MAIN, &commit);
    wait_trouble(&site, "silent", "no answer within 1s");
    assert!(begin.elapsed() >= Duration::from_millis(900));
    assert!(of(&site, "big")["trouble"].is_null(), "{}", daemon.log());
}
