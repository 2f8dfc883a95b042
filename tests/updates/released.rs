//! A record of releases that were never made: many projects, each with one image that is released, without a build.

use crate::support::daemon::Site;
use jiff::Timestamp;
use pipelined::config::{Overrides, load};
use pipelined::model::{
    BaseUsed, CommitId, Digest, ImageRef, ImageResult, ImageStatus, Job, JobId, JobState, Outcome, Reason, RefName,
    Write,
};
use pipelined::reconcile::selection;
use pipelined::store::Store;
use std::fmt::Write as _;
use std::path::Path;

/// The ref that all of them are released from.
pub const MAIN: &str = "refs/heads/main";

/// The config of so many projects, all of one remote, which is hardly ever asked. Images are released to `host`, which
/// speaks plain http, and are checked every so often; `more` is of `[defaults]`, and may begin other tables.
pub fn config(images: usize, remote: &Path, host: &str, every: &str, more: &str) -> String {
    let mut toml = format!(
        "interval = '30days'\n[registries.{host:?}]\ninsecure = true\n[defaults]\n{more}\n\
         [defaults.image.update]\nevery = {every:?}\nquiet = '0s'\n"
    );
    for n in 0..images {
        let name = project(n);
        writeln!(toml, "[projects.{name}]\nremote = {remote:?}").unwrap();
        writeln!(toml, "[projects.{name}.image]\nrelease = ['{host}/{name}:latest']").unwrap();
    }
    toml
}

/// What the project of this number is called; its image has the same name.
pub fn project(n: usize) -> String {
    format!("p{n:05}")
}

/// Every project of the site's config has released its image to `host` at that time, from that commit, on the base that
/// `used` tells for its number.
pub fn record(site: &Site, host: &str, commit: &str, at: Timestamp, used: impl Fn(usize) -> BaseUsed) {
    std::fs::create_dir_all(&site.workdir).unwrap();
    let config = load(&site.config, &Overrides::default()).unwrap().config;
    let mut store = Store::open(&site.workdir).unwrap();
    let (main, commit) = (RefName::new(MAIN).unwrap(), CommitId::new(commit).unwrap());
    let mut writes = Vec::new();
    for (n, project) in config.projects.values().enumerate() {
        assert_eq!(project.name.as_str(), self::project(n));
        let image = &project.images[0];
        let digest = |role: usize| Digest::new(format!("sha256:{role:032x}{n:032x}")).unwrap();
        let reference = ImageRef::parse(&format!("{host}/{}:latest", project.name)).unwrap();
        let mut job = Job {
            atomic: None,
            wave: JobId(0),
            id: JobId(i64::try_from(n).unwrap() + 1),
            project: project.name.clone(),
            reference: main.clone(),
            commit: commit.clone(),
            number: 1,
            reason: Reason::NewCommit,
            cause: "the ref is new here".to_owned(),
            place: 1,
            created: at,
            state: JobState::Running { cancelling: false },
            attempts: 0,
            note: String::new(),
            failure: None,
            rebuild: None,
        };
        let result = ImageResult {
            alike: std::collections::BTreeSet::new(),
            image: image.name.clone(),
            status: ImageStatus::Released,
            note: String::new(),
            fingerprint: image.fingerprint(&project.env),
            id: Some(digest(1)),
            digest: Some(digest(2)),
            bases: vec![used(n)],
            released: vec![reference],
        };
        let put = |job: &Job| Write::Job {
            job: job.clone(),
            lasting: true,
        };
        writes.push(Write::Selection {
            project: project.name.clone(),
            selection: selection(project),
        });
        writes.push(Write::Ref {
            project: project.name.clone(),
            reference: main.clone(),
            commit: Some(commit.clone()),
        });
        writes.extend([put(&job), Write::Attempt(job.id)]);
        writes.push(Write::AttemptEnd {
            job: job.id,
            failure: None,
            image_id: None,
            images: vec![result],
            void: false,
        });
        job.state = JobState::Done(Outcome::Succeeded);
        writes.push(put(&job));
    }
    store.commit(&writes, at, &|_, _, _| true).unwrap();
}
