//! The engine and the registries printed back, as a part of `show`.
//!
//! It must never read a file that holds a secret: its path is all that is shown.

use super::secret::mask_text;
use super::{Config, EngineKind, Kaniko, RegistryLogin, RegistrySettings, SnapshotMode};

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// `engine`
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ShownEngine {
    Of(EngineKind),
    Kaniko(&'static str),
}

#[derive(Serialize)]
pub(super) struct ShownKaniko<'a> {
    image: &'a str,
    engine: EngineKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_repo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_mode: Option<SnapshotMode>,
    flags: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct ShownRegistry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    authfile: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<&'a Path>,
    insecure: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<&'a Path>,
}

/// As it is written: with kaniko, its host engine is shown in its own table.
pub(super) fn engine(config: &Config) -> ShownEngine {
    match config.kaniko {
        Some(_) => ShownEngine::Kaniko("kaniko"),
        None => ShownEngine::Of(config.engine),
    }
}

pub(super) fn kaniko(kaniko: &Kaniko, engine: EngineKind) -> ShownKaniko<'_> {
    let Kaniko {
        image,
        cache_repo,
        snapshot_mode,
        flags,
    } = kaniko;
    ShownKaniko {
        image,
        engine,
        cache_repo: cache_repo.as_ref().map(|repo| repo.name()),
        snapshot_mode: *snapshot_mode,
        flags: flags.iter().map(|flag| mask_text(flag)).collect(),
    }
}

pub(super) fn registries(registries: &BTreeMap<String, RegistrySettings>) -> BTreeMap<&str, ShownRegistry<'_>> {
    let shown = registries
        .iter()
        .map(|(host, settings)| (host.as_str(), registry(settings)));
    shown.collect()
}

fn registry(settings: &RegistrySettings) -> ShownRegistry<'_> {
    let RegistrySettings {
        login,
        insecure,
        ca_file,
    } = settings;
    let (authfile, username, password_file) = match login {
        RegistryLogin::Engine => (None, None, None),
        RegistryLogin::AuthFile(file) => (Some(file.as_path()), None, None),
        RegistryLogin::Password {
            username,
            password_file,
        } => (None, Some(username.as_str()), Some(password_file.as_path())),
    };
    ShownRegistry {
        authfile,
        username,
        password_file,
        insecure: *insecure,
        ca_file: ca_file.as_deref(),
    }
}
