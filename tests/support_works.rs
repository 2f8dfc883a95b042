//! What the other tests stand on really does what it says.

#![cfg(test)]

mod support;

use rstest::rstest;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use support::daemon::{encode_ref, strays};
use support::podman::{BUSYBOX, Podman, busybox_context};
use support::repo::{Repo, git_command, short};
use support::scratch::{SOON, Scratch, wait_for};
use support::servers::git_daemon::GitDaemon;
use support::servers::hostile::{Hostile, Manner};
use support::servers::http::{HttpGit, HttpOptions};
use support::servers::ssh::SshGit;

/// A bare repository `srv/r.git` with one commit on main; its parent directory and the commit.
fn served(scratch: &Scratch) -> (PathBuf, String) {
    let repo = Repo::new(scratch.join("r"));
    let commit = repo.commit(&[("a", "1")]);
    let root = scratch.mkdir("srv");
    repo.bare(root.join("r.git"));
    (root, commit)
}

/// `git ls-remote URL` with these variables: what it printed, or its errors.
fn ls_remote(url: &str, env: &[(&str, &str)]) -> Result<String, String> {
    let output = git_command()
        .args(["ls-remote", "--heads", url])
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

#[test]
fn git_daemon_serves() {
    let scratch = Scratch::new();
    let (root, commit) = served(&scratch);
    let server = GitDaemon::start(&scratch, &root);
    assert_eq!(
        ls_remote(&server.url("r.git"), &[]).unwrap(),
        format!("{commit}\trefs/heads/main\n")
    );
    assert!(ls_remote(&server.url("none.git"), &[]).is_err());
}

#[test]
fn ssh_serves() {
    let scratch = Scratch::new();
    let (root, commit) = served(&scratch);
    let server = SshGit::start(&scratch);
    let listed = ls_remote(
        &server.url(&root.join("r.git")),
        &[("GIT_SSH_COMMAND", &server.command())],
    );
    assert_eq!(listed.unwrap(), format!("{commit}\trefs/heads/main\n"));
}

#[test]
fn http_serves_and_logs() {
    let scratch = Scratch::new();
    let (root, commit) = served(&scratch);
    let server = HttpGit::start(&scratch, &root, HttpOptions::default());
    assert!(ls_remote(&server.url("r.git"), &[]).unwrap().starts_with(&commit));
    assert!(ls_remote(&server.url("none.git"), &[]).is_err());
    assert!(
        server
            .access_log()
            .contains("GET /r.git/info/refs?service=git-upload-pack")
    );
    // Protocol v2 gets through, and with it a fetch by hash of a commit.
    let clone = Repo::new(scratch.join("clone"));
    clone.git(&["fetch", "--quiet", "--depth=1", &server.url("r.git"), &commit]);
    assert_eq!(clone.rev("FETCH_HEAD"), commit);
}

#[test]
fn http_asks_for_a_password_over_tls() {
    let scratch = Scratch::new();
    let (root, commit) = served(&scratch);
    let options = HttpOptions {
        auth: Some(("bob", "s3cret")),
        tls: true,
    };
    let server = HttpGit::start(&scratch, &root, options);
    let ca = server.ca_file().display().to_string();
    let url = server.url("r.git");
    let with_password = url.replace("https://", "https://bob:s3cret@");
    assert!(
        ls_remote(&with_password, &[("GIT_SSL_CAINFO", &ca)])
            .unwrap()
            .starts_with(&commit)
    );
    assert!(ls_remote(&url, &[("GIT_SSL_CAINFO", &ca)]).is_err(), "no password");
    assert!(ls_remote(&with_password, &[]).is_err(), "an unknown CA");
}

#[rstest]
#[case(Manner::Rubbish)]
#[case(Manner::HangUp)]
fn a_hostile_server_is_no_repository(#[case] manner: Manner) {
    let server = Hostile::start(manner);
    ls_remote(&server.http_url(), &[]).unwrap_err();
    ls_remote(&server.git_url(), &[]).unwrap_err();
    assert!(server.connections() >= 2);
}

#[rstest]
#[case(Manner::Silent)]
#[case(Manner::Trickle)]
fn a_hostile_server_keeps_git_waiting(#[case] manner: Manner) {
    let server = Hostile::start(manner);
    let mut child = git_command().args(["ls-remote", &server.http_url()]).spawn().unwrap();
    wait_for("a connection", SOON, || (server.connections() > 0).then_some(()));
    let since = Instant::now();
    let ended = wait_for("a second", SOON, || {
        let ended = child.try_wait().unwrap();
        (ended.is_some() || since.elapsed() > Duration::from_secs(1)).then_some(ended)
    });
    assert_eq!(ended, None);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn repositories_have_what_git_has() {
    let scratch = Scratch::new();
    let repo = Repo::new(scratch.join("r"));
    let first = repo.commit(&[("a", "1")]);
    let second = repo.commit(&[("a", "1")]);
    assert_ne!(first, second, "also without a change");
    repo.tag("light");
    let inner = repo.annotated_tag("annotated", "HEAD");
    let outer = repo.annotated_tag("nested", "annotated");
    assert_eq!(repo.rev("light"), second);
    assert_eq!(repo.git(&["cat-file", "-t", &inner]), "tag");
    assert_eq!(repo.rev("nested^{commit}"), second);
    assert_ne!(inner, outer);

    let odd = b"refs/heads/\xff'$(x)\"%";
    repo.set_ref(odd, &first);
    repo.branch("side");
    repo.reset(&first);
    let bare = repo.bare(scratch.join("bare.git"));
    assert_eq!(bare.rev("refs/heads/side"), first);
    repo.switch("main");
    repo.reset(&first);
    repo.delete_ref(odd);
    repo.push_to(&bare);
    assert_eq!(
        bare.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]),
        "main\nside"
    );
    assert_eq!(bare.rev("main"), first);

    let with_module = Repo::new(scratch.join("outer"));
    let commit = with_module.add_submodule("module", bare.path().to_str().unwrap());
    assert_eq!(with_module.rev(&format!("{commit}:module")), first);
    assert_eq!(Repo::sha256(scratch.join("s")).commit(&[("a", "1")]).len(), 64);
    assert_eq!(short(&first).len(), 8);
}

#[test]
fn refs_are_encoded_as_the_contract_says() {
    assert_eq!(encode_ref(b"refs/heads/main"), "refs%2Fheads%2Fmain");
    assert_eq!(encode_ref(b"refs/tags/v1.0-a_b~\xff%"), "refs%2Ftags%2Fv1.0-a_b~%FF%25");
}

#[test]
fn podman_builds_and_runs_and_leaves_nothing() {
    let scratch = Scratch::new();
    let storage = scratch.join("podman");
    {
        let podman = Podman::new(&scratch);
        busybox_context(&scratch.join("context"));
        let context = scratch.join("context").display().to_string();
        podman.run(&["build", "--quiet", "--tag", "localhost/own", &context]);
        assert_eq!(podman.run(&["run", "--rm", "localhost/own", "echo", "hi"]), "hi");
        assert_eq!(
            podman
                .output(&["run", "--rm", "localhost/own", "sh", "-c", "exit 7"])
                .status
                .code(),
            Some(7)
        );
        podman.run(&["run", "--detach", "--name", "stays", "localhost/own", "sleep", "1000"]);
        assert_eq!(podman.containers(), ["stays"]);
        assert_eq!(podman.working_containers(), Vec::<String>::new());
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(storage.to_str().unwrap()), "{mounts}");
    let path = scratch.path().to_owned();
    drop(scratch);
    assert!(!path.exists());
}

#[test]
fn an_image_with_busybox_is_loaded_from_an_archive() {
    let (one, two) = (Scratch::new(), Scratch::new());
    let ids = [&one, &two].map(|scratch| {
        let podman = Podman::new(scratch);
        podman.load_busybox();
        assert_eq!(podman.run(&["run", "--rm", BUSYBOX, "echo", "hi"]), "hi");
        podman.run(&["image", "inspect", "--format", "{{.Id}}", BUSYBOX])
    });
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn strays_are_found_by_their_marker() {
    let scratch = Scratch::new();
    let mut child = Command::new("sleep")
        .arg("1000")
        .env("PIPELINED_JOB", "1")
        .env("BUILD_DIR", scratch.join("x"))
        .spawn()
        .unwrap();
    // Until exec the child still has our environment.
    wait_for("the stray to be seen", SOON, || {
        (strays(scratch.path()).len() == 1).then_some(())
    });
    assert!(strays(&scratch.join("other")).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(strays(scratch.path()).is_empty());
}
