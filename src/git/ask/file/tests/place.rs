//! Which repository a path leads to, and what is said when there is none.

use super::super::place::local_path;
use super::*;
use crate::git::list::ListError;
use std::path::PathBuf;

#[test]
fn paths_as_git_reads_them() {
    for (remote, path) in [
        ("/a%20b", Some("/a%20b")),
        ("/a:b/../c", Some("/a:b/../c")),
        ("file:///a%20b%2fc", Some("/a b/c")),
        ("file://localhost/a", Some("/a")),
        ("file://host:1/a?b#c", Some("/a?b#c")),
        ("file:///%zz+", Some("/%zz+")),
        ("file://host", None),
        ("FILE:///a", None),
        ("host:/a", None),
        ("https://h/a", None),
    ] {
        assert_eq!(local_path(remote), path.map(PathBuf::from), "{remote}");
    }
}

/// Which of several repositories git enters, and that we enter the same.
#[test]
fn the_repository_that_git_enters() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name);
    // Each is added to those before, so that the order of git's candidates shows.
    for (n, made) in ["p.git/.git", "p.git", "p", "p/.git"].into_iter().enumerate() {
        git(dir.path(), &format!("init -q --bare --template= -b main {made}"));
        let work = at(&format!("work{n}"));
        repository(&work, "sha1");
        git(
            &work,
            &format!(
                "push -q {} HEAD:refs/heads/{}",
                at(made).display(),
                made.replace(['.', '/'], "-")
            ),
        );
        for asked in ["p", "p/", "p.git", "p.git/", "p//", "p/.git"] {
            let output = command(dir.path())
                .args(["ls-remote", "--heads", "--tags", "--"])
                .arg(at(asked))
                .output();
            let output = output.unwrap();
            if output.status.success() {
                assert_eq!(looked(&at(asked)), parse(&output.stdout).unwrap(), "{made} {asked}");
            } else {
                assert!(
                    matches!(look(&at(asked), &mut Memory::default(), None), Err(Missed::Error(_))),
                    "{made} {asked}"
                );
            }
        }
    }
    assert_eq!(looked(&at("p")).refs[0].0.to_string(), "refs/heads/p--git");
}

#[test]
fn urls_lead_where_git_goes() {
    let dir = scratch();
    repository(&dir.path().join("a b%20c"), "sha1");
    let base = dir.path().display();
    for url in [
        format!("file://{base}/a%20b%2520c"),
        format!("file://other.host{base}/a b%2520c/"),
    ] {
        let path = local_path(&url).unwrap();
        assert_eq!(looked(&path), listed(Path::new(&url)));
    }
}

#[test]
fn no_repository_is_an_error_that_says_why() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name);
    repository(&at("r"), "sha1");
    std::fs::create_dir(at("plain")).unwrap();
    for (name, expected) in [
        ("none", "no such directory"),
        ("none\n\u{1b}[2J", "no such directory"),
        ("plain", "not a git repository"),
        ("r/.git/HEAD/x", "a part of the path is not a directory"),
    ] {
        let Err(Missed::Error(error @ ListError::Missing { .. })) = look(&at(name), &mut Memory::default(), None)
        else {
            panic!("{name}");
        };
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
    git(&at("r"), "bundle create -q ../bundle main");
    assert_eq!(
        unable(&at("bundle"), &mut Memory::default(), None),
        "a file that is no repository"
    );
    std::fs::create_dir(at("lost")).unwrap();
    std::fs::write(at("lost/.git"), "gitdir: nowhere\n").unwrap();
    assert_eq!(
        unable(&at("lost"), &mut Memory::default(), None),
        "a .git file that leads nowhere"
    );
}

/// Only root can give a directory to somebody else.
#[test]
fn git_judges_a_repository_of_another_user() {
    let dir = scratch();
    let path = dir.path().join("r");
    repository(&path, "sha1");
    if nix::unistd::chown(&path.join(".git"), Some(54321.into()), None).is_err() {
        assert!(!nix::unistd::geteuid().is_root());
        return;
    }
    let (mut memory, expected) = (Memory::default(), digest(&look_by_git_anyway(&path)));
    assert_eq!(unable(&path, &mut memory, None), "a repository of another user");
    assert_eq!(unable(&path, &mut memory, None), "a repository of another user");
    memory.learned(expected);
    assert_eq!(look(&path, &mut memory, Some(expected)), Ok(Reply::Unchanged));
    let heads = path.join(".git/refs/heads");
    std::fs::copy(heads.join("main"), heads.join("more")).unwrap();
    assert!(matches!(
        look(&path, &mut memory, Some(expected)),
        Ok(Reply::Refs { .. })
    ));
}

/// The answer of a git that is told to trust it.
fn look_by_git_anyway(path: &Path) -> RefList {
    let words = "-c safe.directory=* for-each-ref --format=%(objectname)%09%(refname)";
    parse(git(path, words).as_bytes()).unwrap()
}
