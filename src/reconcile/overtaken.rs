//! Which release references a job may not move any more.

use crate::model::{ImageRef, JobId, Release, ReleasePlan};
use std::collections::{BTreeMap, BTreeSet};

/// The references of a plan that a newer job has moved already: an older one never overwrites a newer release.
pub fn overtaken(plan: &ReleasePlan, releases: &BTreeMap<ImageRef, Release>, job: JobId) -> BTreeSet<ImageRef> {
    let targets = plan.images.iter().flat_map(|image| &image.targets);
    targets
        .filter(|target| releases.get(target).is_some_and(|release| release.job > job))
        .cloned()
        .collect()
}
