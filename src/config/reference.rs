//! Whether a template can become the name of an image.
//!
//! It exists so that a bad tag is found when the file is read, not after an hour of building. It can only judge the
//! part of a template that is not a variable, and must never refuse what some value of the variables would make right.

use super::text::Mistake;
use crate::model::Template;

/// Checks the literal part of an image's name; all of it when it has no variables.
pub(super) fn image_name(template: &Template) -> Result<(), Mistake> {
    let literal = template.render(|_| Some(String::new())).unwrap_or_default();
    let whole = template.variables().next().is_none();
    if template.as_str().is_empty() {
        return Err(Mistake::new("the image name is empty"));
    }
    if let Some(c) = literal
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"._-/:".contains(*c))
    {
        let mistake = Mistake::new(format!("an image name cannot hold {c:?}"));
        return Err(match c {
            '@' => mistake.help("an image is tagged by name, not by digest"),
            _ => mistake.help("letters, digits, `.`, `_`, `-`, `/` and `:` may be used"),
        });
    }
    if whole { whole_name(&literal) } else { Ok(()) }
}

/// `host:port/path:tag` as the distribution specification has it.
fn whole_name(name: &str) -> Result<(), Mistake> {
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    if tag.is_some_and(|t| t.is_empty() || t.len() > 128 || t.starts_with(['.', '-'])) {
        return Err(Mistake::new(
            "the tag after `:` must have 1 to 128 characters and not begin with `.` or `-`",
        ));
    }
    let (host, rest) = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, path),
    };
    let separator = |c: char| matches!(c, '.' | '_' | '-');
    let part_fine = |p: &str| !p.is_empty() && !p.starts_with(separator) && !p.ends_with(separator) && !p.contains(':');
    if host.is_some_and(|h| h.starts_with([':', '.', '-'])) || !rest.split('/').all(part_fine) {
        return Err(
            Mistake::new("this is not an image name").help("write it as in \"registry.example.org/path/name:tag\"")
        );
    }
    if rest.contains(|c: char| c.is_ascii_uppercase()) {
        return Err(Mistake::new(
            "an image name is lower case; only its tag may have capitals",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_image_names() {
        let check = |t: &str| image_name(&Template::new(t).unwrap());
        for fine in [
            "ruby",
            "localhost/ruby:1.0",
            "h:5000/a/b:T",
            "$BUILD_PROJECT:${BUILD_SHORT_COMMIT}",
            "r.example.org/x/${BUILD_REF_NAME}",
            "a_b--c/d",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for bad in [
            "",
            "a b",
            "Ruby",
            "-x",
            "a:",
            "a:-x",
            "a//b",
            "a@sha256:b",
            "${BUILD_PROJECT} x",
            "a:b:c",
            "/a",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
