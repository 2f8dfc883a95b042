//! The commands that we call.

use super::finding::Finding;
use crate::model::Step;
use crate::process::{Captured, Runner};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// A fetch of a commit by its hash is allowed for by servers since this one, and its client is old enough to be sure.
const GIT: (u32, u32) = (2, 25);

/// git.
pub(super) async fn git(runner: &Runner) -> Finding {
    match version(runner, "git", &["--version"]).await {
        Err(error) => Finding::bad("git", error, "install git, and see that it is in the daemon's PATH"),
        Ok(said) if numbers(&said).is_some_and(|found| found < GIT) => Finding::bad(
            "git",
            format!("{said} is too old"),
            format!("install git {}.{} or newer", GIT.0, GIT.1),
        ),
        Ok(said) => Finding::ok("git", said),
    }
}

/// rsync.
pub(super) async fn rsync(runner: &Runner) -> Finding {
    match version(runner, "rsync", &["--version"]).await {
        Err(error) => Finding::bad("rsync", error, "install rsync: a project has an rsync table"),
        Ok(said) => Finding::ok("rsync", said),
    }
}

/// The first line that a command prints.
pub(super) async fn version(runner: &Runner, program: &str, args: &[&str]) -> Result<String, String> {
    let answer = ask(runner, program, args, Path::new("/")).await?;
    if !answer.success() {
        return Err(format!("{program} does not work: {}", answer.last_words()));
    }
    let text = String::from_utf8_lossy(&answer.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Runs a command that should be quick.
pub(super) async fn ask(runner: &Runner, program: &str, args: &[&str], cwd: &Path) -> Result<Captured, String> {
    let argv: Vec<OsString> = std::iter::once(program)
        .chain(args.iter().copied())
        .map(OsString::from)
        .collect();
    runner
        .capture(Step::Setup, &argv, cwd, Duration::from_secs(120), 1 << 20)
        .await
        .map_err(|failure| failure.message.trim_start_matches("setup: ").to_owned())
}

fn numbers(said: &str) -> Option<(u32, u32)> {
    let version = said
        .split_whitespace()
        .find(|w| w.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn finds_the_version() {
        assert_eq!(numbers("git version 2.39.5 (Apple)"), Some((2, 39)));
        assert_eq!(numbers("git version unknown"), None);
    }
}
