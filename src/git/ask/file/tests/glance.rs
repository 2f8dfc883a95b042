//! A glance says "the same" only where nothing has changed.

use super::*;
use std::path::PathBuf;

/// A repository that is looked at through a path.
struct Case {
    _dir: tempfile::TempDir,
    bare: PathBuf,
    work: PathBuf,
    path: PathBuf,
    memory: Memory,
    known: Option<Digest>,
}

impl Case {
    /// `name` is the path below its directory: `x.git`, `work` or `linked`.
    fn new(name: &str) -> Self {
        let dir = scratch();
        let [bare, work, path] = ["x.git", "work", name].map(|name| dir.path().join(name));
        repository(&work, "sha1");
        git(&work, "branch other");
        git(dir.path(), "clone -q --bare work x.git");
        git(&work, "worktree add -q --detach ../linked");
        let mut case = Self {
            _dir: dir,
            bare,
            work,
            path,
            memory: Memory::default(),
            known: None,
        };
        let Ok(Reply::Refs { digest, .. }) = look(&case.path, &mut case.memory, None) else {
            panic!()
        };
        case.known = Some(digest);
        case
    }

    fn glance(&mut self) -> bool {
        glance(&self.path, &mut self.memory, self.known)
    }

    /// Looks until a glance alone can tell that nothing has changed.
    #[track_caller]
    fn wait_at_rest(&mut self) {
        let begin = Instant::now();
        while !self.glance() {
            assert!(begin.elapsed() < Duration::from_secs(30), "never at rest");
            assert_eq!(look(&self.path, &mut self.memory, self.known), Ok(Reply::Unchanged));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn no_change_escapes_a_glance() {
    type Change = fn(&Case);
    let changes: [(&str, &str, Change); 10] = [
        ("a branch", "x.git", |c| {
            drop(git(&c.bare, "update-ref refs/heads/new HEAD"))
        }),
        ("a deep tag", "x.git", |c| {
            drop(git(&c.bare, "update-ref refs/tags/deep/er HEAD"))
        }),
        ("packing", "x.git", |c| drop(git(&c.bare, "pack-refs --all"))),
        ("no branch", "x.git", |c| {
            drop(git(&c.bare, "update-ref -d refs/heads/other"))
        }),
        ("a commit", "work", |c| drop(commit(&c.work))),
        ("another HEAD", "work", |c| drop(git(&c.work, "checkout -q other"))),
        ("a setting", "work", |c| drop(git(&c.work, "config some.key value"))),
        ("a commit elsewhere", "linked", |c| drop(commit(&c.work))),
        ("another repository in its place", "x.git", |c| {
            std::fs::rename(&c.bare, c.bare.with_extension("old")).unwrap();
            git(c.bare.parent().unwrap(), "clone -q --bare work x.git");
        }),
        ("a .git that leads elsewhere", "linked", |c| {
            std::fs::write(c.path.join(".git"), format!("gitdir: {}\n", c.bare.display())).unwrap();
        }),
    ];
    // All first, so that their ticks pass together.
    let mut cases: Vec<Case> = changes.iter().map(|(_, name, _)| Case::new(name)).collect();
    cases.iter_mut().for_each(Case::wait_at_rest);
    for ((what, _, change), case) in changes.iter().zip(&mut cases) {
        case.wait_at_rest();
        change(case);
        assert!(!case.glance(), "{what}");
    }
}

#[test]
fn a_glance_is_not_all_that_is_ever_done() {
    let mut case = Case::new("x.git");
    case.wait_at_rest();
    let glances = (0..100).take_while(|_| case.glance()).count();
    assert!(glances < 16, "{glances}");
    case.wait_at_rest();
    assert!(!glance(&case.path, &mut case.memory, None));
    assert!(!glance(&case.path, &mut case.memory, Some(Digest(1))));
}
