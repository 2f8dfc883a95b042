//! A commit that is pushed is built: over every transport, whatever its ref is called, whatever moved meanwhile.

#![cfg(test)]

mod support;

use nix::sys::signal::Signal;
use std::os::unix::ffi::OsStrExt;
use support::daemon::{Daemon, Site, build_json, build_log, encode_ref, wait_log};
use support::repo::{Repo, git_in, short};
use support::scratch::{SOON, Scratch, wait_for, wait_for_state};
use support::servers::git_daemon::GitDaemon;
use support::servers::http::{HttpGit, HttpOptions};
use support::servers::ssh::SshGit;
use support::spy::Spy;
use support::witness::{Built, dumped_env, env_dumper, files_with, recorder, value};

#[test]
fn every_transport_and_no_password_anywhere() {
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    let repo = Repo::new(scratch.join("source"));
    let first = repo.commit(&[("a", "1")]);
    let served = repo.bare(root.join("repo.git"));
    let auth = Some(("robot", "s@fe-7f3a9"));
    let http = HttpGit::start(&scratch, &root, HttpOptions { auth, tls: false });
    let git = GitDaemon::start(&scratch, &root);
    let ssh = SshGit::start(&scratch);
    let path = served.path().display();
    let remotes = [
        ("http", http.url("repo.git").replace("//", "//robot:s%40fe-7f3a9@")),
        ("git", git.url("repo.git")),
        ("ssh", ssh.url(served.path())),
        ("file", format!("file://{path}")),
        ("path", path.to_string()),
    ];
    let mut toml = "interval = '300ms'\nlimit = 2\nlog_level = 'debug'\n".to_owned();
    let dump = env_dumper(&scratch);
    for (name, remote) in &remotes {
        toml += &format!("[projects.{name}]\nremote = {remote:?}\nprepare_callback = [{dump:?}, 'env']\n");
    }
    let trace = scratch.join("git-trace");
    let site = Site::new(&scratch, &toml).with_env([
        ("GIT_SSH_COMMAND".to_owned(), ssh.command()),
        // What git and its helpers start, with arguments; what comes and goes between two looks of the spy is here.
        ("GIT_TRACE".to_owned(), trace.display().to_string()),
    ]);
    let spy = Spy::start(&["fe-7f3a9"]);
    {
        let daemon = site.start();
        for (name, _) in &remotes {
            site.wait_built(name, "refs/heads/main", &first);
        }
        let second = repo.commit(&[("a", "2")]);
        repo.push_to(&served);
        for (name, _) in &remotes {
            let dir = site.wait_built(name, "refs/heads/main", &second);
            assert_eq!(std::fs::read(dir.join("build/a")).unwrap(), b"2");
            assert_eq!(
                build_json(&dir)["cause"],
                format!("the ref moved from {} to {}", short(&first), short(&second))
            );
        }
        // A restart without the credentials must say what is wrong, and not what the password was.
        drop(daemon);
        let wrong = toml.replace("s%40fe-7f3a9", "wr0ng-fe-7f3a9");
        site.write_config(&wrong);
        let _daemon = site.start();
        wait_for_state("the refusal", SOON, || {
            let status = site.json(&["status", "http", "--json"]);
            let error = status["projects"][0]["trouble"]["error"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            error
                .contains("not allowed in")
                .then_some(())
                .ok_or_else(|| status.to_string())
        });
        site.cli(&["status"]);
    }
    assert_eq!(spy.seen(), Default::default(), "in arguments");
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("remote-http") && !trace.contains("fe-7f3a9"), "{trace}");
    assert_eq!(files_with(&site.workdir, "fe-7f3a9"), Vec::<std::path::PathBuf>::new());
    assert_eq!(
        files_with(&scratch.join("daemon.log"), "fe-7f3a9"),
        Vec::<std::path::PathBuf>::new()
    );
    for args in [
        &["config"][..],
        &["explain", "http"],
        &["status"],
        &["plan"],
        &["log", "http"],
    ] {
        let output = site.cli(args);
        let text = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&text).contains("fe-7f3a9"), "{args:?}");
    }
    assert!(http.access_log().contains("200 robot"));
}

/// Moves the tag `zzz`, which is listed last, and waits for its build: all that a poll saw before is decided, and was
/// built where it had to be.
fn all_is_seen(site: &Site, repo: &Repo, projects: &[&str]) {
    let before = repo.git(&["for-each-ref", "--format=%(objectname)", "refs/tags/zzz"]);
    let commit = repo.git(&["commit-tree", "-m", &format!("after {before}"), "HEAD^{tree}"]);
    repo.set_ref("refs/tags/zzz", &commit);
    for project in projects {
        site.wait_built(project, "refs/tags/zzz", &commit);
    }
}

#[test]
fn filters_tags_first_sight_and_what_moves() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let one = repo.commit(&[("a", "1")]);
    for name in ["release/1", "release/2/x", "v12", "xv12", "other"] {
        repo.set_ref(format!("refs/heads/{name}"), &one);
    }
    repo.tag("old");
    let (record, built) = recorder(&scratch);
    let remote = repo.path().display();
    let project = |name: &str, rest: &str| format!("[projects.{name}]\nremote = '{remote}'\n{rest}\n");
    let toml = format!("interval = '200ms'\n[defaults]\nprepare_callback = {record:?}\n")
        + &project(
            "globs",
            "branches = ['main', 'release/*', '/v[0-9]+/']\ntags = ['v*', '/zz+/']",
        )
        + &project("everything", "initial = 'all'\ntags = ['**']\nbranches = ['main']")
        + &project("nothing", "initial = 'none'\ntags = ['**']")
        + &project("off", "enabled = false");
    let projects = ["globs", "everything", "nothing"];
    let site = Site::new(&scratch, &toml);
    let _daemon = site.start();
    let line = |project: &str, name: &str, commit: &str| format!("{project} refs/{name} {commit}");
    // A look at each of them comes first: only then is a push no first sight.
    wait_for_state("the first look", SOON, || {
        let status = site.json(&["status", "--all", "--json"]);
        let of = |p: &&str| {
            status["projects"]
                .as_array()
                .unwrap()
                .iter()
                .any(|v| v["name"] == *p && v["refs"][0].is_object())
        };
        projects.iter().all(of).then_some(()).ok_or_else(|| status.to_string())
    });
    all_is_seen(&site, &repo, &projects);
    let mut expected: Vec<String> = ["main", "release/1", "v12"]
        .map(|n| line("globs", &format!("heads/{n}"), &one))
        .into();
    expected.extend([
        line("everything", "heads/main", &one),
        line("everything", "tags/old", &one),
    ]);
    let check = |built: &Built, expected: &mut Vec<String>| {
        expected.sort();
        assert_eq!(&built.all_but("/zzz "), expected);
    };
    check(&built, &mut expected);

    // Tags: light, annotated, a tag of a tag; and one that is moved.
    let two = repo.commit(&[("a", "2")]);
    repo.tag("v1");
    repo.annotated_tag("v2", "HEAD");
    repo.annotated_tag("v3", "v2");
    repo.tag("w");
    all_is_seen(&site, &repo, &projects);
    for project in projects {
        let tags: &[&str] = if project == "globs" {
            &["v1", "v2", "v3"]
        } else {
            &["v1", "v2", "v3", "w"]
        };
        expected.extend(tags.iter().map(|tag| line(project, &format!("tags/{tag}"), &two)));
        expected.push(line(project, "heads/main", &two));
    }
    check(&built, &mut expected);
    repo.git(&["tag", "--force", "v1", &one]);
    all_is_seen(&site, &repo, &projects);
    expected.extend(projects.map(|p| line(p, "tags/v1", &one)));
    check(&built, &mut expected);

    // A force push to something new is built, back to what was built before is not, nor a ref that comes back.
    repo.reset(&one);
    let three = repo.commit(&[("a", "3")]);
    all_is_seen(&site, &repo, &projects);
    expected.extend(projects.map(|p| line(p, "heads/main", &three)));
    check(&built, &mut expected);
    repo.git(&["tag", "keep", &three]);
    repo.reset(&two);
    repo.delete_ref("refs/tags/v2");
    all_is_seen(&site, &repo, &projects);
    expected.extend(["everything", "nothing"].map(|p| line(p, "tags/keep", &three)));
    check(&built, &mut expected);
    repo.annotated_tag("v2", &two);
    all_is_seen(&site, &repo, &projects);
    check(&built, &mut expected);
    // Another commit under the name that came back.
    repo.delete_ref("refs/heads/other");
    repo.delete_ref("refs/tags/v2");
    all_is_seen(&site, &repo, &projects);
    repo.set_ref("refs/heads/other", &three);
    repo.annotated_tag("v2", &three);
    all_is_seen(&site, &repo, &projects);
    expected.extend(projects.map(|p| line(p, "tags/v2", &three)));
    expected.push(line("nothing", "heads/other", &three));
    check(&built, &mut expected);
}

#[test]
fn names_with_every_byte_that_git_allows() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("a", "1")]);
    let mut names: Vec<Vec<u8>> = [
        "-rf",
        "--upload-pack=x",
        "quote'd",
        "double\"d",
        "$(id)",
        "${HOME}",
        "`id`",
        "100%",
        "%2F",
        "a%2Fb",
        "ünï/çødé",
        "@",
        "a&b;c|d>e<f",
        "#hash!",
        "{a,b}",
        "(x)",
        "a=b",
        "+plus",
        "latest",
        "x.tmp",
        "=",
        "a.b",
    ]
    .map(|n| n.as_bytes().to_vec())
    .into();
    names.push(b"bad-\xff\xfe-utf8".to_vec());
    // Every single byte that can stand in a name.
    let fine = |b: &u8| *b > b' ' && *b != 0x7f && !b"~^:?*[\\/".contains(b);
    names.push(b"all-".iter().copied().chain((0..=255).filter(fine)).collect());
    names.push(vec![b'x'; 200]);
    names.push(vec![b'y'; 240]);
    names.push("ü".repeat(120).into_bytes());
    names.push([vec![b'd'; 240], b"/".to_vec(), vec![b'e'; 240], b"/%\"".to_vec()].concat());
    let names: Vec<Vec<u8>> = names
        .into_iter()
        .map(|n| [b"refs/heads/", n.as_slice()].concat())
        .collect();
    for name in &names {
        repo.set_ref(name, &commit);
    }
    let dump = env_dumper(&scratch);
    let toml = format!(
        "interval = '1h'\nlimit = 2\n[projects.odd]\nremote = '{}'\nbranches = ['**']\nsuccess_callback = [{dump:?}, 'env']\n",
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    // The directory of a name that would be too long begins with the name and ends with a digest.
    let directory = |name: &[u8]| {
        let encoded = encode_ref(name);
        let parent = site.workdir.join("odd");
        if encoded.len() <= 200 {
            return parent.join(encoded);
        }
        let begin = &encoded[..180];
        let found = std::fs::read_dir(&parent).into_iter().flatten().flatten();
        let mut found = found.filter(|e| {
            e.file_name()
                .to_str()
                .is_some_and(|n| n.starts_with(begin) && n.contains('~'))
        });
        found.next().map_or_else(|| parent.join("none"), |e| e.path())
    };
    for name in &names {
        let shown = String::from_utf8_lossy(name);
        let dir = wait_for_state(&format!("{shown}"), SOON, || {
            let dir = directory(name).join(short(&commit));
            dir.join("env").exists().then_some(dir).ok_or_else(|| daemon.log())
        });
        let env = dumped_env(&dir.join("env"));
        assert_eq!(env[std::ffi::OsStr::new("BUILD_REF")].as_bytes(), name.as_slice());
        assert_eq!(env[std::ffi::OsStr::new("BUILD_REF_NAME")].as_bytes(), &name[11..]);
        assert_eq!(env[std::ffi::OsStr::new("CI_COMMIT_BRANCH")].as_bytes(), &name[11..]);
        assert_eq!(value(&env, "BUILD_COMMIT"), Some(commit.as_str()));
        // People find it by its name, odd as it is.
        let short_name = std::ffi::OsStr::from_bytes(&name[11..]);
        for verb in ["log", "explain"] {
            let mut command = site.command(&[verb]);
            let output = command.arg("odd").arg("--").arg(short_name).output().unwrap();
            assert!(output.status.success(), "{verb} {shown}: {output:?}");
        }
    }
    site.json(&["status", "--json"]);
}

/// A site whose only slot is held until it is let go, with a daemon that learns of `projects` after that.
fn blocked(scratch: &Scratch, gitconfig: &str, projects: &str) -> (Site, Daemon, impl FnOnce()) {
    let gate = scratch.join("gate");
    let wait = format!("echo blocking\nuntil test -e '{}'; do sleep 0.02; done", gate.display());
    let script = scratch.script("block", &wait);
    let repo = Repo::new(scratch.join("blocker"));
    let commit = repo.commit(&[("a", "1")]);
    let remote = repo.path().display();
    let blocker =
        format!("interval = '1h'\nlimit = 1\n[projects.blocker]\nremote = '{remote}'\nprepare_callback = {script:?}\n");
    let site = Site::new(scratch, &blocker);
    std::fs::write(&site.gitconfig, gitconfig).unwrap();
    let daemon = site.start();
    let dir = site.job_dir("blocker", "refs/heads/main", &format!("{}.tmp", short(&commit)));
    wait_log(&dir, "\nblocking\n");
    site.write_config(&format!("{blocker}{projects}"));
    daemon.signal(Signal::SIGHUP);
    (site, daemon, move || std::fs::write(gate, "").unwrap())
}

/// Waits until a job for the commit is queued.
#[track_caller]
fn wait_queued(site: &Site, commit: &str) {
    wait_for_state("the job", SOON, || {
        let status = site.json(&["status", "--json"]);
        let queued = |j: &serde_json::Value| j["commit"] == commit && j["state"] == "queued";
        let found = status["jobs"].as_array().unwrap().iter().any(queued);
        found.then_some(()).ok_or_else(|| status.to_string())
    });
}

#[test]
fn what_was_seen_is_built_though_the_branch_moved() {
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    let repo = Repo::new(root.join("repo"));
    let seen = repo.commit(&[("a", "1")]);
    let server = GitDaemon::start(&scratch, &root);
    let projects = format!("[projects.moved]\nremote = '{}'\n", server.url("repo"));
    let (site, _daemon, let_go) = blocked(&scratch, "", &projects);
    wait_queued(&site, &seen);
    repo.git(&["commit", "--quiet", "--amend", "--message", "another"]);
    let_go();
    site.wait_built("moved", "refs/heads/main", &seen);
    assert!(site.cli(&["poll", "moved"]).status.success());
    site.wait_built("moved", "refs/heads/main", &repo.head());
}

#[test]
fn a_commit_that_is_gone_is_superseded_by_the_new_tip() {
    let scratch = Scratch::new();
    let root = scratch.mkdir("srv");
    let repo = Repo::new(root.join("repo"));
    let base = repo.commit(&[("a", "1")]);
    let gone = repo.commit(&[("a", "2")]);
    let server = GitDaemon::start(&scratch, &root);
    let failed = scratch.join("error-callback");
    let projects = format!(
        "[projects.moved]\nremote = '{}'\nerror_callback = ['touch', {failed:?}]\n",
        server.url("repo")
    );
    // The old protocol gives tips only.
    let (site, _daemon, let_go) = blocked(&scratch, "[protocol]\n\tversion = 0\n", &projects);
    wait_queued(&site, &gone);
    repo.reset(&base);
    let tip = repo.commit(&[("a", "3")]);
    let_go();
    let dir = site.job_dir("moved", "refs/heads/main", &format!("{}.tmp", short(&gone)));
    let report = wait_for("superseded", SOON, || {
        let report = std::fs::read(dir.join("build.json")).ok()?;
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        (report["state"] == "done").then_some(report)
    });
    assert_eq!(report["outcome"], "superseded");
    assert!(
        report["error"]
            .as_str()
            .unwrap()
            .contains("no longer on refs/heads/main"),
        "{report}"
    );
    assert!(site.cli(&["poll"]).status.success());
    site.wait_built("moved", "refs/heads/main", &tip);
    assert!(!failed.exists(), "error_callback was called for a superseded job");
}

#[test]
fn sha256_submodules_and_history() {
    let scratch = Scratch::new();
    let sub = Repo::new(scratch.join("sub"));
    sub.commit(&[("inner", "x")]);
    let super_project = Repo::new(scratch.join("super"));
    super_project.commit(&[("a", "1")]);
    let with_sub = super_project.add_submodule("mod", &sub.path().display().to_string());
    let sha256 = Repo::sha256(scratch.join("sha256"));
    let long = sha256.commit(&[("a", "1")]);
    let project = |name: &str, repo: &Repo, rest: &str| {
        format!(
            "[projects.{name}]\nremote = 'file://{}'\n{rest}\n",
            repo.path().display()
        )
    };
    let toml = "interval = '1h'\nlimit = 2\n".to_owned()
        + &project("sub", &super_project, "")
        + &project("whole", &super_project, "shallow = false\nsubmodules = false")
        + &project("long", &sha256, "");
    let site = Site::new(&scratch, &toml);
    let _daemon = site.start();
    let commits = |dir: &std::path::Path| git_in(&dir.join("build"), ["rev-list", "--count", "HEAD"]);
    let dir = site.wait_built("sub", "refs/heads/main", &with_sub);
    assert_eq!(std::fs::read(dir.join("build/mod/inner")).unwrap(), b"x");
    assert_eq!(commits(&dir), "1");
    let dir = site.wait_built("whole", "refs/heads/main", &with_sub);
    assert!(!dir.join("build/mod/inner").exists());
    assert_eq!(commits(&dir), "2");
    let dir = site.wait_built("long", "refs/heads/main", &long);
    assert_eq!(build_json(&dir)["commit"], long.as_str());
    assert!(build_log(&dir).contains("checkout: $ git "));
    assert_eq!(git_in(&dir.join("build"), ["rev-parse", "HEAD"]), long);
}
