//! What looks are made with, and images to look into.

use crate::support::podman::{BUSYBOX, BUSYBOX_CONTAINERFILE, Podman, busybox_context};
use crate::support::scratch::Scratch;
use jiff::Timestamp;
use pipelined::config::{EngineKind, Image, Overrides, PackageCheck, Project, RegistrySettings, load};
use pipelined::engine::Engine;
use pipelined::git::{Asker, Mirrors};
use pipelined::model::{CheckError, CommitId, Digest, Evidence, ImageRef, Job, Node, Packages, RefName, Standing};
use pipelined::process::{Cancel, Marker, Masks, Runner, Supervisor};
use pipelined::registry::Registries;
use pipelined::updates::{CHECK_LOG, Tools, look_inside};
use pipelined::workdir::Layout;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const COMMIT: &str = "5bf417f5d8b0e7a4e3ff2e4d0a8c6b1a2f3e4d5c";

/// A project with an image `app`, and a podman.
pub struct Bench {
    pub tools: Tools,
    pub project: Project,
    pub image: Image,
    pub cancel: Cancel,
    /// Of the commit that was released.
    pub dir: PathBuf,
    pub podman: Podman,
    pub scratch: Scratch,
}

impl Bench {
    /// With busybox in the storage.
    pub fn new() -> Self {
        let bench = Self::empty("");
        bench.podman.load_busybox();
        bench
    }

    /// With nothing in the storage, and more in the project's table.
    pub fn empty(project: &str) -> Self {
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        let workdir = scratch.join("work");
        let text = format!("workdir = {workdir:?}\n[projects.p]\nremote = '/r'\nimages.app = {{}}\n{project}");
        let config = scratch.write("pipelined.toml", text);
        let loaded = load(&config, &Overrides::default()).unwrap();
        let project = loaded.config.projects.values().next().unwrap().clone();
        let mut image = project.images[0].clone();
        image.update.timeout = Duration::from_secs(120);
        // A bridge needs rights and time.
        image.update.network = Some("none".to_owned());
        let home = scratch.mkdir("home");
        let mut env: Vec<_> = podman.env().into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
            env.push((name.into(), home.clone().into()));
        }
        let cancel = Cancel::new();
        let runner = Runner {
            masks: Masks::default(),
            supervisor: Supervisor::new(env!("CARGO_BIN_EXE_pipelined")),
            marker: Marker::service("packages"),
            env,
            cancel: cancel.clone(),
            grace: Duration::from_millis(300),
            log: None,
        };
        let tools = Tools {
            registries: Registries::new(BTreeMap::new()),
            engine: Arc::new(Engine::new(EngineKind::Podman)),
            layout: Layout::new(&workdir),
            mirrors: Mirrors::new(scratch.join("mirrors"), |_: &Path| Ok(())),
            asker: Asker::new(workdir.clone(), runner.clone(), scratch.mkdir("sockets"), None),
            runner,
            log_limit: 1 << 20,
        };
        Self {
            dir: scratch.mkdir("work/p/refs%2Fheads%2Fmain/5bf417f5"),
            tools,
            project,
            image,
            cancel,
            podman,
            scratch,
        }
    }

    /// What the config says of registries.
    pub fn registries(&mut self, settings: impl IntoIterator<Item = (String, RegistrySettings)>) {
        self.tools.registries = Registries::new(settings.into_iter().collect());
    }

    pub fn command(&mut self, argv: &[&str]) {
        self.image.update.packages = PackageCheck::Command(argv.iter().map(|&arg| arg.to_owned()).collect());
    }

    /// A script for busybox as the command.
    pub fn script(&mut self, script: &str) {
        self.command(&["sh", "-c", script]);
    }

    pub fn auto(&mut self) {
        self.image.update.packages = PackageCheck::Auto;
    }

    /// An image that is released in the storage only.
    pub fn local(&self, name: &str) -> Standing {
        let id = self.podman.run(&["image", "inspect", "--format", "{{.Id}}", name]);
        standing(name, Some(&id), None)
    }

    /// Builds an image of busybox and further lines.
    pub fn build(&self, name: &str, more: &str) -> Standing {
        let context = self.scratch.join(format!("context-{name}"));
        busybox_context(&context);
        std::fs::write(context.join("Containerfile"), format!("{BUSYBOX_CONTAINERFILE}{more}")).unwrap();
        self.build_in(name, &context)
    }

    pub fn build_in(&self, name: &str, context: &Path) -> Standing {
        let tag = format!("localhost/{name}:latest");
        self.podman.run(&[
            "build",
            "--quiet",
            "--network=host",
            "--tag",
            &tag,
            &context.display().to_string(),
        ]);
        self.local(&tag)
    }

    /// An image FROM another one, by the lines after that.
    pub fn derive(&self, base: &str, name: &str, lines: &str) -> Standing {
        let context = self.scratch.mkdir(format!("context-{name}"));
        std::fs::write(context.join("Containerfile"), format!("FROM {base}\n{lines}")).unwrap();
        self.build_in(name, &context)
    }

    /// Pushes busybox to a registry without TLS; released there by digest.
    pub fn push(&self, host: &str, more: &[&str]) -> Standing {
        let place = format!("{host}/app:1");
        let file = self.scratch.join("digest").display().to_string();
        let to = format!("docker://{place}");
        let mut args = vec!["push", "--quiet", "--digestfile", &file];
        args.extend(more);
        args.extend([BUSYBOX, &to]);
        self.podman.run(&args);
        let digest = std::fs::read_to_string(file).unwrap();
        let id = self.podman.run(&["image", "inspect", "--format", "{{.Id}}", BUSYBOX]);
        standing(&place, Some(&id), Some(digest.trim()))
    }

    /// With what there is, and a job.
    pub async fn look_with(
        &self,
        standing: &Standing,
        dir: Option<PathBuf>,
        job: Option<&Job>,
    ) -> Result<Packages, CheckError> {
        let node = Node {
            project: self.project.name.clone(),
            reference: RefName::new(b"refs/heads/main".to_vec()).unwrap(),
            image: self.image.name.clone(),
        };
        let (tools, project, image) = (&self.tools, &self.project, &self.image);
        let found = look_inside(tools, project, image, &node, standing, dir, job).await;
        // Whatever happens, nothing is left.
        assert_eq!(self.podman.containers(), Vec::<String>::new(), "{found:?}");
        let own = std::fs::read_dir(tools.layout.checks());
        assert_eq!(own.map_or(0, Iterator::count), 0, "{found:?}");
        found
    }

    pub async fn look(&self, standing: &Standing) -> Result<Packages, CheckError> {
        self.look_with(standing, Some(self.dir.clone()), None).await
    }

    /// Whether updates are needed, and which: `name old new`.
    #[track_caller]
    pub fn found(&self, standing: &Standing) -> (bool, Vec<String>) {
        let packages = block_on(self.look(standing)).unwrap_or_else(|error| panic!("{error:?}\n{}", self.log()));
        let text = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
        let updates = packages.updates.iter();
        let updates = updates.map(|update| format!("{} {} {}", update.name, text(&update.old), text(&update.new)));
        (packages.needed, updates.collect())
    }

    /// The error of a look.
    #[track_caller]
    pub fn error(&self, standing: &Standing) -> String {
        match block_on(self.look(standing)) {
            Ok(found) => panic!("{found:?}\n{}", self.log()),
            Err(error) => error.message,
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join(CHECK_LOG)).unwrap_or_default()
    }

    /// The ids of all images.
    pub fn images(&self) -> Vec<String> {
        let text = self.podman.run(&["images", "--all", "--quiet", "--no-trunc"]);
        let mut ids: Vec<_> = text.lines().map(str::to_owned).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

pub fn standing(reference: &str, id: Option<&str>, digest: Option<&str>) -> Standing {
    let parse = |text: &str| Digest::new(text).unwrap_or_else(|_| Digest::new(format!("sha256:{text}")).unwrap());
    Standing {
        job: None,
        commit: CommitId::new(COMMIT).unwrap(),
        id: id.map(parse),
        digest: digest.map(parse),
        released: vec![ImageRef::parse(reference).unwrap()],
        bases: Vec::new(),
        verified: Timestamp::UNIX_EPOCH,
        evidence: Evidence::Record,
        layers: Vec::new(),
        since: Timestamp::UNIX_EPOCH,
        wave: None,
        alike: std::collections::BTreeSet::new(),
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}
