//! Variables, quotes and escapes in a word, as builders read them.

use super::budget::Budget;
use super::pattern::Pattern;
use std::rc::Rc;

/// No word is longer when it is filled in; an image's name has at most a few hundred bytes.
const LONGEST: usize = 4096;

/// No form is nested deeper in others.
const DEEPEST: usize = 16;

/// What is known of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// It has one. `unset` says that a variable without a value went into it.
    Set { text: Rc<str>, unset: bool },
    /// It has none.
    Unset,
    /// It may have one: only the builder can tell.
    Unknown,
}

/// A word that was understood.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub text: String,
    /// A variable without a value went into it, as an empty text.
    pub unset: bool,
    /// One whose value is not known went into it: the text is worth nothing.
    pub unknown: bool,
}

impl Filled {
    fn of(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            text,
            ..Self::default()
        }
    }

    fn push(&mut self, other: &Self) {
        self.text.push_str(&other.text);
        self.mark(other);
    }

    fn mark(&mut self, other: &Self) {
        self.unset |= other.unset;
        self.unknown |= other.unknown;
    }
}

/// Fills in `$x`, `${x}`, `${x:-d}`, `${x-d}`, `${x:+a}`, `${x+a}`, `${x:?m}`, `${x?m}`, `${x#p}`, `${x##p}`, `${x%p}`,
/// `${x%%p}`, `${x/p/r}` and `${x//p/r}`; takes quotes and escapes off. None if a builder would refuse the word, or it is
/// beyond all measure.
pub(super) fn expand(word: &str, escape: char, look: &dyn Fn(&str) -> Value, budget: &Budget) -> Option<Filled> {
    let mut reader = Reader {
        rest: word,
        escape,
        look,
        budget,
    };
    reader.read(None, false, 0)
}

struct Reader<'a> {
    rest: &'a str,
    escape: char,
    look: &'a dyn Fn(&str) -> Value,
    budget: &'a Budget,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Up to the end, or to a character that must come. `raw` keeps escape characters, for who looks at them later.
    fn read(&mut self, stop: Option<char>, raw: bool, depth: usize) -> Option<Filled> {
        if depth > DEEPEST {
            return None;
        }
        let mut out = Filled::default();
        while let Some(c) = self.peek() {
            match c {
                _ if Some(c) == stop => {
                    self.next();
                    return Some(out);
                }
                '$' => out.push(&self.variable(depth)?),
                '\'' => {
                    let (inner, rest) = self.rest[1..].split_once('\'')?;
                    out.text.push_str(inner.get(..=LONGEST).unwrap_or(inner));
                    self.rest = rest;
                }
                '"' => out.push(&self.double_quoted(raw, depth)?),
                _ => {
                    self.next();
                    if c == self.escape {
                        out.text.extend(raw.then_some(c));
                        out.text.extend(self.next());
                    } else {
                        out.text.push(c);
                    }
                }
            }
            if out.text.len() > LONGEST {
                return None;
            }
        }
        stop.is_none().then_some(out)
    }

    fn double_quoted(&mut self, raw: bool, depth: usize) -> Option<Filled> {
        self.next();
        let mut out = Filled::default();
        loop {
            if out.text.len() > LONGEST {
                return None;
            }
            match self.peek()? {
                '"' => {
                    self.next();
                    return Some(out);
                }
                '$' => out.push(&self.variable(depth)?),
                c if c == self.escape => {
                    self.next();
                    out.text.extend(raw.then_some(c));
                    match self.peek()? {
                        // Anything else keeps the escape character before it.
                        next if next == '"' || next == '$' || next == self.escape => out.text.extend(self.next()),
                        _ => out.text.push(c),
                    }
                }
                c => {
                    self.next();
                    out.text.push(c);
                }
            }
        }
    }

    fn variable(&mut self, depth: usize) -> Option<Filled> {
        self.next();
        if self.peek() != Some('{') {
            return match self.name() {
                "" => Some(Filled::of("$")),
                name => self.plain((self.look)(name)),
            };
        }
        self.next();
        let name = self.name();
        if name.is_empty() {
            return None;
        }
        let value = (self.look)(name);
        match self.next()? {
            '}' => self.plain(value),
            ':' => {
                let form = self.next()?;
                self.form(form, true, value, depth)
            }
            '/' => self.replaced(value, depth),
            form => self.form(form, false, value, depth),
        }
    }

    fn plain(&self, value: Value) -> Option<Filled> {
        Some(match value {
            Value::Set { text, unset } => {
                self.budget.spend(text.len() + 1)?;
                Filled {
                    text: text.as_ref().to_owned(),
                    unset,
                    unknown: false,
                }
            }
            Value::Unset => Filled {
                unset: true,
                ..Filled::default()
            },
            Value::Unknown => Filled {
                unknown: true,
                ..Filled::default()
            },
        })
    }

    /// `colon`: an empty value counts as none.
    fn form(&mut self, form: char, colon: bool, value: Value, depth: usize) -> Option<Filled> {
        if !matches!(form, '-' | '+' | '?' | '#' | '%') {
            return None;
        }
        let mut word = self.read(Some('}'), matches!(form, '#' | '%'), depth + 1)?;
        let missing = match &value {
            Value::Set { text, .. } => colon && text.is_empty(),
            Value::Unset => true,
            Value::Unknown => return self.plain(value),
        };
        match form {
            '-' if missing => Some(word),
            '+' if missing => Some(Filled::default()),
            '+' => Some(word),
            '?' if missing => None,
            '-' | '?' => self.plain(value),
            _ => {
                let mut out = self.plain(value)?;
                out.mark(&word);
                if word.unknown {
                    return Some(out);
                }
                let longest = word.text.starts_with(form);
                word.text.drain(..usize::from(longest));
                let pattern = Pattern::new(&word.text)?;
                out.text = match form {
                    '#' => pattern.without_start(&out.text, longest, self.budget)?,
                    _ => pattern.without_end(&out.text, longest, self.budget)?,
                };
                Some(out)
            }
        }
    }

    fn replaced(&mut self, value: Value, depth: usize) -> Option<Filled> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.read(Some('/'), true, depth + 1)?;
        let by = self.read(Some('}'), true, depth + 1)?;
        let mut out = self.plain(value)?;
        out.mark(&pattern);
        out.mark(&by);
        let found = Pattern::new(&pattern.text)?;
        // Builders differ in what these mean.
        out.unknown |= found.is_empty() || by.text.contains(['$', '\\', '`']);
        if !out.unknown {
            out.text = found.replaced(&out.text, &by.text, all, self.budget)?;
        }
        Some(out)
    }

    fn name(&mut self) -> &'a str {
        let first = self.peek().unwrap_or(' ');
        let end = match first {
            '@' | '*' | '#' | '?' | '-' | '$' | '!' => 1,
            _ if first.is_ascii_digit() => self.up_to(|c| !c.is_ascii_digit()),
            _ => self.up_to(|c| !c.is_alphanumeric() && c != '_'),
        };
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    fn up_to(&self, end: impl Fn(char) -> bool) -> usize {
        self.rest.find(end).unwrap_or(self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str, escape: char) -> Option<String> {
        let look = |name: &str| {
            let set = |text: &str| Value::Set {
                text: text.into(),
                unset: false,
            };
            match name {
                "A" => set("1"),
                "E" => set(""),
                "P" => set("r.io/a/b:1.2.3"),
                "U" => Value::Unknown,
                "T" => Value::Set {
                    text: "".into(),
                    unset: true,
                },
                _ => Value::Unset,
            }
        };
        let filled = expand(word, escape, &look, &Budget::new())?;
        Some(match filled {
            Filled { unknown: true, .. } => "unknown".to_owned(),
            Filled { unset: true, text, .. } => format!("unset {text}"),
            Filled { text, .. } => text,
        })
    }

    #[test]
    fn fills_in_as_builders_do() {
        for (word, expected) in [
            ("x", Some("x")),
            ("$A", Some("1")),
            ("r/${A}:$A-x", Some("r/1:1-x")),
            ("${N:-d}", Some("d")),
            ("${N-d}", Some("d")),
            ("${E:-d}", Some("d")),
            ("${E-d}", Some("")),
            ("${N:-a${A}b}", Some("a1b")),
            ("${N:-${N:-${A}}}", Some("1")),
            ("${A:-$N}", Some("1")),
            ("${A:-$U}", Some("1")),
            ("${N:-$U}", Some("unknown")),
            ("${U:-x}", Some("unknown")),
            ("${T:-x}", Some("x")),
            ("a$T", Some("unset a")),
            ("${A:+y}", Some("y")),
            ("${E:+y}", Some("")),
            ("${E+y}", Some("y")),
            ("${N:+y}z", Some("z")),
            ("${A:?m}", Some("1")),
            ("${E?m}", Some("")),
            ("${E:?m}", None),
            ("${N?m}", None),
            ("${P#*/}", Some("a/b:1.2.3")),
            ("${P##*/}", Some("b:1.2.3")),
            ("${P%.*}", Some("r.io/a/b:1.2")),
            ("${P%%:*}", Some("r.io/a/b")),
            ("${P%%:?.*}", Some("r.io/a/b")),
            ("${P#\\}}", Some("r.io/a/b:1.2.3")),
            ("${P/\\//_}", Some("r.io_a/b:1.2.3")),
            ("${P//./-}", Some("r-io/a/b:1-2-3")),
            ("${P/b*/$A}", Some("r.io/a/1")),
            ("${P/x/}", Some("r.io/a/b:1.2.3")),
            ("${P//r.io/}", Some("/a/b:1.2.3")),
            ("${P/a}", None),
            ("${P#\\x}", None),
            ("${P/$U/x}", Some("unknown")),
            ("${N%x}", Some("unset ")),
            ("\"$A\"", Some("1")),
            ("'$A'", Some("$A")),
            ("\\$A", Some("$A")),
            ("\"\\$A\\x\\\"\"", Some("$A\\x\"")),
            ("a\\", Some("a")),
            ("$N", Some("unset ")),
            ("$1x", Some("unset x")),
            ("${A", None),
            ("${A^^}", None),
            ("${A:0:1}", None),
            ("${}", None),
            ("${{A}}", None),
            ("'a", None),
            ("\"a", None),
            ("$", Some("$")),
            ("a$/b", Some("a$/b")),
        ] {
            assert_eq!(of(word, '\\').as_deref(), expected, "{word}");
        }
        assert_eq!(of("`$A\\$A", '`').as_deref(), Some("$A\\1"));
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(of(&"${N:-".repeat(1_000_000), '\\'), None);
        let nested = |n| format!("{}x{}", "${N:-".repeat(n), "}".repeat(n));
        assert_eq!(of(&nested(DEEPEST), '\\').as_deref(), Some("x"));
        assert_eq!(of(&nested(DEEPEST + 1), '\\'), None);
        assert_eq!(of(&"a".repeat(LONGEST + 1), '\\'), None);
        assert_eq!(of(&format!("'{}'", "é".repeat(LONGEST)), '\\'), None);
    }
}
