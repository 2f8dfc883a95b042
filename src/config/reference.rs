//! Whether a template can become a reference that is moved: `tags`, `staging`, `release`.
//!
//! It exists so that a bad reference is found when the file is read, not after an hour of building. It must never
//! refuse what some value of its variables would make right.

use super::text::{Mistake, template as any_template};
use crate::model::{ImageRef, Template};

/// What a value may be, put together of one of each of these: the end of the part that it begins in (a host, a port, a
/// component or a tag), a way to another component, a way into a tag. Any text that some value would make a reference
/// becomes one with one of these.
const HEADS: [&str; 5] = ["a", "1", "", ".a", "a.a"];
const MIDDLES: [&str; 3] = ["", "/", "/a"];
const TAILS: [&str; 3] = ["", ":", ":a"];

/// With more variables there would be too much to try, and they say more than the text around them.
const MOST_VARIABLES: usize = 2;

/// Reads a template that becomes a reference with a tag.
pub(super) fn template(text: &str) -> Result<Template, Mistake> {
    let template = any_template(text)?;
    check(&template)?;
    Ok(template)
}

/// The reference, if it is the same for every job.
pub(super) fn literal(template: &Template) -> Option<ImageRef> {
    let text = template.render(|_| None).ok()?;
    ImageRef::parse(&text).ok()
}

/// Whether all that it can become is in the engine's storage.
pub(super) fn is_local(template: &Template) -> bool {
    match literal(template) {
        Some(reference) => reference.is_local(),
        None => template.as_str().starts_with("localhost/"),
    }
}

fn check(template: &Template) -> Result<(), Mistake> {
    let written = template.render(|_| Some(String::new())).unwrap_or_default();
    if template.as_str().is_empty() {
        return Err(Mistake::new("the image name is empty"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
    if let Some(c) = written.chars().find(|c| !allowed(*c)) {
        return Err(match c {
            '@' => {
                Mistake::new("a tag is moved, a digest cannot be").help("name a tag: \"registry.example.org/a:tag\"")
            }
            c => Mistake::new(format!("an image name cannot hold {c:?}"))
                .help("letters, digits, `.`, `_`, `-`, `/` and `:` may be used"),
        });
    }
    let mut names: Vec<_> = template.variables().collect();
    names.sort_unstable();
    names.dedup();
    // Of an address in brackets there may be any part, and what fits depends on how many groups the others have.
    let may_be_ipv6 = written.contains(['[', ']'])
        || (names.len() > 1 && template.as_str().starts_with('$') && written.contains(':'));
    if names.len() > MOST_VARIABLES || (may_be_ipv6 && !names.is_empty()) || some_value_fits(template, &names) {
        return Ok(());
    }
    let likely = template.render(|_| Some(HEADS[0].to_owned())).unwrap_or_default();
    let why = ImageRef::parse(&likely).err();
    let why = why.map_or("its parts do not fit together", |error| error.why());
    Err(Mistake::new(format!("this is not an image name: {why}"))
        .help("write it as in \"registry.example.org/path/name:tag\""))
}

/// Tries each combination of values, the likeliest first.
fn some_value_fits(template: &Template, names: &[&str]) -> bool {
    let values: Vec<String> = TAILS
        .iter()
        .flat_map(|tail| MIDDLES.iter().map(move |middle| (middle, tail)))
        .flat_map(|(middle, tail)| HEADS.iter().map(move |head| format!("{head}{middle}{tail}")))
        .collect();
    let fits = |chosen: [&String; MOST_VARIABLES]| {
        let value = |name: &str| names.iter().position(|n| *n == name).map(|i| chosen[i].clone());
        let text = template.render(value).unwrap_or_default();
        ImageRef::parse(&text).is_ok()
    };
    let second = if names.len() < MOST_VARIABLES {
        &values[..1]
    } else {
        &values
    };
    values.iter().any(|a| second.iter().any(|b| fits([a, b])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_references() {
        for fine in [
            "ruby",
            "localhost/ruby:1.0",
            "h:5000/a/b:T",
            "Registry/a",
            "[::1]:5000/a",
            "$BUILD_PROJECT:${BUILD_SHORT_COMMIT}",
            "r.example.org/x/${BUILD_REF_NAME}",
            "r.example.org/x-${BUILD_REF_NAME}:1",
            "${REGISTRY}:${PORT}/x",
            "r.example.org:${PORT}/x:${TAG}",
            "Foo${X}",
            "${A}Ruby",
            "a:${A}/x",
            "[${IP}]:5000/x",
            "x:1${A}",
            "${A}${B}${C}${D}:x:y",
            "a_b__c/d",
        ] {
            assert!(template(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn refuses_what_no_value_makes_right() {
        for bad in [
            "",
            "a b",
            "Ruby",
            "-x",
            "a:",
            "a:-x",
            "a//b",
            "a@sha256:b",
            "${BUILD_PROJECT}@sha256:b",
            "${BUILD_PROJECT} x",
            "a:b:c",
            "a:b:c${A}",
            "/a",
            "-${A}",
            "${A}/Ruby",
            "r.example.org/Ruby:${A}",
            "r.example.org//x:${A}",
            "r.example.org/x:.${A}",
        ] {
            assert!(template(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_what_is_in_the_engines_storage() {
        let local = |text: &str| is_local(&template(text).unwrap());
        assert!(local("localhost/a") && local("localhost/${A}:1"));
        assert!(!local("localhost:5000/a") && !local("a") && !local("${A}/localhost"));
    }

    proptest! {
        /// A reference of which any part was put into variables is never refused.
        #[test]
        fn what_some_value_makes_right_is_not_refused(
            host in "(|a/|[aZ]{1,2}[.]b/|localhost/|a:[1-9][0-9]{0,2}/|[aZ]b/|\\[::1\\]/|\\[a::1\\]:50/)",
            path in "[a1]{1,2}(([.]|_|__|-{1,2}|/)[b2]{1,2}){0,2}",
            tag in "(|:[aZ_][aZ0._-]{0,3})",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 4),
            many in any::<bool>(),
        ) {
            let text = format!("{host}{path}{tag}");
            prop_assert!(ImageRef::parse(&text).is_ok(), "{}", text);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let one = format!("{}${{A}}{}", &text[..cuts[0]], &text[cuts[1]..]);
            let two = format!("{}${{A}}{}${{B}}{}", &text[..cuts[0]], &text[cuts[1]..cuts[2]], &text[cuts[3]..]);
            let written = if many { two } else { one };
            prop_assert!(template(&written).is_ok(), "{} of {}", written, text);
        }
    }
}
