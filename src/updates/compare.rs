//! Whether a base has other content than what was used. PURE.
//!
//! It exists apart from the questions to registries so that every kind of move can be tested by itself. It must never
//! find the same what may differ: whoever is told so builds nothing.

use crate::model::{BaseUsed, Digest, ImageContent, Used};

/// What is there now for a platform, as far as it is known by its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    /// Of its manifest; none in an engine's storage.
    pub manifest: Option<Digest>,
    /// Of its config.
    pub id: Digest,
}

/// How a comparison ends: whether it is the same, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Same(String),
    Changed(String),
}

/// The platform of what this machine builds.
pub(super) fn here() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    };
    format!("{}/{architecture}", std::env::consts::OS)
}

/// By digests alone; none if they do not tell.
pub(super) fn by_digest(used: &Used, now: &Present) -> Option<Verdict> {
    if used.layers.is_some() {
        return None;
    }
    let BaseUsed { digests, id, .. } = &used.base;
    // Engines know an image by the digest of its manifest, and labels by its id, where they have no other.
    let is = |digest: &Digest| digests.contains(digest) || id.as_ref() == Some(digest);
    if now.manifest.as_ref().is_some_and(is) {
        return Some(Verdict::Same("its manifest is the same".to_owned()));
    }
    let how = "packed anew: its config, and so its layers, are the same";
    is(&now.id).then(|| Verdict::Same(how.to_owned()))
}

/// By the layers that the base has, and those that are known of what was used; none if they do not tell.
pub(super) fn by_layers(used: &Used, now: &ImageContent) -> Option<Verdict> {
    let there = now.diff_ids();
    if let Some(image) = &used.layers {
        return Some(match image.starts_with(there) {
            true => Verdict::Same("its layers are the first layers of the image".to_owned()),
            false => Verdict::Changed("its layers are not the first layers of the image".to_owned()),
        });
    }
    let known = &used.base.diff_ids;
    match known.is_empty() {
        true => None,
        false => difference_of_layers(known, there).map(Verdict::Changed),
    }
}

/// By what was used itself, if it can be had still.
pub(super) fn by_content(used: &Used, old: Option<&ImageContent>, now: &ImageContent) -> Verdict {
    let Some(old) = old else {
        let why = match used.base.diff_ids.is_empty() {
            true => "what was used cannot be had any more to compare it with: counts as changed",
            false => "its layers are the same, and the config that was used cannot be had any more: counts as changed",
        };
        return Verdict::Changed(why.to_owned());
    };
    let differs = difference_of_layers(old.diff_ids(), now.diff_ids()).or_else(|| now.config_difference(old));
    match differs {
        Some(difference) => Verdict::Changed(difference),
        None => Verdict::Same("made anew: its layers and its config are the same".to_owned()),
    }
}

/// For people; none if there is none.
fn difference_of_layers(old: &[Digest], new: &[Digest]) -> Option<String> {
    let common = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let what = match (old.get(common), new.get(common)) {
        (None, None) => return None,
        (Some(was), Some(is)) => format!(
            "layer {} of {} was {}, and is {}",
            common + 1,
            new.len(),
            was.short(),
            is.short()
        ),
        (None, Some(first)) => format!("it has {} more, from {} on", new.len() - common, first.short()),
        (Some(first), None) => format!("it has {} fewer, from {} on", old.len() - common, first.short()),
    };
    Some(format!("its layers differ: {what}"))
}

#[cfg(test)]
mod tests;
