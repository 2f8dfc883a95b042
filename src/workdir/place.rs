//! Making, publishing and settling directories.

use super::layout::Layout;
use crate::model::{ProjectName, RefName};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What the file system refused.
#[derive(Debug, thiserror::Error)]
pub enum WorkdirError {
    /// The workdir cannot be used at all.
    #[error("the workdir {path} cannot be used: {what}")]
    Unusable {
        /// Of the workdir.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory below it.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WorkdirError {
    let path = path.to_owned();
    move |source| WorkdirError::Io { what, path, source }
}

/// Makes the workdir if it is missing, and proves that it can be written to.
pub fn prepare(workdir: &Path) -> Result<(), WorkdirError> {
    let unusable = |what| {
        let path = workdir.to_owned();
        move |source| WorkdirError::Unusable { path, what, source }
    };
    fs::create_dir_all(workdir).map_err(unusable("it cannot be made"))?;
    let probe = workdir.join(".pipelined-probe");
    // Removed also when only the writing fails, as on a full disk.
    let written = fs::write(&probe, b"probe");
    let removed = fs::remove_file(&probe);
    written.and(removed).map_err(unusable("it cannot be written to"))
}

/// Makes a new, empty directory for an attempt, with `drop/` in it.
pub fn job_directory(
    layout: &Layout,
    project: &ProjectName,
    reference: &RefName,
    dir: &str,
) -> Result<PathBuf, WorkdirError> {
    let parent = layout.of_ref(project, reference);
    fs::create_dir_all(&parent).map_err(failed("make", &parent))?;
    let path = layout.running(project, reference, dir);
    fs::create_dir(&path).map_err(failed("make", &path))?;
    let drop = path.join("drop");
    fs::create_dir(&drop).map_err(failed("make", &drop))?;
    Ok(path)
}

/// Takes the `.tmp` off a job that succeeded, and points `latest` at it if it is the newest of its ref. Answers whether
/// there was anything to do: what a crash left between the record and the disk is put right by calling this again.
pub fn settle(
    layout: &Layout,
    project: &ProjectName,
    reference: &RefName,
    dir: &str,
    newest: bool,
) -> Result<bool, WorkdirError> {
    let parent = layout.of_ref(project, reference);
    let running = layout.running(project, reference, dir);
    let finished = layout.finished(project, reference, dir);
    let behind = running.is_dir() && !finished.exists();
    if behind {
        fs::rename(&running, &finished).map_err(failed("rename", &running))?;
    }
    let link = parent.join("latest");
    let astray = newest && finished.is_dir() && fs::read_link(&link).ok().as_deref() != Some(Path::new(dir));
    if astray {
        let new = parent.join(".latest.new");
        let _ = fs::remove_file(&new);
        std::os::unix::fs::symlink(dir, &new).map_err(failed("make", &new))?;
        fs::rename(&new, &link).map_err(failed("replace", &link))?;
    }
    if behind || astray {
        File::open(&parent)
            .and_then(|d| d.sync_all())
            .map_err(failed("sync", &parent))?;
    }
    Ok(behind || astray)
}
