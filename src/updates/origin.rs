//! What an image says of what it was built on. PURE.
//!
//! Labels are inherited: an image that others have built on one of ours has ours, of its base. So they are believed only
//! where they can be its own. Annotations are never inherited.

use crate::model::{BaseUsed, Digest, ImageRef, ProjectName};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Names and values.
pub(super) type Texts = BTreeMap<String, String>;

/// What an image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// By the labels of a build by us: all that it stands on.
    Ours(Vec<BaseUsed>),
    /// By `org.opencontainers.image.base.*`: the one that its last stage stands on.
    Base(Box<BaseUsed>),
    /// The same, without saying which state of it.
    Name(String),
    /// Nothing.
    Nothing,
}

const OURS: &str = "pipelined.bases";
const PROJECT: &str = "pipelined.project";
const NAME: &str = "org.opencontainers.image.base.name";
const DIGEST: &str = "org.opencontainers.image.base.digest";

/// An entry of our label.
#[derive(Deserialize)]
struct Entry {
    name: String,
    digest: Digest,
}

/// Of an image of a project that is for this platform.
pub(super) fn origin(project: &ProjectName, annotations: &Texts, labels: &Texts, platform: &str) -> Origin {
    for texts in [annotations, labels] {
        if texts.get(PROJECT).map(String::as_str) != Some(project.as_str()) {
            continue;
        }
        let bases = texts
            .get(OURS)
            .and_then(|text| serde_json::from_str::<Vec<Entry>>(text).ok());
        if let Some(bases) = bases {
            let base = |entry: Entry| base(entry.name, Some(entry.digest), platform);
            return Origin::Ours(bases.into_iter().map(base).collect());
        }
    }
    // What another project's build says in labels, it says of what this image stands on.
    let inherited = labels.get(PROJECT).is_some_and(|other| other != project.as_str());
    let own_labels = (!inherited).then_some(labels);
    for texts in [Some(annotations), own_labels].into_iter().flatten() {
        let Some(name) = texts.get(NAME).filter(|name| !name.is_empty()) else {
            continue;
        };
        let digest = texts.get(DIGEST).and_then(|digest| Digest::new(digest.as_str()).ok());
        return match digest {
            Some(digest) => Origin::Base(Box::new(base(name.clone(), Some(digest), platform))),
            None => Origin::Name(name.clone()),
        };
    }
    Origin::Nothing
}

/// A base of which no more is known.
pub(super) fn base(name: String, digest: Option<Digest>, platform: &str) -> BaseUsed {
    let reference = ImageRef::parse(&name).ok();
    // What is only in an engine's storage goes by its id.
    let local = reference.as_ref().is_some_and(ImageRef::is_local);
    let (id, digests) = match digest {
        Some(digest) if local => (Some(digest), Vec::new()),
        digest => (None, digest.into_iter().collect()),
    };
    BaseUsed {
        name,
        reference,
        digests,
        id,
        diff_ids: Vec::new(),
        platform: Some(platform.to_owned()),
        sibling: None,
        needed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const D: &str = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), value.replace("DIGEST", D));
        pairs.iter().map(own).collect()
    }

    /// In short: `ours a,b`, `base a`, `name a`, `nothing`.
    fn of(annotations: &[(&str, &str)], labels: &[(&str, &str)]) -> String {
        let project = ProjectName::new("p").unwrap();
        match origin(&project, &texts(annotations), &texts(labels), "linux/amd64") {
            Origin::Ours(bases) => {
                assert!(
                    bases
                        .iter()
                        .all(|base| base.digests.len() + usize::from(base.id.is_some()) == 1)
                );
                let names: Vec<_> = bases.into_iter().map(|base| base.name).collect();
                format!("ours {}", names.join(","))
            }
            Origin::Base(base) => {
                assert_eq!(base.digests, [Digest::new(D).unwrap()]);
                format!("base {}", base.name)
            }
            Origin::Name(name) => format!("name {name}"),
            Origin::Nothing => "nothing".to_owned(),
        }
    }

    const BASES: &str = r#"[{"name":"a","digest":"DIGEST"},{"name":"localhost/b","digest":"DIGEST"}]"#;

    #[rstest]
    #[case(&[], &[], "nothing")]
    #[case(&[], &[(PROJECT, "p"), (OURS, BASES), (NAME, "c"), (DIGEST, "DIGEST")], "ours a,localhost/b")]
    #[case(&[(PROJECT, "p"), (OURS, "[]")], &[(PROJECT, "p"), (OURS, BASES)], "ours ")]
    #[case(&[], &[(PROJECT, "p"), (OURS, "[]")], "ours ")]
    // Of a base that another project has built.
    #[case(&[], &[(PROJECT, "q"), (OURS, BASES), (NAME, "c"), (DIGEST, "DIGEST")], "nothing")]
    #[case(&[(NAME, "d"), (DIGEST, "DIGEST")], &[(PROJECT, "q"), (OURS, BASES), (NAME, "c")], "base d")]
    #[case(&[], &[(OURS, BASES)], "nothing")]
    // What cannot be read is no answer.
    #[case(&[], &[(PROJECT, "p"), (OURS, "x"), (NAME, "c"), (DIGEST, "DIGEST")], "base c")]
    #[case(&[], &[(PROJECT, "p"), (OURS, r#"[{"name":"a","digest":null}]"#)], "nothing")]
    #[case(&[(NAME, "c"), (DIGEST, "DIGEST")], &[(NAME, "d")], "base c")]
    #[case(&[(NAME, "c"), (DIGEST, "sha256:1")], &[], "name c")]
    #[case(&[(NAME, "c")], &[], "name c")]
    #[case(&[(NAME, "")], &[(NAME, "d"), (DIGEST, "DIGEST")], "base d")]
    #[case(&[], &[(NAME, ""), (DIGEST, "")], "nothing")]
    fn what_an_image_says(
        #[case] annotations: &[(&str, &str)],
        #[case] labels: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        assert_eq!(of(annotations, labels), expected);
    }
}
