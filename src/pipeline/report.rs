//! `build.json`: everything about a job, for people and callbacks. Never read back.

use crate::model::{Digest, ImageName, ImageResult, Job, Outcome, RefName, Step, mask_url};
use jiff::Timestamp;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The whole file.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Of this file's shape.
    format: u32,
    pipelined: &'static str,
    project: String,
    remote: String,
    #[serde(rename = "ref")]
    reference: RefName,
    ref_name: String,
    ref_type: &'static str,
    commit: String,
    job: i64,
    number: i64,
    attempt: i64,
    reason: &'static str,
    /// Why the job was made, in words.
    cause: String,
    state: &'static str,
    outcome: Option<Outcome>,
    /// An errored attempt that is tried again is not the job's outcome yet.
    will_retry: bool,
    failed_step: Option<Step>,
    error: Option<String>,
    queued: Timestamp,
    started: Timestamp,
    finished: Option<Timestamp>,
    duration_ms: Option<i64>,
    engine: String,
    /// The job's directory while it ran; the `.tmp` goes upon success.
    directory: PathBuf,
    log: &'static str,
    steps: Vec<StepReport>,
    /// The main one: what callbacks see as `BUILD_IMAGE`.
    #[serde(rename = "image")]
    main: Option<ImageReport>,
    /// What became of each.
    images: Vec<ImageResult>,
    /// Whose steps these are, where a project has several images.
    #[serde(skip)]
    pub(super) image: Option<ImageName>,
}

#[derive(Debug, Serialize)]
struct StepReport {
    step: Step,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<ImageName>,
    started: Timestamp,
    duration_ms: Option<i64>,
    error: Option<String>,
}

/// What was built.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ImageReport {
    pub id: Option<Digest>,
    pub digest: Option<Digest>,
    pub tags: Vec<String>,
    pub containerfile: PathBuf,
    pub bases: Vec<String>,
}

impl Report {
    pub fn new(job: &Job, remote: &str, attempt: i64, engine: &str, directory: &Path) -> Self {
        Self {
            format: 1,
            pipelined: env!("CARGO_PKG_VERSION"),
            project: job.project.to_string(),
            remote: mask_url(remote),
            reference: job.reference.clone(),
            ref_name: job.reference.short().to_string(),
            ref_type: job.reference.kind().as_str(),
            commit: job.commit.to_string(),
            job: job.id.0,
            number: job.number,
            attempt,
            reason: job.reason.as_str(),
            cause: job.cause.clone(),
            state: "running",
            outcome: None,
            will_retry: false,
            failed_step: None,
            error: None,
            queued: job.created,
            started: Timestamp::now(),
            finished: None,
            duration_ms: None,
            engine: engine.to_owned(),
            directory: directory.to_owned(),
            log: "build.log",
            steps: Vec::new(),
            main: None,
            images: Vec::new(),
            image: None,
        }
    }

    pub fn begin(&mut self, step: Step) {
        self.steps.push(StepReport {
            step,
            image: self.image.clone(),
            started: Timestamp::now(),
            duration_ms: None,
            error: None,
        });
    }

    pub fn end(&mut self, error: Option<String>) {
        if let Some(step) = self.steps.last_mut() {
            step.duration_ms = Some(Timestamp::now().as_millisecond() - step.started.as_millisecond());
            step.error = error;
        }
    }

    pub fn built(&mut self, image: ImageReport) {
        self.main = Some(image);
    }

    /// The main image has the digest by which registries know it.
    pub fn released(&mut self, digest: Option<Digest>) {
        if let Some(image) = &mut self.main {
            image.digest = digest;
        }
    }

    pub fn results(&mut self, images: &[ImageResult]) {
        self.images = images.to_vec();
    }

    pub fn interrupted(&mut self) {
        self.finish("interrupted");
    }

    pub fn waiting(&mut self) {
        self.finish("waiting");
    }

    pub fn done(&mut self, outcome: Outcome, failure: Option<(Step, String)>, will_retry: bool) {
        self.outcome = Some(outcome);
        self.will_retry = will_retry;
        if let Some((step, error)) = failure {
            self.failed_step = Some(step);
            self.error = Some(error);
        }
        self.finish("done");
    }

    fn finish(&mut self, state: &'static str) {
        let now = Timestamp::now();
        self.state = state;
        self.finished = Some(now);
        self.duration_ms = Some(now.as_millisecond() - self.started.as_millisecond());
    }

    /// Writes the file whole: readers see the old or the new one, never half of one.
    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        let new = dir.join(".build.json.new");
        let mut file = std::fs::File::create(&new)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        std::fs::rename(&new, dir.join("build.json"))
    }
}
