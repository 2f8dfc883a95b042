//! `watch_config`: a changed file is as good as a HUP.

use super::happening::Happening;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// An editor writes in several steps; this long after the last one the file is read.
const QUIET: Duration = Duration::from_millis(250);

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct ConfigWatch {
    _watcher: RecommendedWatcher,
}

impl ConfigWatch {
    /// Watches the file's directory: editors and configuration tools replace the file, or the link that leads to it.
    pub fn start(path: &Path, tell: mpsc::UnboundedSender<Happening>) -> notify::Result<Self> {
        let (changed, mut changes) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // The task below is gone only when the daemon is.
                let _ = changed.send(());
            }
        })?;
        // Where the path is, and where the file is that it leads to.
        let mut dirs: Vec<PathBuf> = [Ok(path.to_owned()), path.canonicalize()]
            .into_iter()
            .flatten()
            .filter_map(|path| path.parent().map(Path::to_owned))
            .collect();
        dirs.dedup();
        for dir in &dirs {
            watcher.watch(dir, RecursiveMode::NonRecursive)?;
        }
        let path = path.to_owned();
        let mut last = std::fs::read(&path).ok();
        tokio::spawn(async move {
            while changes.recv().await.is_some() {
                let mut now = std::fs::read(&path).ok();
                // The file itself must rest, not its directory: other files there may change all the time.
                loop {
                    tokio::time::sleep(QUIET).await;
                    while changes.try_recv().is_ok() {}
                    let before = std::mem::replace(&mut now, std::fs::read(&path).ok());
                    if before == now {
                        break;
                    }
                }
                if now != last {
                    last = now;
                    if tell.send(Happening::ConfigFileChanged).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self { _watcher: watcher })
    }
}
