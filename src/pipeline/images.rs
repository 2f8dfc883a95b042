//! The way of a job's images: which are built, in which order, and what becomes of the others when one fails.
//!
//! Deciding about them must never ask an engine: nothing is held there yet.

use super::attempt::Attempt;
use super::build::Built;
use super::env::JobEnv;
use super::prepare::{Prepared, prepare, releases_on};
use super::select::{Candidate, Choice, choose, chosen, edges, follow_upstreams, order};
use crate::config::Image;
use crate::model::{BaseUsed, Failure, FailureKind, ImageResult, ImageStatus, JobId, Reason, RefName, Step};
use crate::process::Runner;
use std::collections::BTreeSet;

/// An image of the job, with what was decided about it.
pub(super) struct Planned<'a> {
    pub prepared: Prepared<'a>,
    /// Where it is released by this job.
    pub targets: BTreeSet<crate::model::ImageRef>,
    pub choice: Choice,
    /// The places, in the same list, of those that it stands on.
    pub upstreams: BTreeSet<usize>,
    /// Another image of the project stands on it.
    pub stood_on: bool,
}

impl<'a> Attempt<'a> {
    /// Reads all images and decides about each. In the order in which they are to be built. `default` is the branch that
    /// the remote's HEAD points at, as far as that matters.
    pub(super) async fn plan_images(
        &self,
        env: &JobEnv,
        default: Option<&RefName>,
    ) -> Result<Vec<Planned<'a>>, Failure> {
        let (work, checkout) = (self.work, self.checkout_dir());
        let mut prepared: Vec<Prepared<'a>> = Vec::new();
        for image in &work.project.images {
            let releases = releases_on(image.release_refs.as_deref(), &work.job.reference, default);
            let runner = self.runner_of(image);
            prepared.push(prepare(&runner, env, &work.project, image, &checkout, releases).await?);
        }
        let rebuild = work.job.rebuild.as_ref();
        let mut choices = Vec::new();
        for prepared in &prepared {
            choices.push(match rebuild {
                Some(rebuild) => chosen(&prepared.image.name, rebuild, work.job.reason),
                None => self.choice(prepared, default).await?,
            });
        }
        for gone in rebuild.iter().flat_map(|rebuild| rebuild.images.keys()) {
            let is_project = prepared.is_empty() && gone.as_str() == work.project.name.as_str();
            if !is_project && prepared.iter().all(|prepared| prepared.image.name != *gone) {
                let why = format!("{gone} is not rebuilt: the config does not have it any more");
                self.runner.note(Step::Build, &why);
            }
        }
        let (edges, order) = {
            let candidates: Vec<Candidate<'_>> = prepared.iter().map(Prepared::candidate).collect();
            let edges = edges(&candidates);
            let order = order(&candidates, &edges).map_err(|cycle| Failure::failed(cycle.to_string()))?;
            if rebuild.is_none() {
                let good = candidates.iter().map(|candidate| self.last_good_job(candidate));
                let good: Vec<_> = good.collect();
                follow_upstreams(&order, &edges, &candidates, &good, &mut choices);
            }
            (edges, order)
        };
        let place_of = |at: usize| order.iter().position(|other| *other == at);
        let mut planned: Vec<(usize, Planned<'a>)> = prepared
            .into_iter()
            .zip(choices)
            .enumerate()
            .map(|(at, (prepared, choice))| {
                let planned = Planned {
                    targets: prepared.targets(&work.job.reference, default),
                    stood_on: edges.iter().any(|ups| ups.contains(&at)),
                    upstreams: edges[at].iter().filter_map(|up| place_of(*up)).collect(),
                    prepared,
                    choice,
                };
                (place_of(at).unwrap_or(at), planned)
            })
            .collect();
        planned.sort_by_key(|(place, _)| *place);
        Ok(planned.into_iter().map(|(_, planned)| planned).collect())
    }

    /// With the variable that tells images apart.
    fn runner_of(&self, image: &Image) -> Runner {
        let name = image.name.as_str();
        self.runner.with_env([("BUILD_IMAGE_NAME".into(), name.into())])
    }

    fn last_good_job(&self, candidate: &Candidate<'_>) -> Option<JobId> {
        let key = (self.work.job.reference.clone(), candidate.image.name.clone());
        self.work.last_good.get(&key).map(|good| good.job)
    }

    async fn choice(&self, prepared: &Prepared<'_>, default: Option<&RefName>) -> Result<Choice, Failure> {
        let (job, image) = (&self.work.job, prepared.image);
        let manual = job.reason == Reason::Manual;
        let compared = match image.watch.is_empty() || manual {
            true => None,
            false => self.compare(prepared, default).await?,
        };
        let releases = !prepared.targets(&job.reference, default).is_empty();
        let choice = choose(image, manual, releases, &prepared.fingerprint, compared.as_ref());
        Ok(choice)
    }

    /// Builds, stages and tests one image after the other. One that fails keeps back only what stands on it; trouble of
    /// our own ends the attempt.
    pub(super) async fn build_images(&mut self, env: &JobEnv, planned: &[Planned<'a>]) -> Result<(), (Step, Failure)> {
        let several = planned.len() > 1;
        let mut stuck: BTreeSet<usize> = BTreeSet::new();
        for (place, planned) in planned.iter().enumerate() {
            let name = &planned.prepared.image.name;
            self.report.image = several.then(|| name.clone());
            let why = match &planned.choice {
                Choice::Build(why) => why,
                Choice::Skip(why) => {
                    self.runner.note(Step::Build, &format!("{name} is skipped: {why}"));
                    self.conclude(planned, ImageStatus::Skipped, why, Vec::new());
                    continue;
                }
            };
            if several {
                self.runner.note(Step::Build, &format!("{name} is built: {why}"));
            }
            if let Some(up) = planned.upstreams.iter().find(|up| stuck.contains(up)) {
                let why = self.why_blocked(*up);
                self.runner.note(Step::Build, &format!("{name} is blocked: {why}"));
                self.conclude(planned, ImageStatus::Blocked, &why, Vec::new());
                stuck.insert(place);
                continue;
            }
            let of_all = self.runner.clone();
            self.runner = self.runner_of(planned.prepared.image);
            let mut bases = Vec::new();
            let made = self.one(env, planned, &mut bases).await;
            self.runner = of_all;
            match made {
                Ok(built) => self.made(planned, built),
                Err((step, failure)) => {
                    self.conclude(planned, ImageStatus::Failed, &failure.message, bases);
                    if several {
                        // The attempt's end tells of the first one only.
                        let why = format!("{name}: {}: {failure}", failure.outcome());
                        self.runner.note(step, &why);
                    }
                    match failure.kind {
                        FailureKind::Failed => {}
                        // Containers go before the next image is built; the attempt's end would be too late.
                        FailureKind::TimedOut => self.remove_containers().await,
                        FailureKind::Errored
                        | FailureKind::Superseded
                        | FailureKind::Waiting
                        | FailureKind::Cancelled => {
                            return Err((step, failure));
                        }
                    }
                    stuck.insert(place);
                    self.failed.get_or_insert((step, failure));
                }
            }
        }
        self.report.image = None;
        Ok(())
    }

    fn why_blocked(&self, upstream: usize) -> String {
        let upstream = self.results.get(upstream);
        upstream.map_or_else(String::new, |up| match up.status {
            ImageStatus::Blocked => format!("it stands on {}, which is blocked itself", up.image),
            _ => format!("it stands on {}, which failed", up.image),
        })
    }

    fn conclude(&mut self, planned: &Planned<'_>, status: ImageStatus, note: &str, bases: Vec<BaseUsed>) {
        self.results.push(ImageResult {
            image: planned.prepared.image.name.clone(),
            status,
            note: note.to_owned(),
            fingerprint: planned.prepared.fingerprint.clone(),
            id: None,
            digest: None,
            bases,
            released: Vec::new(),
            alike: BTreeSet::new(),
        });
    }

    fn made(&mut self, planned: &Planned<'_>, built: Built) {
        self.show_image(&built);
        self.results.push(built.result.clone());
        self.built.push((planned.prepared.candidate().names, built));
    }
}
