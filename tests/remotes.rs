//! Remotes that are not there, are nothing, hang or talk rubbish: each is told once, and none holds up another.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use support::daemon::Site;
use support::repo::Repo;
use support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use support::servers::hostile::{Hostile, Manner};

/// Each project's trouble: since when, and why.
fn troubles(site: &Site) -> BTreeMap<String, (String, String)> {
    let status = site.json(&["status", "--json"]);
    let projects = status["projects"].as_array().unwrap().iter();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    projects
        .filter(|p| p["trouble"].is_object())
        .map(|p| {
            (
                text(&p["name"]),
                (text(&p["trouble"]["since"]), text(&p["trouble"]["error"])),
            )
        })
        .collect()
}

/// How often the daemon said this of a project.
fn said(log: &str, project: &str, what: &str) -> usize {
    let of_project =
        |l: &&str| l.contains(&format!("project={project} ")) || l.ends_with(&format!("project={project}"));
    log.lines().filter(|l| l.contains(what)).filter(of_project).count()
}

#[test]
fn a_bad_remote_is_told_once_and_holds_up_nobody() {
    let scratch = Scratch::new();
    let good = Repo::new(scratch.join("good"));
    let first = good.commit(&[("a", "1")]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hostile = [Manner::Silent, Manner::Trickle, Manner::Rubbish, Manner::HangUp].map(Hostile::start);
    let [silent, trickle, rubbish, hang_up] = &hostile;
    let later = scratch.join("later");
    let path = |p: &Path| p.display().to_string();
    // Each with a word that its reason must have.
    let bad = [
        ("missing", path(&later), "there is no repository"),
        ("plain", path(&scratch.mkdir("plain")), "there is no repository"),
        ("file", path(&scratch.write("file", "x")), "there is no repository"),
        ("closed", format!("http://{closed}/x.git"), "cannot connect"),
        ("closed-git", format!("git://{closed}/x.git"), "cannot connect"),
        (
            "no-host",
            "http://nowhere.invalid/x.git".to_owned(),
            "the host is not known",
        ),
        ("silent", silent.http_url(), "no answer within 500ms"),
        ("silent-git", silent.git_url(), "no answer within 500ms"),
        ("trickle", trickle.http_url(), "no answer within 500ms"),
        ("rubbish", rubbish.http_url(), "did not answer like a git server"),
        ("rubbish-git", rubbish.git_url(), ""),
        ("hang-up", hang_up.http_url(), ""),
    ];
    let mut toml = "interval = '100ms'\npoll_timeout = '500ms'\nlimit = 1\n".to_owned();
    for (name, remote, _) in &bad {
        toml += &format!("[projects.{name}]\nremote = {remote:?}\n");
    }
    toml += &format!("[projects.zz-good]\nremote = '{}'\n", good.path().display());
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    site.wait_built("zz-good", "refs/heads/main", &first);
    let begin = wait_for_state("all troubles", SOON, || {
        let troubles = troubles(&site);
        (troubles.len() == bad.len())
            .then_some(())
            .ok_or_else(|| format!("{troubles:?}"))?;
        Ok(troubles)
    });
    for (name, remote, word) in &bad {
        let error = &begin[*name].1;
        assert!(
            error.contains(word) && error.contains(remote.as_str()),
            "{name}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{name}: {error:?}");
    }
    // All are asked again and again; others are built meanwhile.
    let asked = hostile.each_ref().map(Hostile::connections);
    wait_for("three more looks", SOON, || {
        let more = hostile
            .iter()
            .zip(asked)
            .all(|(h, before)| h.connections() >= before + 3);
        more.then_some(())
    });
    let second = good.commit(&[("a", "2")]);
    site.wait_built("zz-good", "refs/heads/main", &second);
    let now = troubles(&site);
    for (name, ..) in &bad {
        assert_eq!(now[*name].0, begin[*name].0, "{name} has another begin");
        assert_eq!(
            said(&daemon.log(), name, "cannot ask the remote"),
            1,
            "{name}: {}",
            daemon.log()
        );
    }
    let text = String::from_utf8(site.cli(&["status"]).stdout).unwrap();
    assert!(text.contains("missing: cannot be asked since"), "{text}");

    // `plan` names them all, and fails by it.
    let plan = site.cli(&["plan", "--json"]);
    assert_eq!(plan.status.code(), Some(1));
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    let errors = plan["projects"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["error"].is_string());
    assert_eq!(errors.count(), bad.len(), "{plan}");
    assert_eq!(site.cli(&["plan", "missing"]).status.code(), Some(1));
    assert_eq!(site.cli(&["plan", "zz-good"]).status.code(), Some(0));

    // It comes to life.
    let late = Repo::new(scratch.join("coming"));
    let commit = late.commit(&[("a", "1")]);
    std::fs::rename(late.path(), &later).unwrap();
    site.wait_built("missing", "refs/heads/main", &commit);
    assert!(!troubles(&site).contains_key("missing"));
    assert_eq!(said(&daemon.log(), "missing", "the remote answers again"), 1);
    // And goes again, also over a restart: since when is remembered.
    std::fs::rename(&later, scratch.join("away")).unwrap();
    let (since, _) = wait_for("new trouble", SOON, || troubles(&site).remove("missing"));
    assert_ne!(since, begin["missing"].0);
    drop(daemon);
    let daemon = site.start();
    let asked = silent.connections();
    wait_for("more looks", SOON, || (silent.connections() >= asked + 2).then_some(()));
    assert_eq!(troubles(&site)["missing"].0, since);
    assert_eq!(troubles(&site)["silent"].0, begin["silent"].0);
    // Stopping waits for none of them.
    drop(daemon);
}

#[test]
fn a_repository_without_refs_is_no_trouble() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let toml = format!(
        "interval = '100ms'\n[projects.p]\nremote = '{}'\n",
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    let commit = repo.commit(&[("a", "1")]);
    site.wait_built("p", "refs/heads/main", &commit);
    // What vanishes for a moment, and comes back with everything in place, is not built again.
    let away = scratch.join("away");
    std::fs::rename(repo.path(), &away).unwrap();
    wait_for("trouble", SOON, || troubles(&site).remove("p"));
    std::fs::rename(&away, repo.path()).unwrap();
    wait_for("recovery", SOON, || troubles(&site).is_empty().then_some(()));
    let next = repo.commit(&[("a", "2")]);
    site.wait_built("p", "refs/heads/main", &next);
    assert_eq!(daemon.log().matches("running").count(), 2, "{}", daemon.log());
}
