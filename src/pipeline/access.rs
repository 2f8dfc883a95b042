//! What the engine is told so that it can pull as the config says: for attempts, and for looks into released images.
//!
//! Credentials go by a file that only this user can read. It must never be left where nobody removes it: whoever asks
//! removes the directory for secrets in the end.

use crate::engine::{PullAccess, RegistryAccess};
use crate::model::{Failure, ImageRef, Step};
use crate::process::Runner;
use crate::registry::{Registries, auth_json};
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What the engine must be told to reach the registries of these references, where the config says something of them. The
/// engine's own temporary files go to `scratch`, credentials to `secrets`.
pub async fn pull_access(
    registries: &Registries,
    runner: &Runner,
    references: &BTreeSet<ImageRef>,
    step: Step,
    (scratch, secrets): (PathBuf, PathBuf),
) -> Result<PullAccess, Failure> {
    let mut access = PullAccess::new(scratch);
    let mut logins = Vec::new();
    for reference in references {
        let Some(settings) = registries.settings(reference.registry()) else {
            continue;
        };
        let spoken = RegistryAccess {
            insecure: settings.insecure,
            ca_file: settings.ca_file.clone(),
        };
        access.registries.insert(reference.registry().to_owned(), spoken);
        let found = registries.credentials(runner, reference).await;
        if let Some(login) = found.map_err(|error| error.into_failure(step))? {
            logins.push((reference.registry().to_owned(), login));
        }
    }
    if !logins.is_empty() {
        access.authfile = Some(write_secret(&secrets, "auth.json", &auth_json(&logins), step)?);
    }
    Ok(access)
}

/// A file that only this user can read.
fn write_secret(dir: &Path, name: &str, text: &str, step: Step) -> Result<PathBuf, Failure> {
    let file = dir.join(name);
    let written = std::fs::create_dir_all(dir).and_then(|()| {
        let _ = std::fs::remove_file(&file);
        let mut open = std::fs::OpenOptions::new();
        let mut new = open.write(true).create_new(true).mode(0o600).open(&file)?;
        new.write_all(text.as_bytes())
    });
    written.map_err(|e| Failure::errored(format!("{step}: cannot write {}: {e}", file.display())))?;
    Ok(file)
}
