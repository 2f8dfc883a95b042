//! The environment variables by which git, curl and ssh are told something.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

/// Those that a command of a runner would see. What else is there does not matter to git, and is not kept.
pub(super) struct Variables(HashMap<OsString, OsString>);

impl Variables {
    /// The relevant ones; of a name that comes twice, the later.
    pub fn new(all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(all.into_iter().filter(|(name, _)| relevant(name)).collect())
    }

    /// Its value, which may be empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        debug_assert!(relevant(OsStr::new(name)), "{name} is never kept");
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Its value as text; what is not UTF-8 holds a U+FFFD then.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// By the first of these names that is set.
    pub fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }
}

/// Whether git, curl below it, or ssh would read it: what makes one [`super::World`] another than the next.
pub(in crate::git) fn relevant(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    ["GIT_", "SSH_", "SSL_CERT_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || name.to_ascii_lowercase().ends_with("_proxy")
        || matches!(name, "HOME" | "XDG_CONFIG_HOME" | "PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_git_reads() {
        for (name, kept) in [
            ("GIT_SSL_NO_VERIFY", true),
            ("GIT_CONFIG_VALUE_0", true),
            ("SSH_AUTH_SOCK", true),
            ("https_proxy", true),
            ("NO_PROXY", true),
            ("HOME", true),
            ("XDG_CONFIG_HOME", true),
            ("PATH", true),
            ("GITHUB_TOKEN", false),
            ("PIPELINED_GIT_PASSWORD", false),
            ("LANG", false),
        ] {
            assert_eq!(relevant(OsStr::new(name)), kept, "{name}");
        }
    }

    #[test]
    fn the_later_wins() {
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let variables = Variables::new([pair("HOME", "/a"), pair("HOME", "/b"), pair("no_proxy", "")]);
        assert_eq!(variables.text("HOME").unwrap(), "/b");
        assert_eq!(variables.first(&["no_proxy", "NO_PROXY"]).unwrap(), "");
        assert_eq!(variables.get("GIT_SSH"), None);
    }
}
