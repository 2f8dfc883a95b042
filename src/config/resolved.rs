//! What a config means, with every default filled in.

use super::{Cron, Pattern, PokeTarget, SecretFile};
use crate::model::{ImageName, ImageRef, ProjectName, Sender, Template};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole config.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Jobs at once over all projects.
    pub limit: usize,
    /// How often each remote is asked whose project does not say.
    pub interval: Duration,
    /// Absolute path of the work directory.
    pub workdir: PathBuf,
    /// What builds and runs containers; with kaniko, what runs its executor.
    pub engine: EngineKind,
    /// Images are built by kaniko's executor in a container of the engine.
    pub kaniko: Option<Kaniko>,
    /// What is said of single registries, by host or host:port.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// Where webhooks are taken by TCP; none: only by the socket in the workdir.
    pub listen: Option<SocketAddr>,
    /// By what the senders of webhooks are known. Files are read when they are needed.
    pub hooks: BTreeMap<Sender, SecretFile>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// For one answer of a remote.
    pub poll_timeout: Duration,
    /// Bytes of one answer of a remote.
    pub poll_size_limit: u64,
    /// Remotes of one host that are asked at once.
    pub polls_per_host: usize,
    /// Bytes of one `build.log`, after which output is counted and left out.
    pub log_limit: u64,
    /// What happens after an errored attempt.
    pub retry: Retry,
    /// The daemon's own log.
    pub log: LogConfig,
    /// Reload when the file changes.
    pub watch_config: bool,
    /// Every project, enabled or not.
    pub projects: BTreeMap<ProjectName, Project>,
}

/// Backoff of errored jobs: `delay`, doubled each time up to `max_delay`, until `attempts` were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included; 1 means no retry.
    pub attempts: u32,
    /// Before the second attempt.
    pub delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
}

/// Where the daemon's own log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// error, warn, info, debug or trace.
    pub level: tracing::Level,
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// A daily file there, beside stderr.
    pub dir: Option<PathBuf>,
    /// How many daily files are kept.
    pub keep: usize,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What builds and runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The podman command.
    Podman,
    /// The docker command.
    Docker,
}

/// How kaniko's executor is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kaniko {
    /// The executor's image, as the engine takes it.
    pub image: String,
    /// Keep layers there; none: no cache.
    pub cache_repo: Option<ImageRef>,
    /// `--snapshot-mode`; none: the executor's default.
    pub snapshot_mode: Option<SnapshotMode>,
    /// Further flags of the executor.
    pub flags: Vec<String>,
}

/// How kaniko finds out what a RUN has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotMode {
    /// All of each file.
    Full,
    /// Size, time, mode and owner.
    Redo,
    /// Times only.
    Time,
}

impl SnapshotMode {
    /// As the executor takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Redo => "redo",
            Self::Time => "time",
        }
    }
}

/// How one registry is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Where the credentials come from.
    pub login: RegistryLogin,
    /// Plain http, or TLS that is not verified.
    pub insecure: bool,
    /// Certificates that are trusted beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Where the credentials for a registry come from. Files are read when they are needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RegistryLogin {
    /// From the engine's own files.
    #[default]
    Engine,
    /// From this file, in the form of containers' auth.json or docker's config.json.
    AuthFile(SecretFile),
    /// The password is all of a file but its last newline.
    Password {
        /// The login name.
        username: String,
        /// The file.
        password_file: SecretFile,
    },
}

/// One git remote and what to do with its commits. This is what is frozen into a job's attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Its table's name.
    pub name: ProjectName,
    /// Whether it is watched.
    pub enabled: bool,
    /// How often its remote is asked.
    pub interval: Duration,
    /// URL or path as git takes it; may hold credentials, so show it through `mask_url` only.
    pub remote: String,
    /// Which branches are followed.
    pub branches: Vec<Pattern>,
    /// Which tags are followed.
    pub tags: Vec<Pattern>,
    /// What happens to refs that are there when the project is first seen.
    pub initial: Initial,
    /// Only the commit, without history.
    pub shallow: bool,
    /// Check out submodules too.
    pub submodules: bool,
    /// For each command of a job.
    pub timeout: Duration,
    /// For each callback.
    pub callback_timeout: Duration,
    /// In order, later wins: `[defaults]` env_file, `[defaults]` env, the project's env_file, the project's env.
    pub env: Vec<EnvLayer>,
    /// After the checkout.
    pub prepare_callback: Option<Vec<String>>,
    /// The last step.
    pub success_callback: Option<Vec<String>>,
    /// After a failure.
    pub error_callback: Option<Vec<String>>,
    /// What all of it relies on in other projects; a project without images may be relied on itself.
    pub upstreams: BTreeSet<Upstream>,
    /// What is built, in the order in which it is built: what another image stands on comes before it.
    pub images: Vec<Image>,
    /// Run what was built.
    pub run: Option<Box<Run>>,
    /// Copy the result.
    pub rsync: Option<Box<Rsync>>,
}

/// First sight of a project's refs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initial {
    /// Branches are built, tags are recorded as skipped.
    Heads,
    /// Both are built.
    All,
    /// Neither is built.
    None,
}

/// A source of environment variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvLayer {
    /// An env file, read when a job starts. Its values are secret: never an ARG, never shown.
    File(PathBuf),
    /// Values from the config: also build ARGs and run ENV.
    Table(BTreeMap<String, String>),
}

/// How a Containerfile becomes an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Unique in its project.
    pub name: ImageName,
    /// In the checkout; none: `Containerfile`, else `Dockerfile`.
    pub file: Option<PathBuf>,
    /// The build context, in the checkout.
    pub context: PathBuf,
    /// The stage to build; none: the last.
    pub target: Option<String>,
    /// When bases are fetched.
    pub pull: Pull,
    /// Use the engine's layer cache.
    pub cache: bool,
    /// ARG values.
    pub build_args: BTreeMap<String, Template>,
    /// Labels of the image.
    pub labels: BTreeMap<String, Template>,
    /// Names in the engine's storage.
    pub tags: Vec<Template>,
    /// Paths in the repository, as globs or regular expressions: a commit that changes none of them leaves this image
    /// alone. Empty: every commit builds it.
    pub watch: Vec<Pattern>,
    /// Images of the project that must be built before it.
    pub depends_on: Vec<ImageName>,
    /// Images of other projects, and projects without images, that it relies on without building FROM them.
    pub upstreams: BTreeSet<Upstream>,
    /// How what stands on it follows its releases.
    pub chain: Chain,
    /// Files that `RUN --mount=type=secret,id=NAME` may read.
    pub secrets: BTreeMap<String, SecretFile>,
    /// Times in the image are those of the commit, so that the same commit on the same bases gives the same digest.
    pub source_date_epoch: bool,
    /// Runs in the built image; none: no test.
    pub test: Option<Vec<String>>,
    /// Of the test's container, as `--network` takes it.
    pub test_network: String,
    /// Where the image is pushed before it is tested.
    pub staging: Option<Template>,
    /// What is moved to the image once it is found good.
    pub release: Vec<Template>,
    /// On which refs it is released, by their short names; none: on the branch that the remote's HEAD points at.
    pub release_refs: Option<Vec<Pattern>>,
    /// How it is found out whether there is something new below it, once it is released.
    pub update: Update,
    /// When it is built again whatever is new; none: never.
    pub schedule: Option<Cron>,
    /// Who outside is told of its releases.
    pub poke: Vec<PokeTarget>,
}

/// Something of another project that is relied on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Upstream {
    /// Whose.
    pub project: ProjectName,
    /// Which of its images; none: all of them, or the project itself if it has none.
    pub image: Option<ImageName>,
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.image {
            Some(image) => write!(f, "{}/{image}", self.project),
            None => write!(f, "{}", self.project),
        }
    }
}

/// How what stands on an image follows its releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// Each image is released as soon as it is good, and what stands on it comes after that.
    Rolling,
    /// The image and all that stands on it are released together, or none of them.
    Atomic,
}

/// How it is found out whether there is something new below a released image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Compare its bases with what their registries have.
    pub base: bool,
    /// Look for newer packages inside.
    pub packages: PackageCheck,
    /// How often, give or take a tenth.
    pub every: Duration,
    /// How long a base that moved must stay where it is before it counts.
    pub quiet: Duration,
    /// For a look inside, its pull included.
    pub timeout: Duration,
    /// Of the container for a look inside, as `--network` takes it; none: the engine's default.
    pub network: Option<String>,
    /// Which tags are kept up to date beside the branches.
    pub tags: Vec<Pattern>,
}

impl Default for Update {
    fn default() -> Self {
        const HOUR: u64 = 60 * 60;
        Self {
            base: true,
            packages: PackageCheck::Off,
            every: Duration::from_secs(6 * HOUR),
            quiet: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(10 * 60),
            network: None,
            tags: Vec::new(),
        }
    }
}

/// How newer packages are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageCheck {
    /// Not at all.
    Off,
    /// With the image's own package manager.
    Auto,
    /// By a command in the image: 0 is none, 100 or 101 is some, all else an error.
    Command(Vec<String>),
}

/// When bases are fetched from their registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// Ask the registry each time, and fail if it cannot be asked; what no registry has and is here was made here, and is
    /// used.
    Newer,
    /// Ask the registry each time, and fail if it does not have it.
    Always,
    /// Only when the image is not here.
    Missing,
    /// Never.
    Never,
}

/// How the built image is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which of the project's images.
    pub image: ImageName,
    /// In place of the image's own command.
    pub command: Option<Vec<String>>,
    /// Read-only root file system.
    pub read_only: bool,
    /// Size of the tmpfs on /tmp.
    pub tmpfs: Tmpfs,
    /// As `--network` takes it; none: the engine's default.
    pub network: Option<String>,
    /// Labels of the container.
    pub labels: BTreeMap<String, Template>,
    /// Further variables in the container.
    pub env: BTreeMap<String, Template>,
    /// Mount the engine's socket: whoever has it owns the engine.
    pub engine_socket: bool,
}

/// The size of a tmpfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tmpfs {
    /// Of the machine's memory, 1 to 100.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

/// Where results are copied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rsync {
    /// A directory, or `host:path`, or `rsync://…`.
    pub destination: Template,
    /// Remove what the source does not have.
    pub delete: bool,
    /// Compare contents, not size and time.
    pub checksum: bool,
    /// Keep owner, group, modes and times.
    pub preserve: bool,
    /// Copy only what matches one of these.
    pub include: Vec<String>,
}
