//! podman's working containers: what a build has at work, and leaves behind when it is killed.
//!
//! They carry no label. But buildah keeps a record beside each, with the secrets of its build, and one of these is
//! our mark. Reading the records costs no podman call, so looking is cheap when there is nothing to find.

use super::build::SECRET;
use super::cleanup::Scope;
use super::probe::EngineInfo;
use crate::process::processes_by_mount;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long processes may survive KILL.
const GIVE_UP: Duration = Duration::from_secs(10);

/// A working container of ours.
#[derive(Debug)]
pub(super) struct Working {
    pub id: String,
    /// The directories' name of its layer, by which its processes are known.
    pub layer: Option<String>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "CommonBuildOpts")]
    options: Option<Options>,
    mountpoint: Option<std::path::PathBuf>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(rename = "Secrets")]
    secrets: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Stored {
    id: String,
    layer: Option<String>,
}

/// The working containers of this storage that are in the scope.
pub(super) fn find(info: &EngineInfo, scope: Scope<'_>) -> Vec<Working> {
    let (Some(graph_root), Some(driver)) = (&info.graph_root, &info.driver) else {
        return Vec::new();
    };
    let containers = graph_root.join(format!("{driver}-containers"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&containers).into_iter().flatten().flatten() {
        let record = entry.path().join("userdata/buildah.json");
        // Most are no working containers, and some go while we look.
        let Ok(record) = std::fs::read(record) else { continue };
        let Ok(record) = serde_json::from_slice::<Record>(&record) else {
            continue;
        };
        let secrets = record.options.and_then(|o| o.secrets).unwrap_or_default();
        if secrets.iter().any(|secret| is_ours(secret, scope)) {
            found.push(Working {
                id: entry.file_name().to_string_lossy().into_owned(),
                layer: record.mountpoint.as_deref().and_then(layer_of_mount),
            });
        }
    }
    if found.iter().any(|working| working.layer.is_none()) {
        let mut by_id = layers(&containers.join("containers.json"));
        // Newer versions keep containers that need not outlive a boot in the run root.
        if let Some(run_root) = &info.run_root {
            let volatile = run_root.join(format!("{driver}-containers/volatile-containers.json"));
            by_id.extend(layers(&volatile));
        }
        for working in found.iter_mut().filter(|w| w.layer.is_none()) {
            working.layer = by_id.remove(&working.id);
        }
    }
    found
}

/// Ends what runs in a working container: a RUN outlives the podman that started it. Answers with their number, or
/// with the number of those that KILL does not end.
pub(super) async fn end_processes(working: &Working) -> Result<usize, usize> {
    let Some(layer) = &working.layer else { return Ok(0) };
    let begin = Instant::now();
    let mut ended = std::collections::HashSet::new();
    loop {
        let left = processes_by_mount(layer);
        if left.is_empty() {
            return Ok(ended.len());
        }
        if begin.elapsed() >= GIVE_UP {
            return Err(left.len());
        }
        for pid in left {
            // Gone already is fine.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            ended.insert(pid);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `…/overlay/LAYER/merged` or `…/vfs/dir/LAYER`.
fn layer_of_mount(mount: &Path) -> Option<String> {
    mount
        .components()
        .filter_map(|c| c.as_os_str().to_str())
        .rfind(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(str::to_owned)
}

fn layers(file: &Path) -> HashMap<String, String> {
    let stored: Vec<Stored> = std::fs::read(file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    stored.into_iter().filter_map(|s| Some((s.id, s.layer?))).collect()
}

/// `id=pipelined-MARKER,src=…`
fn is_ours(secret: &str, scope: Scope<'_>) -> bool {
    secret
        .split(',')
        .filter_map(|part| part.strip_prefix("id=")?.strip_prefix(SECRET))
        .any(|marker| scope.holds(marker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobId;
    use crate::process::Marker;

    #[test]
    fn knows_its_own() {
        let marker = Marker::job("abc", JobId(1), 2);
        let attempt = Scope::Attempt(&marker);
        let instance = Scope::Instance("abc");
        assert!(is_ours("id=pipelined-abc.1.2,src=/x", attempt));
        assert!(!is_ours("id=pipelined-abc.1.23,src=/x", attempt));
        assert!(is_ours("id=pipelined-abc.1.23,src=/x", instance));
        assert!(!is_ours("id=pipelined-abcd.1.2,src=/x", instance));
        assert!(!is_ours("id=other,src=id=pipelined-abc.1.2", instance));
    }

    #[test]
    fn finds_the_layer_in_a_mount_point() {
        let layer = "0".repeat(64);
        let of = |path: String| layer_of_mount(Path::new(&path));
        assert_eq!(of(format!("/g/overlay/{layer}/merged")), Some(layer.clone()));
        assert_eq!(of(format!("/g/vfs/dir/{layer}")), Some(layer));
        assert_eq!(of("/g/x".to_owned()), None);
    }
}
