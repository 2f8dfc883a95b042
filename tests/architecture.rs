//! The house keeps its shape: arrows between modules run down only, and children are started in one place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use, beside itself.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("tls", &[]),
    ("config", &["model"]),
    ("process", &["model"]),
    ("containerfile", &["model"]),
    ("reconcile", &["config", "model"]),
    ("store", &["model"]),
    ("workdir", &["model"]),
    ("git", &["process", "tls", "model"]),
    ("engine", &["process", "config", "model"]),
    ("registry", &["process", "tls", "config", "model"]),
    (
        "pipeline",
        &[
            "engine",
            "registry",
            "git",
            "containerfile",
            "workdir",
            "process",
            "config",
            "model",
        ],
    ),
    (
        "updates",
        &[
            "pipeline",
            "engine",
            "registry",
            "git",
            "containerfile",
            "workdir",
            "process",
            "config",
            "model",
        ],
    ),
    ("poke", &["process", "tls", "config", "model"]),
    ("hooks", &["model"]),
    ("api", &["hooks", "model"]),
    (
        "daemon",
        &[
            "api",
            "poke",
            "hooks",
            "updates",
            "pipeline",
            "engine",
            "registry",
            "git",
            "store",
            "workdir",
            "process",
            "reconcile",
            "config",
            "model",
        ],
    ),
    (
        "cli",
        &[
            "daemon",
            "updates",
            "pipeline",
            "api",
            "engine",
            "registry",
            "git",
            "store",
            "workdir",
            "process",
            "reconcile",
            "config",
            "model",
        ],
    ),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn modules() -> impl Iterator<Item = (String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&src).into_iter().filter_map(move |path| {
        let below = path.strip_prefix(&src).unwrap();
        let mut parts = below.components();
        let first = parts.next()?.as_os_str().to_str()?.to_owned();
        parts.next()?;
        let text = fs::read_to_string(&path).unwrap();
        Some((first, below.to_owned(), text))
    })
}

/// The modules that a text names as `crate::NAME`, in `use` lines and in place, also as `use crate::{a, b}`.
fn used(text: &str) -> BTreeSet<String> {
    let code = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let after = &code[at + "crate::".len()..];
        let names = match after.strip_prefix('{') {
            Some(list) => list.split_once('}').unwrap().0.split(',').map(str::trim).collect(),
            None => vec![after],
        };
        for name in names {
            let end = name
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(name.len());
            found.insert(name[..end].to_owned());
        }
    }
    found
}

#[test]
fn arrows_run_down_only() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (module, file, text) in modules() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
            panic!("{}: the module {module} has no place in the map", file.display());
        };
        seen += 1;
        for used in used(&text) {
            // Tests only: the compiler knows no such module otherwise.
            if used != "support" && used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {module} uses {used}", file.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} files were looked at");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn only_process_starts_children() {
    for (module, file, text) in modules() {
        if file.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        let starts = code.contains("Command::new(") && !code.contains("clap::Command::new(");
        assert!(!starts || module == "process", "{} starts a child", file.display());
    }
}

#[test]
fn reconcile_containerfile_and_hooks_are_pure() {
    for (module, file, text) in modules() {
        if !matches!(module.as_str(), "reconcile" | "containerfile" | "hooks") {
            continue;
        }
        for effect in [
            "std::fs",
            "std::process",
            "std::net",
            "tokio",
            "Timestamp::now",
            "SystemTime",
            "Instant",
        ] {
            assert!(!text.contains(effect), "{} has {effect}", file.display());
        }
    }
}

#[test]
fn files_are_one_idea_long() {
    for (_, file, text) in modules() {
        assert!(text.lines().count() <= 500, "{} is two files", file.display());
    }
}
