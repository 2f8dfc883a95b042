//! The same file with other names for its bases: those of content that was looked up, so that it is what gets built on.

use super::bases::Base;
use super::uses::{Place, Use, each_use};
use super::words::flag;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A flag with quotes in it is not searched beyond this length.
const LONGEST_QUOTED: usize = 4096;

/// A file that was pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The new text.
    pub text: String,
    /// The names that are still in use somewhere as they were, since their word is broken over two lines, or the new one
    /// would mean something else there.
    pub left: Vec<String>,
}

/// Replaces every use of a base by its pin: in FROM, `--from=` and `--mount=…,from=…`. `pins` has names as [`super::bases`]
/// gives them. Stages keep their names, and what is not replaced is the same byte for byte; only a FROM whose image is
/// broken over several lines is put on one.
pub fn pin(
    text: &str,
    build_args: &dyn Fn(&str) -> Option<String>,
    target: Option<&str>,
    pins: &BTreeMap<String, String>,
) -> Pinned {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    let mut left = Vec::new();
    let mut seen = BTreeSet::new();
    each_use(text, build_args, target, &mut |stages, used| {
        let Base::Image(name) = &used.base else { return };
        let Some(pin) = pins.get(name) else { return };
        let fits = is_plain(pin) && stages.is_image(pin, &used.place);
        match fits.then(|| edit(&used, pin)).flatten() {
            Some((place, new)) => {
                out.push_str(&text[done..place.start]);
                out.push_str(&new);
                done = place.end;
            }
            None if seen.insert(name.clone()) => left.push(name.clone()),
            None => {}
        }
    });
    out.push_str(&text[done..]);
    Pinned { text: out, left }
}

/// Whether it means itself wherever it is put.
fn is_plain(pin: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    pin.starts_with(|c: char| c.is_ascii_alphanumeric()) && pin.chars().all(fine)
}

/// What to replace in the file, and by what.
fn edit(used: &Use<'_>, pin: &str) -> Option<(Range<usize>, String)> {
    let instruction = used.instruction;
    match &used.place {
        Place::From(word) => Some(match instruction.in_file(word.clone()) {
            Some(place) => (place, pin.to_owned()),
            None => {
                let word = instruction.in_line(word.clone());
                let (before, after) = (&instruction.line[..word.start], &instruction.line[word.end..]);
                (instruction.span.clone(), format!("{before}{pin}{after}"))
            }
        }),
        Place::Flag(flag, image) => {
            let image = match &flag.text {
                // It stands there as it is.
                Cow::Borrowed(_) => image.clone(),
                Cow::Owned(said) => in_raw(&instruction.args()[flag.place.clone()], said, image.clone(), pin)?,
            };
            let place = instruction.in_file(flag.place.start + image.start..flag.place.start + image.end)?;
            Some((place, pin.to_owned()))
        }
    }
}

/// Where a part of what a flag with quotes says stands in the flag: where a pin in its place does just what it is to.
fn in_raw(raw: &str, said: &str, image: Range<usize>, pin: &str) -> Option<Range<usize>> {
    if raw.len() > LONGEST_QUOTED {
        return None;
    }
    let wanted = format!("{}{pin}{}", &said[..image.start], &said[image.end..]);
    let found = raw.match_indices(&said[image]).map(|(at, found)| at..at + found.len());
    found.into_iter().find(|place| {
        let new = format!("{}{pin}{}", &raw[..place.start], &raw[place.end..]);
        let (length, says) = flag(&new);
        length == new.len() && says == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerfile::bases;
    use proptest::prelude::*;
    use rstest::rstest;

    const PIN: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn pinned(text: &str, pins: &[(&str, &str)]) -> Pinned {
        let pins = pins
            .iter()
            .map(|(name, pin)| ((*name).to_owned(), (*pin).to_owned()))
            .collect();
        pin(text, &|_| None, None, &pins)
    }

    #[rstest]
    #[case("FROM a", "FROM @")]
    #[case("\u{feff}  from\ta  aS b \r\n", "\u{feff}  from\t@  aS b \r\n")]
    #[case(
        "FROM --platform=$BUILDPLATFORM \\\n  # c\n a \\\n AS b\n",
        "FROM --platform=$BUILDPLATFORM \\\n  # c\n @ \\\n AS b\n"
    )]
    #[case("ARG A=a\nFROM ${A} AS b\nFROM b\nFROM c", "ARG A=a\nFROM @ AS b\nFROM b\nFROM c")]
    #[case("FROM \"a\" AS b", "FROM @ AS b")]
    #[case(
        "RUN x\n FROM \\\n # c\n a\\\n${X:-} \\\n AS b\nRUN y",
        "RUN x\n FROM  @  AS b\nRUN y"
    )]
    #[case("FROM b AS a\nFROM a\nCOPY --from=a / /", "FROM b AS a\nFROM a\nCOPY --from=a / /")]
    #[case("FROM a AS a\nCOPY --from=A a a", "FROM @ AS a\nCOPY --from=A a a")]
    #[case(
        "FROM x\nCOPY --chown=a --from=a \\\n  a a",
        "FROM x\nCOPY --chown=a --from=@ \\\n  a a"
    )]
    #[case("FROM x\nCOPY --from=\"a\" a a", "FROM x\nCOPY --from=\"@\" a a")]
    #[case("FROM x\nADD --from=\\a a a", "FROM x\nADD --from=\\@ a a")]
    #[case(
        "FROM x\nRUN --mount=from=a,source=a --mount=type=bind,\\\nfrom=a,target=/a a <<a\nFROM a\na",
        "FROM x\nRUN --mount=from=@,source=a --mount=type=bind,\\\nfrom=@,target=/a a <<a\nFROM a\na"
    )]
    #[case(
        "FROM x\nRUN --mount=source=\"a\",from=\"a\" a",
        "FROM x\nRUN --mount=source=\"a\",from=\"@\" a"
    )]
    #[case("FROM x\nARG A=a\nRUN --mount=from=$A a", "FROM x\nARG A=a\nRUN --mount=from=@ a")]
    #[case("ONBUILD COPY --from=a / /\n# FROM a", "ONBUILD COPY --from=a / /\n# FROM a")]
    fn replaces_bases_and_nothing_else(#[case] text: &str, #[case] expected: &str) {
        let found = pinned(text, &[("a", PIN)]);
        assert_eq!(found.text, expected.replace("@", PIN), "{text}");
        assert_eq!(found.left, Vec::<String>::new());
        assert_eq!(pinned(text, &[("unknown", PIN)]).text, text);
    }

    #[test]
    fn says_what_it_leaves() {
        let text = "FROM x AS y\nCOPY --from=a\\\nb / /\nRUN --mount=from=a\\\nb x\nCOPY --from=ab / /";
        let found = pinned(text, &[("ab", PIN)]);
        assert_eq!(found.text, text.replace("--from=ab", &format!("--from={PIN}")));
        assert_eq!(found.left, ["ab"]);
        // Names that would be something else where they are put.
        for bad in ["$A", "b c", "b,c", "", "-b", "Y", "0", "scratch", "b\"", "b\\", "b#`"] {
            let found = pinned("FROM x AS y\nCOPY --from=a / /", &[("a", bad)]);
            assert_eq!(
                found,
                Pinned {
                    text: "FROM x AS y\nCOPY --from=a / /".into(),
                    left: vec!["a".into()]
                },
                "{bad}"
            );
        }
    }

    /// Instructions that mean something more often than not.
    fn instruction() -> impl Strategy<Value = String> {
        let image = "(a|b|r\\.io/c:1|s1|S2|0|1|scratch|\\$A|\\$\\{B:-d\\}|\"e\"|\\$TARGETARCH|f\\\\\ng)";
        let gap = "( |\t| \\\\\n|\\\\ \n# c\n\n  )";
        let regex = |pattern: String| proptest::string::string_regex(&pattern).unwrap();
        prop_oneof![
            regex(format!(
                "(from|FROM){gap}(--platform=x{gap})?{image}({gap}(AS|as){gap}s[123])?"
            )),
            regex(format!("(COPY|ADD){gap}(--chown=1{gap})?--from={image}{gap}x{gap}y")),
            regex(format!("COPY --from=\"{image}\" x y")),
            regex(format!(
                "RUN{gap}--mount=type=bind,from={image},target=/x{gap}(--mount='from={image}' )?x( <<E)?( <<-'F')?"
            )),
            regex("(ARG|ENV) (A|B|s1)(=|=a|=\\$B|=\"q\"| x)?".to_owned()),
            regex("(E|\tF|F|# FROM h|ONBUILD COPY --from=i x y|LABEL x=<<E|)".to_owned()),
        ]
    }

    fn file() -> impl Strategy<Value = String> {
        let lines = proptest::collection::vec(instruction(), 0..12);
        (any::<bool>(), any::<bool>(), lines).prop_map(|(bom, cr, lines)| {
            let text = lines.join("\n");
            let text = if cr { text.replace('\n', "\r\n") } else { text };
            if bom { format!("\u{feff}{text}") } else { text }
        })
    }

    /// A pin for each name.
    fn pin_of(name: &str) -> String {
        let digits: String = name.bytes().map(|b| format!("{b:02x}")).collect();
        format!("sha256:{digits:0>64}")
    }

    proptest! {
        #[test]
        fn pinned_files_build_from_pins(text in file(), target in proptest::option::of("(s[123]|[012])")) {
            let target = target.as_deref();
            let before = bases(&text, &|_| None, target);
            let pins: BTreeMap<String, String> = before
                .iter()
                .filter_map(|base| match base {
                    Base::Image(name) => Some((name.clone(), pin_of(name))),
                    Base::Unresolved(_) => None,
                })
                .collect();
            prop_assert_eq!(pin(&text, &|_| None, target, &BTreeMap::new()), Pinned { text: text.clone(), left: vec![] });
            let found = pin(&text, &|_| None, target, &pins);
            let after = bases(&found.text, &|_| None, target);
            let pinned = |base: &Base| match base {
                Base::Image(name) => Base::Image(pin_of(name)),
                unresolved => unresolved.clone(),
            };
            if found.left.is_empty() {
                prop_assert_eq!(after, before.iter().map(pinned).collect::<Vec<_>>(), "{}", found.text);
            } else {
                let is_left = |base: &Base| matches!(base, Base::Image(name) if found.left.contains(name));
                let known = |base: &Base| is_left(base) || before.iter().any(|b| pinned(b) == *base || b == base);
                prop_assert!(after.iter().all(known), "{}", found.text);
                prop_assert!(before.iter().all(|b| after.contains(&pinned(b)) || is_left(b)), "{}", found.text);
            }
            // What is pinned stays so.
            prop_assert_eq!(&pin(&found.text, &|_| None, target, &BTreeMap::new()).text, &found.text);
        }
    }
}
