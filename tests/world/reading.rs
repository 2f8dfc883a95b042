//! What is read, how often, and what stands in the way.

use crate::home::{Home, LONG};
use pipelined::git::{Ssh, World, WorldError, Worlds};
use pipelined::process::{Cancel, Runner};
use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

#[tokio::test]
async fn git_resolves_its_own_config() {
    let mut home = Home::new("[include]\n\tpath = more\n[core]\n\tsshCommand = first\n");
    home.scratch.write(
        "more",
        "[HTTP]\n\tSSLVerify = false\n[http \"https://H/Path\"]\n\tsslverify\n[core]\n\tsshCommand = included\n",
    );
    home.scratch
        .write("xdg/git/config", "[transfer]\n\thideRefs = refs/x\n");
    let env = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "Protocol.Version"),
        ("GIT_CONFIG_VALUE_0", "1"),
        ("GIT_CONFIG_PARAMETERS", "'http.useragent'='by parameter'"),
    ];
    home.runner = home.runner.with_env(env.map(|(n, v)| (n.into(), v.into())));
    let world = home.world().await;
    assert_eq!(world.ssh(), Ssh::Command("first".to_owned()));
    assert!(!world.http("https://h/path").tls.verify, "paths have a case");
    assert!(world.http("https://h/Path/x").tls.verify);
    assert!(world.hides_refs());
    assert!(!world.protocol_v2());
    assert_eq!(world.http("http://h").user_agent, "by parameter");
}

#[tokio::test]
async fn the_user_agent_is_gits() {
    let home = Home::new("");
    let version = home.git(&["version"]).unwrap();
    let agent = home.world().await.http("http://h").user_agent;
    assert_eq!(agent.strip_prefix("git/"), version.split(' ').nth(2));
}

#[tokio::test]
async fn a_world_that_cannot_be_read_says_why() {
    let home = Home::new("[broken\n");
    let error = World::read(&home.runner, home.path()).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, WorldError::Config { .. }), "{said}");
    assert!(
        said.contains("bad config line 1") && said.contains("git config --list"),
        "{said}"
    );
    assert!(!said.contains(char::is_control));

    let runner = home.runner.with_env([("PATH".into(), home.path().into())]);
    let error = World::read(&runner, home.path()).await.unwrap_err();
    assert!(matches!(error, WorldError::Command(_)), "{error}");
    assert!(error.to_string().contains("is it installed"), "{error}");

    let runner = home.runner.with_env(gated(&home));
    runner.cancel.ask();
    let error = World::read(&runner, home.path()).await.unwrap_err();
    assert_eq!(error, WorldError::Cancelled);
}

#[tokio::test]
async fn a_netrc_that_never_ends_hangs_nobody() {
    let home = Home::new("");
    let fifo = home.scratch.join(".netrc");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let begin = Instant::now();
    home.world().await;
    assert!(begin.elapsed() < LONG);
}

/// Puts a git first in the path that does something else before it is git.
fn with_git(home: &Home, before: &str) -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap();
    let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
    let git = dirs
        .iter()
        .map(|dir| dir.join("git"))
        .find(|git| git.is_file())
        .unwrap();
    let body = format!(
        "cd '{}'\n{before}\nexec '{}' \"$@\"",
        home.path().display(),
        git.display()
    );
    home.scratch.script("bin/git", &body);
    dirs.insert(0, home.scratch.join("bin"));
    vec![("PATH".into(), std::env::join_paths(dirs).unwrap())]
}

/// A git that writes down what it is asked.
fn counted(home: &Home) -> Vec<(OsString, OsString)> {
    with_git(home, "echo \"$1\" >> calls")
}

/// A git that does nothing as long as there is no file `gate`.
fn gated(home: &Home) -> Vec<(OsString, OsString)> {
    with_git(home, "until test -e gate; do sleep 0.05; done")
}

fn reads(home: &Home) -> usize {
    let calls = std::fs::read_to_string(home.scratch.join("calls")).unwrap_or_default();
    calls.lines().filter(|call| *call == "config").count()
}

#[tokio::test]
async fn a_world_is_read_once_for_all_who_share_it() {
    let home = Home::new("[http]\n\tuserAgent = mine\n");
    let worlds = Worlds::new(home.path());
    let env = counted(&home);
    let ask = |more: Vec<(OsString, OsString)>| {
        let env: Vec<_> = env.iter().cloned().chain(more).collect();
        let (worlds, runner) = (&worlds, &home.runner);
        async move { worlds.of(runner, &env).await.unwrap() }
    };
    let unrelated = || vec![("BUILD_FLAVOUR".into(), "x".into())];
    let (a, b, c) = tokio::join!(ask(vec![]), ask(vec![]), ask(unrelated()));
    assert!(Arc::ptr_eq(&a, &b) && Arc::ptr_eq(&a, &c));
    assert_eq!(reads(&home), 1);
    assert_eq!(a.http("http://h").user_agent, "mine");
    // A doubt right after reading changes nothing.
    worlds.refresh();
    assert!(Arc::ptr_eq(&a, &ask(vec![]).await));
    let other = ask(vec![("GIT_HTTP_USER_AGENT".into(), "other".into())]).await;
    assert_eq!(other.http("http://h").user_agent, "other");
    assert_eq!(reads(&home), 2);
}

#[tokio::test]
async fn an_error_is_shared_too_and_a_cancel_is_not() {
    let home = Home::new("[broken\n");
    let worlds = Worlds::new(home.path());
    let env = gated(&home);
    let cancelled = Runner {
        cancel: Cancel::new(),
        ..home.runner.clone()
    };
    cancelled.cancel.ask();
    assert_eq!(worlds.of(&cancelled, &env).await.unwrap_err(), WorldError::Cancelled);
    home.scratch.write("gate", "");
    let again = worlds.of(&home.runner, &env).await;
    assert!(matches!(again, Err(WorldError::Config { .. })), "{again:?}");

    let worlds = Worlds::new(home.path());
    let env = counted(&home);
    let worlds = Arc::new(worlds);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (worlds, runner, env) = (worlds.clone(), home.runner.clone(), env.clone());
        asking.spawn(async move { worlds.of(&runner, &env).await });
    }
    for answer in asking.join_all().await {
        assert!(matches!(answer, Err(WorldError::Config { .. })), "{answer:?}");
    }
    assert_eq!(reads(&home), 1);
}
