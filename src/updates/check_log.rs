//! `update-check.log`, beside the build.log of the commit that was released: what each look into its image did.
//!
//! It must never grow without end, and never have a secret in it: lines go through the runner, which masks them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Its name.
pub const CHECK_LOG: &str = "update-check.log";

/// With more than this a new one is begun, and the one before is kept as `update-check.log.1`.
const FULL: u64 = 1 << 20;

/// How much of the end is looked at for the last words.
const TAIL: u64 = 16 << 10;

/// Characters of the last words.
const LONGEST: usize = 300;

/// What is ours, in the log.
pub(super) const WHO: &str = "update check";

/// The log of one look: in the directory of the commit if it is there, else in a directory of the look's own, for its last
/// words. A new one is begun where the old one leaves too little of the limit.
#[derive(Debug)]
pub(super) struct CheckLog {
    pub path: PathBuf,
    /// It stays.
    pub lasting: bool,
    begin: u64,
}

impl CheckLog {
    pub fn open(dir: Option<&Path>, own: &Path, limit: u64) -> Self {
        let lasting = dir.filter(|dir| dir.is_dir());
        let path = lasting.unwrap_or(own).join(CHECK_LOG);
        let size = || path.metadata().map_or(0, |metadata| metadata.len());
        if size() > FULL.min(limit / 2) {
            let older = path.with_file_name(format!("{CHECK_LOG}.1"));
            if let Err(error) = std::fs::rename(&path, &older) {
                tracing::warn!(path = %path.display(), %error, "cannot begin a new log");
            }
        }
        Self {
            begin: size(),
            lasting: lasting.is_some(),
            path,
        }
    }

    /// The last line that a command has written, for an error message.
    pub fn last_words(&self) -> Option<String> {
        let mut file = File::open(&self.path).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(self.begin.max(length.saturating_sub(TAIL))))
            .ok()?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail).ok()?;
        last_words(&String::from_utf8_lossy(&tail))
    }

    /// Where to look for more, as the end of an error message.
    pub fn hint(&self) -> String {
        let said = self
            .last_words()
            .map_or_else(String::new, |words| format!(" ({words})"));
        match self.lasting {
            true => format!("{said}: see {CHECK_LOG}"),
            false => said,
        }
    }
}

fn last_words(tail: &str) -> Option<String> {
    // Of ours, and what podman says of its own end.
    const LEFT_OUT: [&str; 3] = ["=== ", "pipelined: log_limit", "time=\""];
    let left_out = |line: &&str| line.is_empty() || LEFT_OUT.iter().any(|start| line.starts_with(start));
    let last = tail.lines().rev().map(str::trim).find(|line| !left_out(line))?;
    let shown = last.chars().filter(|c| !c.is_control()).take(LONGEST);
    Some(shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_turned_when_it_is_full() {
        let (dir, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = dir.path().join(CHECK_LOG);
        let older = dir.path().join("update-check.log.1");
        std::fs::write(&path, vec![b'x'; FULL as usize]).unwrap();
        assert_eq!(CheckLog::open(Some(dir.path()), own.path(), 1 << 30).begin, FULL);
        assert!(!older.exists());
        std::fs::write(&path, vec![b'y'; FULL as usize + 1]).unwrap();
        let log = CheckLog::open(Some(dir.path()), own.path(), 1 << 30);
        assert!(log.begin == 0 && log.lasting && !path.exists());
        assert_eq!(std::fs::metadata(&older).unwrap().len(), FULL + 1);
        // A small limit must not fill up for ever.
        std::fs::write(&path, vec![b'z'; 600]).unwrap();
        assert_eq!(CheckLog::open(Some(dir.path()), own.path(), 1000).begin, 0);
        assert_eq!(std::fs::metadata(&older).unwrap().len(), 600);
        let gone = dir.path().join("gone");
        let log = CheckLog::open(Some(&gone), own.path(), 1000);
        assert!(!log.lasting && log.path.starts_with(own.path()) && !gone.exists());
    }

    #[test]
    fn last_words_are_those_of_the_command() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CHECK_LOG), "an older look\n").unwrap();
        let log = CheckLog::open(Some(dir.path()), dir.path(), 1 << 20);
        assert_eq!(log.last_words(), None);
        let more = "an older look\n=== x\nE: it is\x1b[0m so\n\n=== 2026 run: exit code 7\n";
        std::fs::write(dir.path().join(CHECK_LOG), more).unwrap();
        assert_eq!(log.hint(), " (E: it is[0m so): see update-check.log");
    }
}
