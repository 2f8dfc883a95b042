//! From text to instructions: one logical line each, with the name in capitals.

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    /// `FROM`, `COPY`, …
    pub name: String,
    /// The rest of the logical line.
    pub rest: String,
}

/// The instructions of a file, and its escape character.
pub(super) fn instructions(text: &str) -> (Vec<Instruction>, char) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape_directive(text);
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(first) = lines.next() {
        if is_blank_or_comment(first) {
            continue;
        }
        let mut logical = String::new();
        let mut line = Some(first);
        while let Some(current) = line {
            let Some(head) = continued(current, escape) else {
                logical.push_str(current);
                break;
            };
            logical.push_str(head);
            // Comments and blank lines between continued lines are left out.
            line = lines.by_ref().find(|l| !is_blank_or_comment(l));
        }
        let logical = logical.trim();
        let (name, rest) = logical.split_once(char::is_whitespace).unwrap_or((logical, ""));
        let name = name.to_ascii_uppercase();
        // ONBUILD's instruction is read by who builds FROM this image.
        if matches!(name.as_str(), "RUN" | "COPY" | "ADD") {
            for end in heredocs(rest) {
                skip_heredoc(&mut lines, &end);
            }
        }
        found.push(Instruction {
            name,
            rest: rest.trim().to_owned(),
        });
    }
    (found, escape)
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// What stands before the escape character at the end of a line, if there is one.
fn continued(line: &str, escape: char) -> Option<&str> {
    line.trim_end().strip_suffix(escape)
}

/// `# escape=X` among the directives, which are the very first comments of the form `# name=value`.
fn escape_directive(text: &str) -> char {
    for line in text.lines() {
        let Some((name, value)) = line.trim_start().strip_prefix('#').and_then(|c| c.split_once('=')) else {
            break;
        };
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            break;
        }
        if name.eq_ignore_ascii_case("escape") {
            return match value.trim() {
                "`" => '`',
                _ => '\\',
            };
        }
    }
    '\\'
}

/// Where the body of a heredoc ends.
struct End {
    word: String,
    /// `<<-`: tabs before the word do not count.
    tabs: bool,
}

/// The heredocs that a line opens, in order. `<<<` is a here-string, and a `<<` in quotes is text.
fn heredocs(line: &str) -> Vec<End> {
    let mut ends = Vec::new();
    let mut quote = None;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("<<<") {
            rest = rest.trim_start_matches('<');
            continue;
        }
        match (quote, rest.strip_prefix("<<")) {
            (None, Some(after)) => {
                let (tabs, after) = after.strip_prefix('-').map_or((false, after), |after| (true, after));
                let (word, after) = heredoc_word(after);
                rest = after;
                if !word.is_empty() {
                    ends.push(End { word, tabs });
                }
                continue;
            }
            (None, None) if c == '"' || c == '\'' => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    ends
}

/// The word after `<<`, without its quotes, and what follows.
fn heredoc_word(text: &str) -> (String, &str) {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\''))
        && let Some((word, after)) = text[1..].split_once(quote)
    {
        return (word.to_owned(), after);
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '-'))
        .unwrap_or(text.len());
    let word = &text[..end];
    let starts_well = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (if starts_well { word.to_owned() } else { String::new() }, &text[end..])
}

fn skip_heredoc<'a>(lines: &mut impl Iterator<Item = &'a str>, end: &End) {
    for line in lines {
        let line = if end.tabs { line.trim_start_matches('\t') } else { line };
        if line == end.word {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let (found, _) = instructions(text);
        found.iter().map(|i| format!("{} {}", i.name, i.rest)).collect()
    }

    #[test]
    fn joins_lines_and_leaves_comments_out() {
        assert_eq!(
            of("# c\n\n from a \\\n  # in between\n\n as b\nRUN x"),
            ["FROM a  as b", "RUN x"]
        );
        assert_eq!(of("RUN a # not a comment"), ["RUN a # not a comment"]);
        assert_eq!(of("# escape=`\nFROM a`\n AS b\nRUN c\\"), ["FROM a AS b", "RUN c\\"]);
        assert_eq!(of("# plain comment\n# escape=`\nFROM a\\\n AS b"), ["FROM a AS b"]);
        assert_eq!(of("# syntax=x\n#escape = `\nFROM a`\n"), ["FROM a"]);
        assert_eq!(of("FROM a\r\nRUN b\r\n"), ["FROM a", "RUN b"]);
    }

    #[test]
    fn bodies_of_heredocs_are_no_instructions() {
        assert_eq!(of("RUN <<E\nFROM x\nE\nFROM y"), ["RUN <<E", "FROM y"]);
        assert_eq!(of("RUN <<-'E' cat\nFROM x\n\tE\nFROM y").len(), 2);
        assert_eq!(of("COPY <<A <<\"B\" /x/\nFROM 1\nA\nFROM 2\nB\nFROM 3").len(), 2);
        assert_eq!(of("RUN cat <<< word\nFROM y").len(), 2);
        assert_eq!(of("RUN echo '<<E'\nFROM y").len(), 2);
        assert_eq!(of("RUN echo $((1 << 2))\nFROM y").len(), 2);
    }
}
