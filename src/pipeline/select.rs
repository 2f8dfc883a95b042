//! Which images of a project a job builds, and in which order. PURE.
//!
//! It exists apart from the steps so that every reason to build or to skip can be tested by itself. It must never skip
//! an image when in doubt.

use crate::config::{Image, Pattern};
use crate::model::{CommitId, ImageName, ImageRef, JobId, Reason, Rebuild};
use bstr::{BString, ByteSlice};
use std::collections::{BTreeMap, BTreeSet};

/// What an image was when it was last found good on a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastGood {
    /// At which commit.
    pub commit: CommitId,
    /// In which job.
    pub job: JobId,
    /// Of its config then.
    pub fingerprint: String,
    /// Whether it was released too.
    pub released: bool,
}

/// An image of the project as this job sees it.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub image: &'a Image,
    /// What it is built FROM, as far as these are references.
    pub bases: BTreeSet<ImageRef>,
    /// The names under which others may build FROM it.
    pub names: BTreeSet<ImageRef>,
}

/// The images of a cycle, the first one also at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these images stand on each other: {}", .0.iter().map(ImageName::as_str).collect::<Vec<_>>().join(" -> "))]
pub(super) struct Cycle(pub Vec<ImageName>);

/// For each image, in the order given, the places of those that it stands on: what it names in `depends_on`, and whose
/// name is one of its bases.
pub(super) fn edges(candidates: &[Candidate<'_>]) -> Vec<BTreeSet<usize>> {
    let mut by_name: BTreeMap<&ImageName, usize> = BTreeMap::new();
    let mut by_reference: BTreeMap<&ImageRef, usize> = BTreeMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        by_name.insert(&candidate.image.name, at);
        for name in &candidate.names {
            by_reference.insert(name, at);
        }
    }
    let of = |(at, candidate): (usize, &Candidate<'_>)| {
        let named = candidate.image.depends_on.iter().filter_map(|name| by_name.get(name));
        let based = candidate.bases.iter().filter_map(|base| by_reference.get(base));
        // An image that builds on what it was before is no cycle.
        named.chain(based).copied().filter(|other| *other != at).collect()
    };
    candidates.iter().enumerate().map(of).collect()
}

/// The places in an order in which each comes after those that it stands on, and otherwise as they were.
pub(super) fn order(candidates: &[Candidate<'_>], edges: &[BTreeSet<usize>]) -> Result<Vec<usize>, Cycle> {
    let mut order: Vec<usize> = Vec::new();
    let mut left: BTreeSet<usize> = (0..candidates.len()).collect();
    while let Some(first) = left.first().copied() {
        let ready = left.iter().copied().find(|at| edges[*at].is_disjoint(&left));
        let Some(ready) = ready else {
            return Err(cycle(candidates, edges, &left, first));
        };
        left.remove(&ready);
        order.push(ready);
    }
    Ok(order)
}

/// Each of `left` stands on another one of `left`: whoever follows that for long enough walks in a circle.
fn cycle(candidates: &[Candidate<'_>], edges: &[BTreeSet<usize>], left: &BTreeSet<usize>, first: usize) -> Cycle {
    let mut path = vec![first];
    let mut at = first;
    while let Some(next) = edges[at].intersection(left).next().copied() {
        let before = path.iter().position(|p| *p == next);
        path.push(next);
        if let Some(start) = before {
            path.drain(..start);
            break;
        }
        at = next;
    }
    Cycle(path.into_iter().map(|at| candidates[at].image.name.clone()).collect())
}

/// What git says of the paths between an image's last good build and the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// These changed.
    Paths(Vec<BString>),
    /// The two have no history in common.
    Unrelated,
    /// It cannot be told. Why.
    Unknown(String),
}

/// What an image is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compared {
    /// What it was then.
    pub good: LastGood,
    /// In words: `5bf417f5 (job 12)`, or the branch that this one left.
    pub with: String,
    /// What changed since.
    pub difference: Difference,
}

/// Whether an image is built, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is.
    Build(String),
    /// It is left as it is.
    Skip(String),
}

/// Decides about one image. `compared` is none if it was never found good here, and `releases` tells whether it is
/// released on this ref.
pub(super) fn choose(
    image: &Image,
    manual: bool,
    releases: bool,
    fingerprint: &str,
    compared: Option<&Compared>,
) -> Choice {
    let build = |why: &str| Choice::Build(why.to_owned());
    if image.watch.is_empty() {
        return build("every commit builds it");
    }
    if manual {
        return build("asked for");
    }
    let Some(compared) = compared else {
        return build("it was never built here");
    };
    if compared.good.fingerprint != fingerprint {
        return build("its config has changed");
    }
    if releases && !compared.good.released {
        return build("what was built last is not released");
    }
    match &compared.difference {
        Difference::Unrelated => Choice::Build(format!("{} has no history in common with this", compared.with)),
        Difference::Unknown(why) => {
            Choice::Build(format!("it cannot be told what changed since {}: {why}", compared.with))
        }
        Difference::Paths(paths) => {
            let watched: Vec<&BString> = paths.iter().filter(|path| is_watched(&image.watch, path)).collect();
            match watched.as_slice() {
                [] => Choice::Skip(format!("nothing that it watches has changed since {}", compared.with)),
                [path] => Choice::Build(format!("{path} has changed since {}", compared.with)),
                [path, more @ ..] => Choice::Build(format!(
                    "{path} and {} more have changed since {}",
                    more.len(),
                    compared.with
                )),
            }
        }
    }
}

/// In a job that rebuilds it is decided already: these images and no others, whatever they watch or stand on.
pub(super) fn chosen(image: &ImageName, rebuild: &Rebuild, reason: Reason) -> Choice {
    if rebuild.images.contains_key(image) {
        return Choice::Build(reason.as_str().to_owned());
    }
    let names: Vec<&str> = rebuild.images.keys().map(ImageName::as_str).collect();
    Choice::Skip(format!("not rebuilt: this job rebuilds {}", names.join(", ")))
}

fn is_watched(watch: &[Pattern], path: &BString) -> bool {
    watch.iter().any(|pattern| pattern.matches(path.as_bstr()))
}

/// An image that stands on one that is built is built too; also if that was built by an earlier job, in which this one
/// did not come to a good end. `good` has the job of each one's last good build on this very ref.
pub(super) fn follow_upstreams(
    order: &[usize],
    edges: &[BTreeSet<usize>],
    candidates: &[Candidate<'_>],
    good: &[Option<JobId>],
    choices: &mut [Choice],
) {
    for at in order {
        let Choice::Skip(_) = choices[*at] else { continue };
        let name = |up: &usize| &candidates[*up].image.name;
        let built = edges[*at].iter().find(|up| matches!(choices[**up], Choice::Build(_)));
        let newer = edges[*at].iter().find(|up| good[**up] > good[*at]);
        if let Some(up) = built {
            choices[*at] = Choice::Build(format!("it stands on {}, which is built", name(up)));
        } else if let Some(up) = newer {
            choices[*at] = Choice::Build(format!("it stands on {}, which was built since", name(up)));
        }
    }
}

#[cfg(test)]
mod tests;
