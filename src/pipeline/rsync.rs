//! Copying the result to its destination.

use crate::config::Rsync;
use crate::model::{Failure, Step};
use crate::process::Runner;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// ssh must not ask, and must notice a peer that is gone.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";

/// What rsync's own page calls trouble with the connection, the protocol, files' input and output or memory, and ssh's
/// own 255. Everything else (usage, missing source, partial transfer, `--max-delete`) does not get better by itself.
const OUR_SIDE: [i32; 11] = [5, 10, 11, 12, 13, 14, 20, 22, 30, 35, 255];

/// The command that makes the destination hold what `source` holds.
///
/// Always recursive, with links as links and with times, without which rsync would copy everything each time. What is
/// new gets the modes of the source under the destination's umask, and belongs to whoever runs rsync. With `preserve`,
/// permissions, owner, group and devices are those of the source (owner and devices if the receiving side is root):
/// rsync's `--archive`.
///
/// From a checkout, `.git` is left out at every level: its own, and those of submodules. With `include`, only files
/// that match one of the patterns are copied, and no directory that would be empty.
pub fn argv(rsync: &Rsync, destination: &str, source: &Path, is_checkout: bool) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec!["rsync".into()];
    let mut add = |option: &str| argv.push(option.into());
    match rsync.preserve {
        true => {
            add("--archive");
        }
        false => {
            add("--recursive");
            add("--links");
            add("--times");
            // Directories that are not ours would only be complained about.
            add("--omit-dir-times");
        }
    }
    if rsync.checksum {
        add("--checksum");
    }
    if rsync.delete {
        // Only when all was copied, so that a transfer that breaks off has taken nothing away.
        add("--delete-after");
    }
    if is_checkout {
        add("--exclude=.git");
    }
    if !rsync.include.is_empty() {
        add("--include=*/");
        for pattern in &rsync.include {
            add(&format!("--include={pattern}"));
        }
        add("--exclude=*");
        add("--prune-empty-dirs");
    }
    argv.push("--".into());
    // The slash: the contents, not the directory.
    let mut contents = source.as_os_str().to_owned();
    contents.push("/");
    argv.push(contents);
    argv.push(destination.into());
    argv
}

/// Copies what is in `source`: `drop/`, or the checkout.
pub async fn rsync(
    runner: &Runner,
    rsync: &Rsync,
    destination: &str,
    source: &Path,
    is_checkout: bool,
    timeout: Duration,
) -> Result<(), Failure> {
    if destination.is_empty() || destination.starts_with('-') {
        return Err(Failure::failed(format!(
            "rsync: {destination:?} is not a destination: write a directory, host:path, or rsync://host/module"
        )));
    }
    let ssh = (runner.variable("RSYNC_RSH").is_none()).then(|| ("RSYNC_RSH".into(), SSH.into()));
    let runner = runner.with_env(ssh);
    let code = runner
        .logged(
            Step::Rsync,
            &argv(rsync, destination, source, is_checkout),
            source,
            timeout,
        )
        .await?;
    match code {
        0 => Ok(()),
        code if OUR_SIDE.contains(&code) => Err(Failure::errored(message(code))),
        code => Err(Failure::failed(message(code))),
    }
}

fn message(code: i32) -> String {
    let what = match code {
        5 | 10 | 12 | 30 | 35 | 255 => "the other side cannot be reached or hung up",
        11 => "a file cannot be read or written: is a disk full?",
        23 => "some files were not copied",
        24 => "some files vanished while they were copied",
        1 | 2 | 4 => "rsync does not take these options",
        3 => "source or destination cannot be opened",
        _ => "see rsync(1), exit values",
    };
    format!("rsync: exited with {code}: {what}: see build.log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Template;

    fn config(preserve: bool, include: &[&str]) -> Rsync {
        Rsync {
            destination: Template::new("/x").unwrap(),
            delete: include.is_empty(),
            checksum: preserve,
            preserve,
            include: include.iter().map(|i| (*i).to_owned()).collect(),
        }
    }

    fn line(config: &Rsync) -> String {
        let argv = argv(config, "host:/x", Path::new("/s/drop"), !config.preserve);
        argv.iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn says_what_is_copied_and_how() {
        assert_eq!(
            line(&config(false, &[])),
            "rsync --recursive --links --times --omit-dir-times --delete-after --exclude=.git -- /s/drop/ host:/x"
        );
        assert_eq!(
            line(&config(true, &["*.html", "a/**"])),
            "rsync --archive --checksum --include=*/ --include=*.html --include=a/** --exclude=* --prune-empty-dirs -- \
             /s/drop/ host:/x"
        );
    }
}
