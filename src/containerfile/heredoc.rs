//! Which heredocs a line opens, and where their bodies end.

use super::lines::Lines;
use std::collections::HashMap;

/// The line that ends a heredoc.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    word: String,
    /// `<<-`: tabs before the word do not count.
    tabs: bool,
}

impl End {
    pub fn is(&self, line: &str) -> bool {
        let line = if self.tabs { line.trim_start_matches('\t') } else { line };
        line == self.word
    }
}

/// Where the lines of a file are that may end a heredoc. With it, that a heredoc has no end costs no look at the rest of
/// the file.
pub(super) struct Ends<'a> {
    /// Where each line begins for the last time; and with the tabs before it left out.
    last: [HashMap<&'a str, usize>; 2],
}

impl<'a> Ends<'a> {
    pub fn new(lines: Lines<'a>) -> Self {
        let mut last = [HashMap::new(), HashMap::new()];
        for (at, line) in lines {
            last[0].insert(line, at);
            last[1].insert(line.trim_start_matches('\t'), at);
        }
        Self { last }
    }

    /// A builder that knows heredocs refuses a file in which one has no end; so where there is none, it is only text.
    pub fn comes_after(&self, end: &End, at: usize) -> bool {
        let last = self.last[usize::from(end.tabs)].get(end.word.as_str());
        last.is_some_and(|last| *last >= at)
    }
}

/// The heredocs that a line opens, in order: words of the form `<<WORD`, `<<-WORD`, with a number before and with quotes
/// in the word. `<<<` is a here-string, what is quoted as a whole is text, and so is an array.
pub(super) fn heredocs(line: &str) -> Vec<End> {
    if !line.contains("<<") || is_array(line) {
        return Vec::new();
    }
    let mut ends = Vec::new();
    let mut word = 0;
    let mut quote = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            // Within double quotes only some characters can be escaped: to find the end, the quote is what matters.
            (None | Some('"'), '\\') => drop(chars.next()),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, _) if c.is_whitespace() => {
                ends.extend(heredoc(&line[word..at]));
                word = at + c.len_utf8();
            }
            _ => {}
        }
    }
    match quote {
        // A shell would look for the quote's end in the next line: no word of this line is sure.
        Some(_) => Vec::new(),
        None => {
            ends.extend(heredoc(&line[word..]));
            ends
        }
    }
}

fn is_array(line: &str) -> bool {
    let inner = line.trim_start().strip_prefix('[');
    inner.is_some_and(|inner| inner.trim_start().starts_with(['"', ']'])) && line.trim_end().ends_with(']')
}

fn heredoc(word: &str) -> Option<End> {
    let word = word
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")?;
    let (tabs, word) = word.strip_prefix('-').map_or((false, word), |word| (true, word));
    if word.contains('<') {
        return None;
    }
    let word = unquoted(word);
    (!word.is_empty()).then_some(End { word, tabs })
}

fn unquoted(word: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\\') => out.extend(chars.next()),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_heredocs() {
        for (line, words) in [
            ("<<E", &["E"][..]),
            ("cat <<-E >x 3<<'F' \"a <<G\"", &["-E", "F"]),
            ("<<\"E F\" <<G\"H\" <<\\I", &["E F", "GH", "I"]),
            ("a<<E <<<F <<< G << H <<", &[]),
            ("<<'' <<\"\"", &[]),
            ("it's <<E", &[]),
            ("\"it's\" \\' <<E", &["E"]),
            ("--mount=type=cache,target=/x <<E", &["E"]),
            ("[ -f x ] && cat <<E", &["E"]),
            ("[\"cat\", \"x\", <<E ]", &[]),
        ] {
            let found: Vec<String> = heredocs(line)
                .iter()
                .map(|end| format!("{}{}", if end.tabs { "-" } else { "" }, end.word))
                .collect();
            assert_eq!(found, words, "{line}");
        }
    }
}
