//! The text of a config file and how places in it are shown.
//!
//! It exists so that no other module turns a byte offset into a line, or prints a line of the file. It must never show
//! a line as it is: credentials in it are masked first, byte by byte, so that columns stay right.

use super::Diagnostic;
use super::secret::mask_text;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A config file as it was read.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// Without the text, which may hold credentials.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// A file's path, as it is shown, and its text.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            path: path.into(),
            lines: std::iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect(),
            text,
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text as it was read, credentials included.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let byte = self.text.floor_char_boundary(byte);
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        (line, self.text[start..byte].chars().count() + 1)
    }

    /// `file:line:column: message (help)`, for a log.
    pub fn line(&self, diagnostic: &Diagnostic) -> String {
        let (line, column) = self.position(diagnostic.span.start);
        let help = diagnostic.help.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
        format!("{}:{line}:{column}: {}{help}", self.path.display(), diagnostic.message)
    }

    /// Each diagnostic with its line of the file, separated by blank lines; ends with a newline unless there is none.
    pub fn render(&self, diagnostics: &[Diagnostic], color: bool) -> String {
        let shown = mask_text(&self.text);
        let path = self.path.to_string_lossy();
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out = Vec::new();
        for diagnostic in diagnostics {
            // Only the lines of the span are handed over: a report about a huge file must not cost its size.
            let (lines, span) = self.lines_of(&diagnostic.span);
            let level = if diagnostic.is_error() {
                Level::ERROR
            } else {
                Level::WARNING
            };
            let mut annotation = AnnotationKind::Primary.span(span);
            if let Some(label) = &diagnostic.label {
                annotation = annotation.label(label.as_str());
            }
            let snippet = Snippet::source(&shown[lines.clone()])
                .line_start(self.position(lines.start).0)
                .path(path.as_ref())
                .annotation(annotation);
            let mut group: Group<'_> = level.primary_title(diagnostic.message.as_str()).element(snippet);
            if let Some(help) = &diagnostic.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            out.push(renderer.render(&[group]) + "\n");
        }
        out.join("\n")
    }

    /// A list of objects with file, line, column, end, severity, message and help.
    pub fn to_json(&self, diagnostics: &[Diagnostic]) -> serde_json::Value {
        let place = |byte| {
            let (line, column) = self.position(byte);
            serde_json::json!({ "line": line, "column": column })
        };
        diagnostics
            .iter()
            .map(|d| {
                let (line, column) = self.position(d.span.start);
                serde_json::json!({
                    "file": self.path.to_string_lossy(),
                    "line": line,
                    "column": column,
                    "end": place(d.span.end),
                    "severity": d.severity,
                    "message": d.message,
                    "help": d.help,
                })
            })
            .collect()
    }

    /// The whole lines around a span, and the span within them; of a long span only the first line.
    fn lines_of(&self, span: &Range<usize>) -> (Range<usize>, Range<usize>) {
        let start = self.text.floor_char_boundary(span.start);
        let from = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let end = self.text.floor_char_boundary(span.end).clamp(start, to);
        (from..to, start - from..end - from)
    }
}
