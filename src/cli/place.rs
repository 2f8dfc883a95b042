//! Which workdir a verb is about, and what is known of its config and its daemon.
//!
//! Whoever names a workdir needs no config for it: a daemon's own record is enough to answer from, also when the config
//! is broken or not readable for this user.

use super::common::ConfigArgs;
use crate::api::{ClientError, DaemonStatus, RemoteStatus, call_within};
use crate::config::{Config, LoadError, Overrides, load};
use crate::model::ProjectName;
use crate::store::{Lock, Store};
use anyhow::bail;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For questions about which a person should not have to wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the config is when nobody says.
const DEFAULT_CONFIG: &str = "/etc/pipelined/pipelined.toml";

/// The workdir that is meant: the one that is named, else the config's.
pub(super) fn workdir(args: &ConfigArgs) -> anyhow::Result<PathBuf> {
    match &args.workdir {
        Some(dir) => Ok(std::path::absolute(dir)?),
        None => Ok(args.load()?.config.workdir),
    }
}

/// A workdir with all that surrounds it.
pub(super) struct Place {
    /// Absolute.
    pub workdir: PathBuf,
    /// None if a workdir was named and there is no telling which config is in force there.
    pub config: Option<Config>,
    /// None if none runs, or if it does not answer.
    pub daemon: Option<DaemonStatus>,
    /// Why there is no answer from a daemon that may well run.
    pub silent: Option<String>,
}

impl Place {
    /// Looks around.
    pub fn look(args: &ConfigArgs) -> anyhow::Result<Self> {
        let Some(dir) = &args.workdir else {
            let config = args.load()?.config;
            let workdir = config.workdir.clone();
            let (daemon, silent) = daemon(&workdir);
            return Ok(Self {
                daemon,
                silent,
                config: Some(config),
                workdir,
            });
        };
        let workdir = std::path::absolute(dir)?;
        let (daemon, silent) = daemon(&workdir);
        let config = if args.config != Path::new(DEFAULT_CONFIG) {
            Some(args.load()?.config)
        } else {
            daemon.as_ref().and_then(|d| in_force(&d.config, &workdir).ok())
        };
        Ok(Self {
            workdir,
            config,
            daemon,
            silent,
        })
    }

    /// In words, where no daemon answered.
    pub fn no_daemon(&self) -> String {
        match &self.silent {
            Some(why) => why.clone(),
            None => format!("no daemon works in {}", self.workdir.display()),
        }
    }

    /// What the daemon has to tell of a project's remote; nothing if all is well.
    pub fn remote_of(&self, project: &ProjectName) -> Option<&RemoteStatus> {
        let noteworthy = &self.daemon.as_ref()?.polls.noteworthy;
        noteworthy.iter().find(|remote| remote.projects.contains(project))
    }

    /// The projects of the config and of the record.
    pub fn projects(&self, store: &Store) -> anyhow::Result<BTreeSet<ProjectName>> {
        let mut names = store.project_names()?;
        names.extend(self.config.iter().flat_map(|c| c.projects.keys().cloned()));
        Ok(names)
    }
}

fn in_force(path: &str, workdir: &Path) -> Result<Config, LoadError> {
    let overrides = Overrides {
        workdir: Some(workdir.to_owned()),
        ..Overrides::default()
    };
    load(Path::new(path), &overrides).map(|loaded| loaded.config)
}

/// Asks the daemon how it is: its answer, or why one that may well run gives none.
fn daemon(workdir: &Path) -> (Option<DaemonStatus>, Option<String>) {
    match call_within(PATIENCE, workdir, hyper::Method::GET, "/status", None) {
        Ok(status) => (Some(status), None),
        Err(ClientError::NoDaemon { .. }) if Lock::is_held(workdir) => (None, Some(busy(workdir))),
        Err(ClientError::NoDaemon { .. }) => (None, None),
        Err(error) => (None, Some(format!("{:#}", anyhow::Error::from(error)))),
    }
}

fn busy(workdir: &Path) -> String {
    format!(
        "a daemon works in {}, but does not listen: it is starting or stopping",
        workdir.display()
    )
}

/// Fails if nobody knows the project.
pub(super) fn must_be_known(project: &ProjectName, known: &BTreeSet<ProjectName>) -> anyhow::Result<()> {
    if known.contains(project) {
        return Ok(());
    }
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name.as_str(), project.as_str()), name))
        .min()
        .filter(|(distance, near)| *distance <= 2 && *distance < near.as_str().len());
    match near {
        Some((_, near)) => bail!("there is no project {project}: is {near} meant?"),
        None if known.is_empty() => bail!("no project {project} was looked at yet, nor any other"),
        None => {
            let names: Vec<&str> = known.iter().take(20).map(ProjectName::as_str).collect();
            bail!("there is no project {project}; there are: {}", names.join(", "))
        }
    }
}

/// Fails if no daemon answers.
pub(super) fn must_run(workdir: &Path) -> anyhow::Result<DaemonStatus> {
    get(workdir, "/status")
}

/// Asks the daemon how something is.
pub(super) fn get<T: serde::de::DeserializeOwned>(workdir: &Path, path: &str) -> anyhow::Result<T> {
    ask(workdir, hyper::Method::GET, path, None)
}

/// Asks the daemon for something and waits for its answer.
pub(super) fn call<T: serde::de::DeserializeOwned>(
    workdir: &Path,
    path: &str,
    body: &impl serde::Serialize,
) -> anyhow::Result<T> {
    ask(workdir, hyper::Method::POST, path, Some(&serde_json::to_value(body)?))
}

fn ask<T: serde::de::DeserializeOwned>(
    workdir: &Path,
    method: hyper::Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> anyhow::Result<T> {
    match crate::api::call(workdir, method, path, body) {
        Err(ClientError::NoDaemon { .. }) if Lock::is_held(workdir) => bail!("{}: try again", busy(workdir)),
        answer => Ok(answer?),
    }
}
