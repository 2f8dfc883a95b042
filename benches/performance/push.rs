//! From a push to the start of its job, for a repository on this machine.

use crate::note::Table;
use crate::stats::{Goal, median, round};
use crate::support::daemon::{Site, build_json};
use crate::support::repo::{Repo, short};
use crate::support::scratch::{Scratch, ask_until};
use jiff::Timestamp;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

const PUSHES: usize = 20;
/// A push that was not seen by then is seen by the next poll only, in some days.
const SEEN: Duration = Duration::from_secs(5);

/// Pushes again and again to a bare repository that a daemon watches.
pub fn to_start() -> String {
    let scratch = Scratch::new();
    let copy = Repo::new(scratch.join("copy"));
    let first = copy.commit(&[("a", "0")]);
    let remote = copy.bare(scratch.join("remote.git"));
    let toml = format!("interval = '30days'\n[projects.p]\nremote = {:?}\n", remote.path());
    let site = Site::new(&scratch, &toml);
    let _daemon = site.start();
    site.wait_built("p", "refs/heads/main", &first);
    let mut waits = Vec::new();
    for i in 1..=PUSHES {
        let commit = copy.commit(&[("a", i.to_string())]);
        copy.git(&["push", "--quiet", &remote.path().display().to_string(), "main"]);
        let begin = changed(&remote.path().join("refs/heads/main"));
        let built = ask_until(SEEN, || {
            let latest = site.latest("p", "refs/heads/main");
            (latest.as_deref() == Some(short(&commit)))
                .then_some(())
                .ok_or_else(|| format!("{latest:?}"))
        });
        if built.is_err() {
            break;
        }
        let report = build_json(&site.job_dir("p", "refs/heads/main", short(&commit)));
        let started: Timestamp = report["started"].as_str().unwrap().parse().unwrap();
        waits.push(started.duration_since(begin).as_secs_f64() * 1000.0);
    }
    if waits.is_empty() {
        return format!("No push was seen within {SEEN:?}. Goal: < 20 ms: **missed**.");
    }
    let worst = waits.iter().copied().fold(0.0, f64::max);
    let middle = median(&waits);
    // One that was missed would have waited for the next poll.
    let judged = if waits.len() == PUSHES { middle } else { f64::INFINITY };
    let mut table = Table::new(["pushes", "seen", "median, ms", "worst, ms", "goal"]);
    table.row([
        PUSHES.to_string(),
        waits.len().to_string(),
        round(middle),
        round(worst),
        Goal::Below(20.0, "ms").judge(judged),
    ]);
    table.into_text()
}

/// When a file was put where it is: git writes refs aside and renames them.
fn changed(file: &Path) -> Timestamp {
    let metadata = file.symlink_metadata().unwrap();
    let nanoseconds = metadata.ctime_nsec().try_into().unwrap();
    Timestamp::new(metadata.ctime(), nanoseconds).unwrap()
}
