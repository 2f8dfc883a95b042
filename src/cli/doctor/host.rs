//! What the machine allows: limits of our own process, cgroups, systemd.

use super::finding::Finding;
use std::fs;
use std::path::Path;

/// Each running command takes a few, each client of the socket one.
const FILES: u64 = 1024;
const PROCESSES: u64 = 1024;

/// Open files and processes.
pub(super) fn limits() -> Vec<Finding> {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let mut findings = vec![
        limit(&text, "Max open files", "open files", FILES, "LimitNOFILE=65536"),
        limit(
            &text,
            "Max processes",
            "processes",
            PROCESSES,
            "LimitNPROC=, TasksMax=infinity",
        ),
    ];
    let version = match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => Finding::ok("cgroups", "version 2"),
        false => Finding::warn(
            "cgroups",
            "version 1, or hybrid: limits on memory do not hold for rootless builds, and some runtimes do not work",
            "if containers fail, use runc and cgroup_manager = \"cgroupfs\" in containers.conf; or boot with \
             systemd.unified_cgroup_hierarchy=1",
        ),
    };
    findings.push(version);
    findings
}

fn limit(text: &str, name: &str, what: &str, least: u64, setting: &str) -> Finding {
    match soft_limit(text, name) {
        Some(found) if found < least => Finding::warn(
            "limits",
            format!("{found} {what} at most"),
            format!("allow {least} at least: in the unit {setting}; in a shell ulimit"),
        ),
        Some(u64::MAX) => Finding::ok("limits", format!("{what}: no limit")),
        Some(found) => Finding::ok("limits", format!("{what}: {found}")),
        None => Finding::warn(
            "limits",
            format!("{what}: cannot be read"),
            "see whether /proc is mounted",
        ),
    }
}

fn soft_limit(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Whether systemd runs here, and knows us.
pub(super) fn systemd() -> Option<Finding> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let places = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
    let unit = places
        .map(|dir| Path::new(dir).join("pipelined.service"))
        .into_iter()
        .find(|p| p.exists());
    Some(match unit {
        Some(path) => Finding::ok("systemd", format!("the unit is {}", path.display())),
        None => Finding::warn(
            "systemd",
            "there is no unit of ours, so nothing starts the daemon at boot",
            "make install; systemctl enable --now pipelined",
        ),
    })
}

/// Whether a user has subordinate ids, as rootless engines need them.
pub(super) fn subordinate(user: &str, uid: u32) -> Vec<Finding> {
    let missing = |file: &&str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        !text
            .lines()
            .filter_map(|l| l.split(':').next())
            .any(|o| o == user || o == uid.to_string())
    };
    ["/etc/subuid", "/etc/subgid"]
        .into_iter()
        .filter(missing)
        .map(|file| {
            Finding::bad(
                "engine",
                format!("{user} has no range in {file}, which a rootless engine needs"),
                format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_limits() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max processes             unlimited            unlimited            processes\n\
                    Max open files            256                  4096                 files\n";
        assert_eq!(soft_limit(text, "Max open files"), Some(256));
        assert_eq!(soft_limit(text, "Max processes"), Some(u64::MAX));
        assert_eq!(soft_limit(text, "Max sheep"), None);
        assert!(limit(text, "Max open files", "open files", 1024, "X").advice.is_some());
    }
}
