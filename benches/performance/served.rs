//! The repositories that are asked, behind as many names as remotes are wanted.

use crate::support::repo::{Repo, git_command};
use crate::support::scratch::Scratch;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

/// How many refs a repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refs {
    /// Two branches and a tag.
    Three,
    /// As many branches as tags, packed.
    TenThousand,
}

impl Refs {
    /// How many.
    pub fn count(self) -> &'static str {
        match self {
            Self::Three => "3",
            Self::TenThousand => "10,000",
        }
    }
}

/// One repository under many names.
pub struct Served {
    /// Where the names are.
    pub root: PathBuf,
    /// The names, from `r0.git` on.
    pub names: Vec<String>,
}

impl Served {
    /// Makes them.
    pub fn new(scratch: &Scratch, refs: Refs, names: usize) -> Self {
        let source = Repo::new(scratch.join("source"));
        source.commit(&[("a", "1")]);
        match refs {
            Refs::Three => {
                source.branch("dev");
                source.tag("v1");
            }
            Refs::TenThousand => many_refs(&source),
        }
        let one = source.bare(scratch.join("one.git"));
        one.git(&["pack-refs", "--all"]);
        let root = scratch.mkdir("root");
        let names: Vec<String> = (0..names).map(|i| format!("r{i}.git")).collect();
        for name in &names {
            std::os::unix::fs::symlink(one.path(), root.join(name)).unwrap();
        }
        Self { root, names }
    }
}

fn many_refs(repo: &Repo) {
    let commit = repo.head();
    let mut command = git_command();
    let mut child = command
        .arg("-C")
        .arg(repo.path())
        .args(["update-ref", "--stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    // Main is the last of the ten thousand.
    for i in 0..9_999 {
        let kind = if i % 2 == 0 { "tags" } else { "heads" };
        writeln!(input, "create refs/{kind}/some/name-of-a-ref-{i} {commit}").unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}
