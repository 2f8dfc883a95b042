//! A mistake or a doubt about a config, bound to the place in the file where it is.
//!
//! It exists so that checking and showing stay apart. Its texts must never quote a value that may be secret: only
//! names, and values of keys that cannot hold a credential.

use super::Source;
use std::ops::Range;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and someone should look at it.
    Warning,
}

/// One thing to tell about a place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Bytes of the file, from and up to.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// A few words right at the place.
    pub label: Option<String>,
    /// What to do about it, in one line.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake.
    pub fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            label: None,
            help: None,
        }
    }

    /// A doubt.
    pub fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// With words at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether the file cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Everything that is wrong with one file, in the order of the file. At least one of them is an error.
#[derive(Debug)]
pub struct Diagnostics {
    /// The file.
    pub source: Source,
    /// Errors and warnings.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// For a terminal: file, line, column, the line itself with credentials masked, what is wrong and what to do.
    pub fn render(&self, color: bool) -> String {
        self.source.render(&self.list, color)
    }

    /// For machines: a list of objects with file, line, column, end, severity, message and help.
    pub fn to_json(&self) -> serde_json::Value {
        self.source.to_json(&self.list)
    }

    /// The errors among them.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter().filter(|d| d.is_error())
    }
}

/// One line for a log: how many, and the first of them.
impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.errors().count();
        match self.errors().next() {
            Some(first) if count == 1 => f.write_str(&self.source.line(first)),
            Some(first) => write!(f, "{} (and {} more)", self.source.line(first), count - 1),
            None => write!(f, "{} is fine", self.source.path().display()),
        }
    }
}

impl std::error::Error for Diagnostics {}
