//! What repositories look like, and what becomes of their refs, over http.

use crate::common::{MAIN, count, of, project, wait_polls};
use crate::support::daemon::Site;
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use crate::support::servers::http::{HttpGit, HttpOptions};
use crate::support::witness::{Built, recorder};
use std::fmt::Write;

const ALL: &str = "branches = ['**']\ntags = ['**']";

/// Waits until these are built, and nothing else: `PROJECT REF COMMIT`. What was looked at since would be there by then.
#[track_caller]
fn wait_built(site: &Site, built: &Built, expected: &mut Vec<String>) {
    expected.sort();
    let wait = || {
        wait_for_state("the builds", SOON, || {
            let lines = built.all_but("nothing");
            (lines.len() >= expected.len())
                .then_some(())
                .ok_or_else(|| format!("{lines:?}, not {expected:?}"))
        });
        assert_eq!(&built.all_but("nothing"), expected);
    };
    wait();
    // Each is looked at twice more; what comes of it has a place in the queue at once.
    wait_polls(site, 2 * count(site, "remotes"));
    wait_for_state("an empty queue", SOON, || {
        let status = site.json(&["status", "--json"]);
        let empty = status["jobs"].as_array().unwrap().is_empty();
        empty.then_some(()).ok_or_else(|| status.to_string())
    });
    wait();
}

fn line(project: &str, reference: &str, commit: &str) -> String {
    format!("{project} refs/{reference} {commit}")
}

#[test]
fn refs_that_come_go_and_move() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("source"));
    let one = repo.commit(&[("a", "1")]);
    repo.git(&["branch", "side"]);
    let served = repo.bare(scratch.join("srv/moves.git"));
    let http = HttpGit::start(&scratch, &scratch.join("srv"), HttpOptions::default());
    let (record, built) = recorder(&scratch);
    let toml = format!("interval = '150ms'\nlimit = 3\n[defaults]\nprepare_callback = {record:?}\n")
        + &project("moves", &http.url("moves.git"), ALL);
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    let mut expected = vec![line("moves", "heads/main", &one), line("moves", "heads/side", &one)];
    let mut push = |more: &[String]| {
        repo.push_to(&served);
        expected.extend_from_slice(more);
        wait_built(&site, &built, &mut expected);
    };
    push(&[]);
    let two = repo.commit(&[("a", "2")]);
    push(&[line("moves", "heads/main", &two)]);
    // A force push.
    repo.reset(&one);
    let three = repo.commit(&[("a", "3")]);
    push(&[line("moves", "heads/main", &three)]);
    // Tags: light, annotated, of a tag; each builds what it peels to.
    repo.git(&["tag", "light", &two]);
    repo.annotated_tag("note", &two);
    repo.annotated_tag("nested", "note");
    push(&["light", "note", "nested"].map(|tag| line("moves", &format!("tags/{tag}"), &two)));
    // One moves, and another becomes a tag of the same commit, which is nothing new.
    repo.git(&["tag", "--force", "light", &three]);
    repo.git(&["tag", "--delete", "note"]);
    repo.git(&["tag", "note", &two]);
    push(&[line("moves", "tags/light", &three)]);
    // Gone; made again where it was; gone; made again elsewhere.
    repo.delete_ref("refs/heads/side");
    push(&[]);
    repo.set_ref("refs/heads/side", &one);
    push(&[]);
    repo.delete_ref("refs/heads/side");
    push(&[]);
    repo.set_ref("refs/heads/side", &three);
    push(&[line("moves", "heads/side", &three)]);
    assert_eq!(count(&site, "failed"), 0, "{}", daemon.log());
}

#[test]
fn repositories_of_every_shape() {
    let scratch = Scratch::new();
    let [empty, unborn, detached] =
        ["empty", "unborn", "detached"].map(|name| Repo::new(scratch.join("srv").join(name)));
    let long = Repo::sha256(scratch.join("srv/long"));
    let long_empty = Repo::sha256(scratch.join("srv/long-empty"));
    let of_unborn = unborn.commit(&[("a", "1")]);
    unborn.git(&["symbolic-ref", "HEAD", "refs/heads/not-yet"]);
    let of_detached = detached.commit(&[("a", "1")]);
    detached.git(&["switch", "--quiet", "--detach"]);
    detached.commit(&[("a", "2")]);
    let of_long = long.commit(&[("a", "1")]);
    assert_eq!(of_long.len(), 64);
    let http = HttpGit::start(&scratch, &scratch.join("srv"), HttpOptions::default());
    let (record, built) = recorder(&scratch);
    let mut toml = format!("interval = '150ms'\nlimit = 3\n[defaults]\nprepare_callback = {record:?}\n");
    for name in ["empty", "unborn", "detached", "long", "long-empty"] {
        toml += &project(name, &http.url(name), ALL);
    }
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    let mut expected = vec![
        line("unborn", "heads/main", &of_unborn),
        line("detached", "heads/main", &of_detached),
        line("long", "heads/main", &of_long),
    ];
    wait_built(&site, &built, &mut expected);
    for name in ["empty", "long-empty"] {
        assert_eq!(of(&site, name)["refs"].as_array().unwrap().len(), 0);
        assert!(of(&site, name)["trouble"].is_null(), "{}", daemon.log());
    }
    for (name, repo) in [("empty", &empty), ("long-empty", &long_empty), ("long", &long)] {
        expected.push(line(name, "heads/main", &repo.commit(&[("a", "2")])));
    }
    unborn.set_ref("refs/heads/not-yet", &of_unborn);
    expected.push(line("unborn", "heads/not-yet", &of_unborn));
    wait_built(&site, &built, &mut expected);
    // All refs go at once: an empty repository, and no trouble.
    empty.delete_ref(MAIN);
    wait_for_state("no refs", SOON, || {
        let empty = of(&site, "empty");
        let none = empty["refs"].as_array().unwrap().is_empty() && empty["trouble"].is_null();
        none.then_some(()).ok_or_else(|| empty.to_string())
    });
    assert_eq!(count(&site, "failed"), 0, "{}", daemon.log());
}

#[test]
fn ten_thousand_refs() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("srv/many"));
    let first = repo.commit(&[("a", "1")]);
    let mut packed = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    for n in 0..12_000 {
        writeln!(packed, "{first} refs/heads/b/{n:05}").unwrap();
    }
    std::fs::write(repo.path().join(".git/packed-refs"), packed).unwrap();
    let http = HttpGit::start(&scratch, &scratch.join("srv"), HttpOptions::default());
    let toml = "interval = '500ms'\n".to_owned()
        + &project("many", &http.url("many"), "branches = ['main', 'b/11999', 'b/new']");
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    site.wait_built("many", MAIN, &first);
    site.wait_built("many", "refs/heads/b/11999", &first);
    let unchanged = count(&site, "unchanged");
    wait_polls(&site, 3);
    assert!(count(&site, "unchanged") >= unchanged + 2, "{}", daemon.log());
    repo.set_ref("refs/heads/b/new", &first);
    site.wait_built("many", "refs/heads/b/new", &first);
    let second = repo.commit(&[("a", "2")]);
    site.wait_built("many", MAIN, &second);
    assert_eq!(count(&site, "failed"), 0, "{}", daemon.log());
}
