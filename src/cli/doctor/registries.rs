//! The files that `[registries]` names: can the daemon's user read them? It must never show what is in them, and asks no
//! registry.

use super::finding::Finding;
use crate::config::{Config, RegistryLogin, RegistrySettings, SecretFile};
use std::path::Path;

const ABOUT: &str = "registries";

/// One finding for each registry that has files.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let all = config.registries.iter();
    all.filter_map(|(host, settings)| registry(host, settings)).collect()
}

fn registry(host: &str, settings: &RegistrySettings) -> Option<Finding> {
    let login = match &settings.login {
        RegistryLogin::AuthFile(file) => Some(("authfile", secret(file))),
        RegistryLogin::Password { password_file, .. } => Some(("password_file", secret(password_file))),
        RegistryLogin::Engine => None,
    };
    let ca_file = settings.ca_file.as_deref().map(|path| ("ca_file", read(path)));
    let files: Vec<_> = login.into_iter().chain(ca_file).collect();
    if files.is_empty() {
        return None;
    }
    for (key, result) in &files {
        if let Err(why) = result {
            let advice = "let the daemon's user read it; what systemd gives is only there when it runs as a service";
            return Some(Finding::bad(ABOUT, format!("{host}: {key}: {why}"), advice));
        }
    }
    let keys: Vec<&str> = files.iter().map(|(key, _)| *key).collect();
    Some(Finding::ok(
        ABOUT,
        format!("{host}: {} can be read", keys.join(" and ")),
    ))
}

/// Whether a file with a secret can be read.
pub(super) fn secret(file: &SecretFile) -> Result<(), String> {
    read(&file.resolve().map_err(|error| error.to_string())?)
}

fn read(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("cannot read {shown}: {error}");
    // Asked first: reading a pipe would wait for ever.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(format!("{shown} is not a file, or has nothing in it"));
    }
    std::fs::File::open(path).map(drop).map_err(unreadable)
}
