//! What is new below released images, in words. Pure.
//!
//! A check that failed is told as such, beside whatever was known before it. It must never pass for "nothing new".

use super::time::until;
use crate::api::{BaseUpdates, FailedLook, ImageUpdates, UpdateState};
use crate::model::{Digest, PackageUpdate};
use jiff::Timestamp;

/// More packages than these are counted, not named.
const NAMED: usize = 3;

/// Something that moved below an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// `base` or `packages`.
    pub kind: &'static str,
    /// Old → new.
    pub what: String,
}

/// All that moved below an image, also what may not stay where it is.
pub(super) fn moved(image: &ImageUpdates) -> Vec<Moved> {
    let mut moved: Vec<Moved> = moved_bases(image)
        .map(|base| Moved {
            kind: "base",
            what: base_moved(base),
        })
        .collect();
    if let Some(inside) = &image.packages
        && inside.state == UpdateState::Updates
    {
        moved.push(Moved {
            kind: "packages",
            what: packages(&inside.updates),
        });
    }
    moved
}

fn moved_bases(image: &ImageUpdates) -> impl Iterator<Item = &BaseUpdates> {
    image
        .bases
        .iter()
        .filter(|base| matches!(base.state, UpdateState::Updates | UpdateState::Settling))
}

/// Whether anything moved below an image.
pub(super) fn is_news(image: &ImageUpdates) -> bool {
    image.updates || !moved(image).is_empty()
}

fn base_moved(base: &BaseUpdates) -> String {
    let short = |digest: &Option<Digest>| digest.as_ref().map_or("?", Digest::short).to_owned();
    let (from, to) = (short(&base.from), short(&base.to));
    let how = base.how.as_ref().map(|how| format!(" ({how})")).unwrap_or_default();
    format!("{} {from} → {to}{how}", base.name)
}

/// Names some, and counts the others.
pub(super) fn packages(updates: &[PackageUpdate]) -> String {
    if updates.is_empty() {
        return "the check says that there are some".to_owned();
    }
    let mut named: Vec<String> = updates.iter().take(NAMED).map(ToString::to_string).collect();
    if updates.len() > NAMED {
        named.push(format!("and {} more", updates.len() - NAMED));
    }
    named.join(", ")
}

/// `ruby/slim main`
pub(super) fn title(image: &ImageUpdates) -> String {
    format!("{} {}", image.name, image.reference.short())
}

/// Whose answer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The daemon's own checks, that are on record.
    Record,
    /// One that a person asked for, of which the daemon's own checks know nothing.
    ByHand,
}

/// What becomes of what is new, as far as that is known.
pub(super) fn follows(image: &ImageUpdates, told: Told, now: Timestamp) -> Option<String> {
    if let Some(why) = &image.refused {
        return Some(format!("not queued: {why}"));
    }
    if let Some(job) = image.rebuild {
        return Some(format!("job {job} builds it again"));
    }
    if let Some(why) = &image.held {
        return Some(format!("not built again: {why}"));
    }
    if image.updates {
        return None;
    }
    let base = moved_bases(image).next()?;
    Some(settles(base, told, now))
}

/// When a base that has moved counts.
pub(super) fn settles(base: &BaseUpdates, told: Told, now: Timestamp) -> String {
    let check = base.check.as_ref();
    let is_known = told == Told::Record || base.since < check.and_then(|check| check.last);
    match check.and_then(|check| check.next) {
        Some(next) if is_known => format!("counts {} if it stays there", until(next, now)),
        _ => "seen there just now: counts once the daemon's own checks have seen it stay there".to_owned(),
    }
}

/// A check without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailedCheck {
    /// What was asked: the same for all images that ask it.
    pub of: String,
    /// Which images do not know now.
    pub images: Vec<String>,
    /// Why.
    pub error: String,
}

impl FailedCheck {
    /// `cannot check debian:12 (below ruby main and 3 more): …`
    pub fn line(&self) -> String {
        let below = match self.images.as_slice() {
            [] => String::new(),
            [only] => format!(" (below {only})"),
            [first, others @ ..] => format!(" (below {first} and {} more)", others.len()),
        };
        format!("cannot check {}{below}: {}", self.of, self.error)
    }
}

/// Checks of these images that have failed, each once.
pub(super) fn failed_checks(images: &[ImageUpdates]) -> Vec<FailedCheck> {
    let mut failed: Vec<FailedCheck> = Vec::new();
    for image in images {
        for base in &image.bases {
            let Some(error) = base_error(base) else { continue };
            match failed.iter_mut().find(|f| f.of == base.name && f.error == error) {
                Some(known) => known.images.push(title(image)),
                None => failed.push(FailedCheck {
                    of: base.name.clone(),
                    images: vec![title(image)],
                    error,
                }),
            }
        }
        if let Some(error) = inside_error(image) {
            failed.push(FailedCheck {
                of: format!("the packages of {}", title(image)),
                images: Vec::new(),
                error,
            });
        }
    }
    failed
}

/// Looks for images that were built elsewhere, which have failed.
pub(super) fn failed_looks(looks: &[FailedLook]) -> impl Iterator<Item = FailedCheck> {
    looks.iter().map(|look| FailedCheck {
        of: format!("whether {} {} was built elsewhere", look.name, look.reference.short()),
        images: Vec::new(),
        error: look.error.clone(),
    })
}

fn base_error(base: &BaseUpdates) -> Option<String> {
    let check = base.check.as_ref()?;
    let not_compared = || "what is there was not compared with what was used".to_owned();
    let is_untold = base.state == UpdateState::Unknown;
    let untold = || is_untold.then(|| base.how.clone().unwrap_or_else(not_compared));
    check.error.clone().or_else(untold)
}

fn inside_error(image: &ImageUpdates) -> Option<String> {
    let inside = image.packages.as_ref()?;
    let error = inside.check.as_ref().and_then(|check| check.error.clone());
    let not_looked = || "they were not looked at: by what the image is known is not on record".to_owned();
    error.or_else(|| (inside.state == UpdateState::Unknown).then(not_looked))
}
