//! From text to instructions: one logical line each, and where each part of it stands in the file.

use super::heredoc::{Ends, heredocs};
use std::borrow::Cow;
use std::ops::Range;

/// White space between the words of a line.
pub(super) const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// The instructions that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    From,
    Arg,
    Env,
    Copy,
    Add,
    Run,
    Onbuild,
    Other,
}

impl Keyword {
    const ALL: [(&'static str, Self); 7] = [
        ("FROM", Self::From),
        ("ARG", Self::Arg),
        ("ENV", Self::Env),
        ("COPY", Self::Copy),
        ("ADD", Self::Add),
        ("RUN", Self::Run),
        ("ONBUILD", Self::Onbuild),
    ];

    fn of(name: &str) -> Self {
        let known = Self::ALL.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map_or(Self::Other, |(_, keyword)| *keyword)
    }

    fn takes_heredocs(self) -> bool {
        matches!(self, Self::Copy | Self::Add | Self::Run)
    }
}

/// One instruction.
#[derive(Debug)]
pub(super) struct Instruction<'a> {
    pub keyword: Keyword,
    /// All of its lines in the file, without the last one's end, and without the bodies of heredocs.
    pub span: Range<usize>,
    /// Those lines as one, without what continues them.
    pub line: Cow<'a, str>,
    /// The file ends where it would go on.
    pub is_cut_off: bool,
    /// What follows the name, in the line.
    args: Range<usize>,
    /// Where the line's first byte stands in the file.
    first: usize,
    /// Where in the line each further piece begins, and where in the file.
    more: Vec<(usize, usize)>,
}

impl Instruction<'_> {
    pub fn args(&self) -> &str {
        &self.line[self.args.clone()]
    }

    /// Where a part of the arguments stands in the line.
    pub fn in_line(&self, part: Range<usize>) -> Range<usize> {
        self.args.start + part.start..self.args.start + part.end
    }

    /// Where a part of the arguments stands in the file; none if it is broken over two lines.
    pub fn in_file(&self, part: Range<usize>) -> Option<Range<usize>> {
        let part = self.in_line(part);
        let pieces = self.more.partition_point(|(at, _)| *at <= part.start);
        let (at, file) = match pieces {
            0 => (0, self.first),
            n => self.more[n - 1],
        };
        let whole = self.more.get(pieces).is_none_or(|(next, _)| part.end <= *next);
        whole.then(|| file + part.start - at..file + part.end - at)
    }
}

/// The instructions of a file, one after the other.
pub(super) struct Instructions<'a> {
    lines: Lines<'a>,
    ends: Option<Ends<'a>>,
    /// The character that continues lines and takes the meaning of the next one.
    pub escape: char,
}

impl<'a> Instructions<'a> {
    pub fn new(text: &'a str) -> Self {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Self {
            lines: Lines { text, at },
            ends: None,
            escape: escape_directive(&text[at..]),
        }
    }

    fn skip_bodies(&mut self, line: &str) {
        for end in heredocs(line) {
            let Lines { text, at } = self.lines;
            let ends = self.ends.get_or_insert_with(|| Ends::new(Lines { text, at }));
            if ends.comes_after(&end, at) {
                self.lines.find(|(_, line)| end.is(line));
            }
        }
    }
}

impl<'a> Iterator for Instructions<'a> {
    type Item = Instruction<'a>;

    fn next(&mut self) -> Option<Instruction<'a>> {
        let (start, text) = self.lines.find(|(_, line)| !is_blank_or_comment(line))?;
        let first = start + text.len() - text.trim_start().len();
        let mut end = start + text.len();
        let mut piece = continued(text.trim_start(), self.escape);
        let mut line = Cow::Borrowed(piece.0);
        let mut more = Vec::new();
        let mut is_cut_off = false;
        while piece.1 {
            // Comments and blank lines between continued lines are left out.
            let Some((start, text)) = self.lines.find(|(_, line)| !is_blank_or_comment(line)) else {
                is_cut_off = true;
                break;
            };
            end = start + text.len();
            piece = continued(text, self.escape);
            more.push((line.len(), start));
            line.to_mut().push_str(piece.0);
        }
        let start = line.len() - line.trim_start().len();
        let name = line[start..].find(BLANKS).map_or(line.len(), |length| start + length);
        let keyword = Keyword::of(&line[start..name]);
        let rest = &line[name..];
        let from = name + rest.len() - rest.trim_start().len();
        let args = from..from + rest.trim().len();
        let taker = match keyword {
            // It has the heredocs of the instruction in it.
            Keyword::Onbuild => Keyword::of(line[args.clone()].split(BLANKS).next().unwrap_or_default()),
            keyword => keyword,
        };
        if taker.takes_heredocs() {
            self.skip_bodies(&line[args.clone()]);
        }
        let span = first..end;
        Some(Instruction {
            keyword,
            span,
            line,
            is_cut_off,
            args,
            first,
            more,
        })
    }
}

/// Lines without their ends, and where they begin.
#[derive(Clone)]
pub(super) struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.is_empty() {
            return None;
        }
        let line = match rest.split_once('\n') {
            Some((line, _)) => {
                self.at += line.len() + 1;
                line
            }
            None => {
                self.at += rest.len();
                rest
            }
        };
        Some((start, line.trim_end_matches('\r')))
    }
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// What counts of a line, and whether the next one belongs to it. An escape character that is itself escaped does not
/// continue a line.
fn continued(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(head) if !head.ends_with(escape) => (head, true),
        _ => (line, false),
    }
}

/// `# escape=X` among the directives: the comments of the form `# name=value` at the very top, each name once. The first
/// line that is something else ends them, and an unknown name is something else.
fn escape_directive(text: &str) -> char {
    let mut seen: Vec<String> = Vec::new();
    for (_, line) in (Lines { text, at: 0 }) {
        let Some((name, value)) = line.trim_start().strip_prefix('#').and_then(|c| c.split_once('=')) else {
            break;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if value.is_empty() || seen.contains(&name) {
            break;
        }
        match name.as_str() {
            "escape" if value == "`" => return '`',
            "escape" => break,
            "syntax" | "check" => seen.push(name),
            _ => break,
        }
    }
    '\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        Instructions::new(text)
            .map(|i| format!("{:?} {}", i.keyword, i.args()))
            .collect()
    }

    #[test]
    fn joins_lines_and_leaves_comments_out() {
        for (text, expected) in [
            (
                "# c\n\n from a \\\n  # in between\n\n as b\nRUN x",
                &["From a  as b", "Run x"][..],
            ),
            ("RUN a # not a comment", &["Run a # not a comment"]),
            ("\u{feff}FROM a\r\nRUN b\r\n", &["From a", "Run b"]),
            ("FROM a \\ \t\r\n AS b\r\n", &["From a  AS b"]),
            ("FROM\ta\u{b}\nrUn\tb", &["From a", "Run b"]),
            ("\\\nFROM a", &["From a"]),
            ("\\\n  FROM \\\n\ta ", &["From a"]),
            ("FROM a \\\n\\\n\\\n AS b", &["From a  AS b"]),
            ("RUN a \\\\\nFROM b", &["Run a \\\\", "From b"]),
            ("FROM a \\", &["From a"]),
            ("FROM a \\\n# c \\\nAS b", &["From a AS b"]),
        ] {
            assert_eq!(of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn directives_are_at_the_very_top() {
        for (head, ticked) in [
            ("# escape=`\n", true),
            ("\u{feff}#escape = ` \r\n", true),
            ("  # EsCaPe=`\n", true),
            ("# syntax=x\n# check=skip=all;error=true\n# escape=`\n", true),
            ("# escape=\\\n", false),
            ("# plain comment\n# escape=`\n", false),
            ("# unknown=1\n# escape=`\n", false),
            ("\n# escape=`\n", false),
            ("FROM x\n# escape=`\n", false),
            ("# escape=\\\n# escape=`\n", false),
            ("# syntax=a\n# syntax=b\n# escape=`\n", false),
            ("# escape=x\n", false),
            ("#!/usr/bin/env x=1\n# escape=`\n", false),
        ] {
            let text = format!("{head}FROM a`\n  AS b");
            let ticks = of(&text).contains(&"From a  AS b".to_owned());
            assert_eq!(ticks, ticked, "{text:?}");
        }
    }

    #[test]
    fn knows_where_words_stand() {
        let text = "\u{feff}# c\n  FROM \\\r\n# x\n  ab\\\ncd AS \\\n e\nRUN f";
        let from = Instructions::new(text).next().unwrap();
        assert_eq!(from.args(), "abcd AS  e");
        assert_eq!(&text[from.span.clone()], "FROM \\\r\n# x\n  ab\\\ncd AS \\\n e");
        assert_eq!(&text[from.in_file(0..2).unwrap()], "ab");
        assert_eq!(from.in_file(1..3), None);
        assert_eq!(&text[from.in_file(2..4).unwrap()], "cd");
        assert_eq!(&text[from.in_file(9..10).unwrap()], "e");
    }

    #[test]
    fn bodies_of_heredocs_are_no_instructions() {
        for (text, count) in [
            ("RUN <<E\nFROM x\nE\nFROM y", 2),
            ("RUN <<E\r\nFROM x\r\nE\r\nFROM y", 2),
            ("RUN <<-'E' cat\nFROM x\n\t\tE\nFROM y", 2),
            ("RUN <<'E' cat\nFROM x\n\tE\nFROM y\nE\nRUN z", 2),
            ("COPY <<A <<\"B\" /x/\nFROM 1\nA\nFROM 2\nB\nFROM 3", 2),
            ("COPY <<\"A B\" /x/\nFROM 1\nA B\nFROM 2", 2),
            ("RUN cat \\\n <<E \\\n >x\nFROM x \\\nE\nFROM y", 2),
            ("ADD 3<<E.x\nFROM x\nE.x\nFROM y", 2),
            ("ONBUILD RUN <<E\nFROM x\nE\nFROM y", 2),
            ("ONBUILD ENV X=<<E\nRUN x\nE=\nFROM y", 4),
            ("ENV X <<E\nRUN x\nE\nFROM y", 4),
            ("RUN cat <<< word\nFROM y\nword", 3),
            ("RUN cat <<<word\nFROM y\nword", 3),
            ("RUN echo '<<E'\nFROM y\nE", 3),
            ("RUN echo $((1 << 2))\nFROM y", 2),
            // Without its end it is no heredoc to any builder that takes the file.
            ("RUN echo $((1 <<2))\nFROM y", 2),
            ("RUN [\"cat\", \"<<E\"]\nFROM y\nE", 3),
        ] {
            assert_eq!(of(text).len(), count, "{text:?}: {:?}", of(text));
        }
    }
}
