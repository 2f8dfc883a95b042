//! What a look at one thing has found.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Works, but may bite later.
    Warn,
    /// Builds will not work.
    Bad,
}

impl Level {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What was found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How bad.
    pub level: Level,
    /// config, workdir, git, …
    pub about: &'static str,
    /// What is so.
    pub text: String,
    /// What to do.
    pub advice: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(about: &'static str, text: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            about,
            text: text.into(),
            advice: None,
        }
    }

    /// Works, but may bite later.
    pub fn warn(about: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            about,
            text: text.into(),
            advice: Some(advice.into()),
        }
    }

    /// Builds will not work.
    pub fn bad(about: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Bad,
            ..Self::warn(about, text, advice)
        }
    }
}
