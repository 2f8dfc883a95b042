//! Ends what carries our mark and has no supervisor any more: after a crash, and after a supervisor's own death.

use super::marker::MARKER_VARIABLE;
use super::procfs;
use super::supervise::VERB;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long KILL is repeated before what is left is reported.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Supervisors that are being waited for: their status is not the sweep's to take.
static KNOWN: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

fn known() -> MutexGuard<'static, Option<HashSet<u32>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a child's status from being taken by a sweep.
pub(super) struct Known(Option<u32>);

impl Known {
    /// Starts a supervisor. No sweep sees it before it is known.
    pub(super) fn spawn(command: &mut Command) -> std::io::Result<(Child, Self)> {
        let mut known = known();
        let child = command.spawn()?;
        known.get_or_insert_default().extend(child.id());
        let id = child.id();
        Ok((child, Self(id)))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        if let (Some(set), Some(pid)) = (known().as_mut(), self.0) {
            set.remove(&pid);
        }
    }
}

/// Whether orphans come to this process.
static SUBREAPER: AtomicBool = AtomicBool::new(false);

/// Makes this process the parent of what its supervisors leave behind when they are killed. From then on it must have
/// no children but supervisors: a sweep ends all others.
pub fn become_subreaper() -> std::io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)?;
    SUBREAPER.store(true, Ordering::Relaxed);
    Ok(())
}

/// Our children that are no supervisor of ours: what a killed one has left, marked or not.
fn orphans() -> Vec<i32> {
    if !SUBREAPER.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let own = getpid().as_raw();
    let is_orphan = |pid: &i32| {
        procfs::parent_and_state(*pid).is_some_and(|(parent, state)| parent == own && state != 'Z') && !is_known(*pid)
    };
    procfs::pids().into_iter().filter(is_orphan).collect()
}

fn is_known(pid: i32) -> bool {
    u32::try_from(pid).is_ok_and(|pid| known().as_ref().is_some_and(|set| set.contains(&pid)))
}

/// Ends every process whose marker is `prefix` or begins with `prefix` and a dot, every orphan that came to us, and all
/// that is below one.
///
/// Commands are killed at once; their supervisors, which then write the rest of the log and end by themselves, only
/// after `patience`. Answers with the number of processes that even KILL did not end.
pub async fn sweep(prefix: &str, patience: Duration) -> usize {
    let begin = Instant::now();
    loop {
        let left = sweep_once(prefix, begin.elapsed() >= patience);
        reap_orphans();
        if left == 0 || begin.elapsed() >= patience + GIVE_UP {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn sweep_once(prefix: &str, supervisors_too: bool) -> usize {
    let own = getpid().as_raw();
    let marked: Vec<i32> = procfs::pids()
        .into_iter()
        .filter(|pid| {
            *pid != own && procfs::parent_and_state(*pid).is_some_and(|(_, state)| !matches!(state, 'Z' | 'X'))
        })
        .filter(|pid| {
            procfs::environment_value(*pid, MARKER_VARIABLE).is_some_and(|marker| {
                marker
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        })
        .collect();
    let roots: Vec<i32> = marked.into_iter().chain(orphans()).collect();
    let mut all = procfs::descendants(&roots);
    all.extend(&roots);
    let targets: HashSet<i32> = all.into_iter().filter(|pid| *pid != own).collect();
    for pid in &targets {
        if supervisors_too || procfs::verb(*pid).as_deref() != Some(VERB) {
            procfs::signal(*pid, Signal::SIGKILL);
        }
    }
    targets.len()
}

/// Takes the status of orphans that became our children.
fn reap_orphans() {
    let own = getpid().as_raw();
    for pid in procfs::pids() {
        let ours = procfs::parent_and_state(pid).is_some_and(|(parent, state)| parent == own && state == 'Z');
        if ours && !is_known(pid) {
            // Somebody else may have been quicker.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}
