//! Engines, registries and files of secrets: what is written, what is meant, what is looked at.

use super::images::{config, said};
use super::{Overrides, load};
use crate::config::{EngineKind, RegistryLogin, RegistrySettings, SecretFile, SnapshotMode, diff};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn what_an_engine_cannot_do_is_said() {
    let with = |engine: &str, lines: &str| {
        let found = said(&format!(
            "{engine}\n[projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{lines}"
        ));
        found.join("; ")
    };
    let kaniko = "engine = \"kaniko\"\nkaniko.image = \"executor\"";
    for (engine, lines, expected) in [
        ("", "source_date_epoch = \"commit\"", ""),
        ("engine = \"docker\"", "source_date_epoch = false", ""),
        (
            "engine = \"docker\"",
            "source_date_epoch = \"commit\"",
            "docker's builder cannot set",
        ),
        (kaniko, "source_date_epoch = \"commit\"", "kaniko cannot set times"),
        ("", "secrets.A.file = \"/a\"", ""),
        (kaniko, "secrets.A.file = \"/a\"", "only newer executors"),
        (kaniko, "tags = \"localhost/a\"", "kaniko leaves nothing"),
        (
            kaniko,
            "test = \"t\"\nrelease = \"localhost/a\"",
            "kaniko cannot release",
        ),
        (
            kaniko,
            "test = \"t\"\nrelease = \"localhost/${BUILD_COMMIT}\"",
            "kaniko cannot release",
        ),
        (kaniko, "test = \"t\"\nrelease = \"localhost:5000/a\"", ""),
        ("", "test = \"t\"\nrelease = \"localhost/a\"", ""),
        ("", "release = \"localhost/a\"", "this image is released without a test"),
        ("kaniko.image = \"executor\"", "", "[kaniko] is not used"),
        (
            "engine = \"docker\"\nkaniko.image = \"executor\"",
            "",
            "[kaniko] is not used",
        ),
        ("engine = \"kaniko\"", "", "kaniko needs the image of its executor"),
        (
            "engine = \"kaniko\"\n[kaniko]",
            "",
            "kaniko needs the image of its executor",
        ),
        (
            "engine = \"kaniko\"\nkaniko.image = \"a b\"",
            "",
            "this is not an image reference",
        ),
        (
            "engine = \"buildah\"",
            "",
            "expected \"podman\", \"docker\" or \"kaniko\"",
        ),
        ("engine = 1\nkaniko.image = \"executor\"", "", "expected "),
    ] {
        let found = with(engine, lines);
        assert!(found.starts_with(expected), "{engine} {lines}: {found}");
        assert_eq!(found.is_empty(), expected.is_empty(), "{engine} {lines}: {found}");
        assert!(!found.contains("; "), "{engine} {lines}: {found}");
    }
}

#[test]
fn kaniko_runs_in_an_engine() {
    let with = |lines: &str| config(&format!("engine = \"kaniko\"\n[kaniko]\nimage = \"e:1\"\n{lines}"));
    let bare = with("");
    let kaniko = bare.kaniko.as_ref().unwrap();
    assert_eq!((bare.engine, kaniko.image.as_str()), (EngineKind::Podman, "e:1"));
    assert!(kaniko.cache_repo.is_none() && kaniko.snapshot_mode.is_none() && kaniko.flags.is_empty());
    let full = with("engine = \"docker\"\nsnapshot_mode = \"time\"\ncache_repo = \"r.io/c\"\nflags = \"--x=y\"");
    let kaniko = full.kaniko.as_ref().unwrap();
    assert_eq!(
        (full.engine, kaniko.snapshot_mode),
        (EngineKind::Docker, Some(SnapshotMode::Time))
    );
    assert_eq!(kaniko.cache_repo.as_ref().unwrap().name(), "r.io/c");
    assert_eq!(kaniko.flags, ["--x=y"]);
    assert_eq!(diff(&bare, &full).to_string(), "settings: engine, kaniko");
    assert_eq!(config("kaniko.image = \"e\"").kaniko, None);
}

#[test]
fn registries_have_logins() {
    let with = |lines: &str| config(&format!("[registries.\"index.docker.io\"]\n{lines}")).registries;
    let registries = with("");
    assert_eq!(registries["docker.io"], RegistrySettings::default());
    let login = |lines: &str| with(lines).remove("docker.io").unwrap().login;
    let file = |path: &str| SecretFile::new(path);
    assert_eq!(
        login("authfile = \"$CREDENTIALS_DIRECTORY/x\""),
        RegistryLogin::AuthFile(file("$CREDENTIALS_DIRECTORY/x"))
    );
    let password = RegistryLogin::Password {
        username: "me".to_owned(),
        password_file: file("/etc/pipelined/p"),
    };
    assert_eq!(login("username = \"me\"\npassword_file = \"./p\""), password);
    let tls = with("ca_file = \"ca\"");
    assert_eq!(
        tls["docker.io"].ca_file.as_deref(),
        Some(Path::new("/etc/pipelined/ca"))
    );
    let (old, new) = (config(""), config("[registries.\"r.io\"]\ninsecure = true"));
    assert!(new.registries["r.io"].insecure);
    assert_eq!(diff(&old, &new).to_string(), "settings: registries");
    for (lines, message) in [
        ("password = \"hunter2\"", "unknown key `password`"),
        ("username = \"\"", "the login name is empty"),
        (
            "username = \"a\"",
            "this registry has `username` and no `password_file`",
        ),
        (
            "password_file = \"a\"",
            "this registry has `password_file` and no `username`",
        ),
        (
            "insecure = true\nca_file = \"a\"",
            "with `insecure` no certificate is looked at",
        ),
        ("authfile = \"\"", "the path is empty"),
        ("ca_file = 1", "expected a string, found an integer"),
    ] {
        let found = said(&format!(
            "[registries.\"r.io\"]\n{lines}\n[projects.a]\nremote = \"h:x\""
        ));
        assert!(found.iter().any(|m| m == message), "{lines}: {found:?}");
    }
}

#[test]
fn files_of_secrets_are_looked_at_and_never_into() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (name, mode) in [
        ("open", 0o644),
        ("group", 0o640),
        ("write", 0o602),
        ("closed", 0o600),
        ("ca", 0o644),
    ] {
        std::fs::write(at(name), "hunter2\n").unwrap();
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let text = "workdir = \"/w\"\n[registries.\"a.io\"]\nusername = \"u\"\npassword_file = \"open\"\nca_file = \"ca\"\n\
                [registries.\"b.io\"]\nauthfile = \"group\"\nca_file = \"no-ca\"\n\
                [registries.\"c.io\"]\nauthfile = \"$CREDENTIALS_DIRECTORY/none-here\"\n\
                [projects.a]\nremote = \"/x\"\n[projects.a.image.secrets]\nA.file = \"gone\"\nB.file = \".\"\n\
                C.file = \"closed\"\nD.file = \"write\"\n\
                [projects.off]\nenabled = false\nremote = \"/x\"\nimage.secrets.A.file = \"gone-too\"\n";
    std::fs::write(at("p.toml"), text).unwrap();
    let loaded = load(&at("p.toml"), &Overrides::default()).unwrap();
    let said: Vec<_> = loaded
        .warnings
        .iter()
        .map(|w| w.message.replace(&format!("{}/", dir.path().display()), ""))
        .collect();
    let shown = loaded.source.render(&loaded.warnings, false);
    assert!(!shown.contains("hunter2"), "{shown}");
    let everyone = "everyone on this machine can get at this secret";
    assert_eq!(said[0], format!("open: {everyone}"));
    assert!(said[1].starts_with("no-ca: this file cannot be read now"), "{said:?}");
    assert!(said[2].starts_with("gone: this file cannot be read now"), "{said:?}");
    assert!(said[3].ends_with("this file is not a file"), "{said:?}");
    assert_eq!(said[4], format!("write: {everyone}"));
    assert_eq!(said.len(), 5, "{said:?}");
}
