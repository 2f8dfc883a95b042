//! How registries are spoken to when the engine pulls: credentials, private authorities, plain http.
//!
//! Only what was configured is said; without it the engine's own settings hold. Credentials go by files of the
//! attempt's own that nobody else can read, never by arguments.

use super::command::Engine;
use super::docker_config;
use super::scratch::remove;
use crate::config::EngineKind;
use crate::model::{Failure, Step};
use crate::process::Runner;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What pulls need to know beside the engine's own settings.
#[derive(Debug, Clone)]
pub struct PullAccess {
    /// Credentials in the form of containers' auth.json; none: the engine's own.
    pub authfile: Option<PathBuf>,
    /// By the registry's host, as [`crate::model::ImageRef::registry`] has it.
    pub registries: BTreeMap<String, RegistryAccess>,
    /// A directory of the job's own for files that are needed while pulling; made and removed here.
    pub scratch: PathBuf,
}

/// How one registry is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryAccess {
    /// Plain http, or TLS that is not verified.
    pub insecure: bool,
    /// Certificates that are trusted beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

impl PullAccess {
    /// The engine's own settings only.
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        Self {
            authfile: None,
            registries: BTreeMap::new(),
            scratch: scratch.into(),
        }
    }
}

/// What one pull says, and what is removed after it.
pub(super) struct Prepared {
    pub options: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    scratch: PathBuf,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.scratch) {
            tracing::warn!(dir = %self.scratch.display(), %error, "cannot remove a pull's temporary files");
        }
    }
}

impl Engine {
    /// The options of a pull from a registry.
    pub(super) async fn prepare_pull(
        &self,
        runner: &Runner,
        step: Step,
        registry: Option<&str>,
        access: &PullAccess,
    ) -> Result<Prepared, Failure> {
        let mut prepared = Prepared {
            options: Vec::new(),
            env: Vec::new(),
            scratch: access.scratch.clone(),
        };
        let settings = registry
            .and_then(|r| access.registries.get(r))
            .cloned()
            .unwrap_or_default();
        let broken =
            |e: std::io::Error| Failure::errored(format!("{step}: cannot write to {}: {e}", access.scratch.display()));
        match self.kind {
            EngineKind::Podman => {
                prepared.options.extend(access.authfile.as_deref().map(authfile));
                if settings.insecure {
                    prepared.options.push("--tls-verify=false".into());
                }
                if let Some(ca_file) = &settings.ca_file {
                    // The client has no such option when the work is done elsewhere.
                    if self.info(runner).await?.remote {
                        runner.note(
                            step,
                            "ca_file is not used: a remote podman trusts what its own /etc/containers/certs.d holds",
                        );
                    } else {
                        let dir = certificates(&access.scratch, ca_file).map_err(broken)?;
                        let mut option = OsString::from("--cert-dir=");
                        option.push(dir);
                        prepared.options.push(option);
                    }
                }
            }
            EngineKind::Docker => {
                if settings != RegistryAccess::default() {
                    runner.note(
                        step,
                        &format!(
                            "insecure and ca_file of {} are for dockerd to know: see insecure-registries in daemon.json, \
                             and /etc/docker/certs.d",
                            registry.unwrap_or_default()
                        ),
                    );
                }
                if let Some(authfile) = &access.authfile {
                    let dir = docker_config::make(runner, step, &access.scratch, authfile)?;
                    prepared.env.push(("DOCKER_CONFIG".into(), dir.into()));
                }
            }
        }
        Ok(prepared)
    }
}

/// podman's option.
pub(super) fn authfile(path: &Path) -> OsString {
    let mut option = OsString::from("--authfile=");
    option.push(path);
    option
}

/// podman takes all `*.crt` of a directory.
fn certificates(scratch: &Path, ca_file: &Path) -> std::io::Result<PathBuf> {
    let dir = scratch.join("certificates");
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    std::fs::copy(ca_file, dir.join("ca.crt"))
        .map_err(|e| std::io::Error::new(e.kind(), format!("{}: {e}", ca_file.display())))?;
    Ok(dir)
}
