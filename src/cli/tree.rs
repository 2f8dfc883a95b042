//! Text as a tree: what was shown before is only named again.
//!
//! A chain may be very long: nothing here may call itself.

use std::io::{self, Write};

/// A line, and what is below it.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// In full.
    pub line: String,
    /// When it appears again.
    pub again: String,
    /// Lines that nothing is below of.
    pub leaves: Vec<String>,
    /// The places of further rows.
    pub below: Vec<usize>,
}

/// What is to be written next, with what stands in front of its line and of those below it.
struct Next {
    what: What,
    before: String,
    after: String,
}

enum What {
    Row(usize),
    Leaf(String),
}

/// Writes rows below these roots.
pub(super) fn print(out: &mut impl Write, rows: &[Row], roots: impl IntoIterator<Item = usize>) -> io::Result<()> {
    let mut told = vec![false; rows.len()];
    let mut next: Vec<Next> = roots
        .into_iter()
        .map(|place| Next {
            what: What::Row(place),
            before: String::new(),
            after: String::new(),
        })
        .collect();
    next.reverse();
    while let Some(Next { what, before, after }) = next.pop() {
        let place = match what {
            What::Row(place) => place,
            What::Leaf(text) => {
                writeln!(out, "{before}{text}")?;
                continue;
            }
        };
        let row = &rows[place];
        if std::mem::replace(&mut told[place], true) {
            writeln!(out, "{before}{}", row.again)?;
            continue;
        }
        writeln!(out, "{before}{}", row.line)?;
        let leaves = row.leaves.iter().cloned().map(What::Leaf);
        let below: Vec<What> = leaves.chain(row.below.iter().copied().map(What::Row)).collect();
        let last = below.len().saturating_sub(1);
        let below = below.into_iter().enumerate().map(|(at, what)| Next {
            what,
            before: format!("{after}{}", if at == last { "└─ " } else { "├─ " }),
            after: format!("{after}{}", if at == last { "   " } else { "│  " }),
        });
        let begin = next.len();
        next.extend(below);
        next[begin..].reverse();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_shown_in_full_once() {
        let row = |name: &str, leaves: &[&str], below: &[usize]| Row {
            line: name.to_owned(),
            again: format!("{name} (above)"),
            leaves: leaves.iter().map(|leaf| (*leaf).to_owned()).collect(),
            below: below.to_vec(),
        };
        let rows = [
            row("a", &["from x"], &[1, 2]),
            row("b", &[], &[3]),
            row("c", &[], &[3]),
            row("d", &[], &[]),
        ];
        let mut out = Vec::new();
        print(&mut out, &rows, [0]).unwrap();
        let expected = "a\n├─ from x\n├─ b\n│  └─ d\n└─ c\n   └─ d (above)\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_very_long_chain_is_no_trouble() {
        let count = 3000;
        let rows: Vec<Row> = (0..count)
            .map(|n| Row {
                line: n.to_string(),
                below: (n + 1..count).take(1).collect(),
                ..Row::default()
            })
            .collect();
        let mut out = Vec::new();
        print(&mut out, &rows, [0]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), count);
    }
}
