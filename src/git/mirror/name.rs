//! What a mirror's directory is called. Pure.

use crate::git::remote::Remote;
use sha2::{Digest, Sha256};

/// A mirror of single commits: their history is not in it.
const SHALLOW: &str = ".shallow";

/// The longest readable part; file systems take 255 bytes.
const LONGEST: usize = 60;

/// `<readable>-<digest>.git`: the end of the remote's path for people, and 16 digits of SHA-256 of its URL without
/// credentials. A mirror of whole histories and one of single commits do not share a directory.
pub(super) fn mirror_name(remote: &str, shallow: bool) -> String {
    let url = Remote::new(remote).url;
    let digest: String = Sha256::digest(&url)
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect();
    let kind = if shallow { SHALLOW } else { "" };
    format!("{}-{digest}{kind}.git", readable(&url))
}

/// Whether we could have made a directory of this name: no other is ever removed.
pub(super) fn is_mirror_name(name: &str) -> bool {
    let digest = || {
        let name = name.strip_suffix(".git")?;
        name.strip_suffix(SHALLOW).unwrap_or(name).rsplit_once('-')
    };
    digest().is_some_and(|(_, digest)| digest.len() == 16 && digest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn readable(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let mut last: Vec<&str> = path
        .rsplit(['/', ':'])
        .filter(|part| !part.is_empty())
        .take(2)
        .collect();
    last.reverse();
    let joined = last.join("-");
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = joined.trim_end_matches(".git").chars().map(plain).collect();
    let start = name.len().saturating_sub(LONGEST);
    name[start..].trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn readable_and_without_credentials() {
        for (remote, start) in [
            ("https://u:hunter2@h/team/app.git", "team-app-"),
            ("git@h:team/app", "team-app-"),
            ("/srv/git/app.git/", "git-app-"),
            ("https://h/x?token=hunter2", "h-x-"),
            ("/", "-"),
            ("file:///..", "file-..-"),
        ] {
            let name = mirror_name(remote, false);
            assert!(name.starts_with(start), "{remote}: {name}");
            assert!(!name.contains("hunter2"), "{name}");
        }
        assert_eq!(mirror_name("https://a:b@h/x", true), mirror_name("https://c@h/x", true));
        assert_ne!(mirror_name("https://h/x", true), mirror_name("https://h/x", false));
        assert_ne!(mirror_name("https://h/x", true), mirror_name("https://g/h/x", true));
    }

    #[test]
    fn only_ours_are_known() {
        for other in [
            "app.git",
            "app-0123456789abcdef",
            "x-0123456789abcdeg.git",
            "x-0123.git",
            "notes",
        ] {
            assert!(!is_mirror_name(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn one_harmless_component(remote in "\\PC{0,200}", shallow: bool) {
            let name = mirror_name(&remote, shallow);
            prop_assert!(is_mirror_name(&name), "{}", name);
            prop_assert!(name.len() < 100 && name.is_ascii() && !name.contains('/') && !name.starts_with('.'));
        }
    }
}
