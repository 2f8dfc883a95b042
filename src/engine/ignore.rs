//! The ignore file beside a Containerfile, when not that file is built but one of ours that was made of it.
//!
//! podman and BuildKit look for `FILE.dockerignore` beside what they build, and only without one into the context. What
//! a repository says there must hold for our file, too. A link is not followed: it might lead out of the repository.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// In podman's order; docker knows the last one only.
const PODMAN: [&str; 2] = [".containerignore", ".dockerignore"];
const DOCKER: &str = ".dockerignore";

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_file())
}

/// podman has an option for it.
pub(super) fn podman(original: &Path) -> Option<OsString> {
    let found = PODMAN.iter().map(|s| beside(original, s)).find(|path| is_file(path))?;
    let mut option = OsString::from("--ignorefile=");
    option.push(found);
    Some(option)
}

/// docker has none.
pub(super) fn copy_beside(original: &Path, file: &Path) -> std::io::Result<()> {
    let found = beside(original, DOCKER);
    if original != file && is_file(&found) {
        std::fs::copy(found, beside(file, DOCKER))?;
    }
    Ok(())
}
