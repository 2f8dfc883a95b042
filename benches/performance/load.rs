//! What processes cost, as the kernel counts it.
//!
//! The CPU clock of a process is in nanoseconds and has its ended threads in it. What ended children used is known to
//! their parent only, in ticks of 10 ms.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Who uses no CPU for so long has most likely done what was asked of it.
const QUIET: Duration = Duration::from_millis(250);

/// CPU of this process alone; none if it is gone.
pub fn of_process(pid: i32) -> Option<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).ok()?;
    clock_gettime(clock).ok().map(Into::into)
}

/// Waits until a process does nothing; when it last did something.
pub fn wait_quiet(pid: i32) -> Instant {
    let used = || of_process(pid).expect("it lives");
    let (mut last, mut since) = (used(), Instant::now());
    while since.elapsed() < QUIET {
        std::thread::sleep(Duration::from_millis(2));
        let now = used();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    since
}

/// CPU of a process, of all that descend from it and live, and of those that they have outlived.
pub fn of_tree(root: i32) -> Duration {
    tree(root)
        .into_iter()
        .filter_map(|pid| Some(of_process(pid)? + of_the_ended(pid)?))
        .sum()
}

/// CPU of children of this process, of which it has seen the end, and of theirs.
pub fn of_our_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let used = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(used.try_into().unwrap())
}

/// A process and its descendants.
pub fn tree(root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(parent) = stat(pid).and_then(|fields| fields[1].parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// `cutime` and `cstime`, see proc(5).
fn of_the_ended(pid: i32) -> Option<Duration> {
    let fields = stat(pid)?;
    let ticks: u64 = fields[13].parse::<u64>().ok()? + fields[14].parse::<u64>().ok()?;
    let a_second: u32 = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap().try_into().unwrap();
    Some(Duration::from_secs(ticks) / a_second)
}

/// The fields of `/proc/PID/stat` from the state on, which is the third of them.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may have brackets and blanks.
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// A number of `/proc/PID/status`; memory is in KiB.
pub fn status(pid: i32, key: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    number(&status, key).unwrap_or_else(|| panic!("no {key} in {status}"))
}

/// The memory of a tree in KiB, where pages that several processes share count once.
pub fn proportional(root: i32) -> f64 {
    let of = |pid| {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        number(&rollup, "Pss")
    };
    tree(root).into_iter().filter_map(of).sum()
}

fn number(text: &str, key: &str) -> Option<f64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}
