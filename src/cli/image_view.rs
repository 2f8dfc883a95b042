//! What there is to say of one image on one ref. Pure.

use super::poke_view::PokedView;
use crate::api::ImageUpdates;
use crate::config::Project;
use crate::model::{
    BaseUsed, CommitId, Digest, ImageName, ImageRef, ImageStatus, Job, JobId, Node, ProjectName, RefName, Release,
    Standing, full_name,
};
use crate::reconcile::Stands;
use crate::store::ImageRecord;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// `images --json`. These names are a promise, as those of `status`.
#[derive(Debug, Serialize)]
pub(super) struct ImageView {
    /// The project's name, and the image's behind a slash where it has one of its own.
    pub name: String,
    /// Whose.
    pub project: ProjectName,
    /// Its name in the project.
    pub image: ImageName,
    /// On which ref; none if it was never built.
    #[serde(rename = "ref")]
    pub reference: Option<RefName>,
    /// current, building, waiting, failed, outdated, never built.
    pub state: &'static str,
    /// Why that is so; empty if it goes without saying.
    pub why: String,
    /// Of its manifest, or its id where no registry has it.
    pub digest: Option<Digest>,
    /// The engine's name of it: the digest of its config.
    pub id: Option<Digest>,
    /// Where it was released.
    pub released: Vec<ReleasedView>,
    /// The commit that it was built from.
    pub commit: Option<CommitId>,
    /// The job that built it.
    pub job: Option<JobId>,
    /// When.
    pub at: Option<Timestamp>,
    /// What it stands on.
    pub bases: Vec<BaseUsed>,
    /// The job that built it again last and came to the same content, if that is newer.
    pub unchanged: Option<Verified>,
    /// What is new below it; none if it is not released, or not kept up to date.
    pub updates: Option<ImageUpdates>,
    /// Who outside is told of its releases.
    pub pokes: Vec<PokedView>,
    /// How it stands in its chain; none if the config is not known.
    pub chain: Option<Stands>,
}

/// A build that came to the content that is there.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    /// The job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// Why it was built, or what was compared.
    pub note: String,
}

/// A release reference.
#[derive(Debug, Serialize)]
pub(super) struct ReleasedView {
    /// In normal form.
    pub reference: ImageRef,
    /// What it points at by now, if another job has moved it since.
    pub now: Option<Digest>,
}

/// A state, and why.
pub(super) type InWords = (&'static str, String);

impl ImageView {
    /// Of an image that no job has come to yet.
    pub fn never_built(project: &ProjectName, image: &ImageName, live: &[Job]) -> Self {
        let job = live.iter().find(|job| job.project == *project);
        let stands = job.map_or(("never built", String::new()), live_state);
        Self::bare(project.clone(), image.clone(), None, stands)
    }

    /// Without a build.
    fn bare(project: ProjectName, image: ImageName, reference: Option<RefName>, (state, why): InWords) -> Self {
        Self {
            name: full_name(&project, &image),
            project,
            image,
            reference,
            state,
            why,
            digest: None,
            id: None,
            released: Vec::new(),
            commit: None,
            job: None,
            at: None,
            bases: Vec::new(),
            unchanged: None,
            updates: None,
            pokes: Vec::new(),
            chain: None,
        }
    }

    /// Of what is released, and was not built here.
    pub fn elsewhere(node: &Node, standing: &Standing, job: Option<&Job>) -> Self {
        let stands = job.map_or(("current", String::new()), live_state);
        let (project, image, reference) = (&node.project, &node.image, &node.reference);
        let mut view = Self::bare(project.clone(), image.clone(), Some(reference.clone()), stands);
        let released = standing.released.iter().cloned();
        view.released = released
            .map(|reference| ReleasedView { reference, now: None })
            .collect();
        view.digest = standing.known_by().cloned();
        view.id = standing.id.clone();
        view.bases = standing.bases.clone();
        view
    }

    /// Of a record; what is told of its content is that of the last good build.
    pub fn new(
        good: Option<ImageRecord>,
        newest: ImageRecord,
        stands: InWords,
        releases: &BTreeMap<ImageRef, Release>,
    ) -> Self {
        let is_unchanged = newest.result.status == ImageStatus::Unchanged;
        let unchanged = is_unchanged.then(|| Verified {
            job: newest.job,
            at: newest.at,
            note: newest.result.note.clone(),
        });
        // What it was built on again holds.
        let verified = is_unchanged.then(|| newest.result.bases.clone());
        let mut view = Self::bare(newest.project, newest.result.image, Some(newest.reference), stands);
        view.unchanged = unchanged;
        if let Some(good) = good {
            let now = |reference: &ImageRef| {
                let release = releases.get(reference)?;
                // What is only in the engine's storage goes by its id.
                let (digest, id) = (good.result.digest.as_ref(), good.result.id.as_ref());
                let same = Some(&release.digest) == if reference.is_local() { id } else { digest };
                (!same).then(|| release.digest.clone())
            };
            let released = good.result.released.iter();
            view.released = released
                .map(|reference| ReleasedView {
                    now: now(reference),
                    reference: reference.clone(),
                })
                .collect();
            view.digest = good.result.digest;
            view.id = good.result.id;
            view.commit = Some(good.commit);
            view.job = Some(good.job);
            view.at = Some(good.at);
            view.bases = verified.unwrap_or(good.result.bases);
        }
        view
    }
}

fn live_state(job: &Job) -> InWords {
    let id = job.id;
    match job.is_running() {
        true => ("building", format!("job {id} is running")),
        false if job.note.is_empty() => ("waiting", format!("job {id}: {}", job.cause)),
        false => ("waiting", format!("job {id}: {}", job.note)),
    }
}

/// What is known of a ref beside its images.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RefStands<'a> {
    /// The job that is live on it.
    pub job: Option<&'a Job>,
    /// Its tip.
    pub tip: Option<&'a CommitId>,
    /// Whether the tip was built and failed.
    pub tip_failed: bool,
    /// What is below it is judged by the planner's own rule: which knows more than where references point.
    pub is_judged: bool,
}

/// How an image stands. `known` tells whether the config is.
pub(super) fn state_of(
    config: Option<&Project>,
    known: bool,
    good: Option<&ImageRecord>,
    newest: &ImageRecord,
    on: RefStands<'_>,
    releases: &BTreeMap<ImageRef, Release>,
) -> InWords {
    let RefStands {
        job, tip, tip_failed, ..
    } = on;
    if let Some(job) = job {
        return live_state(job);
    }
    match newest.result.status {
        ImageStatus::Failed => return ("failed", format!("job {}: {}", newest.job, newest.result.note)),
        ImageStatus::Blocked => return ("failed", format!("job {}: blocked: {}", newest.job, newest.result.note)),
        ImageStatus::Built | ImageStatus::Released | ImageStatus::Unchanged | ImageStatus::Skipped => {}
    }
    let image = config.and_then(|project| {
        let images = project.images.iter();
        let mut of_name = images.filter(|image| image.name == newest.result.image);
        Some((project, of_name.next()?))
    });
    if known && image.is_none() {
        return ("outdated", "it is not in the config any more".to_owned());
    }
    if tip.is_none() {
        return ("outdated", "its ref is gone, or not followed any more".to_owned());
    }
    if let Some(tip) = tip.filter(|tip| **tip != newest.commit) {
        let tip = tip.short();
        let why = match tip_failed {
            true => format!("the ref is at {tip}, whose build failed"),
            false => format!("the ref is at {tip}, which was not built"),
        };
        return ("outdated", why);
    }
    let Some(good) = good else {
        return ("never built", String::new());
    };
    // What came to the same content was built with the config and on the bases of that build.
    let built = match newest.result.status {
        ImageStatus::Unchanged => newest,
        _ => good,
    };
    if let Some((project, image)) = image
        && image.fingerprint(&project.env) != built.result.fingerprint
    {
        return ("outdated", "its config has changed since".to_owned());
    }
    let mut bases = built.result.bases.iter().filter(|_| !on.is_judged);
    match bases.find_map(|base| moved(base, releases)) {
        Some(why) => ("outdated", why),
        None => ("current", String::new()),
    }
}

/// A base that is an image of ours, and was released anew.
fn moved(base: &BaseUsed, releases: &BTreeMap<ImageRef, Release>) -> Option<String> {
    let release = releases.get(base.reference.as_ref()?)?;
    let known = base.digests.contains(&release.digest) || base.id.as_ref() == Some(&release.digest);
    (!known).then(|| format!("{} is at {} by now (job {})", base.name, release.digest, release.job))
}
