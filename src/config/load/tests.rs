//! Whole files in, whole results out.

use super::*;
use crate::config::{EnvLayer, Image, Project, Pull, Tmpfs, diff, keys, to_json, to_toml};
use crate::model::ProjectName;

pub(super) const EXAMPLE: &str = include_str!("../../../pipelined.toml.example");

/// As on a machine with an empty environment, on which all that a config names is there.
pub(in crate::config) fn checked(name: &str, text: &str) -> Result<Loaded, LoadError> {
    let base = Path::new("/etc/pipelined");
    check(
        Source::new(name, text),
        base,
        &Overrides::default(),
        &|_| false,
        |_, _| (),
    )
}

fn loaded(text: &str) -> Loaded {
    checked("p.toml", text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn mistakes(text: &str) -> Diagnostics {
    match checked("p.toml", text) {
        Err(LoadError::Invalid(diagnostics)) => diagnostics,
        other => panic!("{text}: {other:?}"),
    }
}

/// A valid project with these lines in it.
fn project(lines: &str) -> Project {
    let text = format!("workdir = \"/w\"\n[projects.a]\nremote = \"https://h/x\"\n{lines}");
    loaded(&text)
        .config
        .projects
        .remove(&ProjectName::new("a").unwrap())
        .unwrap()
}

fn image(lines: &str) -> Image {
    project(lines).images.remove(0)
}

fn fixtures(kind: &str) -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config").join(kind);
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn invalid_files_get_every_mistake_shown() {
    for (name, text) in fixtures("invalid") {
        let Err(LoadError::Invalid(diagnostics)) = checked(&name, &text) else {
            panic!("{name} should be invalid");
        };
        insta::assert_snapshot!(format!("invalid-{name}"), diagnostics.render(false));
    }
}

#[test]
fn valid_files_mean_what_they_say() {
    for (name, text) in fixtures("valid") {
        let loaded = checked(&name, &text).unwrap_or_else(|e| panic!("{e}"));
        let warnings = loaded.source.render(&loaded.warnings, false);
        insta::assert_snapshot!(
            format!("valid-{name}"),
            format!("{warnings}\n{}", to_toml(&loaded.config).unwrap())
        );
    }
}

#[test]
fn ten_mistakes_get_ten_diagnostics() {
    let (_, text) = fixtures("invalid")
        .into_iter()
        .find(|(name, _)| name == "ten.toml")
        .unwrap();
    assert_eq!(mistakes(&text).list.len(), 10);
}

#[test]
fn no_secret_is_shown() {
    for (name, text) in fixtures("invalid").into_iter().chain(fixtures("valid")) {
        let shown = match checked(&name, &text) {
            Err(LoadError::Invalid(d)) => format!("{} {} {d} {d:?}", d.render(true), d.to_json()),
            Err(error) => panic!("{error}"),
            Ok(l) => {
                let (toml, json) = (to_toml(&l.config).unwrap(), to_json(&l.config).unwrap());
                format!("{} {toml} {json}", l.source.render(&l.warnings, false))
            }
        };
        for secret in ["hunter2", "ter2"] {
            assert!(!shown.contains(secret), "{name}: {shown}");
        }
    }
}

#[test]
fn what_is_shown_can_be_read_again() {
    for (_, text) in fixtures("valid") {
        let shown = to_toml(&loaded(&text).config).unwrap();
        assert_eq!(to_toml(&loaded(&shown).config).unwrap(), shown);
    }
}

#[test]
fn what_is_shown_of_hooks_can_be_read_again() {
    let text = include_str!("../../../fixtures/config/valid/hooks.toml");
    let first = loaded(text);
    let again = loaded(&to_toml(&first.config).unwrap());
    assert_eq!(again.config, first.config);
    assert_eq!(again.config.hooks.len(), 5);
    let other = loaded(&text.replace("0.0.0.0", "[::1]").replace("form = ", "# form = "));
    assert_eq!(
        diff(&first.config, &other.config).to_string(),
        "settings: listen, hooks"
    );
    assert_eq!((first.warnings.len(), other.warnings.len()), (1, 0));
    let plain = loaded(&text.replace("0.0.0.0", "[::ffff:127.0.0.1]"));
    assert_eq!(plain.warnings.len(), 0, "that is this machine too");
}

#[test]
fn the_example_is_valid_and_says_the_defaults() {
    let example = loaded(EXAMPLE);
    assert!(example.warnings.is_empty(), "{:?}", example.warnings);
    let bare = "workdir = \"/var/lib/pipelined\"\n[projects.ruby]\nremote = \"https://git.example.org/images/ruby.git\"\n\
                image = {}\nrun = {}\nrsync.destination = \"/var/www/html\"\n";
    assert_eq!(example.config, loaded(bare).config);
}

#[test]
fn the_example_with_every_comment_taken_off_a_key_is_valid() {
    let uncommented = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split(' ').nth(1) == Some("=") || rest.starts_with('[') => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    assert!(uncommented.contains("\nlog_dir ="));
    let all = loaded(&uncommented).config;
    assert_eq!(all.registries.len(), 2);
    assert!(
        all.projects
            .values()
            .all(|p| p.images[0].staging.is_some() && p.images[0].poke.len() == 2)
    );
    // Those of kaniko are looked at only where it builds, which has no use for names in the engine's storage.
    let kaniko = loaded(&uncommented.replacen("engine = \"podman\"  ", "engine = \"kaniko\"  ", 1))
        .config
        .kaniko
        .unwrap();
    assert!(kaniko.cache_repo.is_some() && kaniko.snapshot_mode.is_some() && kaniko.flags.len() == 1);
    let written: Vec<_> = uncommented
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = ").map(|(key, _)| key))
        .collect();
    let tables = [
        "defaults",
        "projects",
        "retry",
        "kaniko",
        "registries",
        "hooks",
        "images",
        "run",
        "rsync",
        "file",
        "update",
        "poke",
        "gitlab",
        "webhook",
    ];
    for (table, _) in keys::TABLES {
        for key in table.iter().filter(|k| !tables.contains(k)) {
            assert!(written.contains(key), "{key} is not in the example");
        }
    }
}

#[test]
fn defaults_merge_and_give_no_image() {
    let with = |own: &str| {
        format!(
            "workdir = \"/w\"\n[defaults]\nenv = {{ A = \"1\" }}\nenv_file = \"d.env\"\nimage.pull = \"never\"\n\
             image.labels = {{ a = \"1\", b = \"1\" }}\nrun.tmpfs = \"1%\"\nrsync.destination = \"/d\"\n\
             [projects.a]\nremote = \"https://h/x\"\n{own}"
        )
    };
    let get = |own: &str| loaded(&with(own)).config.projects.into_values().next().unwrap();
    let bare = get("");
    assert!(bare.images.is_empty() && bare.run.is_none() && bare.rsync.is_none());
    let own = get("env = { B = \"2\" }\nenv_file = \"./own.env\"\nimage.labels = { b = \"2\" }\nrun = {}\nrsync = {}");
    let table = |name: &str, value: &str| EnvLayer::Table([(name.to_owned(), value.to_owned())].into());
    assert_eq!(
        own.env,
        [
            EnvLayer::File("/etc/pipelined/d.env".into()),
            table("A", "1"),
            EnvLayer::File("/etc/pipelined/own.env".into()),
            table("B", "2"),
        ]
    );
    let image = &own.images[0];
    assert_eq!(image.pull, Pull::Never);
    let labels: Vec<_> = image
        .labels
        .iter()
        .map(|(n, t)| format!("{n}={}", t.as_str()))
        .collect();
    assert_eq!(labels, ["a=1", "b=2"]);
    assert_eq!(own.run.unwrap().tmpfs, Tmpfs::Percent(1));
    assert_eq!(own.rsync.unwrap().destination.as_str(), "/d");
}

#[test]
fn values_have_more_than_one_way_to_be_written() {
    assert_eq!(image("image.pull = true").pull, Pull::Newer);
    assert_eq!(image("image.pull = false").pull, Pull::Missing);
    assert_eq!(project("branches = \"main\"").branches.len(), 1);
    let argv = |lines: &str| project(lines).error_callback.unwrap();
    assert_eq!(
        argv("error_callback = \"a 'b c'\""),
        argv("error_callback = [\"a\", \"b c\"]")
    );
    let run = project("image = {}\nrun.tmpfs = 4096").run.unwrap();
    assert_eq!(run.tmpfs, Tmpfs::Bytes(4096));
}

#[test]
fn overrides_win() {
    let overrides = Overrides {
        workdir: Some("/other".into()),
        limit: Some(7),
        interval: Some(Duration::from_secs(1)),
    };
    let source = Source::new("p.toml", "limit = 2\n");
    let config = check(source, Path::new("/"), &overrides, &|_| false, |_, _| ())
        .unwrap()
        .config;
    assert_eq!((config.limit, config.interval), (7, Duration::from_secs(1)));
    assert_eq!(config.workdir, Path::new("/other"));
}

#[test]
fn a_diff_names_what_changed() {
    let config = |top: &str, projects: &[(&str, &str)]| {
        let tables = projects
            .iter()
            .map(|(name, lines)| format!("[projects.{name}]\nremote = \"h:{name}\"\n{lines}\n"));
        loaded(&format!("workdir = \"/w\"\n{top}\n{}", tables.collect::<String>())).config
    };
    let off = "enabled = false";
    let old = config(
        "",
        &[
            ("same", ""),
            ("gone", ""),
            ("off", ""),
            ("on", off),
            ("other", ""),
            ("out", off),
        ],
    );
    let new = config(
        "limit = 2\nretry.attempts = 1\nlog_keep = 2",
        &[
            ("same", ""),
            ("new", ""),
            ("off", off),
            ("on", ""),
            ("other", "tags = [\"v*\"]"),
            ("out", "enabled = false\ntags = \"v*\""),
        ],
    );
    assert_eq!(
        diff(&old, &new).to_string(),
        "added: new, on; removed: gone, off; changed: other; settings: limit, retry, log_keep"
    );
    assert!(diff(&new, &new).is_empty());
    assert_eq!(diff(&old, &old).to_string(), "nothing changed");
}

#[test]
fn an_inherited_variable_is_known() {
    let text = "workdir = \"/w\"\n[projects.a]\nremote = \"https://h/x\"\nimage.tags = [\"x:$HOSTTYPE\"]";
    assert_eq!(mistakes(text).list.len(), 1);
    let source = Source::new("p.toml", text);
    let result = check(
        source,
        Path::new("/"),
        &Overrides::default(),
        &|n| n == "HOSTTYPE",
        |_, _| (),
    );
    assert!(result.is_ok());
}

#[test]
fn json_has_places() {
    let found = mistakes("workdir = \"/w\"\n[projects.\"é\"]\nremote = \"https://h/x\"\n  limt = 'é' 1\n").to_json();
    assert_eq!(found[0]["line"], 2);
    assert_eq!(found[0]["column"], 11);
    assert_eq!(found[0]["end"]["column"], 14);
    assert_eq!(found[0]["severity"], "error");
    assert_eq!(found[1]["line"], 4);
    assert_eq!(found[1]["column"], 14);
}

#[test]
fn files_that_are_no_config() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.toml");
    let fails = || load(&path, &Overrides::default()).unwrap_err();
    assert!(matches!(fails(), LoadError::Read { .. }));
    std::fs::write(&path, b"workdir = \"/w\"\nx = \"\xff\"").unwrap();
    assert!(
        fails().to_string().contains("p.toml:2:6: the file is not UTF-8"),
        "{}",
        fails()
    );
    std::fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert!(matches!(fails(), LoadError::TooBig { .. }));
}

#[test]
fn what_is_not_there_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("bad.env"), "NAME=hunter2\n1=hunter2\n").unwrap();
    std::fs::write(at("plain"), "").unwrap();
    let text = format!(
        "workdir = \"/w\"\nlog_dir = \"log\"\n[projects.a]\nremote = \"./x\"\nenv_file = [\"no.env\", \"bad.env\", \".\"]\n\
         prepare_callback = \"{}\"\nsuccess_callback = \"{}\"\nerror_callback = \"./in-the-checkout\"\n",
        at("plain"),
        at("no-program")
    );
    std::fs::write(at("p.toml"), text).unwrap();
    let loaded = load(Path::new(&at("p.toml")), &Overrides::default()).unwrap();
    let said: Vec<_> = loaded.warnings.iter().map(|w| loaded.source.line(w)).collect();
    assert_eq!(said.len(), 6, "{said:#?}");
    assert!(!said.join("").contains("hunter2"), "{said:#?}");
    assert_eq!(loaded.config.projects.values().next().unwrap().remote, at("x"));
}
