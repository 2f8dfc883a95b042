//! Files that a RUN may read: it sees them, and nothing else ever does.

use crate::common::{World, done, done_as};
use crate::support::spy::Spy;
use crate::support::witness::files_with;
use std::path::Path;
use std::process::Command;

const TOKEN: &str = "s3cr3t-of-build-77ab";
const SECOND: &str = "another-one-of-them-91";

#[test]
fn a_secret_is_seen_by_its_run_and_by_nothing_else() {
    let world = World::new();
    let containerfile = "FROM localhost/busybox\nARG TOKEN=none\n\
        RUN --mount=type=secret,id=TOKEN --mount=type=secret,id=SYSTEMD,target=/run/other \
        test \"$(cat /run/secrets/TOKEN)\" = s3cr3t-of-\"build-77ab\" && wc -c </run/other && cat /run/secrets/TOKEN && \
        for i in $(sed 's/./& /g' /run/secrets/TOKEN); do printf %s $i; sleep 0.01; done; \
        echo; base64 </run/secrets/TOKEN; echo \"said by $(cat /run/other)\" >&2; echo \"arg $TOKEN\"; sleep 0.3\n\
        RUN test ! -e /run/secrets/TOKEN\n";
    let (_repo, commit) = world.repo("repo", &[("Containerfile", containerfile)]);
    let tells = world.scratch.script("tells", "env; echo \"$BUILD_ERROR\"");
    let fails = "FROM localhost/busybox\nRUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN; exit 1\n";
    let (_fails, failing) = world.repo("fails", &[("Containerfile", fails)]);
    // Written as the rest is, so that only its owner may read it.
    let secret = |name: &str, content: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = world.scratch.write(name, content);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        file
    };
    let token = secret("token", &format!("{TOKEN}\n"));
    let second = secret("credentials/second", SECOND);
    let gone = secret("gone", "x");
    let secrets = format!(
        "secrets = {{ TOKEN = {{ file = '{}' }}, SYSTEMD = {{ file = '$CREDENTIALS_DIRECTORY/second' }} }}",
        token.display()
    );
    let tells = tells.display();
    let toml = format!(
        "[projects.p]\nremote = '{}'\nsuccess_callback = '{tells}'\nerror_callback = '{tells}'\n\
         [projects.p.image]\ntags = ['localhost/p:1']\n{secrets}\n\
         [projects.fails]\nremote = '{}'\nerror_callback = '{tells}'\n[projects.fails.image]\n{secrets}\n\
         [projects.gone]\nremote = '{}'\n[projects.gone.image]\nsecrets = {{ TOKEN = {{ file = '{}' }} }}\n",
        world.remote("repo"),
        world.remote("fails"),
        world.remote("repo"),
        gone.display(),
    );
    let site = world
        .site(&toml)
        .with_env([("CREDENTIALS_DIRECTORY", second.parent().unwrap())]);
    std::fs::remove_file(&gone).unwrap();
    let spy = Spy::start(&[TOKEN, SECOND]);
    let daemon = site.start();
    let job = done_as(&site, "p", &commit, "succeeded");
    done_as(&site, "fails", &failing, "failed");
    let missing = done(&site, "gone", &commit);
    assert_eq!(missing.outcome, "errored");
    let error = missing.error();
    assert!(
        error.contains("secret TOKEN") && error.contains("gone: No such file"),
        "{error}"
    );
    drop(daemon);

    // The length tells that the second one was there too.
    // What is left of the last line is the newline at the end of the file, in base64.
    assert!(job.log.contains("\n22\n***\n***\n***K\n"), "{}", job.log);
    assert!(
        job.log.contains("said by ***\n") && job.log.contains("\narg none\n"),
        "{}",
        job.log
    );
    assert_eq!(spy.seen(), [].into(), "in arguments");
    for word in [TOKEN, SECOND] {
        for place in [&site.workdir, &site.log, &site.config] {
            assert_eq!(files_with(place, word), Vec::<std::path::PathBuf>::new());
        }
    }
    let image = world.podman.run(&["inspect", "localhost/p:1"]);
    let history = world.podman.run(&["history", "--no-trunc", "localhost/p:1"]);
    let saved = world.scratch.mkdir("saved");
    // Layers lie in it as plain tar files.
    let format = ["save", "--quiet", "--format", "docker-dir", "--output"];
    world.podman.run(
        &[
            &format[..],
            &[&saved.join("image").display().to_string(), "localhost/p:1"],
        ]
        .concat(),
    );
    unpack(&saved.join("image"));
    for word in [TOKEN, SECOND] {
        assert!(!image.contains(word) && !history.contains(word), "{image}{history}");
        assert_eq!(files_with(&saved, word), Vec::<std::path::PathBuf>::new());
        // In the storage too: nothing is left of the mounts.
        assert_eq!(
            files_with(&world.scratch.join("podman"), word),
            Vec::<std::path::PathBuf>::new()
        );
    }
}

/// Unpacks what is compressed.
fn unpack(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let magic = std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]);
        if magic {
            let plain = Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
            assert!(plain.status.success());
            std::fs::write(&path, plain.stdout).unwrap();
        }
    }
}
