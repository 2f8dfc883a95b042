//! Callbacks: what they are told, where they run, and what their own end does to the job.

#![cfg(test)]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use support::daemon::{Site, build_json, build_log};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for_state};
use support::witness::{dumped_env, env_dumper, value};

/// Waits until the job of this commit has its outcome; its `.tmp` directory and its `build.json`.
#[track_caller]
fn wait_ended(site: &Site, project: &str, commit: &str) -> (PathBuf, serde_json::Value) {
    let dir = site.job_dir(project, "refs/heads/main", &format!("{}.tmp", short(commit)));
    let job = wait_for_state(&format!("the end of {project}"), SOON, || {
        let status = site.json(&["status", project, "--json"]);
        let job = &status["projects"][0]["refs"][0]["job"];
        job["outcome"]
            .is_string()
            .then(|| job.clone())
            .ok_or_else(|| status.to_string())
    });
    let report = build_json(&dir);
    assert_eq!(report["outcome"].as_str().unwrap().replace('_', " "), job["outcome"]);
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1);
    (dir, report)
}

#[test]
fn every_variable_and_who_wins() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("a", "1")]);
    let dump = env_dumper(&scratch);
    scratch.write(
        "defaults.env",
        "V1=defaults-file\nV2=defaults-file\nV3=defaults-file\nV4=defaults-file\nSECRET=x y\n",
    );
    scratch.write(
        "project.env",
        "# c\nexport V3='project-file'\nV4=project-file\nBUILD_NUMBER=99\nCI=no\n",
    );
    let remote = format!("file://{}", repo.path().display());
    let toml = format!(
        r#"
interval = '1h'
[defaults]
env_file = './defaults.env'
env = {{ V2 = 'defaults', V3 = 'defaults', V4 = 'defaults', D = '$V1 ${{V1}}' }}
prepare_callback = [{dump:?}, 'prepare']
success_callback = "{} 'success'"
error_callback = [{dump:?}, 'error']
[projects.p]
remote = '{remote}'
tags = ['**']
initial = 'all'
env_file = './project.env'
env = {{ V4 = 'project', EMPTY = '' }}
[projects.bad]
remote = '{remote}'
success_callback = ['sh', '-c', 'exit 3']
"#,
        dump.display()
    );
    repo.tag("v1");
    let site = Site::new(&scratch, &toml).with_env([
        ("V0", "daemon"),
        ("V1", "daemon"),
        ("BUILD_REF", "daemon"),
        ("CI_COMMIT_TAG", "daemon"),
        ("BUILD_IMAGE", "daemon"),
        ("BUILD_OUTCOME", "daemon"),
        ("PWD", "daemon"),
    ]);
    let daemon = site.start();
    let dir = site.wait_built("p", "refs/heads/main", &commit);
    let running = dir.with_file_name(format!("{}.tmp", short(&commit)));
    let number = build_json(&dir)["number"].to_string();
    let wave = build_json(&dir)["job"].to_string();
    for callback in ["prepare", "success"] {
        let env = dumped_env(&dir.join(callback));
        let path = |name: &str| running.join(name).display().to_string();
        let expected = [
            ("BUILD_PROJECT", "p"),
            ("BUILD_REMOTE", &remote),
            ("BUILD_REF", "refs/heads/main"),
            ("BUILD_REF_NAME", "main"),
            ("BUILD_REF_TYPE", "branch"),
            ("BUILD_COMMIT", &commit),
            ("BUILD_SHORT_COMMIT", short(&commit)),
            ("BUILD_NUMBER", &number),
            ("BUILD_REASON", "new commit"),
            ("BUILD_WAVE", &wave),
            ("BUILD_DIR", running.to_str().unwrap()),
            ("BUILD_PATH", &path("build")),
            ("BUILD_DROP", &path("drop")),
            ("BUILD_LOG", &path("build.log")),
            ("CI", "true"),
            ("CI_COMMIT_SHA", &commit),
            ("CI_COMMIT_REF_NAME", "main"),
            ("CI_COMMIT_BRANCH", "main"),
            ("CI_PROJECT_NAME", "p"),
            ("V0", "daemon"),
            ("V1", "defaults-file"),
            ("V2", "defaults"),
            ("V3", "project-file"),
            ("V4", "project"),
            ("D", "$V1 ${V1}"),
            ("EMPTY", ""),
            ("SECRET", "x y"),
            ("PWD", &path("build")),
        ];
        for (name, expected) in expected {
            assert_eq!(value(&env, name), Some(expected), "{callback}: {name}");
        }
        let outcome = (callback == "success").then_some("succeeded");
        assert_eq!(value(&env, "BUILD_OUTCOME"), outcome, "{callback}");
        for none in [
            "CI_COMMIT_TAG",
            "BUILD_IMAGE",
            "BUILD_IMAGE_ID",
            "BUILD_ERROR",
            "BUILD_STEP",
        ] {
            assert_eq!(value(&env, none), None, "{callback}: {none}");
        }
    }
    let tag = site.wait_built("p", "refs/tags/v1", &commit);
    let env = dumped_env(&tag.join("success"));
    assert_eq!(value(&env, "CI_COMMIT_TAG"), Some("v1"));
    assert_eq!(value(&env, "CI_COMMIT_BRANCH"), None);
    assert_eq!(value(&env, "BUILD_REF_TYPE"), Some("tag"));
    assert!(!dir.join("error").exists());

    let (dir, report) = wait_ended(&site, "bad", &commit);
    let env = dumped_env(&dir.join("error"));
    for (name, expected) in [
        ("BUILD_OUTCOME", "failed"),
        ("BUILD_STEP", "success_callback"),
        ("BUILD_ERROR", "success_callback: exit code 3"),
        ("BUILD_COMMIT", &commit),
        ("BUILD_DIR", dir.to_str().unwrap()),
        ("PWD", dir.join("build").to_str().unwrap()),
    ] {
        assert_eq!(value(&env, name), Some(expected), "{name}");
    }
    assert_eq!(report["failed_step"], "success_callback");
    assert_eq!(site.latest("bad", "refs/heads/main"), None);
    // Secrets of the file are in no file of ours.
    assert!(!build_log(&dir).contains("x y") && !daemon.log().contains("x y"));
}

#[test]
fn a_callback_that_goes_wrong_decides_the_outcome_once() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("not-executable", "#!/bin/sh\n"), ("no-program", "\x7f"), ("a", "1")]);
    let told = scratch.write("told", "");
    let line = "$BUILD_PROJECT|$BUILD_OUTCOME|$BUILD_STEP|$BUILD_ERROR";
    // Its own end is bad, too: that must change nothing.
    let tell = scratch.script("tell", &format!("echo \"{line}\" >>'{}'\nexit 9", told.display()));
    let remote = repo.path().display();
    let never = "trap '' TERM; setsid sleep 1000 & echo started; while :; do sleep 0.1; done";
    let projects = [
        (
            "absent",
            "prepare_callback = './nothing-there'",
            "failed",
            "is it installed",
        ),
        (
            "path",
            "prepare_callback = 'nothing-there-4711'",
            "failed",
            "is it installed",
        ),
        (
            "mode",
            "prepare_callback = ['./not-executable', 'x']",
            "failed",
            "is it executable?",
        ),
        ("directory", "prepare_callback = '/tmp'", "failed", "is it executable?"),
        (
            "exit",
            "prepare_callback = ['sh', '-c', 'echo out; echo err >&2; exit 7']",
            "failed",
            "exit code 7",
        ),
        (
            "signal",
            "prepare_callback = ['sh', '-c', 'kill -SEGV $$']",
            "failed",
            "SIGSEGV",
        ),
        (
            "never",
            &format!("prepare_callback = ['sh', '-c', {never:?}]"),
            "timed out",
            "its timeout of 700ms",
        ),
        (
            "late",
            &format!("success_callback = ['sh', '-c', {never:?}]"),
            "timed out",
            "its timeout of 700ms",
        ),
        (
            "stuck",
            "prepare_callback = 'false'\nerror_callback = ['sh', '-c', 'touch $BUILD_DIR/called; sleep 1000']",
            "failed",
            "exit code 1",
        ),
        (
            "nobody",
            "prepare_callback = 'false'\nerror_callback = './nothing-there'",
            "failed",
            "exit code 1",
        ),
    ];
    let mut toml = format!(
        "interval = '200ms'\nlimit = 3\ngrace = '200ms'\n[defaults]\nerror_callback = {tell:?}\ncallback_timeout = '700ms'\n"
    );
    for (name, rest, ..) in &projects {
        toml += &format!("[projects.{name}]\nremote = '{remote}'\n{rest}\n");
    }
    let site = Site::new(&scratch, &toml);
    let daemon = site.start();
    for (name, _, outcome, word) in &projects {
        let (dir, report) = wait_ended(&site, name, &commit);
        assert_eq!(
            report["outcome"].as_str().unwrap().replace('_', " "),
            *outcome,
            "{name}"
        );
        let error = report["error"].as_str().unwrap();
        assert!(error.contains(word), "{name}: {error}");
        assert!(error.starts_with(if *name == "late" {
            "success_callback: "
        } else {
            "prepare_callback: "
        }));
        assert_eq!(report["will_retry"], false);
        // The log has a header for each command, and its output.
        let log = build_log(&dir);
        assert!(
            log.lines()
                .any(|l| l.starts_with("=== ") && l.contains("checkout: $ git ")),
            "{log}"
        );
        assert!(log.contains(error), "{name}: {log}");
        if *name == "exit" {
            assert!(log.contains("\nout\n") && log.contains("\nerr\n"), "{log}");
        }
        let shown = String::from_utf8(site.cli(&["explain", name]).stdout).unwrap();
        assert!(shown.contains(error), "{name}: {shown}");
    }
    let stuck = site.job_dir("stuck", "refs/heads/main", &format!("{}.tmp", short(&commit)));
    assert!(stuck.join("called").exists());
    // Its end is in the log of the daemon and changes nothing.
    wait_for_state("the end of the error callbacks", SOON, || {
        let log = daemon.log();
        let ends = log.matches("the error_callback failed").count();
        (ends == projects.len()).then_some(()).ok_or(log)
    });
    let told_in = |name: &str| {
        let dir = site.job_dir(name, "refs/heads/main", &format!("{}.tmp", short(&commit)));
        build_json(&dir)["steps"].as_array().unwrap().last().unwrap().clone()
    };
    let last = told_in("exit");
    assert_eq!(
        (&last["step"], &last["error"]),
        (&"error_callback".into(), &"error_callback: exit code 9".into())
    );
    let text = std::fs::read_to_string(&told).unwrap();
    let mut told: Vec<&str> = text.lines().collect();
    told.sort();
    assert_eq!(told.len(), projects.len() - 2, "{told:#?}");
    for (name, _, outcome, word) in projects.iter().filter(|p| !["stuck", "nobody"].contains(&p.0)) {
        let step = if *name == "late" {
            "success_callback"
        } else {
            "prepare_callback"
        };
        let start = format!("{name}|{outcome}|{step}|{step}: ");
        assert!(
            told.iter().any(|t| t.starts_with(&start) && t.contains(word)),
            "{start}: {told:#?}"
        );
    }
    // None is tried again, though the remote is asked all the time.
    let next = repo.commit(&[("a", "2")]);
    let (_, report) = wait_ended_at(&site, "exit", &next);
    assert_eq!(report["attempt"], 1);
    let history = site.json(&["explain", "exit", "--json"]);
    assert_eq!(
        history.to_string().matches(&format!("\"commit\":\"{commit}\"")).count(),
        1,
        "{history}"
    );
}

/// As [`wait_ended`], for a ref that has older jobs.
#[track_caller]
fn wait_ended_at(site: &Site, project: &str, commit: &str) -> (PathBuf, serde_json::Value) {
    let dir = site.job_dir(project, "refs/heads/main", &format!("{}.tmp", short(commit)));
    wait_for_state("the newer job", SOON, || {
        let report = std::fs::read(dir.join("build.json")).map_err(|e| e.to_string())?;
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        (report["state"] == "done")
            .then_some(())
            .ok_or_else(|| report.to_string())
    });
    wait_ended(site, project, commit)
}

#[test]
fn an_env_file_that_is_not_there_is_waited_for() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("a", "1")]);
    let dump = env_dumper(&scratch);
    let toml = format!(
        r#"
interval = '1h'
limit = 2
retry = {{ attempts = 30, delay = '100ms', max_delay = '100ms' }}
[projects.missing]
remote = '{0}'
env_file = './late.env'
success_callback = [{dump:?}, 'env']
[projects.pipe]
remote = '{0}'
env_file = './pipe.env'
success_callback = [{dump:?}, 'env']
[projects.invalid]
remote = '{0}'
env_file = './late-too.env'
success_callback = [{dump:?}, 'env']
"#,
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml);
    // Nobody ever writes to it: who reads it waits.
    nix::unistd::mkfifo(&scratch.join("pipe.env"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    scratch.write("late-too.env", "A=1\nsome 5ecret words\n");
    let daemon = site.start();
    for (project, words) in [
        ("missing", "cannot read the env_file"),
        ("invalid", "is not valid: line 2"),
        ("pipe", "it is not a regular file"),
    ] {
        wait_for_state(project, SOON, || {
            let status = site.json(&["status", project, "--json"]);
            let job = &status["jobs"][0];
            let note = job["note"].as_str().unwrap_or_default().to_owned();
            (note.contains(words) && note.contains("tried again in"))
                .then_some(())
                .ok_or_else(|| status.to_string())
        });
    }
    scratch.write("late.env", "LATE=1\n");
    scratch.write("late-too.env", "LATE=2\n");
    std::fs::remove_file(scratch.join("pipe.env")).unwrap();
    scratch.write("pipe.env", "LATE=3\n");
    for (project, late) in [("missing", "1"), ("invalid", "2"), ("pipe", "3")] {
        let latest = wait_for_state(project, SOON, || {
            site.latest(project, "refs/heads/main").ok_or_else(|| daemon.log())
        });
        // A failed attempt keeps its directory, and the next has one of its own.
        let n: u32 = latest
            .strip_prefix(&format!("{}.", short(&commit)))
            .unwrap()
            .parse()
            .unwrap();
        assert!(n >= 2);
        let dir = site.job_dir(project, "refs/heads/main", &latest);
        assert_eq!(value(&dumped_env(&dir.join("env")), "LATE"), Some(late));
        let first = build_json(&site.job_dir(project, "refs/heads/main", &format!("{}.tmp", short(&commit))));
        assert_eq!(
            (&first["outcome"], &first["will_retry"]),
            (&"errored".into(), &true.into())
        );
        assert_eq!(first["failed_step"], "setup");
    }
    assert!(!daemon.log().contains("5ecret"));
}

#[test]
fn the_error_callback_knows_the_job_though_nothing_could_be_set_up() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[("a", "1")]);
    let dump = env_dumper(&scratch);
    let toml = format!(
        "interval = '1h'\nretry = {{ attempts = 2, delay = '50ms' }}\n[projects.p]\nremote = '{}'\nenv = {{ A = '1' }}\n\
         env_file = './gone.env'\nerror_callback = [{dump:?}, 'env']\n",
        repo.path().display()
    );
    let site = Site::new(&scratch, &toml);
    let _daemon = site.start();
    let dir = site.job_dir("p", "refs/heads/main", &format!("{}.2.tmp", short(&commit)));
    wait_for_state("the callback", SOON, || {
        let env = std::fs::metadata(dir.join("env"));
        env.is_ok_and(|m| m.size() > 0).then_some(()).ok_or_else(String::new)
    });
    let env = dumped_env(&dir.join("env"));
    for (name, expected) in [
        ("BUILD_PROJECT", "p"),
        ("BUILD_COMMIT", &commit),
        ("BUILD_OUTCOME", "errored"),
        ("BUILD_STEP", "setup"),
        ("A", "1"),
        ("PWD", dir.to_str().unwrap()),
    ] {
        assert_eq!(value(&env, name), Some(expected), "{name}");
    }
    assert!(value(&env, "BUILD_ERROR").unwrap().contains("cannot read the env_file"));
    let first = site.job_dir("p", "refs/heads/main", &format!("{}.tmp", short(&commit)));
    assert!(!first.join("env").exists(), "called although it was to be tried again");
}
