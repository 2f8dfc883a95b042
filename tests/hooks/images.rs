//! A real registry tells of a push, and what stands on it is built again at once.

use crate::common::*;
use crate::support::daemon::Site;
use crate::support::podman::{BUSYBOX, Podman};
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use crate::support::servers::child::free_port;
use crate::support::servers::registry::{Registry, RegistryOptions};

const MAIN: &str = "refs/heads/main";

#[test]
fn a_base_that_is_pushed_is_built_upon_at_once() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let port = free_port();
    let (url, token) = (
        format!("http://127.0.0.1:{port}/hooks/registry"),
        "word-of-the-registry",
    );
    let options = RegistryOptions {
        notify: Some((&url, token)),
        ..RegistryOptions::default()
    };
    let registry = Registry::start_with(&scratch, options);
    let host = registry.host();
    let push = |image: &str, name: &str| {
        podman.run(&[
            "push",
            "--quiet",
            "--tls-verify=false",
            image,
            &format!("docker://{host}/{name}"),
        ]);
    };
    push(BUSYBOX, "base:1");
    let repo = Repo::new(scratch.join("repo"));
    let commit = repo.commit(&[
        ("Containerfile", format!("FROM {host}/base:1\nCOPY data /data\n")),
        ("data", "x".to_owned()),
    ]);
    let origin = repo.bare(scratch.join("origin"));
    let file = scratch.write("token", token);
    let home = scratch.mkdir("home").display().to_string();
    let mut env = podman.env();
    for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        env.push((name.to_owned(), home.clone()));
    }
    let site = Site::new(
        &scratch,
        &format!(
            "interval = '1h'\nlisten = '127.0.0.1:{port}'\nlog_level = 'debug'\n[hooks]\nregistry = {file:?}\n\
             [registries.'{host}']\ninsecure = true\n\
             [projects.p]\nremote = {:?}\n[projects.p.image]\nrelease = '{host}/app:1'\n\
             update = {{ every = '6h', quiet = '0s' }}\n",
            origin.path()
        ),
    )
    .with_env(env);
    let daemon = site.start();
    site.wait_built("p", MAIN, &commit);
    // Pushed again as it is: looked at, and nothing follows.
    push(BUSYBOX, "base:1");
    wait_for_state("a look at the base", SOON, || {
        let log = daemon.log();
        if log.contains("looks.bases=1") && log.contains("checked for updates") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert!(
        !site
            .job_dir("p", MAIN, &format!("{}.2", crate::support::repo::short(&commit)))
            .exists()
    );
    // Something new.
    let context = scratch.mkdir("context");
    std::fs::write(context.join("Containerfile"), format!("FROM {BUSYBOX}\nENV NEW=1\n")).unwrap();
    podman.run(&[
        "build",
        "--quiet",
        "--tag",
        "localhost/new:1",
        &context.display().to_string(),
    ]);
    push("localhost/new:1", "base:1");
    let again = format!("{}.2", crate::support::repo::short(&commit));
    site.wait_latest("p", MAIN, &again);
    assert!(counts(&site)[0] >= 2);
    assert_eq!(counts(&site)[1], 0, "{}", daemon.log());
    assert!(!daemon.log().contains(token), "{}", daemon.log());
}
