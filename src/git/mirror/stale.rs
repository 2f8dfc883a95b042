//! What a git that was killed leaves in a repository: locks that would stop the next one, and halves of packs.

use std::fs;
use std::io;
use std::path::Path;

/// Removes it. Only for a repository that no git works in.
pub(super) fn tidy(repository: &Path) -> io::Result<()> {
    for entry in entries(repository)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name() == "objects" {
            tidy_objects(&path)?;
        } else if entry.file_type()?.is_dir() {
            tidy(&path)?;
        } else if is_lock(&path) {
            remove(fs::remove_file(&path))?;
        }
    }
    Ok(())
}

fn tidy_objects(objects: &Path) -> io::Result<()> {
    for entry in entries(objects)?.into_iter().chain(entries(&objects.join("pack"))?) {
        let entry = entry?;
        let path = entry.path();
        if is_half(&path) {
            remove(match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            })?;
        }
    }
    Ok(())
}

/// No ref may end so.
fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "lock")
}

/// Of what is below `objects/`: not yet, or no longer, part of the repository.
pub(super) fn is_half(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    is_lock(path)
        || name.ends_with(".keep")
        || [".tmp-", "tmp_", "incoming-"]
            .iter()
            .any(|start| name.starts_with(start))
}

/// None if there is no such directory: whoever needs it finds out.
fn entries(dir: &Path) -> io::Result<Vec<io::Result<fs::DirEntry>>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.collect()),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn remove(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
