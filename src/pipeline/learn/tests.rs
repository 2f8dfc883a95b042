//! `.gitlab-deps` as repositories have it, and as nobody should.

use super::*;
use rstest::rstest;
use std::os::unix::fs::symlink;

fn checkout() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("build")).unwrap();
    dir
}

fn read(text: impl AsRef<[u8]>) -> Deps {
    let dir = checkout();
    std::fs::write(dir.path().join("build").join(DEPS), text).unwrap();
    deps(&dir.path().join("build"))
}

fn of(keys: &[&str]) -> Deps {
    Deps::Of(keys.iter().map(|key| (*key).to_owned()).collect())
}

#[rstest]
#[case("", &[])]
#[case("# nothing\n\n   \n", &[])]
#[case("https://git.example.org/a/b.git", &["git.example.org/a/b"])]
#[case("  git@git.example.org:a/b  \r\n# c\nhttps://git.example.org/a/b\n/srv/git/c.git\n",
       &["git.example.org/a/b", "/srv/git/c"])]
fn a_url_a_line(#[case] text: &str, #[case] keys: &[&str]) {
    assert_eq!(read(text), of(keys));
}

#[test]
fn none_is_none() {
    let dir = checkout();
    assert_eq!(deps(&dir.path().join("build")), of(&[]));
}

#[test]
fn bytes_that_are_no_text_break_nothing() {
    let Deps::Of(keys) = read(b"https://git.example.org/\xff\nhttps://git.example.org/a\n") else {
        panic!("not read");
    };
    assert!(keys.contains("git.example.org/a"), "{keys:?}");
}

#[rstest]
#[case::bytes("x".repeat(64 << 10), false)]
#[case::more_bytes("x".repeat((64 << 10) + 1), true)]
#[case::lines("a\n".repeat(1000), false)]
#[case::more_lines("a\n".repeat(1001), true)]
fn what_is_too_long_is_said(#[case] text: String, #[case] too_long: bool) {
    assert_eq!(matches!(read(text), Deps::TooLong(_)), too_long);
}

#[test]
fn a_link_is_followed_within_the_checkout_only() {
    let dir = checkout();
    let build = dir.path().join("build");
    std::fs::write(build.join("deps"), "/srv/a\n").unwrap();
    symlink("deps", build.join(DEPS)).unwrap();
    assert_eq!(deps(&build), of(&["/srv/a"]));
    std::fs::remove_file(build.join(DEPS)).unwrap();
    std::fs::write(dir.path().join("secret"), "/srv/b\n").unwrap();
    for target in ["../secret", "../build/../secret", "/etc/hostname", "nowhere", DEPS] {
        symlink(target, build.join(DEPS)).unwrap();
        assert!(matches!(deps(&build), Deps::Odd(_)), "{target}");
        std::fs::remove_file(build.join(DEPS)).unwrap();
    }
}

#[test]
fn what_is_no_file_is_not_read() {
    let dir = checkout();
    let path = dir.path().join("build").join(DEPS);
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(deps(&dir.path().join("build")), Deps::Odd(_)));
    std::fs::remove_dir(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(deps(&dir.path().join("build")), Deps::Odd(_)));
}
