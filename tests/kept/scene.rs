//! A project whose images stand on `base:1` of a registry, behind a proxy that counts.

use crate::common::{Bench, MAIN, insecure, skopeo};
use crate::made::{Made, Repository};
use crate::support::daemon::{Daemon, build_json};
use crate::support::jobs::{Row, jobs};
use crate::support::podman::BUSYBOX;
use crate::support::repo::short;
use crate::support::scratch::{SOON, wait_for_state};
use crate::support::servers::faults::Faults;
use crate::support::servers::registry::Registry;
use nix::sys::signal::Signal;
use pipelined::model::Digest;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Needs nothing in the base.
pub const COPY: &str = "ARG BASE\nFROM $BASE\nCOPY data /data\n";

/// Looks at once, and counts at once.
pub const QUICK: &str = "update = { every = '1s', quiet = '0s' }";

/// Dropped in this order.
pub struct Scene {
    pub daemon: Option<Daemon>,
    pub proxy: Faults,
    pub registry: Registry,
    pub bench: Bench,
}

impl Scene {
    /// The project `p` with one image, `p`, which is released as `p:1`. `image` is more of its table.
    pub fn new(containerfile: &str, image: &str) -> Self {
        let scene = Self::empty(containerfile);
        scene.configure(image);
        scene
    }

    /// Without a config.
    pub fn empty(containerfile: &str) -> Self {
        let bench = Bench::new(crate::common::SCRATCH);
        bench.repo.commit(&[("Containerfile", containerfile)]);
        bench.repo.push_to(&bench.origin);
        let registry = Registry::start(&bench.scratch);
        let proxy = Faults::start(registry.port(), |_| None);
        Self {
            daemon: None,
            proxy,
            registry,
            bench,
        }
    }

    /// The config of [`Scene::new`].
    pub fn configure(&self, image: &str) {
        let image =
            format!("[projects.p.image]\nrelease = ['HOST/p:1']\nbuild_args = {{ BASE = 'HOST/base:1' }}\n{image}\n");
        self.configure_project(&image);
    }

    /// With this as the project; `HOST` is the proxy.
    pub fn configure_project(&self, project: &str) {
        let host = self.proxy.host();
        let project = format!("success_callback = '{}'\n{project}", self.teller());
        self.bench.config(
            &insecure(&[host.clone(), self.registry.host()]),
            &project.replace("HOST", &host),
        );
    }

    /// A command for the config that waits while the file `hold` is there; and that file.
    pub fn holder(&self) -> (String, PathBuf) {
        let file = self.bench.scratch.join("hold");
        let wait = format!("while [ -e {} ]; do sleep 0.1; done", file.display());
        (self.bench.scratch.script("holder", &wait).display().to_string(), file)
    }

    fn teller(&self) -> String {
        let told = self.bench.scratch.join("told");
        let tell = format!(
            "printf '%s\\n' \"$BUILD_REASON\" \"$BUILD_IMAGE_DIGEST\" >{}",
            told.display()
        );
        self.bench.scratch.script("tell", &tell).display().to_string()
    }

    /// What the last success callback was told: the reason, and the digest of the image.
    pub fn told(&self) -> Vec<String> {
        let text = crate::common::text(&self.bench.scratch.join("told"));
        text.lines().map(str::to_owned).collect()
    }

    /// A place on the registry, past the proxy.
    pub fn repository(&self, name: &str) -> Repository {
        Repository {
            port: self.registry.port(),
            name: name.to_owned(),
        }
    }

    /// Puts busybox with one more file at `base:1`.
    #[track_caller]
    pub fn put_base(&self, file: &str) {
        let bench = &self.bench;
        let dir = bench.scratch.mkdir("base");
        std::fs::write(dir.join("file"), file).unwrap();
        let text = format!("FROM {BUSYBOX}\nCOPY file /{file}\n");
        std::fs::write(dir.join("Containerfile"), text).unwrap();
        let podman = &bench.podman;
        podman.run(&["build", "--quiet", "--tag", "localhost/put", &dir.display().to_string()]);
        podman.run(&[
            "push",
            "--quiet",
            "--tls-verify=false",
            "localhost/put",
            &self.place("base:1"),
        ]);
    }

    pub fn base(&self) -> Repository {
        self.repository("base")
    }

    /// Where something is past the proxy.
    pub fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    /// The digest that a place on the registry is at.
    #[track_caller]
    pub fn at(&self, name: &str) -> String {
        crate::common::seen(&self.place(name)).unwrap()
    }

    /// The layers of what is there.
    #[track_caller]
    pub fn layers(&self, name: &str) -> Vec<String> {
        let place = format!("docker://{}", self.place(name));
        let output = skopeo(&["inspect", "--config", "--tls-verify=false", "--no-creds", &place]);
        assert!(output.status.success(), "{output:?}");
        let config: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ids = config["rootfs"]["diff_ids"].as_array().unwrap().iter();
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// What is released begins with the layers of this.
    #[track_caller]
    pub fn assert_on(&self, name: &str, base: &Made) {
        let (layers, base) = (self.layers(name), base.diff_ids());
        let begin: Vec<&str> = layers.iter().map(String::as_str).take(base.len()).collect();
        assert_eq!(begin, base.iter().map(Digest::as_str).collect::<Vec<_>>());
    }

    /// HUP, after the config was changed.
    pub fn reload(&self) {
        let reloads = || self.log().matches(" reloaded: ").count();
        let before = reloads();
        self.daemon.as_ref().unwrap().signal(Signal::SIGHUP);
        wait_for_state("the reload", SOON, || {
            (reloads() > before).then_some(()).ok_or_else(|| self.log())
        });
    }

    pub fn start(&mut self) {
        self.daemon = Some(self.bench.site.start());
    }

    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// As if the power had gone.
    pub fn crash(&mut self) {
        self.daemon.take().unwrap().kill_9();
    }

    /// Starts the daemon, and waits until the tip of `main` is released.
    #[track_caller]
    pub fn released(&mut self) -> Row {
        self.start();
        let job = self.wait_jobs(1).remove(0);
        self.assert_good(&job);
        job
    }

    #[track_caller]
    pub fn assert_good(&self, job: &Row) {
        let log = crate::common::text(&self.dir(job).join("build.log"));
        assert_eq!(job.outcome(), "succeeded", "{job:?}\n{log}\n{}", self.log());
    }

    pub fn jobs(&self) -> Vec<Row> {
        jobs(&self.bench.site.workdir)
    }

    /// Waits until there are so many jobs, all of them over.
    #[track_caller]
    pub fn wait_jobs(&self, count: usize) -> Vec<Row> {
        wait_for_state(&format!("{count} jobs that are over"), SOON, || {
            let jobs = self.jobs();
            assert!(jobs.len() <= count, "more than {count} jobs: {jobs:#?}\n{}", self.log());
            let over = jobs.len() == count && jobs.iter().all(|job| job.state == "done");
            over.then_some(jobs.clone())
                .ok_or_else(|| format!("{jobs:#?}\n{}", self.log()))
        })
    }

    /// Looks at a base until now.
    fn looks(&self, base: &str) -> usize {
        self.proxy.count("HEAD", &format!("/{base}/manifests/1"))
    }

    /// Waits for so many looks at the base from now on, each of them taken in.
    #[track_caller]
    pub fn rounds(&self, count: usize) {
        self.rounds_of("base", count);
    }

    /// The same of another base.
    #[track_caller]
    pub fn rounds_of(&self, base: &str, count: usize) {
        // One more tells that the last one was taken in.
        let goal = self.looks(base) + count + 1;
        wait_for_state("looks at the base", SOON, || {
            let looks = self.looks(base);
            (looks >= goal)
                .then_some(())
                .ok_or_else(|| format!("{looks} of {goal}\n{}", self.log()))
        });
    }

    /// So many looks later there are as many jobs as before.
    #[track_caller]
    pub fn assert_quiet(&self, rounds: usize) {
        let before = self.jobs();
        self.rounds(rounds);
        assert_eq!(self.jobs(), before, "{}", self.log());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.bench.site.log).unwrap_or_default()
    }

    /// The directory of the last attempt of a job of `p` on `main`.
    pub fn dir(&self, job: &Row) -> PathBuf {
        let suffix = if job.outcome() == "succeeded" { "" } else { ".tmp" };
        let name = format!("{}{suffix}", job.attempts.last().unwrap());
        self.bench.site.job_dir(&job.project, MAIN, &name)
    }

    /// Its build.json.
    #[track_caller]
    pub fn report(&self, job: &Row) -> Value {
        let dir = self.dir(job);
        wait_for_state("build.json", SOON, || {
            dir.join("build.json").is_file().then_some(()).ok_or(format!("{dir:?}"))
        });
        build_json(&dir)
    }

    /// Of `images --json`, an image on `main`.
    #[track_caller]
    pub fn image(&self, name: &str) -> Value {
        let images = self.bench.site.json(&["images", "--json"]);
        let found = images
            .as_array()
            .unwrap()
            .iter()
            .find(|i| i["ref"] == MAIN && i["image"] == name);
        found.unwrap_or_else(|| panic!("{name}: {images}")).clone()
    }

    /// Of `status --json`, what it says of updates.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.bench.site.json(&["status", "--json"])["updates"].clone()
    }

    /// Waits until the status says this of updates.
    #[track_caller]
    pub fn wait_status<T>(&self, what: &str, is: impl Fn(&Value) -> Option<T>) -> T {
        wait_for_state(what, SOON, || {
            let status = self.status();
            // Each question is a process.
            let again = || std::thread::sleep(Duration::from_millis(200));
            is(&status).ok_or_else(|| {
                again();
                format!("{status}\n{}", self.log())
            })
        })
    }

    /// A command's exit code and what it printed.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.bench.site.cli(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// `5bf417f5.2` for the second run of the tip.
    pub fn run_name(&self, n: usize) -> String {
        format!("{}.{n}", short(&self.bench.repo.head()))
    }
}

/// Side by side, each in a scene of its own: they wait more than they work.
pub fn together(parts: &[fn()]) {
    std::thread::scope(|scope| {
        for part in parts {
            scope.spawn(part);
        }
    });
}

/// The first twelve digits, as people see them.
pub fn brief(digest: impl ToString) -> String {
    digest.to_string().replace("sha256:", "")[..12].to_owned()
}
