//! Colours on a terminal, for those who want them (<https://no-color.org>), and text that cannot command a terminal.

use std::io::IsTerminal;

/// Paints, or does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    on: bool,
}

impl Style {
    /// For stdout.
    pub fn stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self {
            on: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// For a file, and for tests.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { on: false }
    }

    /// A word in the colour of what it means.
    pub fn word(self, word: &str) -> String {
        let code = match word {
            "succeeded" | "ok" | "running" | "current" | "building" | "fresh" => "32",
            "failed" | "errored" | "timed out" | "bad" | "blocked" | "in a circle" => "31",
            "queued" | "cancelling" | "cancelled" | "warn" | "waiting" | "outdated" | "stale" | "waits"
            | "held back" => "33",
            "superseded" | "skipped" | "never built" | "not released" | "not kept up to date" => "2",
            _ => return word.to_owned(),
        };
        self.paint(code, word)
    }

    /// Bold.
    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// One line without control characters: remotes choose what refs and errors are called.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
