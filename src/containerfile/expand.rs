//! Variables in the words of FROM and ARG.

use std::collections::HashMap;

/// Fills in `$X`, `${X}`, `${X:-d}`, `${X-d}`, `${X:+a}`, `${X+a}`; takes quotes and escapes off. None if a variable
/// has no value, or the form is one that we do not know: then only the builder can tell.
pub(super) fn expand(word: &str, escape: char, known: &HashMap<String, Option<String>>) -> Option<String> {
    fill(word, escape, known, 0)
}

fn fill(word: &str, escape: char, known: &HashMap<String, Option<String>>, depth: usize) -> Option<String> {
    if depth > 16 {
        return None;
    }
    let mut out = String::new();
    let mut single = false;
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\'' => {
                single = !single;
                after
            }
            '"' if !single => after,
            '$' if !single => {
                let (value, after) = variable(after, escape, known, depth)?;
                out.push_str(&value);
                after
            }
            _ if c == escape && !single => {
                let next = after.chars().next()?;
                out.push(next);
                &after[next.len_utf8()..]
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    Some(out)
}

fn variable<'a>(
    text: &'a str,
    escape: char,
    known: &HashMap<String, Option<String>>,
    depth: usize,
) -> Option<(String, &'a str)> {
    let value = |name: &str| known.get(name).cloned().flatten();
    let Some(braced) = text.strip_prefix('{') else {
        let (name, after) = name(text);
        return Some((value(name).filter(|_| !name.is_empty())?, after));
    };
    let (name, after) = name(braced);
    if name.is_empty() {
        return None;
    }
    let end = closing_brace(after)?;
    let (modifier, after) = (&after[..end], &after[end + 1..]);
    if modifier.is_empty() {
        return Some((value(name)?, after));
    }
    let (empty_counts, modifier) = modifier.strip_prefix(':').map_or((true, modifier), |m| (false, m));
    let set = value(name).filter(|v| empty_counts || !v.is_empty());
    let filled = if let Some(default) = modifier.strip_prefix('-') {
        match set {
            Some(value) => value,
            None => fill(default, escape, known, depth + 1)?,
        }
    } else if let Some(other) = modifier.strip_prefix('+') {
        match set {
            Some(_) => fill(other, escape, known, depth + 1)?,
            None => String::new(),
        }
    } else {
        return None;
    };
    Some((filled, after))
}

fn name(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Where the brace ends that was opened before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_what_has_a_value() {
        let known = HashMap::from([
            ("A".to_owned(), Some("1".to_owned())),
            ("E".to_owned(), Some(String::new())),
            ("N".to_owned(), None),
        ]);
        for (word, expected) in [
            ("x", Some("x")),
            ("$A", Some("1")),
            ("r/${A}:$A-x", Some("r/1:1-x")),
            ("${N:-d}", Some("d")),
            ("${E:-d}", Some("d")),
            ("${E-d}", Some("")),
            ("${N:-a${A}b}", Some("a1b")),
            ("${A:+y}", Some("y")),
            ("${N:+y}z", Some("z")),
            ("\"$A\"", Some("1")),
            ("'$A'", Some("$A")),
            ("\\$A", Some("$A")),
            ("$N", None),
            ("$UNKNOWN", None),
            ("${A", None),
            ("${A%x}", None),
            ("$", None),
        ] {
            assert_eq!(expand(word, '\\', &known).as_deref(), expected, "{word}");
        }
    }
}
