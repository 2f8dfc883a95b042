//! The patterns of `${x#pattern}` and its like: `*`, `?` and plain characters.

use super::budget::Budget;

enum Part {
    Plain(char),
    One,
    Any,
}

/// A pattern that was understood.
pub(super) struct Pattern(Vec<Part>);

impl Pattern {
    /// `\` takes the meaning of `*`, `?` and itself, and lets `}` and `/` in; before anything else it is an error.
    pub fn new(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => match chars.next()? {
                    c @ ('*' | '?' | '\\' | '}' | '/') => Part::Plain(c),
                    _ => return None,
                },
                c => Part::Plain(c),
            });
        }
        Some(Self(parts))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value without the shortest or longest start that matches. None: out of budget.
    pub fn without_start(&self, value: &str, longest: bool, budget: &Budget) -> Option<String> {
        let chars: Vec<char> = value.chars().collect();
        let cut = matched(&mut self.0.iter(), &chars, longest, budget)?.unwrap_or_default();
        Some(chars[cut..].iter().collect())
    }

    /// As [`Pattern::without_start`], at the end.
    pub fn without_end(&self, value: &str, longest: bool, budget: &Budget) -> Option<String> {
        let mut chars: Vec<char> = value.chars().rev().collect();
        let cut = matched(&mut self.0.iter().rev(), &chars, longest, budget)?.unwrap_or_default();
        chars.drain(..cut);
        Some(chars.iter().rev().collect())
    }

    /// The value with the first match, or all, replaced; each as long as can be. None: out of budget.
    pub fn replaced(&self, value: &str, by: &str, all: bool, budget: &Budget) -> Option<String> {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        loop {
            match matched(&mut self.0.iter(), &chars[at..], true, budget)? {
                Some(length) if length > 0 || chars.is_empty() => {
                    budget.spend(by.len())?;
                    out.push_str(by);
                    at += length;
                    if !all {
                        out.extend(&chars[at..]);
                        return Some(out);
                    }
                }
                _ => {
                    out.extend(chars.get(at));
                    at += 1;
                }
            }
            if at >= chars.len() {
                return Some(out);
            }
        }
    }
}

/// The length of the shortest or longest start that matches, if any does.
fn matched(
    parts: &mut dyn Iterator<Item = &Part>,
    chars: &[char],
    longest: bool,
    budget: &Budget,
) -> Option<Option<usize>> {
    // Whether what we have of the pattern matches the first so many characters.
    let mut reached = vec![false; chars.len() + 1];
    reached[0] = true;
    for part in parts {
        budget.spend(reached.len())?;
        match part {
            Part::Any => {
                let first = reached.iter().position(|r| *r).unwrap_or(reached.len());
                reached[first..].fill(true);
            }
            Part::One | Part::Plain(_) => {
                for at in (0..chars.len()).rev() {
                    let fits = match part {
                        Part::Plain(c) => chars[at] == *c,
                        _ => true,
                    };
                    reached[at + 1] = reached[at] && fits;
                }
                reached[0] = false;
            }
        }
    }
    Some(match longest {
        true => reached.iter().rposition(|r| *r),
        false => reached.iter().position(|r| *r),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_replaces_as_shells_do() {
        let budget = Budget::new();
        let of = |text: &str| Pattern::new(text).unwrap();
        for (pattern, value, shortest, longest) in [
            ("a*", "aab", "ab", ""),
            ("*a", "aab", "ab", "b"),
            ("?", "ab", "b", "b"),
            ("*/", "r/a/b", "a/b", "b"),
            ("b", "ab", "ab", "ab"),
            ("", "ab", "ab", "ab"),
            ("\\*", "*b", "b", "b"),
            ("*é?", "xéyz", "z", "z"),
        ] {
            let got = |longest| of(pattern).without_start(value, longest, &budget).unwrap();
            assert_eq!((got(false), got(true)), (shortest.into(), longest.into()), "{pattern}");
        }
        for (pattern, value, shortest, longest) in [
            (".*", "1.2.3", "1.2", "1"),
            ("*", "ab", "ab", ""),
            ("-?", "a-b", "a", "a"),
            ("x", "ab", "ab", "ab"),
        ] {
            let got = |longest| of(pattern).without_end(value, longest, &budget).unwrap();
            assert_eq!((got(false), got(true)), (shortest.into(), longest.into()), "{pattern}");
        }
        for (pattern, value, first, all) in [
            ("a", "banana", "b_nana", "b_n_n_"),
            ("a*a", "banana", "b_", "b_"),
            ("*", "ab", "_", "_"),
            ("*", "", "_", "_"),
            ("x", "ab", "ab", "ab"),
            ("?", "ab", "_b", "__"),
        ] {
            let got = |all| of(pattern).replaced(value, "_", all, &budget).unwrap();
            assert_eq!((got(false), got(true)), (first.into(), all.into()), "{pattern}");
        }
        assert!(Pattern::new("\\x").is_none());
        assert!(Pattern::new("\\").is_none());
    }

    #[test]
    fn work_is_limited() {
        let budget = Budget::new();
        let value = "a".repeat(4000);
        let pattern = Pattern::new(&"*a".repeat(2000)).unwrap();
        assert!(pattern.without_start(&value, true, &budget).is_some());
        assert!(pattern.replaced(&value, "x", true, &budget).is_none());
        assert!(budget.spend(1).is_none());
    }
}
