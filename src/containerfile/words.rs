//! The words of an instruction's arguments, and where they stand.

use super::lines::BLANKS;
use std::borrow::Cow;
use std::ops::Range;

/// Words between blanks, as FROM has them: quotes and braces hold nothing together.
pub(super) fn plain_words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(|c| !BLANKS.contains(&c))?;
        let end = text[start..].find(BLANKS).map_or(text.len(), |length| start + length);
        rest = end;
        Some(start..end)
    })
}

/// Words as ARG and ENV have them: white space in quotes, or escaped, is part of a word. Quotes stay.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|start| &text[start..at]));
            continue;
        }
        let begin = *start.get_or_insert(at);
        if c == escape && quote != Some('\'') {
            if chars.next().is_none() {
                // There is nothing behind it.
                words.extend((begin < at).then(|| &text[begin..at]));
                return words;
            }
            continue;
        }
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    words.extend(start.map(|start| &text[start..]));
    words
}

/// A word of the form `--…` before the other arguments.
#[derive(Debug)]
pub(super) struct Flag<'a> {
    /// Without quotes and backslashes.
    pub text: Cow<'a, str>,
    /// Where it stands in the arguments.
    pub place: Range<usize>,
}

/// The flags that arguments begin with, and where what follows them begins.
pub(super) fn flags(args: &str) -> (Vec<Flag<'_>>, usize) {
    let mut flags = Vec::new();
    let mut rest = 0;
    loop {
        let start = args.len() - args[rest..].trim_start().len();
        if !args[start..].starts_with("--") {
            return (flags, start);
        }
        let (length, text) = flag(&args[start..]);
        rest = start + length;
        if text == "--" {
            return (flags, rest);
        }
        flags.push(Flag {
            text,
            place: start..rest,
        });
    }
}

/// How long the flag is at the start of a text, and what it says. A backslash escapes whatever the escape character is.
pub(super) fn flag(text: &str) -> (usize, Cow<'_, str>) {
    let plain = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\');
    let end = text.find(plain).unwrap_or(text.len());
    if text[end..].chars().next().is_none_or(char::is_whitespace) {
        return (end, Cow::Borrowed(&text[..end]));
    }
    let mut out = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, _) if c.is_whitespace() => return (at, Cow::Owned(out)),
            (_, '\\') => out.extend(chars.next().map(|(_, c)| c)),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => out.push(c),
        }
    }
    (text.len(), Cow::Owned(out))
}

/// Where the images stand in what a flag says: `--from=IMAGE`, or `from=IMAGE` between the commas of `--mount=…`.
pub(super) fn images_of_flag(flag: &str, mounts: bool) -> Vec<Range<usize>> {
    let value = |from: usize| from..flag.len();
    if !mounts {
        return flag
            .strip_prefix("--from=")
            .map(|v| value(flag.len() - v.len()))
            .into_iter()
            .collect();
    }
    let Some(mount) = flag.strip_prefix("--mount=") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut start = flag.len() - mount.len();
    while start <= flag.len() {
        // A field may be in quotes, with commas in it.
        let quoted = flag[start..].starts_with('"');
        let inner = start + usize::from(quoted);
        let end = flag[inner..]
            .find(if quoted { '"' } else { ',' })
            .map_or(flag.len(), |length| inner + length);
        let field = &flag[inner..end];
        if let Some((key, image)) = field.split_once('=')
            && key.eq_ignore_ascii_case("from")
        {
            found.push(end - image.len()..end);
        }
        start = flag[end..].find(',').map_or(flag.len(), |length| end + length) + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_words() {
        let plain = |text: &'static str| plain_words(text).map(|w| &text[w]).collect::<Vec<_>>();
        assert_eq!(plain(" a\t\"b c\"\u{b}"), ["a", "\"b", "c\""]);
        assert_eq!(plain(" "), [""; 0]);
        for (text, words) in [
            ("A=1  B=\"x y\" C", &["A=1", "B=\"x y\"", "C"][..]),
            ("A='\\' B=\"\\\" x\" C=x\\ y", &["A='\\'", "B=\"\\\" x\"", "C=x\\ y"]),
            ("A=x\\", &["A=x"]),
            ("A=\"x y", &["A=\"x y"]),
            ("A=\"\"", &["A=\"\""]),
            ("\\", &[]),
            ("", &[]),
        ] {
            assert_eq!(quoted_words(text, '\\'), words, "{text}");
        }
    }

    #[test]
    fn finds_flags_and_images() {
        let args = "--a=1  --from=\"x y\"\\z \t --b -- --c";
        let (found, rest) = flags(args);
        let texts: Vec<&str> = found.iter().map(|flag| flag.text.as_ref()).collect();
        assert_eq!((texts, &args[rest..]), (vec!["--a=1", "--from=x yz", "--b"], " --c"));
        assert_eq!(&args[found[1].place.clone()], "--from=\"x y\"\\z");
        for (flag, mounts, images) in [
            ("--from=a", false, &["a"][..]),
            ("--from=a", true, &[]),
            ("--mount=from=a", false, &[]),
            ("--mount=type=bind,from=a:1,source=/x", true, &["a:1"]),
            ("--mount=FROM=a,xfrom=b", true, &["a"]),
            ("--mount=source=/x,from=", true, &[""]),
            ("--mount=\"source=a,from=b\",\"from=c\"", true, &["c"]),
            ("--mount=", true, &[]),
            ("--mount=,\"", true, &[]),
        ] {
            let found: Vec<&str> = images_of_flag(flag, mounts).into_iter().map(|at| &flag[at]).collect();
            assert_eq!(found, images, "{flag}");
        }
    }
}
