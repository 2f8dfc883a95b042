//! Whom a question is about, and the words for what went wrong with it.

use super::stream::Trouble;
use crate::git::list::{ListError, telling_line};
use crate::git::remote::Remote;
use crate::git::wire::WireError;
use crate::model::mask_url;
use std::time::Duration;

/// A remote in the errors about it: nothing of it is shown that is not masked.
#[derive(Debug)]
pub(super) struct Asked {
    remote: Remote,
    masked: String,
}

impl Asked {
    /// As it is configured.
    pub fn new(url: &str) -> Self {
        Self {
            remote: Remote::new(url),
            masked: mask_url(url),
        }
    }

    /// Without a secret, for programs.
    pub fn url(&self) -> &str {
        &self.remote.url
    }

    /// No answer in time.
    pub fn timed_out(&self, timeout: Duration) -> ListError {
        ListError::TimedOut {
            remote: self.masked.clone(),
            timeout,
        }
    }

    /// Somebody stopped us.
    pub fn cancelled(&self) -> ListError {
        ListError::Cancelled {
            remote: self.masked.clone(),
        }
    }

    /// What a program or a server said when it gave up, which may be many lines.
    pub fn gave_up(&self, words: &str) -> ListError {
        ListError::in_words(self.masked.clone(), self.shown(telling_line(words)), words)
    }

    /// The connection itself failed.
    pub fn unreachable(&self, error: &std::io::Error) -> ListError {
        match self.gave_up(&error.to_string()) {
            ListError::Refused { remote, said } => ListError::Unreachable { remote, said },
            told => told,
        }
    }

    /// A conversation that came to nothing.
    pub fn failed(&self, trouble: &Trouble) -> ListError {
        match trouble {
            Trouble::Wire(WireError::Server(words)) => self.gave_up(words),
            Trouble::Wire(odd) => ListError::NotGit {
                remote: self.masked.clone(),
                said: self.shown(&odd.to_string()),
            },
            Trouble::Connection(error) => self.unreachable(error),
            Trouble::Silent(timeout) => self.timed_out(*timeout),
            Trouble::TooLong(limit) => ListError::TooLong {
                remote: self.masked.clone(),
                limit: *limit,
            },
        }
    }

    /// Masked, and without what a terminal would obey.
    fn shown(&self, words: &str) -> String {
        let plain: String = words
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(300)
            .collect();
        self.remote.mask(plain.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_masked_and_harmless() {
        let asked = Asked::new("ssh://git:hunter2@h/x");
        assert_eq!(asked.url(), "ssh://git@h/x");
        let error = asked.gave_up("welcome\nfatal: no such thing at https://a:hunter2@b/c \u{1b}[2J\u{9b}x");
        assert!(matches!(error, ListError::Missing { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            !text.contains("hunter2") && !text.contains(char::is_control),
            "{text:?}"
        );
    }

    #[test]
    fn troubles_have_names() {
        let asked = Asked::new("git://h/x");
        let wire = |words: &str| asked.failed(&Trouble::Wire(WireError::Server(words.to_owned())));
        assert!(matches!(
            wire("access denied or repository not exported: /x"),
            ListError::Auth { .. }
        ));
        assert!(matches!(wire("go away"), ListError::Refused { .. }));
        let cut = asked.failed(&Trouble::Wire(WireError::Cut(3)));
        assert!(matches!(cut, ListError::NotGit { .. }));
        for (kind, text) in [
            (std::io::ErrorKind::BrokenPipe, "broken pipe"),
            (std::io::ErrorKind::ConnectionReset, "connection reset"),
        ] {
            let error = asked.unreachable(&std::io::Error::new(kind, text));
            assert!(matches!(error, ListError::Unreachable { .. }), "{error:?}");
        }
    }
}
