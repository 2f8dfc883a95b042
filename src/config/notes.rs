//! Where mistakes are gathered while a file is read.
//!
//! It exists so that reading goes on after a mistake. Near a syntax error the parser guesses, so it must never pass on
//! a complaint about what was guessed: the syntax error alone is the truth there.

use super::Diagnostic;
use std::cell::RefCell;
use std::ops::Range;

/// More are not gathered: what has that many mistakes is not a config.
const MOST: usize = 1000;

/// The gathered diagnostics of one file.
pub(super) struct Notes<'a> {
    text: &'a str,
    /// Byte ranges of whole lines on which the parser guessed.
    guessed: Vec<Range<usize>>,
    list: RefCell<Vec<Diagnostic>>,
}

impl<'a> Notes<'a> {
    /// Begins with the syntax errors: the first of each line, as the others only follow from it.
    pub(super) fn new(text: &'a str, errors: &[toml::de::Error]) -> Self {
        let mut spans: Vec<_> = errors
            .iter()
            .map(|e| (clamp(text, e.span().unwrap_or(0..0)), e.message()))
            .collect();
        spans.sort_by_key(|(span, _)| span.start);
        let mut guessed: Vec<Range<usize>> = Vec::new();
        let mut list = Vec::new();
        for (span, message) in spans {
            if list.len() == MOST {
                break;
            }
            if guessed
                .last()
                .is_some_and(|last| last.contains(&span.start) || span.start < last.end)
            {
                continue;
            }
            guessed.push(guessed_after(text, span.start));
            list.push(Diagnostic::error(span, one_line(message)));
        }
        Self {
            text,
            guessed,
            list: RefCell::new(list),
        }
    }

    /// Adds one, unless it is about what the parser guessed, or said already (by another project with the same default).
    pub(super) fn push(&self, mut diagnostic: Diagnostic) {
        diagnostic.span = clamp(self.text, diagnostic.span);
        let span = &diagnostic.span;
        let doubtful = self
            .guessed
            .iter()
            .any(|g| span.start < g.end.max(g.start + 1) && g.start <= span.end);
        let mut list = self.list.borrow_mut();
        if !doubtful && list.len() < MOST && !list.contains(&diagnostic) {
            list.push(diagnostic);
        }
    }

    /// Adds that a key is missing, unless it is written where the parser guessed.
    pub(super) fn push_missing(&self, key: &str, diagnostic: Diagnostic) {
        if !self.guessed.iter().any(|g| self.text[g.clone()].contains(key)) {
            self.push(diagnostic);
        }
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        self.text[..self.text.floor_char_boundary(byte)].matches('\n').count() + 1
    }

    /// Whether the file is known to be bad.
    pub(super) fn has_errors(&self) -> bool {
        self.list.borrow().iter().any(Diagnostic::is_error)
    }

    /// All of them, in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Diagnostic> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|d| (d.span.start, d.severity));
        list
    }
}

/// The lines that cannot be trusted after an error: its own; after a broken table header, all up to the next header,
/// as they were read into another table.
fn guessed_after(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let mut end = next_line(text, at);
    if text[start..].trim_start().starts_with('[') {
        while end < text.len() && !text[end..].trim_start_matches([' ', '\t']).starts_with('[') {
            end = next_line(text, end);
        }
    }
    start..end
}

fn next_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |i| at + i + 1)
}

/// Spans come from a parser that was given anything: slicing by them must not panic.
fn clamp(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    start..text.ceil_char_boundary(span.end).max(start)
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(" ")
}
