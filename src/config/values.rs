//! From TOML values to the types of a config.
//!
//! Each function takes a value as it is written and either yields what it means or notes what is wrong with it, so
//! that a table of them reads like the reference. None may look at another key than its own.

use super::notes::Notes;
use super::reader::{At, Node, entries, wrong_type};
use super::text::{self, Mistake, template};
use super::{Diagnostic, Pattern, Pull, Tmpfs};
use crate::model::{Template, is_env_name};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// Notes a mistake; always `None`, so that a reader can end with it.
pub(super) fn refuse<T>(span: Range<usize>, mistake: Mistake, notes: &Notes<'_>) -> Option<T> {
    let mut note = Diagnostic::error(span, mistake.message);
    note.help = mistake.help;
    notes.push(note);
    None
}

pub(super) fn kept<T>(result: Result<T, Mistake>, node: &Node<'_>, notes: &Notes<'_>) -> Option<T> {
    result.map_or_else(|mistake| refuse(node.span(), mistake, notes), Some)
}

pub(super) fn boolean(node: &Node<'_>, notes: &Notes<'_>) -> Option<bool> {
    node.get_ref()
        .as_bool()
        .or_else(|| wrong_type(node, notes, "true or false"))
}

pub(super) fn integer(node: &Node<'_>, notes: &Notes<'_>, range: RangeInclusive<usize>) -> Option<usize> {
    let Some(written) = node.get_ref().as_integer() else {
        return wrong_type(node, notes, "an integer");
    };
    let value = i128::from_str_radix(written.as_str(), written.radix()).ok();
    let fitting = value
        .and_then(|v| usize::try_from(v).ok())
        .filter(|v| range.contains(v));
    let message = || Mistake::new(format!("this number must be from {} to {}", range.start(), range.end()));
    kept(fitting.ok_or_else(message), node, notes)
}

/// A string without NUL bytes, which no path, argument or variable can hold.
fn string<'a>(node: &'a Node<'a>, notes: &Notes<'_>, expected: &str) -> Option<&'a str> {
    match node.get_ref().as_str() {
        None => wrong_type(node, notes, expected),
        Some(text) if text.contains('\0') => refuse(node.span(), Mistake::new("a NUL byte cannot be used"), notes),
        Some(text) => Some(text),
    }
}

/// A string in one of the small languages.
pub(super) fn parsed<T>(
    node: &Node<'_>,
    notes: &Notes<'_>,
    parse: impl FnOnce(&str) -> Result<T, Mistake>,
) -> Option<T> {
    let result = parse(string(node, notes, "a string")?);
    kept(result, node, notes)
}

pub(super) fn duration(node: &Node<'_>, notes: &Notes<'_>) -> Option<Duration> {
    if let Some(number) = node.get_ref().as_integer() {
        let mistake = Mistake::new("a duration needs a unit").help(format!("write \"{number}s\" for seconds"));
        return refuse(node.span(), mistake, notes);
    }
    parsed(node, notes, text::duration)
}

/// A duration that is not zero.
pub(super) fn positive(node: &Node<'_>, notes: &Notes<'_>) -> Option<Duration> {
    match duration(node, notes)? {
        Duration::ZERO => refuse(
            node.span(),
            Mistake::new("this duration must be longer than zero"),
            notes,
        ),
        duration => Some(duration),
    }
}

pub(super) fn size(node: &Node<'_>, notes: &Notes<'_>) -> Option<u64> {
    match node.get_ref() {
        DeValue::Integer(written) if written.radix() == 10 => kept(text::size(written.as_str()), node, notes),
        _ => parsed(node, notes, text::size),
    }
}

pub(super) fn tmpfs(node: &Node<'_>, notes: &Notes<'_>) -> Option<Tmpfs> {
    let Some(percent) = node.get_ref().as_str().and_then(|s| s.trim().strip_suffix('%')) else {
        return size(node, notes).map(Tmpfs::Bytes);
    };
    let percent = percent.parse().ok().filter(|p| (1..=100).contains(p));
    let mistake = Mistake::new("a percentage is a whole number from 1% to 100%");
    kept(percent.map(Tmpfs::Percent).ok_or(mistake), node, notes)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(node: &Node<'_>, notes: &Notes<'_>, words: &[(&str, T)]) -> Option<T> {
    let names: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let expected = match names.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        _ => names.concat(),
    };
    let text = string(node, notes, &expected)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    kept(
        found.ok_or_else(|| Mistake::new(format!("expected {expected}"))),
        node,
        notes,
    )
}

/// How bases are fetched; `true` and `false` as older files have it.
pub(super) fn pull(node: &Node<'_>, notes: &Notes<'_>) -> Option<Pull> {
    match node.get_ref() {
        DeValue::Boolean(true) => Some(Pull::Newer),
        DeValue::Boolean(false) => Some(Pull::Missing),
        _ => choice(
            node,
            notes,
            &[
                ("newer", Pull::Newer),
                ("always", Pull::Always),
                ("missing", Pull::Missing),
                ("never", Pull::Never),
            ],
        ),
    }
}

/// A string or an array of them, each converted; what is wrong is noted and left out.
pub(super) fn list<'a, T>(
    node: &'a Node<'a>,
    notes: &Notes<'_>,
    each: impl Fn(&str) -> Result<T, Mistake>,
) -> Option<Vec<At<T>>> {
    let nodes = match node.get_ref() {
        DeValue::Array(nodes) => &nodes[..],
        DeValue::String(_) => std::slice::from_ref(node),
        _ => return wrong_type(node, notes, "a string or an array of strings"),
    };
    let item = |n: &Node<'_>| parsed(n, notes, &each).map(|value| At { value, span: n.span() });
    Some(nodes.iter().filter_map(item).collect())
}

pub(super) fn patterns(node: &Node<'_>, notes: &Notes<'_>) -> Option<Vec<Pattern>> {
    let list = list(node, notes, |text| text::pattern(text, "release/*"))?;
    Some(list.into_iter().map(|p| p.value).collect())
}

/// A command: a string is split as a shell would, an array is taken as it is.
pub(super) fn command(node: &Node<'_>, notes: &Notes<'_>) -> Option<Vec<String>> {
    match node.get_ref() {
        DeValue::Array(written) => {
            let argv = list(node, notes, |argument| Ok(argument.to_owned()))?;
            let whole = argv.len() == written.len();
            let argv = argv.into_iter().map(|a| a.value).collect();
            if whole {
                kept(text::argv_checked(argv), node, notes)
            } else {
                None
            }
        }
        DeValue::String(_) => parsed(node, notes, text::command),
        _ => wrong_type(node, notes, "a string or an array of strings"),
    }
}

/// A table of variables with names that a process can have.
pub(super) fn env<'a, T>(
    node: &'a Node<'a>,
    notes: &Notes<'_>,
    value: impl Fn(&str) -> Result<T, Mistake>,
) -> Option<BTreeMap<String, At<T>>> {
    map(entries(node, notes)?, notes, value, |name| {
        if is_env_name(name) {
            return Ok(());
        }
        Err(
            Mistake::new(format!("`{}` cannot be the name of a variable", name.escape_debug()))
                .help("use letters, digits and `_`, and do not begin with a digit"),
        )
    })
}

/// A table of labels.
pub(super) fn labels(node: &Node<'_>, notes: &Notes<'_>) -> Option<BTreeMap<String, At<Template>>> {
    map(entries(node, notes)?, notes, template, |name| {
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
            return Err(Mistake::new("a label's name cannot be empty or hold `=` or a space"));
        }
        Ok(())
    })
}

fn map<T>(
    entries: &DeTable<'_>,
    notes: &Notes<'_>,
    value: impl Fn(&str) -> Result<T, Mistake>,
    name: impl Fn(&str) -> Result<(), Mistake>,
) -> Option<BTreeMap<String, At<T>>> {
    let mut map = BTreeMap::new();
    for (key, node) in entries {
        if let Err(mistake) = name(key.get_ref()) {
            refuse::<()>(key.span(), mistake, notes);
        }
        if let Some(value) = parsed(node, notes, &value) {
            map.insert(
                key.get_ref().to_string(),
                At {
                    value,
                    span: node.span(),
                },
            );
        }
    }
    Some(map)
}
