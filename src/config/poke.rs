//! Who outside is told of an image's releases.
//!
//! It exists so that where a poke goes can be told apart and shown without any secret: tokens are in files, and what is
//! behind the question mark of a URL is never shown.

use super::fingerprint::of_words;
use super::{Image, SecretFile};
use crate::model::{PokeKind, PokePlace, Template};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the values of variables for a pipeline may name.
pub const POKE_VARIABLES: &[&str] = &[
    "BUILD_PROJECT",
    "BUILD_REF",
    "BUILD_REF_NAME",
    "BUILD_COMMIT",
    "BUILD_SHORT_COMMIT",
    "BUILD_IMAGE_NAME",
    "BUILD_IMAGE",
    "BUILD_IMAGE_DIGEST",
    "BUILD_WAVE",
];

/// Who is told of a release with new content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PokeTarget {
    /// A pipeline of a GitLab runs.
    Gitlab {
        /// Of the GitLab, without a slash at its end.
        url: String,
        /// Its path or its number there.
        project: String,
        /// A branch or a tag there.
        #[serde(rename = "ref")]
        reference: String,
        /// With a trigger token of that project.
        token_file: SecretFile,
        /// For the pipeline.
        variables: BTreeMap<String, Template>,
    },
    /// A URL gets a POST with JSON.
    Webhook {
        /// The URL.
        url: String,
        /// With what the body is signed; none: it is not.
        secret_file: Option<SecretFile>,
    },
}

impl PokeTarget {
    /// Its URL, as it is written. Not to be shown.
    pub fn url(&self) -> &str {
        match self {
            Self::Gitlab { url, .. } | Self::Webhook { url, .. } => url,
        }
    }

    fn place(&self) -> PokePlace {
        let (kind, project, reference) = match self {
            Self::Gitlab { project, reference, .. } => (PokeKind::Gitlab, Some(project), Some(reference)),
            Self::Webhook { .. } => (PokeKind::Webhook, None, None),
        };
        let mut words = vec![kind.as_str().as_bytes(), self.url().as_bytes()];
        words.extend(project.into_iter().chain(reference).map(String::as_bytes));
        let url = match self.url().split_once('?') {
            Some((url, _)) => format!("{url}?…"),
            None => self.url().to_owned(),
        };
        PokePlace {
            kind,
            url,
            project: project.cloned(),
            reference: reference.cloned(),
            key: of_words(&words),
        }
    }
}

impl Image {
    /// Where its pokes go. Several entries for one place are told apart by their order.
    pub fn poke_places(&self) -> impl Iterator<Item = (PokePlace, &PokeTarget)> {
        let mut seen = BTreeSet::new();
        self.poke.iter().map(move |target| {
            let mut place = target.place();
            let first = place.key.clone();
            let mut n = 1;
            while !seen.insert(place.key.clone()) {
                n += 1;
                place.key = format!("{first}.{n}");
            }
            (place, target)
        })
    }
}

/// Whether a URL leads to this machine itself.
pub fn is_loopback(url: &reqwest::Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback()),
        None => false,
    }
}
