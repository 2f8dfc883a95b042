//! The engine's temporary files of one build, in a directory of the job's own.
//!
//! A killed podman leaves a bundle there for each RUN that was at work, and for each of them the runtime has a record
//! and control groups. The bundle's name is theirs, too, so that just ours can be removed.

use super::command::{Engine, QUESTION};
use crate::config::EngineKind;
use crate::model::Step;
use crate::process::{Cancel, Runner};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;

/// The start of the name of a bundle.
const BUNDLE: &str = "buildah";

impl Engine {
    /// Removes the temporary files of a build, and what the runtime still knows of its RUNs. For a build that was
    /// cut off, and after a crash for the attempt that was running. What cannot be removed goes with the job's
    /// directory, and is no reason for a build to fail.
    pub async fn remove_scratch(&self, runner: &Runner, scratch: &Path) {
        let bundles: Vec<String> = std::fs::read_dir(scratch)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(BUNDLE) && scratch.join(name).join("config.json").is_file())
            .collect();
        if !bundles.is_empty() && self.kind == EngineKind::Podman {
            self.forget(runner, &bundles).await;
        }
        if let Err(error) = remove(scratch) {
            tracing::debug!(dir = %scratch.display(), %error, "cannot remove a build's temporary files");
        }
    }

    async fn forget(&self, runner: &Runner, bundles: &[String]) {
        // This is part of ending the build, so that it must not be ended with it.
        let runner = Runner {
            cancel: Cancel::new(),
            ..runner.clone()
        };
        let Ok(info) = self.info(&runner).await else { return };
        let Some(runtime) = info.runtime else { return };
        for bundle in bundles {
            let mut argv: Vec<OsString> = vec![runtime.clone().into()];
            argv.extend(["delete", "--force"].map(OsString::from));
            argv.push(format!("{BUNDLE}-{bundle}").into());
            let forgotten = runner
                .capture(Step::Build, &argv, Path::new("/"), QUESTION, 64 * 1024)
                .await;
            if let Err(error) = forgotten {
                tracing::debug!(%bundle, %error, "cannot remove what the runtime knows of a RUN");
            }
        }
    }
}

/// Removes a directory that may not be there.
pub(super) fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
