//! Callbacks that bear witness: what a job's commands saw, byte for byte.

use crate::support::scratch::Scratch;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A script that writes its environment and its working directory to `$BUILD_DIR/NAME`, NAME being its argument.
pub fn env_dumper(scratch: &Scratch) -> PathBuf {
    scratch.script("dump-env", "env -0 PWD=\"$(pwd -P)\" >\"$BUILD_DIR/$1\"")
}

/// What [`env_dumper`] has written.
#[track_caller]
pub fn dumped_env(file: &Path) -> BTreeMap<OsString, OsString> {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    bytes
        .split(|b| *b == 0)
        .filter_map(|entry| {
            let at = entry.iter().position(|b| *b == b'=')?;
            let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            Some((text(&entry[..at]), text(&entry[at + 1..])))
        })
        .collect()
}

/// A script that adds a line `PROJECT REF COMMIT` to a file for each job that calls it; the script and the file.
pub fn recorder(scratch: &Scratch) -> (PathBuf, Built) {
    let file = scratch.write("built", "");
    let line = "\"$BUILD_PROJECT $BUILD_REF $BUILD_COMMIT\"";
    let script = scratch.script("record", &format!("echo {line} >>'{}'", file.display()));
    (script, Built(file))
}

/// What [`recorder`] has seen.
pub struct Built(PathBuf);

impl Built {
    /// Its lines, sorted, without those of `but`.
    pub fn all_but(&self, but: &str) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        let mut lines: Vec<String> = text.lines().filter(|l| !l.contains(but)).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// Every file below a directory that has these bytes in it.
pub fn files_with(dir: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        // What is being written or removed by others may vanish.
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if metadata.is_dir() {
            todo.extend(
                std::fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|e| e.path()),
            );
        } else if metadata.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(needle.len()).any(|w| w == needle.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

/// A value of an environment, as text.
#[track_caller]
pub fn value<'a>(env: &'a BTreeMap<OsString, OsString>, name: &str) -> Option<&'a str> {
    env.get(OsStr::new(name)).map(|v| v.to_str().unwrap())
}
