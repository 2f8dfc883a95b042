//! Images of what is installed on this machine: Debian packages with everything that they depend on.

use crate::common::Bench;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Left out: nobody reads or speaks in these images.
const LEFT_OUT: [&str; 5] = [
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/info/",
    "/usr/share/locale/",
    "/usr/share/lintian/",
];

/// Builds the image `localhost/NAME` of these packages, with further lines. `files` are in its context.
pub fn build(bench: &Bench, name: &str, packages: &[&str], lines: &str) {
    let context = bench.scratch.mkdir(format!("context-{name}"));
    let list = context.join("list");
    let files = files(packages);
    let names = files.iter().map(|file| file.to_str().unwrap().trim_start_matches('/'));
    std::fs::write(&list, names.collect::<Vec<_>>().join("\0")).unwrap();
    let archive = context.join("rootfs.tar");
    run(Command::new("tar")
        .args(["--create", "--no-recursion", "--directory=/", "--null"])
        .arg(format!("--files-from={}", list.display()))
        .arg(format!("--file={}", archive.display()))
        .args(["--owner=0", "--group=0"]));
    std::fs::write(
        context.join("passwd"),
        "root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/:/bin/false\n",
    )
    .unwrap();
    let lines = format!("FROM scratch\nADD rootfs.tar /\nCOPY passwd /etc/passwd\n{lines}");
    std::fs::write(context.join("Containerfile"), lines).unwrap();
    bench.build_in(name, &context);
}

/// Ends well, or the test does not.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The files of packages and of what they need, by their real paths.
fn files(packages: &[&str]) -> BTreeSet<PathBuf> {
    // Of no package: the links of a merged /usr, and the shell by its usual name.
    let mut files: BTreeSet<PathBuf> = ["/bin", "/sbin", "/lib", "/lib64", "/usr/bin/sh"]
        .map(PathBuf::from)
        .into();
    let all = with_what_they_need(packages);
    let names = run(Command::new("dpkg-query").arg("--listfiles").args(&all));
    for line in names.lines().filter(|line| line.starts_with('/') && *line != "/.") {
        let path = Path::new(line);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        if LEFT_OUT.iter().any(|dir| line.starts_with(dir)) {
            continue;
        }
        if let Ok(parent) = parent.canonicalize() {
            files.insert(parent.join(name));
        }
    }
    // What this machine does not have, an image can do without.
    files.retain(|file| file.symlink_metadata().is_ok());
    files
}

/// By what dpkg says of what is installed here.
fn with_what_they_need(packages: &[&str]) -> BTreeSet<String> {
    let format = "${Package}\\t${Provides}\\t${Pre-Depends}, ${Depends}\\n";
    let said = run(Command::new("dpkg-query").args(["--show", "--showformat", format]));
    let name = |text: &str| -> String {
        let text = text.trim();
        let end = text.find([' ', ':', '(']).unwrap_or(text.len());
        text[..end].to_owned()
    };
    let (mut needs, mut provided) = (BTreeMap::new(), BTreeMap::new());
    for line in said.lines() {
        let [package, provides, depends] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        for provides in provides.split(',').map(name) {
            provided.insert(provides, package.to_owned());
        }
        let alternatives = depends
            .split(',')
            .map(|one| one.split('|').map(name).collect::<Vec<_>>());
        needs.insert(package.to_owned(), alternatives.collect::<Vec<_>>());
    }
    let mut found = BTreeSet::new();
    let mut open: Vec<String> = packages.iter().map(|&package| package.to_owned()).collect();
    while let Some(package) = open.pop() {
        assert!(
            needs.contains_key(&package),
            "{package} is not installed, see `make deps`"
        );
        for alternatives in &needs[&package] {
            let there = |name: &String| needs.contains_key(name).then(|| name.clone());
            let there = |name: &String| there(name).or_else(|| provided.get(name).cloned());
            open.extend(alternatives.iter().find_map(there).filter(|name| !found.contains(name)));
        }
        found.insert(package);
    }
    found
}
