//! Closed registries: whom we trust, with which login, and that nobody else gets to see it.

use crate::common::*;
use crate::support::daemon::build_log;
use crate::support::jobs::wait_outcome;
use crate::support::servers::faults::Faults;
use crate::support::servers::registry::{Registry, RegistryOptions};
use crate::support::servers::tokens::Tokens;
use crate::support::spy::Spy;
use crate::support::witness::files_with;
use base64::Engine;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const PASSWORD: &str = "c0rrect-h0rse";

/// Of the test that runs beside: the other one's registry is made by a command that has its password as an argument.
const OTHER: &str = "battery-st4ple";

fn coded(password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("me:{password}"))
}

/// What only its owner can read.
fn private(path: PathBuf) -> String {
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

fn auth_json(host: &str, password: &str) -> String {
    serde_json::json!({ "auths": { host: { "auth": coded(password) } } }).to_string()
}

/// The password, as it is and as it is sent, in nothing that the daemon has written.
#[track_caller]
fn assert_secret(bench: &Bench, spy: &Spy) {
    for secret in [
        PASSWORD.to_owned(),
        coded(PASSWORD),
        OTHER.to_owned(),
        coded(OTHER),
        "wr0ng-h0rse".to_owned(),
        coded("wr0ng-h0rse"),
    ] {
        let found = files_with(&bench.site.workdir, &secret);
        assert!(found.is_empty(), "{secret} in {found:?}");
        assert!(!text(&bench.site.log).contains(&secret), "{secret}");
    }
    assert!(spy.seen().is_empty(), "{:?}", spy.seen());
}

/// TLS of a private CA and a password, base, staging and release on it; by every way to give a login.
#[test]
fn tls_and_a_password_by_every_way() {
    let bench = Bench::new("ARG BASE\nFROM $BASE\nCOPY data /data\n");
    let auth = Some(("me", PASSWORD));
    let registry = Registry::start_with(
        &bench.scratch,
        RegistryOptions {
            auth,
            tls: true,
            notify: None,
        },
    );
    let host = registry.host();
    let certs = bench.scratch.mkdir("certs");
    std::fs::copy(registry.ca_file(), certs.join("ca.crt")).unwrap();
    let certs = certs.display().to_string();
    let base = format!("{host}/base:1");
    bench.podman.run(&["tag", "localhost/busybox", &base]);
    let authfile = private(bench.scratch.write("own/auth.json", auth_json(&host, PASSWORD)));
    bench
        .podman
        .run(&["push", "--quiet", "--cert-dir", &certs, "--authfile", &authfile, &base]);
    bench.podman.run(&["rmi", &base]);
    let spy = Spy::start(&["c0rrect-h0rse", "wr0ng-h0rse"]);

    let password = private(bench.scratch.write("password", format!("{PASSWORD}\n")));
    let wrong = private(bench.scratch.write("wrong", "wr0ng-h0rse\n"));
    let ca_file = registry.ca_file().display().to_string();
    let by_password = |file: &str| format!("username = 'me'\npassword_file = '{file}'\n");
    for (name, login, env) in [
        ("a", by_password(&password), ""),
        ("b", format!("authfile = '{authfile}'\n"), ""),
        (
            "c",
            String::new(),
            &*format!("env = {{ REGISTRY_AUTH_FILE = '{authfile}' }}\n"),
        ),
    ] {
        let staging = match name {
            "a" => format!("staging = '{host}/staging:1', test = 'true', "),
            _ => String::new(),
        };
        let image = format!(
            "{env}image = {{ pull = 'always', {staging}release = ['{host}/{name}:1'], \
             build_args = {{ BASE = '{base}' }} }}\n"
        );
        bench.config(
            &format!("[registries.'{host}']\nca_file = '{ca_file}'\n{login}"),
            &image,
        );
        let daemon = bench.site.start();
        let commit = bench.push(name);
        let job = crate::support::jobs::wait_job(&bench.site, &commit, "an end", |j| {
            j.state == "done" || j.note.contains("errored")
        });
        assert_eq!(
            job.outcome(),
            "succeeded",
            "{name} {job:?} {}",
            text(&bench.running(&commit).join("build.log"))
        );
        let dir = bench.site.wait_built("p", MAIN, &commit);
        let place = format!("docker://{host}/{name}:1");
        let seen = skopeo(&[
            "inspect",
            "--raw",
            "--cert-dir",
            &certs,
            "--authfile",
            &authfile,
            &place,
        ]);
        assert_eq!(
            bench.image(MAIN)["digest"],
            *sha256(&seen.stdout),
            "{}",
            build_log(&dir)
        );
        drop(daemon);
        assert_secret(&bench, &spy);
    }
    // A wrong one is our side's trouble, and whoever reads it knows where to look.
    let image = format!("image.release = ['{host}/d:1']\nimage.build_args = {{ BASE = 'localhost/busybox' }}\n");
    let once = "retry.attempts = 1";
    let login = by_password(&wrong);
    bench.config(
        &format!("{once}\n[registries.'{host}']\nca_file = '{ca_file}'\n{login}"),
        &image,
    );
    let daemon = bench.site.start();
    let commit = bench.push("wrong");
    let report = report(&bench.site, &commit, "errored");
    let error = report["error"].as_str().unwrap();
    assert!(error.contains(&wrong) && error.contains(&host), "{error}");
    assert_eq!(report["failed_step"], "release", "{report}");
    drop(daemon);
    assert_secret(&bench, &spy);
    let place = format!("docker://{host}/d:1");
    assert!(
        !skopeo(&[
            "inspect",
            "--raw",
            "--cert-dir",
            &certs,
            "--authfile",
            &authfile,
            &place
        ])
        .status
        .success()
    );
}

/// Each token is good for three requests, so that it expires in the middle of each push.
#[test]
fn a_token_that_expires_on_the_way() {
    let bench = Bench::new(SCRATCH);
    let registry = Registry::start(&bench.scratch);
    let tokens = Tokens::start(Some(format!("Basic {}", coded(OTHER))), 3);
    let gate = tokens.gate();
    let proxy = Faults::start(registry.port(), move |r| gate.check(r));
    let (host, there) = (proxy.host(), registry.host());
    let spy = Spy::start(&[OTHER, "token-"]);
    let authfile = private(bench.scratch.write("auth.json", auth_json(&host, OTHER)));
    bench.config(
        &format!("[registries.'{host}']\ninsecure = true\nauthfile = '{authfile}'\n"),
        &format!("image = {{ staging = '{host}/s:1', release = ['{host}/a:1', '{host}/b:1'] }}\n"),
    );
    let daemon = bench.site.start();
    let job = wait_outcome(&bench.site, &bench.repo.head(), "succeeded");
    assert_eq!(job.attempts.len(), 1, "{job:?}");
    assert!(tokens.requests().len() > 5, "{}", tokens.requests().len());
    let digest = bench.image(MAIN)["digest"].as_str().unwrap().to_owned();
    for name in ["s", "a", "b"] {
        assert_eq!(seen(&format!("{there}/{name}:1")).as_ref(), Some(&digest), "{name}");
    }
    drop(daemon);
    assert_secret(&bench, &spy);
    assert!(files_with(&bench.site.workdir, "token-").is_empty());
}
