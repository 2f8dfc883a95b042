//! Which refs are followed: globs, or regular expressions in slashes.

use bstr::ByteSlice;
use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// A glob (`release/*`; `*` stays within one component, `**` does not), or a regular expression in slashes
/// (`/v[0-9]+/`) that must match the whole short name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    source: Box<str>,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    /// `**`. A daemon may have this one ten thousand times, and an automaton is some kilobytes large.
    All,
    /// A name as it is, for the same reason.
    Literal,
    Glob(Box<GlobMatcher>),
    Regex(regex::Regex),
}

/// A pattern that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    message: String,
}

/// What makes a glob of a name.
const SPECIAL: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

impl Pattern {
    /// Compiles a pattern.
    pub fn new(source: impl Into<String>) -> Result<Self, PatternError> {
        let source = source.into();
        let regex = source
            .strip_prefix('/')
            .and_then(|s| s.strip_suffix('/'))
            .filter(|s| !s.is_empty());
        let matcher = match regex {
            Some(regex) => regex::Regex::new(&format!("^(?:{regex})$"))
                .map(Matcher::Regex)
                .map_err(|e| e.to_string()),
            None if source == "**" => Ok(Matcher::All),
            None if !source.is_empty() && !source.contains(SPECIAL) => Ok(Matcher::Literal),
            None => GlobBuilder::new(&source)
                .literal_separator(true)
                .build()
                .map(|g| Matcher::Glob(Box::new(g.compile_matcher())))
                .map_err(|e| e.kind().to_string()),
        };
        match matcher {
            Ok(matcher) => Ok(Self {
                source: source.into(),
                matcher,
            }),
            Err(message) => Err(PatternError { message }),
        }
    }

    /// Whether a short ref name (without `refs/heads/`) matches.
    pub fn matches(&self, short: &[u8]) -> bool {
        match &self.matcher {
            Matcher::All => true,
            Matcher::Literal => short == self.source.as_bytes(),
            Matcher::Glob(glob) => glob.is_match(short.as_bstr().to_path_lossy()),
            // A byte that is not UTF-8 is one character that no expression names, but that `.` matches.
            Matcher::Regex(regex) => regex.is_match(&short.to_str_lossy()),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(source: String) -> Result<Self, Self::Error> {
        Self::new(source)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.source.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs_and_whole_regular_expressions() {
        let matches = |p: &str, name: &str| Pattern::new(p).unwrap().matches(name.as_bytes());
        assert!(matches("main", "main"));
        assert!(!matches("main", "main2"));
        assert!(matches("release/*", "release/1"));
        assert!(!matches("release/*", "release/1/2"));
        assert!(!matches("*", "a/b"));
        assert!(matches("**", "a/b"));
        assert!(matches("v[0-9]*", "v1.2"));
        assert!(matches("{a,b}", "b"));
        assert!(matches("/v[0-9]+/", "v12"));
        assert!(!matches("/v[0-9]+/", "xv12"));
        assert!(matches("/a|b/", "a"));
        assert!(!matches("/a|b/", "ab"));
        assert!(Pattern::new("/(/").is_err());
        assert!(Pattern::new("[").is_err());
        assert!(Pattern::new("/[0-9]+/").unwrap().matches(b"7"));
        assert!(!Pattern::new("/x/").unwrap().matches(b"\xff"));
        assert!(Pattern::new("/.*/").unwrap().matches(b"a\xff"));
        assert!(Pattern::new("**").unwrap().matches(b"a/\xff"));
        assert!(!Pattern::new("a").unwrap().matches(b"a\xff"));
    }

    proptest! {
        /// What is told without the glob library is what it would tell.
        #[test]
        fn shortcuts_lead_to_the_same_end(source in "\\*\\*|[a-c./!-]{1,6}", name in "[a-c./!-]{1,6}") {
            let glob = GlobBuilder::new(&source).literal_separator(true).build().unwrap().compile_matcher();
            let pattern = Pattern::new(source.clone()).unwrap();
            if !source.starts_with('/') {
                prop_assert!(matches!(pattern.matcher, Matcher::All | Matcher::Literal));
                prop_assert_eq!(pattern.matches(name.as_bytes()), glob.is_match(&name), "{}", source);
                prop_assert_eq!(pattern.matches(source.as_bytes()), glob.is_match(&source), "{}", source);
            }
        }
    }
}
