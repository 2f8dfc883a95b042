//! Attempts that are made by hand, at a desk that answers as the test says.

use crate::common::{Bench, MAIN, insecure, seen};
use crate::support::daemon::{build_json, build_log};
use crate::support::repo::short;
use crate::support::servers::registry::Registry;
use jiff::Timestamp;
use pipelined::config::{Config, EnvLayer, Overrides, load};
use pipelined::engine::Engine;
use pipelined::git::{Asker, Mirrors};
use pipelined::model::{
    BaseUsed, CommitId, Digest, Failure, FailureKind, Ground, ImageName, ImageRef, ImageResult, ImageStatus, Job,
    JobId, JobState, Learned, Needed, Node, Parent, ProjectName, Reason, Rebuild, RefName, ReleasePlan, Step,
};
use pipelined::pipeline::{self, Announced, Desk, Finished, GoOn, Permit, ReleaseLocks, Told, Work};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use pipelined::registry::Registries;
use pipelined::workdir::Layout;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Dropped in this order.
pub struct Scene {
    pub registry: Registry,
    pub bench: Bench,
    /// Beside those of podman.
    pub env: Vec<(String, String)>,
}

/// What the desk answers.
pub struct Answers {
    pub go: Result<GoOn, String>,
    pub permit: Permit,
}

impl Answers {
    pub fn go(ground: Ground) -> Self {
        Self {
            go: Ok(GoOn::Go(ground)),
            permit: Permit::default(),
        }
    }
}

/// An attempt that has ended, and what it has told.
pub struct Ended {
    pub finished: Finished,
    pub learned: Vec<Learned>,
    pub plans: Vec<ReleasePlan>,
    pub dir: PathBuf,
    pub log: String,
    pub report: Value,
}

impl Ended {
    #[track_caller]
    pub fn good(&self) {
        assert!(self.finished.result.is_ok(), "{:?}\n{}", self.finished.result, self.log);
    }

    #[track_caller]
    pub fn failed(&self, step: Step, kind: FailureKind) -> &Failure {
        let Err((at, failure)) = &self.finished.result else {
            panic!("it went well\n{}", self.log)
        };
        assert_eq!((*at, failure.kind), (step, kind), "{failure}\n{}", self.log);
        failure
    }

    /// What became of the only image.
    #[track_caller]
    pub fn image(&self) -> &ImageResult {
        assert_eq!(self.finished.images.len(), 1, "{}", self.log);
        &self.finished.images[0]
    }

    #[track_caller]
    pub fn is(&self, status: ImageStatus) {
        assert_eq!(self.image().status, status, "{}", self.log);
    }

    #[track_caller]
    pub fn says(&self, text: &str) {
        assert!(self.log.contains(text), "no {text:?} in\n{}", self.log);
    }

    #[track_caller]
    pub fn says_not(&self, text: &str) {
        assert!(!self.log.contains(text), "{text:?} is in\n{}", self.log);
    }
}

impl Scene {
    /// A callback that writes a line with these variables to the file `name` at each call.
    pub fn teller(&self, name: &str, variables: &str) -> String {
        let scratch = &self.bench.scratch;
        let body = format!("echo \"{variables}\" >>{}", scratch.join(name).display());
        scratch.script(format!("{name}.sh"), &body).display().to_string()
    }

    /// The project `p` with this Containerfile, in which `HOST` is the registry.
    pub fn new(containerfile: &str) -> Self {
        let bench = Bench::new("FROM scratch\nCOPY data /data\n");
        let registry = Registry::start(&bench.scratch);
        let scene = Self {
            registry,
            bench,
            env: Vec::new(),
        };
        let text = scene.text(containerfile);
        scene.bench.repo.commit(&[("Containerfile", text)]);
        scene.bench.repo.push_to(&scene.bench.origin);
        scene
    }

    pub fn host(&self) -> String {
        self.registry.host()
    }

    pub fn text(&self, text: &str) -> String {
        text.replace("HOST", &self.host())
    }

    pub fn reference(&self, text: &str) -> ImageRef {
        ImageRef::parse(&self.text(text)).unwrap()
    }

    /// The project's config; `top` goes before it.
    pub fn config_with(&self, top: &str, project: &str) -> Config {
        let top = format!("{}{}", self.text(top), insecure(&[self.host()]));
        self.bench.config(&top, &self.text(project));
        load(&self.bench.site.config, &Overrides::default()).unwrap().config
    }

    pub fn config(&self, project: &str) -> Config {
        self.config_with("", project)
    }

    /// The first attempt of a job of the tip.
    pub fn work(&self, config: &Config, id: i64) -> Work {
        let mut project = config.projects.values().next().unwrap().clone();
        let home = self.bench.scratch.join("home").display().to_string();
        let mut env: BTreeMap<String, String> = self.bench.podman.env().into_iter().collect();
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
            env.insert(name.to_owned(), home.clone());
        }
        env.extend(self.env.iter().cloned());
        project.env.push(EnvLayer::Table(env));
        let supervisor = Supervisor::new(env!("CARGO_BIN_EXE_pipelined"));
        let (workdir, scratch) = (&self.bench.site.workdir, &self.bench.scratch);
        let runner = Runner {
            masks: Masks::default(),
            supervisor: supervisor.clone(),
            marker: Marker::service("chain"),
            env: Vec::new(),
            cancel: Cancel::new(),
            grace: Duration::from_millis(300),
            log: None,
        };
        let commit = self.bench.repo.head();
        std::fs::create_dir_all(workdir).unwrap();
        Work {
            attempt: 1,
            dir: format!("{}-{id}", short(&commit)),
            resume: None,
            goes_on: false,
            is_needed: false,
            abandoned: None,
            last_good: BTreeMap::new(),
            kaniko: config.kaniko.clone(),
            engine: Arc::new(Engine::new(config.engine)),
            registries: Registries::new(config.registries.clone()),
            locks: ReleaseLocks::default(),
            desk: Desk::new().0,
            layout: Layout::new(workdir),
            mirrors: Mirrors::new(scratch.join("mirrors"), |_: &Path| Ok(())),
            asker: Asker::new(workdir.clone(), runner, scratch.mkdir("sockets"), None),
            supervisor,
            instance: "chain".to_owned(),
            cancel: Cancel::new(),
            stop: Cancel::new(),
            grace: Duration::from_millis(300),
            log_limit: 1 << 20,
            last: true,
            job: Job {
                id: JobId(id),
                project: project.name.clone(),
                reference: RefName::new(MAIN).unwrap(),
                commit: CommitId::new(&commit).unwrap(),
                number: id,
                reason: Reason::NewCommit,
                cause: "a test".to_owned(),
                place: id,
                created: Timestamp::now(),
                state: JobState::Running { cancelling: false },
                attempts: 0,
                note: String::new(),
                failure: None,
                rebuild: None,
                wave: JobId(77),
                atomic: None,
            },
            project,
        }
    }

    /// Runs it at a desk that answers so.
    pub async fn run(&self, mut work: Work, answers: Answers) -> Ended {
        let (desk, mut told) = Desk::new();
        work.desk = desk;
        let dir = work.layout.running(&work.job.project, &work.job.reference, &work.dir);
        let (mut learned, mut plans) = (Vec::new(), Vec::new());
        let id = work.job.id;
        let heard = async {
            while let Some(told) = told.recv().await {
                match told {
                    Told::Learned {
                        job,
                        learned: l,
                        answer,
                    } => {
                        assert_eq!(job, id);
                        learned.push(l);
                        answer.send(answers.go.clone()).unwrap();
                    }
                    Told::Announced(Announced { job, plan, answer }) => {
                        assert_eq!(job, id);
                        plans.push(plan);
                        answer.send(Ok(answers.permit.clone())).unwrap();
                    }
                }
            }
        };
        let (finished, ()) = tokio::join!(pipeline::run(work), heard);
        Ended {
            finished,
            learned,
            plans,
            log: build_log(&dir),
            report: build_json(&dir),
            dir,
        }
    }

    /// Builds a small image that says which generation it is, and gives it these names; its id.
    pub fn generation(&self, name: &str, generation: &str) -> Digest {
        let dir = self.bench.scratch.mkdir("generation");
        std::fs::write(dir.join("file"), generation).unwrap();
        let text = format!("FROM scratch\nCOPY file /file\nLABEL generation={generation}\n");
        std::fs::write(dir.join("Containerfile"), text).unwrap();
        let args = ["build", "--quiet", "--tag", name, dir.to_str().unwrap()];
        let id = self.bench.podman.run(&args);
        Digest::new(format!("sha256:{}", id.lines().last().unwrap())).unwrap()
    }

    /// The same on the registry, and not here any more; its digest.
    pub fn release(&self, place: &str, generation: &str) -> Digest {
        let (place, podman) = (self.text(place), &self.bench.podman);
        let id = self.generation("localhost/generation:1", generation);
        podman.run(&[
            "push",
            "--quiet",
            "--tls-verify=false",
            id.as_str(),
            &format!("docker://{place}"),
        ]);
        podman.run(&["rmi", "--force", id.as_str()]);
        Digest::new(seen(&place).unwrap()).unwrap()
    }

    /// The same as we do it: it stays here, where only its id is known. Its id and its digest.
    pub fn built_here(&self, place: &str, generation: &str) -> (Digest, Digest) {
        let place = self.text(place);
        let id = self.generation("localhost/generation:1", generation);
        let file = self.bench.scratch.join("built-here.tar").display().to_string();
        let args = [
            "save",
            "--quiet",
            "--format",
            "oci-archive",
            "--output",
            &file,
            id.as_str(),
        ];
        self.bench.podman.run(&args);
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--dest-tls-verify=false", "--dest-no-creds"]);
        let copied = skopeo.args([format!("oci-archive:{file}"), format!("docker://{place}")]);
        let output = copied.envs(self.bench.podman.env()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (id, Digest::new(seen(&place).unwrap()).unwrap())
    }

    /// A label of an image of the storage.
    pub fn label(&self, image: &str, label: &str) -> String {
        let format = format!("{{{{index .Config.Labels \"{label}\"}}}}");
        self.bench.podman.run(&["image", "inspect", "--format", &format, image])
    }

    /// Which generation an attempt's image was built on, by what it has inherited.
    pub fn built_on(&self, ended: &Ended) -> String {
        self.label(ended.image().id.as_ref().unwrap().as_str(), "generation")
    }

    /// What is at a place now.
    pub fn at(&self, place: &str) -> Option<String> {
        seen(&self.text(place))
    }
}

/// A ground on which this reference is that release of job 7.
pub fn on(reference: ImageRef, digest: &Digest) -> Ground {
    let parent = Parent {
        digest: digest.clone(),
        id: None,
        job: JobId(7),
    };
    Ground {
        parents: BTreeMap::from([(reference, parent)]),
        ..Ground::default()
    }
}

/// The same of a release whose id is known.
pub fn on_built_here(reference: ImageRef, digest: &Digest, id: &Digest) -> Ground {
    let mut ground = on(reference, digest);
    for parent in ground.parents.values_mut() {
        parent.id = Some(id.clone());
    }
    ground
}

pub fn name(name: &str) -> ImageName {
    ImageName::new(name).unwrap()
}

/// Something of another project that is relied on.
pub fn need() -> BaseUsed {
    let node = Node {
        project: ProjectName::new("tools").unwrap(),
        reference: RefName::new(MAIN).unwrap(),
        image: name("tools"),
    };
    BaseUsed {
        name: "tools".to_owned(),
        reference: None,
        digests: Vec::new(),
        id: None,
        diff_ids: Vec::new(),
        platform: None,
        sibling: None,
        needed: Some(Needed {
            node,
            digest: None,
            commit: None,
        }),
    }
}

/// That the project's only image is built again.
pub fn rebuild(force: bool) -> Option<Rebuild> {
    Some(Rebuild {
        images: BTreeMap::from([(name("p"), None)]),
        key: "k".to_owned(),
        force,
    })
}

pub fn refs(references: &[ImageRef]) -> BTreeSet<ImageRef> {
    references.iter().cloned().collect()
}
