//! What `/proc` tells about processes: parents, environment, mounts, and whether TERM can reach them.
//!
//! A process may vanish between two reads; whatever cannot be read is left out, never an error.

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::fs;

/// Every process id of the machine.
pub(super) fn pids() -> Vec<i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The parent and the state letter, from `/proc/PID/stat`, whose second field may hold spaces and brackets.
pub(super) fn parent_and_state(pid: i32) -> Option<(i32, char)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(after + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

/// Every process below one of `roots`, without the roots, deepest first, zombies left out.
pub(super) fn descendants(roots: &[i32]) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut zombies = HashSet::new();
    for pid in pids() {
        if let Some((parent, state)) = parent_and_state(pid) {
            children.entry(parent).or_default().push(pid);
            if matches!(state, 'Z' | 'X') {
                zombies.insert(pid);
            }
        }
    }
    let mut found = Vec::new();
    let mut seen: HashSet<i32> = roots.iter().copied().collect();
    let mut frontier = roots.to_vec();
    while let Some(parent) = frontier.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if seen.insert(*child) {
                found.push(*child);
                frontier.push(*child);
            }
        }
    }
    found.retain(|pid| !zombies.contains(pid));
    found.reverse();
    found
}

/// The value of a variable in a process's initial environment.
pub(super) fn environment_value(pid: i32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environ
        .split(|b| *b == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .map(|value| String::from_utf8_lossy(value).into_owned())
}

/// The second argument of a process, by which supervisors are known.
pub(super) fn verb(pid: i32) -> Option<String> {
    let cmdline = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    cmdline
        .split(|b| *b == 0)
        .nth(1)
        .map(|arg| String::from_utf8_lossy(arg).into_owned())
}

/// Whether the kernel would drop a TERM: the process is the first of its pid namespace and has no handler
/// (pid_namespaces(7)). A container's command is often such a one, and waiting for it would be in vain.
pub(super) fn ignores_term(pid: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .unwrap_or_default()
    };
    let inner = field("NSpid:").split_ascii_whitespace().skip(1);
    let first_of_namespace = inner.last() == Some("1");
    let caught = u64::from_str_radix(field("SigCgt:"), 16).unwrap_or(u64::MAX);
    first_of_namespace && caught & (1 << (Signal::SIGTERM as u64 - 1)) == 0
}

/// Processes whose root file system's mount names `needle` (a layer's directory): what runs inside of a container
/// even where its parents are gone.
pub fn processes_by_mount(needle: &str) -> Vec<i32> {
    pids()
        .into_iter()
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/mountinfo"))
                .is_ok_and(|mounts| mounts.lines().any(|line| is_root_mount(line) && line.contains(needle)))
        })
        .collect()
}

/// mountinfo's fifth field is the mount point (proc_pid_mountinfo(5)).
fn is_root_mount(line: &str) -> bool {
    line.split_ascii_whitespace().nth(4) == Some("/")
}

/// Sends a signal; a process that is gone is fine.
pub(super) fn signal(pid: i32, signal: Signal) {
    // ESRCH: gone, which is what we want. EPERM: not ours to end, and the caller's count will tell.
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
}
