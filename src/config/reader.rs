//! A typed hand for parsed TOML: asks a table for its keys and notes what is wrong with them.
//!
//! It exists in place of serde because serde stops at the first mistake. It must never give up on a table because one
//! of its values is bad.

use super::Diagnostic;
use super::keys::{home_of, listed, nearest, refused};
use super::notes::Notes;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A value with its place.
pub(super) type Node<'a> = toml::Spanned<DeValue<'a>>;

/// Something that was read, with the place that it was read from.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table of which the possible keys are known.
pub(super) struct Table<'a> {
    entries: &'a DeTable<'a>,
    known: &'static [&'static str],
    notes: &'a Notes<'a>,
}

impl<'a> Table<'a> {
    /// Takes a table and notes each key that it should not have.
    pub(super) fn new(entries: &'a DeTable<'a>, known: &'static [&'static str], notes: &'a Notes<'a>) -> Self {
        for key in entries.keys().filter(|k| !known.contains(&k.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let note = Diagnostic::error(key.span(), format!("unknown key `{}`", name.escape_debug()));
            notes.push(match (refused(known, name), nearest(known, name), home_of(name)) {
                (Some(help), ..) => note.help(help),
                (_, _, Some(home)) => note.help(format!("this key belongs {home}")),
                (_, Some(meant), _) => note.help(format!("did you mean `{meant}`?")),
                (None, None, None) => note.help(format!("known here: {}", listed(known))),
            });
        }
        Self { entries, known, notes }
    }

    /// A value that should be such a table.
    pub(super) fn open(node: &'a Node<'a>, known: &'static [&'static str], notes: &'a Notes<'a>) -> Option<Self> {
        entries(node, notes).map(|entries| Self::new(entries, known, notes))
    }

    /// The value of a key, if it is there and right.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        convert: impl FnOnce(&'a Node<'a>, &'a Notes<'a>) -> Option<T>,
    ) -> Option<T> {
        debug_assert!(self.known.contains(&key), "{key} is not in the list of keys");
        convert(self.entries.get(key)?, self.notes)
    }

    /// The same, with its place.
    pub(super) fn read_at<T>(
        &self,
        key: &'static str,
        convert: impl FnOnce(&'a Node<'a>, &'a Notes<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let span = self.entries.get(key)?.span();
        self.read(key, convert).map(|value| At { value, span })
    }

    /// The place of a key that is there.
    pub(super) fn key(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Whether the key is there, right or wrong, or was meant to be there by a key that is misspelt.
    pub(super) fn mentions(&self, key: &str) -> bool {
        self.entries.contains_key(key)
            || self
                .entries
                .keys()
                .any(|k| !self.known.contains(&k.get_ref().as_ref()) && nearest(self.known, k.get_ref()) == Some(key))
    }
}

/// The entries of a table, or a note that it is none.
pub(super) fn entries<'a>(node: &'a Node<'a>, notes: &Notes<'_>) -> Option<&'a DeTable<'a>> {
    match node.get_ref() {
        DeValue::Table(entries) => Some(entries),
        _ => wrong_type(node, notes, "a table"),
    }
}

/// Notes that a value has the wrong type.
pub(super) fn wrong_type<T>(node: &Node<'_>, notes: &Notes<'_>, expected: &str) -> Option<T> {
    let (found, help) = match node.get_ref() {
        DeValue::String(_) => ("a string", None),
        DeValue::Integer(_) => ("an integer", Some("put it in quotes")),
        DeValue::Float(_) => ("a float", Some("put it in quotes")),
        DeValue::Boolean(_) => ("a boolean", Some("put it in quotes")),
        DeValue::Datetime(_) => ("a date", Some("put it in quotes")),
        DeValue::Array(_) => ("an array", None),
        DeValue::Table(_) => ("a table", None),
    };
    let note =
        Diagnostic::error(node.span(), format!("expected {expected}, found {found}")).label(format!("this is {found}"));
    notes.push(match help {
        Some(help) if expected.contains("string") => note.help(help),
        _ => note,
    });
    None
}
