//! The same file with labels in it: all of them in one instruction at the end of the stage that is built.
//!
//! It exists since podman makes each `--label` an instruction with a commit of its own, and forgets them where it finds the
//! whole target in its cache. It must never change what an image is otherwise: what cannot be said for sure in an
//! instruction is left to the option.

use super::lines::{Instruction, Instructions, Keyword};
use super::words::{flags, plain_words};
use std::collections::BTreeMap;

/// Builders read files by lines, and some take none of more than 64 KiB.
const LONGEST: usize = 48 << 10;

/// A file with labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The new text.
    pub text: String,
    /// Labels that are not in it.
    pub left: BTreeMap<String, String>,
}

/// Puts labels at the end of the target, or of the last stage, where they win over all others. None if it is not sure where
/// that is.
pub fn label(text: &str, target: Option<&str>, labels: &BTreeMap<String, String>) -> Option<Labelled> {
    let end = end_of_stage(text, target)?;
    let mut line = "LABEL".to_owned();
    let mut left = BTreeMap::new();
    for (name, value) in labels {
        match pair(name, value).filter(|pair| line.len() + pair.len() < LONGEST) {
            Some(pair) => line.push_str(&pair),
            None => drop(left.insert(name.clone(), value.clone())),
        }
    }
    let mut out = text.to_owned();
    if left.len() < labels.len() {
        let before = if end == text.len() && !text.ends_with('\n') {
            "\n"
        } else {
            ""
        };
        out.insert_str(end, &format!("{before}{line}\n"));
    }
    Some(Labelled { text: out, left })
}

/// Where an instruction that follows all others of a stage is to stand: the end of the file, or the next FROM.
fn end_of_stage(text: &str, target: Option<&str>) -> Option<usize> {
    // Builders differ on which stage a number is if there are names.
    if target.is_some_and(|target| target.parse::<usize>().is_ok()) {
        return None;
    }
    let mut end = text.len();
    let (mut inside, mut found, mut is_cut_off) = (false, 0, false);
    for instruction in Instructions::new(text) {
        if instruction.keyword == Keyword::From {
            if inside && target.is_some() {
                end = instruction.span.start;
            }
            inside = target.is_none_or(|target| is_named(&instruction, target));
            found += usize::from(inside);
        }
        is_cut_off = instruction.is_cut_off;
    }
    // Builders differ on which of two stages of one name it is; and what came after an instruction that is cut off would
    // be a part of it.
    let is_sure = found == 1 || (target.is_none() && found > 0);
    (is_sure && !(inside && is_cut_off)).then_some(end)
}

/// Whether a FROM begins the stage of this name.
fn is_named(from: &Instruction<'_>, name: &str) -> bool {
    let args = from.args();
    let (_, rest) = flags(args);
    let mut words = plain_words(&args[rest..]).skip(1).map(|word| &args[rest..][word]);
    let is_as = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
    is_as && words.next().is_some_and(|word| word.eq_ignore_ascii_case(name))
}

/// A label as an instruction has it: within single quotes nothing means anything. None if it would not be the same.
fn pair(name: &str, value: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let is_plain = !name.is_empty() && name.chars().all(plain);
    let on_one_line = !value.chars().any(|c| c.is_control() && c != '\t');
    (is_plain && on_one_line).then(|| format!(" {name}='{}'", value.replace('\'', r#"'"'"'"#)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerfile::{bases, final_base};
    use proptest::prelude::*;
    use rstest::rstest;

    fn labels(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    /// `@` is where the labels are expected.
    #[rstest]
    #[case("FROM a@", None)]
    #[case("FROM a\n@", None)]
    #[case("\u{feff}FROM a\r\n@", None)]
    #[case("FROM a AS x\nRUN y\nFROM x\n# end@", None)]
    #[case("FROM a AS x\nRUN y\n\n  @FROM b AS z\nRUN z\n", Some("x"))]
    #[case("FROM a AS x\nFROM b AS z\nRUN z\n@", Some("Z"))]
    #[case("FROM a AS x\nRUN y \\\n# c\n\n z\n@from \\\n b AS z", Some("x"))]
    #[case("FROM a AS x\nRUN <<E\nFROM b AS x\nE\n@FROM b", Some("x"))]
    #[case("FROM a AS x\nONBUILD RUN y\n@FROM b AS z\nRUN \\", Some("x"))]
    #[case("# escape=`\nFROM a AS x\nRUN dir c:\\\n@FROM b", Some("x"))]
    #[case("# escape=`\nFROM a\nRUN dir c:\\@", None)]
    #[case("FROM --platform=$BUILDPLATFORM a AS x\n@FROM b AS c", Some("x"))]
    fn labels_end_the_stage(#[case] text: &str, #[case] target: Option<&str>) {
        let (before, after) = text.split_once('@').unwrap();
        let plain = format!("{before}{after}");
        let gap = if before.ends_with('\n') || !after.is_empty() {
            ""
        } else {
            "\n"
        };
        let expected = format!("{before}{gap}LABEL a='1' b='2'\n{after}");
        let found = label(&plain, target, &labels(&[("a", "1"), ("b", "2")])).unwrap();
        assert_eq!(found.text, expected);
        assert!(found.left.is_empty());
    }

    #[rstest]
    #[case("", None)]
    #[case("RUN x", None)]
    #[case("FROM a\nRUN x \\", None)]
    #[case("FROM a\nRUN x \\\n# c\n\n", None)]
    #[case("# escape=`\nFROM a\nRUN x `\n", None)]
    #[case("FROM a AS x\nFROM b AS X\n", Some("x"))]
    #[case("FROM a AS x\n", Some("y"))]
    #[case("FROM a AS x\nFROM b AS 0\n", Some("0"))]
    #[case("FROM x\n", Some("x"))]
    fn where_it_is_not_sure_the_option_has_to_do(#[case] text: &str, #[case] target: Option<&str>) {
        assert_eq!(label(text, target, &labels(&[("a", "1")])), None);
    }

    #[test]
    fn what_an_instruction_cannot_say_is_left() {
        let long = "x".repeat(LONGEST);
        let odd = [
            ("a b", "1"),
            ("", "1"),
            ("ä", "1"),
            ("a=b", "1"),
            ("n", "1\n2"),
            ("r", "\r"),
            ("long", &long),
        ];
        let found = label("FROM a\n", None, &labels(&odd)).unwrap();
        assert_eq!((found.text.as_str(), &found.left), ("FROM a\n", &labels(&odd)));
        let found = label("FROM a\n", None, &labels(&[odd[4], ("q", "a'b\"\t$X\\")])).unwrap();
        assert_eq!(found.text, "FROM a\nLABEL q='a'\"'\"'b\"\t$X\\'\n");
        assert_eq!(found.left, labels(&odd[4..5]));
        assert_eq!(label("FROM a", None, &labels(&[])).unwrap().text, "FROM a");
    }

    proptest! {
        #[test]
        fn nothing_else_changes(
            text in "((FROM|from) [ab]( AS [xyZ])?\n|RUN [a-z]( \\\\)?\n|RUN <<E\n|E\n|# c\n|ENV A=b\n|  |\n|`|# escape=`\n){0,14}",
            target in proptest::option::of("[xyz]"),
            value in "(\\PC|['\"$`\\\\ ]){0,12}",
        ) {
            let target = target.as_deref();
            let wanted = labels(&[("k", &value)]);
            let Some(found) = label(&text, target, &wanted) else { return Ok(()) };
            if found.left.is_empty() {
                let of = |text: &str| Instructions::new(text).map(|i| i.line.into_owned()).collect::<Vec<_>>();
                let (before, after) = (of(&text), of(&found.text));
                let added = after.iter().position(|line| line.starts_with("LABEL k=")).unwrap();
                let rest: Vec<_> = after[..added].iter().chain(&after[added + 1..]).cloned().collect();
                prop_assert_eq!(before, rest, "{}", found.text);
                prop_assert!(after.get(added + 1).is_none_or(|next| next.to_lowercase().starts_with("from")));
            } else {
                prop_assert_eq!(&found.text, &text);
            }
            let none = |_: &str| None;
            prop_assert_eq!(bases(&text, &none, target), bases(&found.text, &none, target));
            prop_assert_eq!(final_base(&text, &none, target), final_base(&found.text, &none, target));
        }
    }
}
