//! Which release references a job may not move any more.

use crate::model::{ImageName, ImageRef, JobId, Rebuild, Release, ReleasePlan};
use std::collections::{BTreeMap, BTreeSet};

/// The references of a plan that are a newer job's: an older one never overwrites a newer release. What a newer job has
/// moved is recorded at the end of its attempt; until then its plan in `releasing` stands for it, since that is finished
/// whatever happens.
///
/// A rebuild is as old as the release that it renews: it gives way to every job since then, also to one that is older
/// than the rebuild itself.
pub fn overtaken(
    plan: &ReleasePlan,
    releases: &BTreeMap<ImageRef, Release>,
    releasing: &BTreeMap<JobId, ReleasePlan>,
    job: JobId,
    rebuild: Option<&Rebuild>,
) -> BTreeSet<ImageRef> {
    let mut found = BTreeSet::new();
    for image in &plan.images {
        let newer = |other: JobId| is_newer(other, &image.result.image, job, rebuild);
        let plans = releasing.iter().filter(|(other, _)| newer(**other));
        let planned: BTreeSet<&ImageRef> = plans.flat_map(|(_, plan)| targets(plan)).collect();
        let moved = |target: &ImageRef| releases.get(target).is_some_and(|release| newer(release.job));
        let lost = image.targets.iter().filter(|t| moved(t) || planned.contains(t));
        found.extend(lost.cloned());
    }
    found
}

/// Whether another job's release of an image is newer than what this job makes of it.
pub(super) fn is_newer(other: JobId, image: &ImageName, job: JobId, rebuild: Option<&Rebuild>) -> bool {
    other != job && other > rebuild.map_or(job, |rebuild| renewed(rebuild, image))
}

/// The job whose release of an image is renewed. What was built elsewhere, or by nobody knows whom, is older than any.
fn renewed(rebuild: &Rebuild, image: &ImageName) -> JobId {
    rebuild.images.get(image).copied().flatten().unwrap_or(JobId(0))
}

fn targets(plan: &ReleasePlan) -> impl Iterator<Item = &ImageRef> {
    plan.images.iter().flat_map(|image| &image.targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Content, Digest, ImageResult, ImageStatus, PlannedRelease};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use rstest::rstest;

    fn name(text: &str) -> ImageName {
        ImageName::new(text).unwrap()
    }

    fn target(text: &str) -> ImageRef {
        ImageRef::parse(&format!("r.io/{text}:1")).unwrap()
    }

    fn digest() -> Digest {
        Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap()
    }

    fn planned(image: &str, targets: &[&str]) -> PlannedRelease {
        PlannedRelease {
            result: ImageResult {
                image: name(image),
                status: ImageStatus::Built,
                note: String::new(),
                fingerprint: String::new(),
                id: None,
                digest: None,
                bases: Vec::new(),
                released: Vec::new(),
                alike: BTreeSet::new(),
            },
            content: Content::Engine(digest()),
            targets: targets.iter().map(|t| target(t)).collect(),
        }
    }

    fn plan(image: &str, targets: &[&str]) -> ReleasePlan {
        ReleasePlan {
            images: vec![planned(image, targets)],
            ..ReleasePlan::default()
        }
    }

    fn released(at: &str, job: i64) -> BTreeMap<ImageRef, Release> {
        let release = Release {
            reference: target(at),
            digest: digest(),
            job: JobId(job),
            at: Timestamp::UNIX_EPOCH,
        };
        [(target(at), release)].into()
    }

    fn rebuild(images: &[(&str, Option<i64>)]) -> Rebuild {
        Rebuild {
            images: images.iter().map(|(n, job)| (name(n), job.map(JobId))).collect(),
            key: String::new(),
            force: false,
        }
    }

    /// Job 7 renews what job 3 has released, or what nobody here has.
    #[rstest]
    #[case::what_it_renews(Some(3), 3, false)]
    #[case::what_is_older_still(Some(3), 2, false)]
    #[case::a_newer_one_that_is_older_than_the_rebuild(Some(3), 4, true)]
    #[case::a_newer_one(Some(3), 8, true)]
    #[case::itself(Some(3), 7, false)]
    #[case::anything_of_ours_after_what_was_built_elsewhere(None, 1, true)]
    #[case::itself_after_what_was_built_elsewhere(None, 7, false)]
    fn a_rebuild_gives_way(#[case] renews: Option<i64>, #[case] other: i64, #[case] lost: bool) {
        let rebuild = rebuild(&[("a", renews)]);
        let (ours, nothing) = (plan("a", &["x", "y"]), BTreeMap::new());
        let expected: BTreeSet<ImageRef> = lost.then(|| target("x")).into_iter().collect();
        let moved = overtaken(&ours, &released("x", other), &BTreeMap::new(), JobId(7), Some(&rebuild));
        assert_eq!(moved, expected);
        let plans = [(JobId(other), plan("b", &["x"]))].into();
        let planned = overtaken(&ours, &nothing, &plans, JobId(7), Some(&rebuild));
        assert_eq!(planned, expected);
    }

    #[test]
    fn each_image_is_as_old_as_its_own_release() {
        let ours = ReleasePlan {
            images: vec![planned("a", &["x"]), planned("b", &["y"]), planned("c", &["z"])],
            ..ReleasePlan::default()
        };
        let mut there = released("x", 4);
        there.extend(released("y", 4));
        there.extend(released("z", 4));
        // The last one is not among them: nobody knows what it would renew.
        let rebuild = rebuild(&[("a", Some(4)), ("b", Some(3))]);
        let lost = overtaken(&ours, &there, &BTreeMap::new(), JobId(7), Some(&rebuild));
        assert_eq!(lost, [target("y"), target("z")].into());
    }

    proptest! {
        /// Nobody's newer release is moved, and whoever renews the newest one may move it.
        #[test]
        fn only_what_is_newer_stays(
            renews in prop::option::of(1i64..9),
            job in 9i64..12,
            there in 1i64..15,
            planned in prop::option::of(1i64..15),
            is_rebuild: bool,
        ) {
            let rebuild = rebuild(&[("a", renews)]);
            let since = if is_rebuild { renews.unwrap_or(0) } else { job };
            let plans = planned.map(|other| (JobId(other), plan("b", &["x"]))).into_iter().collect();
            let lost = overtaken(
                &plan("a", &["x"]), &released("x", there), &plans, JobId(job), is_rebuild.then_some(&rebuild),
            );
            let newer = |other: i64| other > since && other != job;
            prop_assert_eq!(!lost.is_empty(), newer(there) || planned.is_some_and(newer));
        }
    }
}
