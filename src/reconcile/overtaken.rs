//! Which release references a job may not move any more.

use crate::model::{ImageRef, JobId, Release, ReleasePlan};
use std::collections::{BTreeMap, BTreeSet};

/// The references of a plan that are a newer job's: an older one never overwrites a newer release. What a newer job has
/// moved is recorded at the end of its attempt; until then its plan in `releasing` stands for it, since that is finished
/// whatever happens.
pub fn overtaken(
    plan: &ReleasePlan,
    releases: &BTreeMap<ImageRef, Release>,
    releasing: &BTreeMap<JobId, ReleasePlan>,
    job: JobId,
) -> BTreeSet<ImageRef> {
    let newer = releasing.iter().filter(|(other, _)| **other > job);
    let planned: BTreeSet<&ImageRef> = newer.flat_map(|(_, plan)| targets(plan)).collect();
    let moved = |target: &ImageRef| releases.get(target).is_some_and(|release| release.job > job);
    targets(plan)
        .filter(|target| moved(target) || planned.contains(target))
        .cloned()
        .collect()
}

fn targets(plan: &ReleasePlan) -> impl Iterator<Item = &ImageRef> {
    plan.images.iter().flat_map(|image| &image.targets)
}
