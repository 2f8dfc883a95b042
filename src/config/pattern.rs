//! Which refs are followed: globs, or regular expressions in slashes.

use bstr::ByteSlice;
use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// A glob (`release/*`; `*` stays within one component, `**` does not), or a regular expression in slashes
/// (`/v[0-9]+/`) that must match the whole short name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    source: String,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    Glob(GlobMatcher),
    Regex(regex::Regex),
}

/// A pattern that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    message: String,
}

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
            None => GlobBuilder::new(&source)
                .literal_separator(true)
                .build()
                .map(|g| Matcher::Glob(g.compile_matcher()))
                .map_err(|e| e.kind().to_string()),
        };
        match matcher {
            Ok(matcher) => Ok(Self { source, matcher }),
            Err(message) => Err(PatternError { message }),
        }
    }

    /// Whether a short ref name (without `refs/heads/`) matches.
    pub fn matches(&self, short: &[u8]) -> bool {
        match &self.matcher {
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
        pattern.source
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

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
    }
}
