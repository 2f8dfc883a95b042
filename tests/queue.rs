//! How many at once, in which order, what is tried again and what is not.

#![cfg(test)]

mod support;

use std::collections::HashMap;
use support::daemon::{Site, build_json};
use support::jobs::{Row, jobs, wait_job, wait_outcome};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for_state};

const MAIN: &str = "refs/heads/main";

#[test]
fn the_limit_holds_over_all_projects_and_one_at_a_time_of_a_ref() {
    let scratch = Scratch::new();
    let path = scratch.path().display();
    let at = |event: &str| format!("echo \"{event} $BUILD_PROJECT $BUILD_REF_NAME $BUILD_COMMIT\" >>{path}/events");
    scratch.script("begin", &at("begin"));
    scratch.script("end", &format!("sleep 0.3\n{}", at("end")));
    let mut config = "interval = \"50ms\"\nlimit = 3\n".to_owned();
    let names = ["a", "b", "c", "d"];
    let repos = names.map(|name| {
        config += &format!(
            "[projects.{name}]\nremote = \"{path}/{name}\"\nprepare_callback = \"{path}/begin\"\n\
             success_callback = \"{path}/end\"\n"
        );
        let repo = Repo::new(scratch.join(name));
        repo.commit(&[("f", name)]);
        for branch in ["x", "y"] {
            repo.git(&["branch", branch]);
        }
        repo
    });
    let site = Site::new(&scratch, &config);
    let daemon = site.start();
    for round in 0..3 {
        for repo in &repos {
            for branch in ["x", "y", "main"] {
                repo.switch(branch);
                repo.commit(&[("f", round.to_string())]);
            }
        }
    }
    for repo in &repos {
        for branch in ["x", "y", "main"] {
            wait_outcome(&site, &repo.rev(branch), "succeeded");
        }
    }
    wait_for_state("all to be done", SOON, || {
        let live: Vec<Row> = jobs(&site.workdir).into_iter().filter(|j| j.state != "done").collect();
        if live.is_empty() {
            Ok(())
        } else {
            Err(format!("{live:?}"))
        }
    });
    let events = std::fs::read_to_string(scratch.join("events")).unwrap();
    let mut running: HashMap<(&str, &str), &str> = HashMap::new();
    let mut most = 0;
    for event in events.lines() {
        let words: Vec<&str> = event.split(' ').collect();
        let reference = (words[1], words[2]);
        if words[0] == "begin" {
            let other = running.insert(reference, words[3]);
            assert_eq!(other, None, "two of a ref at once: {events}");
        } else {
            assert_eq!(running.remove(&reference), Some(words[3]), "{events}");
        }
        most = most.max(running.len());
    }
    assert_eq!(most, 3, "the limit is kept, and used: {events}");
    let all = jobs(&site.workdir);
    let done: usize = ["succeeded", "superseded"]
        .iter()
        .map(|o| all.iter().filter(|j| j.outcome() == *o).count())
        .sum();
    assert_eq!(done, all.len(), "{all:?}");
    drop(daemon);
}

#[test]
fn what_is_tried_again_and_what_is_not() {
    let scratch = Scratch::new();
    let path = scratch.path().display().to_string();
    scratch.script("told", &format!("echo $BUILD_OUTCOME $BUILD_COMMIT >>{path}/told.log"));
    let site = Site::new(&scratch, "");
    let hold = scratch.write("hold", "");
    let config = |prepare: &str, more: &str| {
        site.write_config(&format!(
            "interval = \"100ms\"\n[retry]\nattempts = 4\ndelay = \"200ms\"\nmax_delay = \"400ms\"\n[projects.p]\n\
             remote = \"{path}/repo\"\nerror_callback = \"{path}/told\"\n\
             prepare_callback = [\"sh\", \"-c\", \"{prepare}\"]\n{more}\n"
        ));
    };
    let reload = || assert!(site.cli(&["reload"]).status.success());
    let told = |commit: &str| {
        let text = std::fs::read_to_string(scratch.join("told.log")).unwrap_or_default();
        text.lines().filter(|l| l.ends_with(commit)).count()
    };
    let until_gone = format!("while [ -e {} ]; do sleep 0.05; done", hold.display());
    config(&until_gone, "");
    let repo = Repo::new(scratch.join("repo"));
    let first = repo.commit(&[("f", "1")]);
    let daemon = site.start();
    wait_job(&site, &first, "the first to run", |job| job.state == "running");
    let second = repo.commit(&[("f", "2")]);
    wait_job(&site, &second, "the second to wait", |job| job.state == "queued");
    let third = repo.commit(&[("f", "3")]);
    let superseded = wait_outcome(&site, &second, "superseded");
    assert_eq!(superseded.note, format!("the ref moved to {}", short(&third)));
    assert_eq!((superseded.attempts.len(), told(&second)), (0, 0));
    std::fs::remove_file(hold).unwrap();
    wait_outcome(&site, &first, "succeeded");
    wait_outcome(&site, &third, "succeeded");

    // Asked for again: another run, in a directory of its own; --wait ends as the job does.
    let again = site.cli(&["build", "p", "--wait"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(site.latest("p", MAIN).unwrap(), format!("{}.2", short(&third)));
    let again = site.json(&["build", "p", "main", "--wait", "--json"]);
    assert_eq!(again["outcome"], "succeeded");
    assert_eq!(site.latest("p", MAIN).unwrap(), format!("{}.3", short(&third)));
    for bad in [&["build", "q"][..], &["build", "p", "nosuch"]] {
        assert_eq!(site.cli(bad).status.code(), Some(1), "{bad:?}");
    }

    // The user's own failure: once, told once, and again only for who asks.
    config("exit 3", "");
    reload();
    let failed = repo.commit(&[("f", "fails")]);
    let row = wait_outcome(&site, &failed, "failed");
    assert_eq!((row.attempts.len(), told(&failed)), (1, 1));
    let again = site.cli(&["build", "p", "--wait"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert_eq!(told(&failed), 2);
    assert_eq!(jobs(&site.workdir).iter().filter(|j| j.commit == failed).count(), 2);

    // Our side's trouble: four times in all, ever later, told once at the end.
    let env_file = scratch.join("missing.env");
    config("true", &format!("env_file = {env_file:?}"));
    reload();
    let errored = repo.commit(&[("f", "errors")]);
    let row = wait_outcome(&site, &errored, "errored");
    assert_eq!(row.attempts.len(), 4, "{row:?}");
    assert!(
        row.note.contains("after 4 attempts") && row.note.contains("missing.env"),
        "{row:?}"
    );
    assert_eq!(told(&errored), 1);
    let starts: Vec<i64> = row
        .attempts
        .iter()
        .map(|dir| {
            let json = build_json(&site.job_dir("p", MAIN, &format!("{dir}.tmp")));
            assert_eq!(json["will_retry"], *dir != row.attempts[3]);
            json["started"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .unwrap()
                .as_millisecond()
        })
        .collect();
    let waits: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] >= 200 && waits[1] >= 400 && waits[2] >= 400, "{waits:?}");
    // What is mended meanwhile is built by the next attempt.
    let errored = repo.commit(&[("f", "errors, then not")]);
    wait_job(&site, &errored, "a retry", |job| {
        job.state == "queued" && job.note.contains("attempt 1 of 4 errored")
    });
    std::fs::write(env_file, "A=1\n").unwrap();
    let row = wait_outcome(&site, &errored, "succeeded");
    assert!((2..=4).contains(&row.attempts.len()), "{row:?}");
    assert_eq!(told(&errored), 0);
    drop(daemon);
}
