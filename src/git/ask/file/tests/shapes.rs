//! Every shape of a repository: the same list as git's, or git is asked.

use super::*;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

type Change = fn(&Path);

/// Each one after the other, in the same repository.
const STORY: &[(&str, Change)] = &[
    ("one commit", |_| {}),
    ("a light tag", |r| drop(git(r, "tag light"))),
    ("an annotated tag", |r| drop(git(r, "tag -a -m m noted"))),
    ("a nested tag", |r| {
        git(r, "tag -a -m m nested noted");
        git(r, "tag -a -m m deeper nested");
    }),
    ("a branch at a tag object", |r| {
        let tag = git(r, "rev-parse refs/tags/noted");
        std::fs::write(r.join(".git/refs/heads/attag"), format!("{tag}\n")).unwrap();
    }),
    ("a tag of a tree and of a blob", |r| {
        git(r, "tag tree HEAD^{tree}");
        git(r, "tag -a -m m notedtree HEAD^{tree}");
    }),
    ("branches in directories", |r| drop(git(r, "branch a/b/c/d"))),
    ("a moved branch", |r| drop(commit(r))),
    ("a moved tag", |r| drop(git(r, "tag -f light"))),
    ("all packed", |r| drop(git(r, "pack-refs --all"))),
    ("a loose ref over a packed one", |r| drop(commit(r))),
    ("force-pushed", |r| drop(git(r, "update-ref refs/heads/main HEAD~2"))),
    ("deleted from packed", |r| {
        drop(git(r, "update-ref -d refs/heads/a/b/c/d"))
    }),
    ("a directory made a branch", |r| drop(git(r, "branch a"))),
    ("deleted", |r| drop(git(r, "tag -d light"))),
    ("made again", |r| drop(git(r, "tag light HEAD"))),
    ("a name with odd bytes", |r| {
        let args: [&[u8]; 3] = [b"update-ref", b"refs/heads/\xff\"$(x)%\xc3\xbc", b"HEAD"];
        git_os(r, args.map(OsStr::from_bytes));
    }),
    ("odd bytes packed", |r| drop(git(r, "pack-refs --all"))),
    ("detached", |r| drop(git(r, "checkout -q --detach"))),
    ("unborn", |r| drop(git(r, "symbolic-ref HEAD refs/heads/unborn"))),
    ("a symbolic branch", |r| {
        drop(git(r, "symbolic-ref refs/heads/alias refs/heads/main"))
    }),
    ("a symbolic branch to a tag", |r| {
        drop(git(r, "symbolic-ref refs/heads/tagalias refs/tags/deeper"))
    }),
    ("a dangling symbolic branch", |r| {
        drop(git(r, "symbolic-ref refs/heads/dangling refs/heads/none"))
    }),
    ("a circle", |r| {
        git(r, "symbolic-ref refs/heads/c1 refs/heads/c2");
        git(r, "symbolic-ref refs/heads/c2 refs/heads/c1");
    }),
    ("chains of four, five and six", |r| {
        git(r, "symbolic-ref refs/heads/s1 refs/heads/main");
        for n in 2..7 {
            git(r, &format!("symbolic-ref refs/heads/s{n} refs/heads/s{}", n - 1));
        }
    }),
    ("a dangling one over a packed one", |r| {
        git(r, "pack-refs --all");
        std::fs::write(r.join(".git/refs/heads/a"), "ref: refs/heads/none\n").unwrap();
    }),
    ("locks and hidden files", |r| {
        let main = git(r, "rev-parse refs/heads/main");
        for name in ["x.lock", ".hidden"] {
            std::fs::write(r.join(".git/refs/heads").join(name), &main).unwrap();
        }
        std::fs::create_dir_all(r.join(".git/refs/heads/empty/dir")).unwrap();
    }),
    ("a replaced commit", |r| {
        let tree = git(r, "commit-tree -m other refs/heads/main^{tree} -p refs/heads/main");
        git(r, &format!("replace -f refs/heads/main {tree}"));
        git(r, "replace -f refs/tags/nested refs/tags/noted");
    }),
    ("nothing peeled in packed-refs", |r| without_peeled(r, "")),
    ("only the tags peeled in packed-refs", |r| {
        // Git believes it, though it is not so.
        without_peeled(r, "peeled ");
    }),
    ("packed-refs without a header, not sorted", |r| {
        let file = r.join(".git/packed-refs");
        let text = std::fs::read(&file).unwrap();
        let mut lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').skip(1).collect();
        lines.reverse();
        std::fs::write(&file, lines.concat()).unwrap();
    }),
    ("everything repacked", |r| {
        git(r, "pack-refs --all");
        git(r, "repack -q -a -d");
    }),
    ("a packed ref without its object", |r| {
        let file = r.join(".git/packed-refs");
        let text = std::fs::read(&file).unwrap();
        let missing = "1".repeat(git(r, "rev-parse refs/heads/main").len());
        std::fs::write(&file, [&text, format!("{missing} refs/tags/zzz\n").as_bytes()].concat()).unwrap();
    }),
    ("an empty packed-refs", |r| {
        std::fs::write(r.join(".git/packed-refs"), "").unwrap()
    }),
];

/// Takes the peeled values out of `packed-refs`, whose header says that it has these.
fn without_peeled(path: &Path, says: &str) {
    let file = path.join(".git/packed-refs");
    let text = std::fs::read(&file).unwrap();
    let mut new = format!("# pack-refs with: {says}sorted \n").into_bytes();
    let lines = text.split_inclusive(|b| *b == b'\n').skip(1);
    new.extend(lines.filter(|line| !line.starts_with(b"^")).flatten());
    std::fs::write(&file, new).unwrap();
}

#[test]
fn the_story_of_a_repository() {
    for format in ["sha1", "sha256"] {
        let dir = scratch();
        let path = dir.path().join("r");
        repository(&path, format);
        let (mut memory, mut known) = (Memory::default(), None);
        let mut longest = 0;
        for (what, change) in STORY {
            change(&path);
            let expected = listed(&path);
            assert_eq!(looked(&path), expected, "{format}: {what}");
            match look(&path, &mut memory, known).unwrap() {
                Reply::Unchanged => assert_eq!(known, Some(digest(&expected)), "{format}: {what}"),
                Reply::Refs { list, digest } => {
                    assert_eq!(list, expected, "{format}: {what}");
                    assert_ne!(known.replace(digest), Some(digest), "{format}: {what}");
                }
            }
            longest = longest.max(expected.refs.len());
        }
        assert!(longest > 10, "{longest}");
    }
}

#[test]
fn other_shapes() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name);
    repository(&at("r"), "sha1");
    git(&at("r"), "tag -a -m m noted");
    git(&at("r"), "branch -q other");
    git(dir.path(), "init -q --bare empty.git");
    git(
        dir.path(),
        "init -q --bare --template= --object-format=sha256 empty256.git",
    );
    git(dir.path(), "clone -q --mirror r mirror.git");
    git(dir.path(), "clone -q --shared --no-tags r shared");
    git(&at("r"), "worktree add -q ../tree other");
    git(&at("shared"), "-c protocol.file.allow=always submodule -q add ../r sub");
    // The tag object is in the alternate alone.
    let tag = git(&at("r"), "rev-parse refs/tags/noted");
    git(&at("shared"), &format!("update-ref refs/tags/borrowed {tag}"));
    git(dir.path(), "clone -q --depth 1 --no-local r shallow");
    for name in ["empty.git", "empty256.git"] {
        assert_eq!(looked(&at(name)), RefList::default());
    }
    for name in [
        "mirror.git",
        "mirror",
        "shared",
        "tree",
        "shared/sub",
        "shallow",
        "shared/.git",
        "r/.git/worktrees/tree",
    ] {
        let list = looked(&at(name));
        assert_eq!(list, listed(&at(name)), "{name}");
        assert!(!list.refs.is_empty(), "{name}");
    }
}

#[test]
fn a_hundred_thousand_refs() {
    let dir = scratch();
    repository(dir.path(), "sha1");
    let head = commit(dir.path());
    let mut text = b"# pack-refs with: peeled fully-peeled sorted \n".to_vec();
    for n in 0..100_000 {
        writeln!(text, "{head} refs/heads/b{n:06}").unwrap();
    }
    std::fs::write(dir.path().join(".git/packed-refs"), text).unwrap();
    let list = looked(dir.path());
    assert_eq!(list.refs.len(), 100_001);
    assert_eq!(list, listed(dir.path()));
}

#[test]
fn ten_thousand_loose_refs() {
    let dir = scratch();
    repository(dir.path(), "sha1");
    let head = commit(dir.path());
    let mut child = command(dir.path())
        .args(["update-ref", "--stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for n in 0..10_000 {
        writeln!(input, "create refs/heads/{}/b{n} {head}", n % 50).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!(looked(dir.path()), listed(dir.path()));
}

/// Whatever is odd is left to git.
#[test]
fn what_git_must_judge() {
    let broken: &[(&str, Change)] = &[
        ("a broken ref", |r| {
            std::fs::write(r.join(".git/refs/heads/x"), "").unwrap()
        }),
        ("a broken ref", |r| {
            std::fs::write(r.join(".git/refs/heads/x"), "garbage").unwrap()
        }),
        ("a broken ref", |r| {
            std::fs::write(r.join(".git/refs/heads/main"), "0".repeat(40)).unwrap()
        }),
        ("a ref whose object is missing", |r| {
            std::fs::write(r.join(".git/refs/heads/x"), "1".repeat(40)).unwrap();
        }),
        ("a ref whose object is missing", |r| {
            let text = format!("# pack-refs with: sorted \n{} refs/heads/x\n", "1".repeat(40));
            std::fs::write(r.join(".git/packed-refs"), text).unwrap();
        }),
        ("a ref whose name git does not allow", |r| {
            std::fs::copy(r.join(".git/refs/heads/main"), r.join(".git/refs/heads/a..b")).unwrap();
        }),
        ("a packed-refs file that is odd", |r| {
            std::fs::write(r.join(".git/packed-refs"), "garbage\n").unwrap()
        }),
        ("a packed-refs file that is odd", |r| {
            let head = git(r, "rev-parse HEAD");
            std::fs::write(r.join(".git/packed-refs"), format!("{head} refs/heads/cut")).unwrap();
        }),
        ("a packed-refs file that is odd", |r| {
            let head = git(r, "rev-parse HEAD");
            std::fs::write(
                r.join(".git/packed-refs"),
                format!("{head} refs/heads/x\n{}", &head[..30]),
            )
            .unwrap();
        }),
        ("an odd HEAD", |r| {
            std::fs::write(r.join(".git/HEAD"), "garbage").unwrap()
        }),
        ("hidden refs", |r| {
            drop(git(r, "config transfer.hideRefs refs/heads/main"))
        }),
        ("a config that includes others", |r| {
            drop(git(r, "config include.path /dev/null"))
        }),
        ("an extension of the repository's format", |r| {
            drop(git(r, "config extensions.partialClone origin"))
        }),
        ("symbolic links among the refs", |r| {
            std::os::unix::fs::symlink("main", r.join(".git/refs/heads/link")).unwrap();
        }),
        ("symbolic links among the refs", |r| {
            std::fs::rename(r.join(".git/refs/heads"), r.join("heads")).unwrap();
            std::os::unix::fs::symlink(r.join("heads"), r.join(".git/refs/heads")).unwrap();
        }),
        ("a ref that stands for one that is no branch or tag", |r| {
            git(r, "update-ref refs/other/x HEAD");
            git(r, "symbolic-ref refs/heads/x refs/other/x");
        }),
    ];
    for (why, change) in broken {
        let dir = scratch();
        repository(dir.path(), "sha1");
        looked(dir.path());
        change(dir.path());
        assert_eq!(unable(dir.path(), &mut Memory::default(), None), *why);
    }
}
