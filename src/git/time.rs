//! When a commit was made.

use crate::model::{CommitId, Failure, Step};
use crate::process::Runner;
use jiff::Timestamp;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// For a question to a repository on this machine.
const LOCAL: Duration = Duration::from_secs(60);

/// The committer's time of a commit of the repository in `dir`.
pub async fn commit_time(runner: &Runner, dir: &Path, commit: &CommitId) -> Result<Timestamp, Failure> {
    let argv = [
        "git",
        "show",
        "--no-patch",
        "--no-show-signature",
        "--format=%ct",
        commit.as_str(),
    ];
    let argv = argv.map(OsString::from);
    let answer = runner.capture(Step::Build, &argv, dir, LOCAL, 64).await?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let seconds = text.trim().parse().ok().filter(|_| answer.success());
    seconds
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| {
            let said = answer.last_words();
            Failure::errored(format!("{}: git cannot tell the time of {commit}: {said}", Step::Build))
        })
}
