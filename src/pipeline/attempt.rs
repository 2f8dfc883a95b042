//! One attempt: steps until the first that fails, and then the error callback.

use super::build::Built;
use super::env::{JobEnv, image_variables, job_env, project_variables};
use super::render::{known_later, render};
use super::report::{ImageReport, Report};
use super::rsync;
use super::work::{Finished, Work};
use crate::config::Rsync;
use crate::git::{self, Checkout, Question};
use crate::model::{
    Digest, Failure, FailureKind, Ground, ImageName, ImageRef, ImageResult, ImageStatus, Outcome, Step, error_chain,
};
use crate::process::{Marker, Masks, Runner};
use crate::workdir::job_directory;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs an attempt to its end. Never fails itself: whatever goes wrong is the attempt's result.
pub async fn run(work: Work) -> Finished {
    let Work { job, layout, dir, .. } = &work;
    let path = layout.running(&job.project, &job.reference, dir);
    let is_there = work.resume.is_some() || work.abandoned.is_some() || work.goes_on && path.is_dir();
    let made = match is_there {
        true => Ok(path.clone()),
        false => job_directory(layout, &job.project, &job.reference, dir),
    };
    let mut attempt = Attempt::new(&work, path);
    let result = match made {
        Ok(_) => attempt.steps().await,
        Err(error) => {
            // The error callback is told all the same, with the variables of the job.
            let _ = attempt.setup();
            Err((Step::Setup, Failure::errored(error_chain(&error))))
        }
    };
    attempt.close(&result).await;
    Finished {
        image_id: attempt.image_id(),
        result,
        images: attempt.results,
        void: attempt.void,
    }
}

pub(super) struct Attempt<'a> {
    pub work: &'a Work,
    /// Of the job, with its `.tmp`.
    pub directory: PathBuf,
    pub runner: Runner,
    pub report: Report,
    /// What is built on.
    pub ground: Ground,
    /// What became of the images so far.
    pub results: Vec<ImageResult>,
    /// Those that were built, with the names under which others may build FROM them.
    pub built: Vec<(BTreeSet<ImageRef>, Built)>,
    /// What keeps the job from success although it went on: an image that failed.
    pub failed: Option<(Step, Failure)>,
    pub void: bool,
    /// A release is on record, and what it needs must stay until it is finished.
    pub announced: bool,
    /// Of images whose content is released already: the references that stay, and what these are at.
    pub stays: BTreeMap<ImageName, Vec<(ImageRef, Digest)>>,
}

impl<'a> Attempt<'a> {
    fn new(work: &'a Work, directory: PathBuf) -> Self {
        let job = &work.job;
        let runner = Runner {
            supervisor: work.supervisor.clone(),
            marker: Marker::job(&work.instance, job.id, work.attempt),
            env: Vec::new(),
            cancel: work.cancel.clone(),
            grace: work.grace,
            log: directory
                .is_dir()
                .then(|| (directory.join("build.log"), work.log_limit)),
            // Known when the environment is.
            masks: Masks::default(),
        };
        let report = Report::new(
            job,
            &work.project.remote,
            work.attempt,
            work.engine.program(),
            &directory,
        );
        Self {
            work,
            directory,
            runner,
            report,
            ground: Ground::default(),
            results: Vec::new(),
            built: Vec::new(),
            failed: None,
            void: false,
            announced: false,
            stays: BTreeMap::new(),
        }
    }

    pub(super) fn checkout_dir(&self) -> PathBuf {
        self.directory.join("build")
    }

    /// Whether references of an image were moved, and others of it were not.
    pub(super) fn is_half_released(&self) -> bool {
        !self.void && self.results.iter().any(ImageResult::is_half_released)
    }

    pub(super) fn write_report(&self) {
        if !self.directory.is_dir() {
            return;
        }
        if let Err(error) = self.report.write(&self.directory) {
            // The database has the truth; a full disk will fail the job by itself.
            tracing::warn!(directory = %self.directory.display(), %error, "cannot write build.json");
        }
    }

    /// A step begins, unless the end was asked for meanwhile.
    pub(super) fn begin(&mut self, step: Step) -> Result<(), (Step, Failure)> {
        if self.work.cancel.is_asked() {
            return Err((step, Failure::new(FailureKind::Cancelled, format!("{step}: cancelled"))));
        }
        self.report.begin(step);
        self.write_report();
        Ok(())
    }

    /// A step has ended, with its time and its failure in the report: where secrets leave a failure's message that was
    /// not made by the runner. From here it goes to the database, to people and to `BUILD_ERROR`.
    pub(super) fn end<T>(&mut self, step: Step, result: Result<T, Failure>) -> Result<T, (Step, Failure)> {
        let result = result.map_err(|failure| self.runner.masked(failure));
        let result = result.map_err(|failure| match failure.kind {
            // What a cancel cuts off may look like trouble of our own.
            FailureKind::Errored if self.work.cancel.is_asked() && !self.is_half_released() => {
                Failure::new(FailureKind::Cancelled, failure.message)
            }
            _ => failure,
        });
        // Waiting is no trouble.
        let trouble = result
            .as_ref()
            .err()
            .filter(|failure| failure.kind != FailureKind::Waiting);
        self.report.end(trouble.map(ToString::to_string));
        result.map_err(|failure| (step, failure))
    }

    async fn steps(&mut self) -> Result<(), (Step, Failure)> {
        let project = &self.work.project;
        if let Some(why) = &self.work.abandoned {
            // Only the error callback needs the variables, and is told whatever is wrong with them.
            let _ = self.setup();
            return self.give_up(why);
        }
        self.begin(Step::Setup)?;
        let env = self.setup();
        let env = self.end(Step::Setup, env)?;
        if let Some(plan) = &self.work.resume {
            self.finish_release(plan.clone()).await?;
            return self.copy_and_tell(&env).await;
        }
        if self.work.goes_on && self.checkout_dir().is_dir() {
            self.runner.note(
                Step::Checkout,
                "goes on where it waited: the checkout is here, and prepared",
            );
        } else {
            self.begin(Step::Checkout)?;
            let checked_out = self.checkout().await;
            self.end(Step::Checkout, checked_out)?;
            self.callback(Step::Prepare, project.prepare_callback.as_deref())
                .await?;
        }
        let planned = self
            .read_and_learn(&env)
            .await
            .map_err(|failure| (Step::Pull, failure))?;
        // From the first look at a base until nothing is built on it any more.
        let held = self.work.engine.hold_images().await;
        self.build_images(&env, &planned).await?;
        drop(held);
        self.run(&env).await?;
        self.release(&planned).await?;
        self.copy_and_tell(&env).await
    }

    /// What is left to do once the images are where they belong.
    async fn copy_and_tell(&mut self, env: &JobEnv) -> Result<(), (Step, Failure)> {
        let project = &self.work.project;
        self.show_release();
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        if project.rsync.is_some() && project.run.is_some() && !self.has_run() {
            self.runner
                .note(Step::Rsync, "nothing is copied: there was no run, and so no results");
        } else if project.rsync.is_some() && project.run.is_none() && self.work.job.rebuild.is_some() {
            // The destination may have the checkout of a later commit by now.
            self.runner.note(
                Step::Rsync,
                "nothing is copied: a rebuild is of images, and the checkout is not new",
            );
        } else if let Some(rsync) = &project.rsync {
            self.begin(Step::Rsync)?;
            let copied = self.rsync(rsync, env).await;
            self.end(Step::Rsync, copied)?;
        }
        let outcome = ("BUILD_OUTCOME".into(), Outcome::Succeeded.as_str().into());
        self.runner.env.push(outcome);
        self.callback(Step::SuccessCallback, project.success_callback.as_deref())
            .await
    }

    /// Whether the run was due, and so has ended well if the attempt goes on.
    pub(super) fn has_run(&self) -> bool {
        let run = self.work.project.run.as_ref();
        let is_good = |status: ImageStatus| status.is_good() || status == ImageStatus::Unchanged;
        let good = |name: &ImageName| self.results.iter().any(|r| r.image == *name && is_good(r.status));
        self.failed.is_none() && run.is_some_and(|run| good(&run.image))
    }

    async fn run(&mut self, env: &JobEnv) -> Result<(), (Step, Failure)> {
        let Some(run) = &self.work.project.run else {
            return Ok(());
        };
        if !self.has_run() {
            self.runner
                .note(Step::Run, &format!("{} was not built: it is not run", run.image));
            return Ok(());
        }
        self.begin(Step::Run)?;
        let ran = self.run_image(run, env).await;
        let ran = self.end(Step::Run, ran);
        // Not found good: with `watch`, the next commit must not pass over it.
        if let Err((_, failure)) = &ran
            && let Some(result) = self.results.iter_mut().find(|result| result.image == run.image)
        {
            result.status = ImageStatus::Failed;
            result.note.clone_from(&failure.message);
        }
        ran
    }

    async fn rsync(&self, rsync: &Rsync, env: &JobEnv) -> Result<(), Failure> {
        let is_checkout = self.work.project.run.is_none();
        let source = if is_checkout {
            self.checkout_dir()
        } else {
            self.directory.join("drop")
        };
        let destination = render(&self.runner, env, &rsync.destination)?;
        let timeout = self.work.project.timeout;
        rsync::rsync(&self.runner, rsync, &destination, &source, is_checkout, timeout).await
    }

    async fn callback(&mut self, step: Step, argv: Option<&[String]>) -> Result<(), (Step, Failure)> {
        let Some(argv) = argv else { return Ok(()) };
        self.begin(step)?;
        let timeout = self.work.project.callback_timeout;
        let told = callback(&self.runner, step, argv, &self.callback_dir(), timeout).await;
        self.end(step, told)
    }

    /// What the attempt tells of the image that callbacks see as `BUILD_IMAGE`: the one that is run, else the last one.
    pub(super) fn show_image(&mut self, built: &Built) {
        let result = &built.result;
        let main = self.work.project.run.as_ref().map(|run| &run.image);
        if main.is_some_and(|main| *main != result.image) {
            return;
        }
        self.runner.env.extend(image_variables(result, built.name()));
        self.report.built(ImageReport {
            id: result.id.clone(),
            digest: result.digest.clone(),
            tags: built.tags.clone(),
            containerfile: built.containerfile.clone(),
            bases: result
                .bases
                .iter()
                .filter(|base| base.needed.is_none())
                .map(|base| base.name.clone())
                .collect(),
        });
    }

    /// The main image as it is after its release. Of one whose content is released already, `BUILD_IMAGE` and
    /// `BUILD_IMAGE_DIGEST` are the reference that stays and what it is at, which others can pull; `BUILD_IMAGE_ID` is
    /// what was built now, as ever. (Where a release is finished that was cut off, only the id is known of it.)
    pub(super) fn show_release(&mut self) {
        let Some(mut result) = self.main_image().cloned() else {
            return;
        };
        if let Some((reference, digest)) = self.stays.get(&result.image).and_then(|stays| stays.first()) {
            result.released = vec![reference.clone()];
            result.digest = Some(digest.clone());
        }
        // What is not released has the names that it was shown by; nothing was shown where only a release is finished.
        if !result.released.is_empty() || self.built.is_empty() {
            self.runner.env.extend(image_variables(&result, None));
            self.report.released(result.digest);
        }
    }

    /// Of what was built, the image that is run, else the last one.
    fn main_image(&self) -> Option<&ImageResult> {
        let main = self.work.project.run.as_ref().map(|run| &run.image);
        let mut built = self
            .results
            .iter()
            .rev()
            .filter(|result| result.id.is_some() || result.digest.is_some());
        built.find(|result| main.is_none_or(|main| result.image == *main))
    }

    fn image_id(&self) -> Option<String> {
        self.main_image()?.id.as_ref().map(ToString::to_string)
    }

    /// The connection over ssh that the checkout uses too.
    pub(super) async fn ssh_socket(&self) -> Option<PathBuf> {
        let project = &self.work.project;
        let question = Question::new(&project.remote, project_variables(project));
        self.work.asker.ssh_socket(&self.runner, &question).await
    }

    /// When the commit was made, by its committer's clock.
    pub(super) async fn commit_time(&self) -> Result<Timestamp, Failure> {
        git::commit_time(&self.runner, &self.checkout_dir(), &self.work.job.commit).await
    }

    fn setup(&mut self) -> Result<JobEnv, Failure> {
        let job = &self.work.job;
        self.runner.note(
            Step::Setup,
            &format!(
                "job {} (number {}, attempt {}): {} {} at {}, {}: {}",
                job.id,
                job.number,
                self.work.attempt,
                job.project,
                job.reference,
                job.commit,
                job.reason.as_str(),
                job.cause
            ),
        );
        let (env, result) = job_env(&self.work.project, job, &self.directory);
        match env.masks() {
            Ok(masks) => {
                self.runner.masks = masks;
                self.runner.env.clone_from(&env.all);
                result.and_then(|()| known_later(&self.runner, &self.work.project))?;
                Ok(env)
            }
            Err(failure) => {
                // The error callback gets the rest: what it was told and says could not be masked.
                self.runner.env = env.without_secrets();
                result.and(Err(failure))
            }
        }
    }

    async fn checkout(&mut self) -> Result<(), Failure> {
        let project = &self.work.project;
        let dir = self.checkout_dir();
        let ssh_socket = self.ssh_socket().await;
        let checkout = Checkout {
            remote: &project.remote,
            reference: &self.work.job.reference,
            commit: &self.work.job.commit,
            dir: &dir,
            shallow: project.shallow,
            submodules: project.submodules,
            timeout: project.timeout,
            mirrors: Some(&self.work.mirrors),
            ssh_socket: ssh_socket.as_deref(),
        };
        git::checkout(&self.runner, &checkout).await
    }

    /// The checkout, or the job's directory where there is none, or the workdir where not even that could be made.
    pub(super) fn callback_dir(&self) -> PathBuf {
        let places = [self.checkout_dir(), self.directory.clone()];
        let there = places.into_iter().find(|place| place.is_dir());
        there.unwrap_or_else(|| self.work.layout.root().to_owned())
    }
}

pub(super) async fn callback(
    runner: &Runner,
    step: Step,
    argv: &[String],
    cwd: &Path,
    timeout: Duration,
) -> Result<(), Failure> {
    let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
    match runner.logged(step, &argv, cwd, timeout).await? {
        0 => Ok(()),
        code => Err(Failure::failed(format!("{step}: exit code {code}"))),
    }
}
