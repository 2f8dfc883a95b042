//! Jobs that rebuild, put into the record of a daemon that is down.

use crate::common::{Bench, MAIN, seen};
use crate::support::daemon::{Daemon, build_json, build_log};
use crate::support::jobs::jobs;
use crate::support::scratch::{SOON, wait_for_state};
use jiff::Timestamp;
use pipelined::model::{CommitId, ImageName, Job, JobId, JobState, ProjectName, Reason, Rebuild, RefName, Write};
use pipelined::store::Store;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A job that is over.
pub struct Done {
    pub id: i64,
    pub outcome: String,
    pub dir: PathBuf,
    pub log: String,
    pub report: Value,
}

impl Done {
    /// What became of an image.
    #[track_caller]
    pub fn image(&self, name: &str) -> &Value {
        let images = self.report["images"].as_array().unwrap().iter();
        let found = images.into_iter().find(|image| image["image"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#}\n{}", self.report, self.log))
    }

    /// How far an image came.
    #[track_caller]
    pub fn status(&self, name: &str) -> &str {
        self.image(name)["status"].as_str().unwrap()
    }

    /// The note of an image.
    #[track_caller]
    pub fn why(&self, name: &str) -> &str {
        self.image(name)["note"].as_str().unwrap()
    }
}

/// Queues a rebuild of the project `p` on `main`, and answers with its job. No daemon may run.
pub fn queue(workdir: &Path, reason: Reason, commit: &str, images: &[(&str, Option<i64>)]) -> i64 {
    let mut store = Store::open(workdir).unwrap();
    let state = store.load_state().unwrap();
    let project = ProjectName::new("p").unwrap();
    let name = |name: &str| ImageName::new(name).unwrap();
    let id = JobId(state.next_id);
    let job = Job {
        atomic: None,
        wave: JobId(0),
        id,
        reference: RefName::new(MAIN).unwrap(),
        commit: CommitId::new(commit).unwrap(),
        number: state.projects[&project].last_number + 1,
        project,
        reason,
        cause: "something is new".to_owned(),
        place: id.0,
        created: Timestamp::now(),
        state: JobState::Queued { not_before: None },
        attempts: 0,
        note: String::new(),
        failure: None,
        rebuild: Some(Rebuild {
            force: false,
            images: images.iter().map(|(n, renews)| (name(n), renews.map(JobId))).collect(),
            key: "k".to_owned(),
        }),
    };
    let writes = [Write::Job { job, lasting: true }];
    store.commit(&writes, Timestamp::now(), &|_, _, _| true).unwrap();
    id.0
}

impl Bench {
    /// Starts the daemon with a rebuild of these images, each with the job whose release it renews.
    pub fn start_rebuild(&self, reason: Reason, commit: &str, images: &[(&str, Option<i64>)]) -> (Daemon, i64) {
        let id = queue(&self.site.workdir, reason, commit, images);
        (self.site.start(), id)
    }

    /// The same up to its end, and the daemon's.
    #[track_caller]
    pub fn rebuild(&self, reason: Reason, commit: &str, images: &[(&str, Option<i64>)]) -> Done {
        let (daemon, id) = self.start_rebuild(reason, commit, images);
        let done = self.done(id);
        drop(daemon);
        done
    }

    /// Puts an image of the storage onto a registry; its digest there.
    pub fn put(&self, image: &str, place: &str) -> String {
        self.podman
            .run(&["push", "--quiet", "--tls-verify=false", image, place]);
        seen(place).unwrap()
    }

    /// The same as the only one of a list of images: content that is known by another digest.
    pub fn put_list(&self, image: &str, place: &str) -> String {
        let stored = format!("containers-storage:{image}");
        self.podman.run(&["manifest", "create", "list", &stored]);
        let to = format!("docker://{place}");
        self.podman
            .run(&["manifest", "push", "--all", "--tls-verify=false", "list", &to]);
        self.podman.run(&["manifest", "rm", "list"]);
        seen(place).unwrap()
    }

    /// Waits until a job is over.
    #[track_caller]
    pub fn done(&self, id: i64) -> Done {
        let row = wait_for_state(&format!("job {id} to be over"), SOON, || {
            let row = jobs(&self.site.workdir).into_iter().find(|row| row.id == id);
            match row {
                Some(row) if row.state == "done" => Ok(row),
                row => Err(format!("{row:?}\n{}", std::fs::read_to_string(&self.site.log).unwrap())),
            }
        });
        let suffix = if row.outcome() == "succeeded" { "" } else { ".tmp" };
        let name = format!("{}{suffix}", row.attempts.last().unwrap());
        let dir = self.site.job_dir("p", MAIN, &name);
        // The directory is renamed after the record is made.
        wait_for_state("the directory", SOON, || {
            dir.join("build.json").is_file().then_some(()).ok_or(format!("{dir:?}"))
        });
        Done {
            id,
            outcome: row.outcome().to_owned(),
            log: build_log(&dir),
            report: build_json(&dir),
            dir,
        }
    }

    /// Runs the daemon until the tip of `main` is released; the job's id.
    #[track_caller]
    pub fn released(&self) -> i64 {
        let daemon = self.site.start();
        let commit = self.repo.head();
        let job = crate::support::jobs::wait_job(&self.site, &commit, "the release", |job| job.state == "done");
        let done = self.done(job.id);
        assert_eq!(done.outcome, "succeeded", "{}", done.log);
        drop(daemon);
        job.id
    }
}
