//! The workdir: is it there, is it ours, and is there room in it?

use super::finding::Finding;
use nix::sys::statfs::{NFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const ABOUT: &str = "workdir";
/// Less than that is soon used up by a checkout or two.
const ROOM: u64 = 1 << 30;
const INODES: u64 = 10_000;

/// All about it.
pub(super) fn workdir(path: &Path) -> Vec<Finding> {
    let shown = path.display();
    let there = path.is_dir();
    let Some(dir) = path.ancestors().find(|dir| dir.exists()) else {
        return vec![Finding::bad(
            ABOUT,
            format!("{shown} cannot be found"),
            "name another workdir",
        )];
    };
    if !dir.is_dir() {
        return vec![Finding::bad(
            ABOUT,
            format!("{} is not a directory", dir.display()),
            "move it away, or name another workdir",
        )];
    }
    if let Err(error) = access(dir, AccessFlags::W_OK | AccessFlags::X_OK) {
        return vec![Finding::bad(
            ABOUT,
            format!("{} cannot be written to: {}", dir.display(), error.desc()),
            format!("make {shown} and give it to the daemon's user: install -d -o pipelined -m 755 {shown}"),
        )];
    }
    let mut findings = vec![match there {
        true => Finding::ok(ABOUT, format!("{shown} can be written to")),
        false => Finding::ok(ABOUT, format!("{shown} is not there yet, and can be made")),
    }];
    let mode = fs::metadata(dir).map_or(0, |meta| meta.permissions().mode());
    if there && mode & 0o002 != 0 {
        findings.push(Finding::bad(
            ABOUT,
            format!("everyone may write to {shown}, and so decide what is built"),
            format!("chmod o-w {shown}"),
        ));
    }
    findings.extend(file_system(dir));
    findings
}

fn file_system(dir: &Path) -> Option<Finding> {
    let fs = match statfs(dir) {
        Ok(fs) => fs,
        Err(error) => {
            let text = format!("cannot look at its file system: {}", error.desc());
            return Some(Finding::warn(ABOUT, text, "see whether it is mounted"));
        }
    };
    let kind = fs.filesystem_type();
    if kind == TMPFS_MAGIC {
        return Some(Finding::warn(
            ABOUT,
            "it is on a tmpfs: the record of what was built is lost with a reboot, and builds use up memory",
            "use a directory on a disk",
        ));
    }
    if kind == NFS_SUPER_MAGIC {
        return Some(Finding::warn(
            ABOUT,
            "it is on NFS: locks and the database may not be reliable there",
            "use a directory on a local disk",
        ));
    }
    let unit = u64::try_from(fs.block_size()).unwrap_or(1);
    let (free, inodes) = (fs.blocks_available().saturating_mul(unit), fs.files_free());
    let text = format!("{} MiB and {inodes} inodes are free", free >> 20);
    let scarce = free < ROOM || (fs.files() > 0 && inodes < INODES);
    Some(match scarce {
        true => Finding::warn(
            ABOUT,
            text,
            "make room: finished directories in it may be removed at any time",
        ),
        false => Finding::ok(ABOUT, text),
    })
}
