//! A farm: repositories with an image each, which stand on each other, a registry behind a proxy that counts, and a daemon
//! that follows them all.

use crate::common::{MAIN, insecure, seen, skopeo, text};
use crate::support::daemon::{Daemon, Site, wait_no_strays};
use crate::support::podman::Podman;
use crate::support::repo::Repo;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use crate::support::servers::faults::Faults;
use crate::support::servers::registry::Registry;
use nix::sys::signal::Signal;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Looks at bases all the time and counts what they find at once: whatever may be built twice for that is.
const EAGER: &str = "update = { every = '1s', quiet = '0s' }";

/// What a root is.
pub const ROOT: &str = "FROM scratch\nCOPY root /\n";

/// A Containerfile that stands on these.
pub fn on(bases: &[&str]) -> String {
    let (first, others) = bases.split_first().unwrap();
    let mut text = format!("FROM HOST/{first}:1\nCOPY root /\n");
    for other in others {
        text += &format!("COPY --from=HOST/{other}:1 /{other} /from-{other}\n");
    }
    text
}

/// A Containerfile that wants a file of its base's.
pub fn wants(base: &str, file: &str) -> String {
    format!("FROM HOST/{base}:1 AS below\nFROM HOST/{base}:1\nCOPY --from=below {file} /wanted\nCOPY root /\n")
}

/// A job as it is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: i64,
    pub project: String,
    pub commit: String,
    pub state: String,
    pub outcome: String,
    pub note: String,
    pub reason: String,
    pub wave: i64,
    /// Names of the directories of its attempts.
    pub dirs: Vec<String>,
}

/// What of a project is in the config.
struct Project {
    /// Its own keys.
    own: String,
    /// Those of its image; none: it has no image.
    image: Option<String>,
}

/// Dropped in this order.
pub struct Farm {
    pub daemon: Option<Daemon>,
    pub proxy: Faults,
    pub registry: Registry,
    pub site: Site,
    pub podman: Podman,
    repos: BTreeMap<String, Repo>,
    projects: BTreeMap<String, Project>,
    disabled: Vec<String>,
    /// Of the whole config.
    pub top: String,
    /// Before the names of images.
    pub host: String,
    pub scratch: Scratch,
}

impl Farm {
    /// With these repositories, each a project with an image that is released as `HOST/NAME:1`.
    pub fn new(images: &[(&str, &str)]) -> Self {
        Self::with(images, true)
    }

    /// The same in the storage of podman alone.
    pub fn local(images: &[(&str, &str)]) -> Self {
        Self::with(images, false)
    }

    fn with(images: &[(&str, &str)], is_pushed: bool) -> Self {
        let scratch = Scratch::new();
        let podman = Podman::new(&scratch);
        let registry = Registry::start(&scratch);
        let proxy = Faults::start(registry.port(), |_| None);
        let home = scratch.mkdir("home").display().to_string();
        let mut env = podman.env();
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
            env.push((name.to_owned(), home.clone()));
        }
        let mut farm = Self {
            daemon: None,
            site: Site::new(&scratch, "").with_env(env),
            host: match is_pushed {
                true => proxy.host(),
                false => "localhost".to_owned(),
            },
            top: "limit = 2\n".to_owned(),
            proxy,
            registry,
            podman,
            repos: BTreeMap::new(),
            projects: BTreeMap::new(),
            disabled: Vec::new(),
            scratch,
        };
        for (name, containerfile) in images {
            farm.add(name, containerfile);
            farm.image(name, EAGER);
        }
        farm
    }

    /// One more repository, of a project without an image.
    pub fn add(&mut self, name: &str, containerfile: &str) {
        let repo = Repo::new(self.scratch.join(format!("repos/{name}")));
        self.repos.insert(name.to_owned(), repo);
        let project = Project {
            own: String::new(),
            image: None,
        };
        self.projects.insert(name.to_owned(), project);
        let own = format!("root/{name}");
        let containerfile = self.text(containerfile);
        self.push(name, &[("Containerfile", &containerfile), (&own, "1\n")]);
    }

    /// Keys of a project's own.
    pub fn project(&mut self, name: &str, toml: &str) {
        self.projects.get_mut(name).unwrap().own += &format!("{toml}\n");
    }

    /// Keys of its image.
    pub fn image(&mut self, name: &str, toml: &str) {
        let image = &mut self.projects.get_mut(name).unwrap().image;
        *image.get_or_insert_default() += &format!("{toml}\n");
    }

    /// These are disabled from the next config on, and no others.
    pub fn disable(&mut self, names: &[&str]) {
        self.disabled = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// It is not in the next config, nor in those after it.
    pub fn remove(&mut self, name: &str) {
        self.projects.remove(name);
    }

    /// No base is looked at for as long as a test runs.
    pub fn calm(&mut self) {
        for image in self.projects.values_mut().filter_map(|project| project.image.as_mut()) {
            *image = image.replace(EAGER, "");
        }
    }

    pub fn text(&self, text: &str) -> String {
        text.replace("HOST", &self.host)
    }

    /// Writes the config.
    pub fn configure(&self) {
        let hosts = [self.proxy.host(), self.registry.host()];
        let mut toml = format!(
            "interval = '1s'\nretry = {{ attempts = 3, delay = '1s' }}\n{}\n{}",
            self.top,
            insecure(&hosts)
        );
        for (name, Project { own, image }) in &self.projects {
            let remote = self.remote(name);
            let enabled = !self.disabled.contains(name);
            toml += &format!("[projects.{name}]\nremote = '{remote}'\nenabled = {enabled}\n{own}");
            if let Some(image) = image {
                let release = match image.contains("release =") {
                    true => "",
                    false => &format!("release = ['HOST/{name}:1']\n"),
                };
                toml += &format!("[projects.{name}.image]\n{release}{image}");
            }
        }
        self.site.write_config(&self.text(&toml));
    }

    pub fn remote(&self, name: &str) -> String {
        self.repos[name].path().display().to_string()
    }

    /// Commits to a repository; the commit.
    pub fn push(&self, name: &str, files: &[(&str, &str)]) -> String {
        self.repos[name].commit(files)
    }

    /// Another content of an image.
    pub fn change(&self, name: &str, content: &str) -> String {
        self.push(name, &[(&format!("root/{name}"), content)])
    }

    pub fn repo(&self, name: &str) -> &Repo {
        &self.repos[name]
    }

    /// Configures and starts.
    pub fn start(&mut self) {
        self.configure();
        self.start_again();
    }

    /// The same while the daemon runs.
    pub fn reload(&self) {
        self.configure();
        let reloads = || text(&self.site.log).matches(" reloaded: ").count();
        let before = reloads();
        self.signal(Signal::SIGHUP);
        wait_for_state("the reload", SOON, || {
            (reloads() > before).then_some(()).ok_or_else(|| text(&self.site.log))
        });
    }

    pub fn start_again(&mut self) {
        self.daemon = Some(self.site.start());
    }

    /// In an orderly way. A question to a remote that is on its way ends a moment after the daemon.
    #[track_caller]
    pub fn stop(&mut self) {
        if self.daemon.is_some() {
            self.signal(Signal::SIGTERM);
            self.wait_end();
        }
    }

    /// Waits for the end of a daemon that was told to end.
    #[track_caller]
    pub fn wait_end(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.wait_exit(SOON);
        wait_no_strays(&self.site.workdir, SOON);
    }

    pub fn crash(&mut self) {
        self.daemon.take().unwrap().kill_9();
    }

    /// A script for a callback that waits while its file is there; its command, and the file.
    pub fn holder(&self, name: &str) -> (String, PathBuf) {
        let file = self.scratch.join(format!("hold-{name}"));
        let wait = format!("while [ -e {} ]; do sleep 0.05; done", file.display());
        let script = self.scratch.script(format!("holder-{name}"), &wait);
        (format!("prepare_callback = '{}'", script.display()), file)
    }

    /// A callback that writes what it is told, once a line; and where.
    pub fn teller(&self, kind: &str, name: &str) -> (String, PathBuf) {
        let file = self.scratch.join(format!("{kind}-{name}"));
        let tell = format!("echo \"$BUILD_OUTCOME $BUILD_ERROR\" >>{}", file.display());
        let script = self.scratch.script(format!("tell-{kind}-{name}"), &tell);
        (format!("{kind} = '{}'", script.display()), file)
    }

    /// A line for `host`, past the proxy.
    pub fn place(&self, name: &str) -> String {
        format!("{}/{name}:1", self.registry.host())
    }

    /// The digest that an image is released as.
    pub fn find(&self, name: &str) -> Option<String> {
        seen(&self.place(name))
    }

    #[track_caller]
    pub fn at(&self, name: &str) -> String {
        self.find(name).unwrap_or_else(|| panic!("{name}: {}", self.story()))
    }

    pub fn all_at(&self, names: &[&str]) -> Vec<Option<String>> {
        names.iter().map(|name| self.find(name)).collect()
    }

    /// The config of what is released.
    #[track_caller]
    pub fn config(&self, name: &str) -> Value {
        let place = format!("docker://{}", self.place(name));
        let output = skopeo(&["inspect", "--config", "--tls-verify=false", "--no-creds", &place]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    pub fn label(&self, name: &str, label: &str) -> String {
        let config = self.config(name);
        config["config"]["Labels"][label]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The wave that an image says it was built in.
    #[track_caller]
    pub fn wave(&self, name: &str) -> i64 {
        self.label(name, "pipelined.wave").parse().unwrap()
    }

    #[track_caller]
    fn layers(&self, name: &str) -> Vec<String> {
        let config = self.config(name);
        let layers = config["rootfs"]["diff_ids"].as_array().unwrap().iter();
        layers.map(|layer| layer.as_str().unwrap().to_owned()).collect()
    }

    /// An image stands on exactly what another one is released as.
    #[track_caller]
    pub fn assert_on(&self, name: &str, base: &str) {
        let digest = self.label(name, "org.opencontainers.image.base.digest");
        assert_eq!(digest, self.at(base), "{name} on {base}: {}", self.story());
        let (own, below) = (self.layers(name), self.layers(base));
        assert!(own.starts_with(&below), "{name} on {base}: {own:?} {below:?}");
    }

    /// Every job, the oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        let query = "SELECT id, project, commit_id, state, coalesce(outcome, ''), note, reason, coalesce(wave, id), \
                     coalesce((SELECT group_concat(dir, ' ') FROM (SELECT dir FROM attempts WHERE job = id ORDER BY n)), '') \
                     FROM jobs ORDER BY id";
        self.query(query, |row| {
            Ok(Job {
                id: row.get(0)?,
                project: row.get(1)?,
                commit: row.get(2)?,
                state: row.get(3)?,
                outcome: row.get(4)?,
                note: row.get(5)?,
                reason: row.get(6)?,
                wave: row.get(7)?,
                dirs: row.get::<_, String>(8)?.split_whitespace().map(str::to_owned).collect(),
            })
        })
    }

    /// Of the record; nothing while there is none.
    pub fn query<T>(&self, query: &str, of: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let Ok(db) = Connection::open_with_flags(self.site.workdir.join("pipelined.db"), flags) else {
            return Vec::new();
        };
        db.busy_timeout(SOON).unwrap();
        // A database that was made a moment ago has no tables yet.
        let Ok(mut statement) = db.prepare(query) else {
            return Vec::new();
        };
        statement.query_map([], of).unwrap().map(Result::unwrap).collect()
    }

    /// How far the releases have come that are on record, by job.
    pub fn stages(&self) -> Vec<(i64, String)> {
        self.query("SELECT job, plan FROM release_plans ORDER BY job", |row| {
            let plan: Value = serde_json::from_str(&row.get::<_, String>(1)?).unwrap();
            Ok((row.get(0)?, plan["stage"].as_str().unwrap_or("moving").to_owned()))
        })
    }

    /// Waits until the jobs are as `is` wants them.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, is: impl Fn(&[Job]) -> Option<T>) -> T {
        wait_for_state(what, SOON, || is(&self.jobs()).ok_or_else(|| self.story()))
    }

    /// Waits until there are so many jobs, all of them over; never are there more.
    #[track_caller]
    pub fn wait_jobs(&self, count: usize) -> Vec<Job> {
        self.wait(&format!("{count} jobs that are over"), |jobs| {
            assert!(jobs.len() <= count, "more than {count} jobs: {}", self.story());
            let over = jobs.len() == count && jobs.iter().all(|job| job.state == "done");
            over.then(|| jobs.to_vec())
        })
    }

    /// The same, where these succeeded in this order after the first `before`; those.
    #[track_caller]
    pub fn wait_built(&self, before: usize, order: &[&str]) -> Vec<Job> {
        let mut jobs = self.wait_jobs(before + order.len()).split_off(before);
        assert!(jobs.iter().all(|job| job.outcome == "succeeded"), "{}", self.story());
        let mut built: Vec<(i64, i64)> = self.query("SELECT job, max(ended) FROM attempts GROUP BY job", |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
        built.sort_by_key(|(_, ended)| *ended);
        let place = |job: &Job| built.iter().position(|(id, _)| *id == job.id);
        jobs.sort_by_key(place);
        let names: Vec<&str> = jobs.iter().map(|job| job.project.as_str()).collect();
        assert_eq!(names, order, "{}", self.story());
        jobs
    }

    /// The bases were looked at so often again, and nothing has come of it.
    #[track_caller]
    pub fn assert_quiet(&self, base: &str) {
        let looks = || self.proxy.count("HEAD", &format!("/{base}/manifests/1"));
        let (before, goal) = (self.jobs(), looks() + 3);
        wait_for_state("looks at the base", SOON, || {
            (looks() >= goal).then_some(()).ok_or_else(|| self.story())
        });
        assert_eq!(self.jobs(), before, "{}", self.story());
    }

    /// The log of the last attempt of a job.
    pub fn build_log(&self, job: &Job) -> String {
        let dir = job.dirs.last().unwrap();
        let finished = self.site.job_dir(&job.project, MAIN, dir);
        let running = self.site.job_dir(&job.project, MAIN, &format!("{dir}.tmp"));
        // In this order: it may be renamed meanwhile.
        match text(&running.join("build.log")) {
            log if log.is_empty() => text(&finished.join("build.log")),
            log => log,
        }
    }

    /// The directories of a project's jobs, without the links.
    pub fn dirs(&self, project: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.site.ref_dir(project, MAIN)).unwrap().flatten();
        let dirs = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        dirs.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    pub fn signal(&self, signal: Signal) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    /// A command, which must end well; what it printed.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.site.cli(args);
        assert!(output.status.success(), "{args:?}: {output:?} {}", self.story());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// All there is to say when something went wrong.
    pub fn story(&self) -> String {
        let jobs = self.jobs();
        let logs = jobs.iter().filter(|job| !job.dirs.is_empty());
        let logs: String = logs
            .map(|job| format!("--- log of job {} of {}\n{}", job.id, job.project, self.build_log(job)))
            .collect();
        let stages = self.stages();
        format!("{jobs:#?}\n{stages:?}\n{}\n{logs}", text(&self.site.log))
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}
