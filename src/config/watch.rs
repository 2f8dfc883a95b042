//! Paths of the repository whose changes concern an image.
//!
//! It exists because a path is written in more ways than git tells it. It must never let a pattern through that no path
//! of git's can match: an image that waits for it would never be built again.

use super::Pattern;
use super::text::{self, Mistake};

/// A pattern of paths as git tells them; what ends with a slash means everything below.
pub(super) fn pattern(text: &str) -> Result<Pattern, Mistake> {
    let example = "rootfs/**";
    let is_regex = text.len() > 2 && text.starts_with('/') && text.ends_with('/');
    if is_regex {
        let inner = &text[1..text.len() - 1];
        if !inner.contains(|c: char| r"\.+*?()|[]{}^$".contains(c)) {
            let help = "write it without slashes for that one path, or with one at its end for all that is below it";
            return Err(
                Mistake::new("in slashes this is a regular expression, and it matches one path only").help(help),
            );
        }
        return text::pattern(text, example);
    }
    let mut path = text;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    let everything = path == "." || (path.is_empty() && !text.is_empty());
    if everything {
        return text::pattern("**", example);
    }
    let is_bad = |part: &str| matches!(part, "" | "." | "..");
    let inside = path.strip_suffix('/').unwrap_or(path);
    if !path.is_empty() && inside.split('/').any(is_bad) {
        return Err(Mistake::new("no path in the repository can match this")
            .help("leave out a leading `/`, every `..` and doubled slashes"));
    }
    if path.ends_with('/') {
        return text::pattern(&format!("{path}**"), example);
    }
    text::pattern(path, example)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(written: &str, path: &str) -> bool {
        pattern(written).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn a_star_stops_at_a_slash_and_two_cross_it() {
        assert!(matches("*", "Containerfile"));
        assert!(!matches("*", "rootfs/etc/motd"));
        assert!(matches("rootfs/*", "rootfs/a"));
        assert!(!matches("rootfs/*", "rootfs/a/b"));
        assert!(matches("rootfs/**", "rootfs/a/b/.c"));
        assert!(!matches("rootfs/**", "rootfs"));
        assert!(!matches("rootfs/**", "x/rootfs/a"));
        assert!(matches("**/motd", "motd"));
        assert!(matches("**/motd", "rootfs/etc/motd"));
        assert!(matches("a/**/b", "a/b"));
        assert!(matches("a/**/b", "a/x/y/b"));
        assert!(matches("{a,b}/*.sh", "b/x.sh"));
        assert!(matches(r"/.*\.sh/", "a/b/c.sh"));
        assert!(!matches(r"/.*\.sh/", "a/b/c.sh.orig"));
    }

    #[test]
    fn a_slash_at_the_end_means_all_below() {
        for written in ["rootfs/", "./rootfs/", "././rootfs/", "rootfs/**"] {
            assert_eq!(pattern(written).unwrap().as_str(), "rootfs/**", "{written}");
        }
        assert!(matches("rootfs/", "rootfs/a/b"));
        assert!(!matches("rootfs/", "rootfs2/a"));
        assert!(matches("r*/", "rootfs/a/b"));
        for all in [".", "./", "**"] {
            assert_eq!(pattern(all).unwrap().as_str(), "**", "{all}");
        }
        assert!(matches("./Containerfile", "Containerfile"));
    }

    #[test]
    fn what_no_path_matches_is_refused() {
        for bad in [
            "", "/", "/a", "../a", "a/../b", "a//b", "a//", "//", "a/./b", "[", "/(/", "/rootfs/", "/a/b/",
        ] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
