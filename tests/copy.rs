//! Copying results with rsync: what is copied, what is removed, and from where.

#![cfg(test)]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use support::daemon::{Site, build_log};
use support::podman::{BUSYBOX, Podman};
use support::repo::{Repo, short};
use support::scratch::{SOON, Scratch, wait_for_state};
use support::servers::ssh::SshGit;

/// The files below a directory, sorted.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        for entry in std::fs::read_dir(&path).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                todo.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn mode(path: PathBuf) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn copies_what_the_options_say_to_here_and_elsewhere() {
    let scratch = Scratch::new();
    let ssh = SshGit::start(&scratch);
    let sub = Repo::new(scratch.join("sub"));
    sub.commit(&[("inner", "x")]);
    let repo = Repo::new(scratch.join("repo"));
    repo.commit(&[
        ("a/b.txt", "b"),
        ("index.html", "i"),
        ("run", "r"),
        ("gone", "g"),
        ("-odd '$(id)", "o"),
    ]);
    repo.git(&["update-index", "--chmod=+x", "run"]);
    std::fs::set_permissions(repo.path().join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let first = repo.add_submodule("mod", &sub.path().display().to_string());
    let remote = repo.path().display();
    let out = scratch.mkdir("out");
    let to = |name: &str| out.join(name);
    let project = |name: &str, destination: &str, rest: &str| {
        format!("[projects.{name}]\nremote = '{remote}'\nrsync = {{ destination = '{destination}'{rest} }}\n")
    };
    let here = |name: &str, rest: &str| project(name, &to(name).display().to_string(), rest);
    let there = ssh.rsync_destination(&to("there"));
    let toml = "interval = '200ms'\nlimit = 2\n[defaults]\ninitial = 'heads'\n".to_owned()
        + &here("plain", "")
        + &here("delete", ", delete = true, preserve = true")
        + &here("checksum", ", checksum = true")
        + &here("include", ", include = ['*.html', 'a/**']")
        + &project("there", &there, ", delete = true")
        + &project(
            "named",
            &format!("{}/${{BUILD_PROJECT}}-${{BUILD_SHORT_COMMIT}}", out.display()),
            "",
        );
    let site = Site::new(&scratch, &toml).with_env([("RSYNC_RSH", ssh.rsync_shell())]);
    let _daemon = site.start();
    let projects = ["plain", "delete", "checksum", "include", "there", "named"];
    for project in projects {
        site.wait_built(project, "refs/heads/main", &first);
    }
    let all = [
        "-odd '$(id)",
        ".gitmodules",
        "a/b.txt",
        "gone",
        "index.html",
        "mod/inner",
        "run",
    ];
    for project in ["plain", "delete", "checksum", "there"] {
        assert_eq!(files(&to(project)), all, "{project}");
    }
    assert_eq!(files(&to(&format!("named-{}", short(&first)))), all);
    assert_eq!(files(&to("include")), ["a/b.txt", "index.html"]);
    assert_eq!(mode(to("plain/run")) & 0o111, 0o111);

    // A number may be used again: together with its birth it is one file's own.
    let identity = |name: &str| {
        let file = to(name).metadata().unwrap();
        (file.ino(), file.created().unwrap())
    };
    let (checked, plain) = (identity("checksum/run"), identity("plain/run"));
    // The next checkout may come within the same second, and rsync looks at seconds.
    for name in ["plain/run", "checksum/run"] {
        let file = std::fs::File::options().write(true).open(to(name)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    for name in ["plain", "delete"] {
        std::fs::set_permissions(to(name).join("run"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(to(name).join("foreign"), "").unwrap();
    }
    std::fs::remove_file(repo.path().join("gone")).unwrap();
    let second = repo.commit(&[("a/b.txt", "new")]);
    for project in projects {
        site.wait_built(project, "refs/heads/main", &second);
    }
    let without = |names: &[&str]| -> Vec<String> {
        all.iter()
            .filter(|n| !names.contains(n))
            .map(|n| (*n).to_owned())
            .collect()
    };
    assert_eq!(files(&to("delete")), without(&["gone"]));
    assert_eq!(files(&to("there")), without(&["gone"]));
    assert!(to("plain/gone").exists() && to("plain/foreign").exists());
    assert_eq!(std::fs::read(to("there/a/b.txt")).unwrap(), b"new");
    assert_eq!((mode(to("plain/run")), mode(to("delete/run"))), (0o600, 0o755));
    // With the same content a file is left alone only by checksum: a checkout has new times.
    assert_eq!(identity("checksum/run"), checked);
    assert_ne!(identity("plain/run"), plain);
}

#[test]
fn copies_what_a_run_dropped_and_says_what_went_wrong() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let repo = Repo::new(scratch.join("repo"));
    let text = format!(
        "FROM {BUSYBOX}\nCMD [\"sh\", \"-c\", \"echo made >/drop/made; mkdir /drop/.git; echo x >/drop/.git/x\"]\n"
    );
    let commit = repo.commit(&[("Containerfile", text)]);
    let remote = repo.path().display();
    let out = scratch.join("out");
    let file = scratch.write("a-file", "");
    let toml = format!(
        r#"
interval = '1h'
limit = 2
retry = {{ attempts = 2, delay = '50ms' }}
[projects.drop]
remote = '{remote}'
image = {{}}
run = {{}}
rsync = {{ destination = '{out}' }}
[projects.no-parent]
remote = '{remote}'
rsync = {{ destination = '{out}/x/y/z' }}
[projects.a-file]
remote = '{remote}'
rsync = {{ destination = '{file}/below' }}
[projects.no-host]
remote = '{remote}'
rsync = {{ destination = 'nowhere.invalid:/x' }}
[projects.option]
remote = '{remote}'
env = {{ D = '--rsh=touch' }}
rsync = {{ destination = '$D' }}
"#,
        out = out.display(),
        file = file.display(),
    );
    let site = Site::new(&scratch, &toml).with_env(podman.env());
    let _daemon = site.start();
    let dir = site.wait_built("drop", "refs/heads/main", &commit);
    // What a run dropped is copied as it is, its own .git too.
    assert_eq!(files(&out), [".git/x", "made"]);
    assert!(build_log(&dir).contains("rsync: $ rsync --recursive"));
    for (project, outcome, words) in [
        ("no-parent", "errored", "rsync: exited with"),
        ("a-file", "failed", "source or destination cannot be opened"),
        ("no-host", "errored", "the other side cannot be reached"),
        ("option", "failed", "is not a destination"),
    ] {
        let note = wait_for_state(project, SOON, || {
            let status = site.json(&["status", project, "--json"]);
            let job = &status["projects"][0]["refs"][0]["job"];
            let ended = job["outcome"]
                .is_string()
                .then(|| (job["outcome"].clone(), job["note"].to_string()));
            ended.ok_or_else(|| status.to_string())
        });
        assert_eq!(note.0, outcome, "{project}: {}", note.1);
        assert!(note.1.contains(words), "{project}: {}", note.1);
    }
}
