//! Being told when refs of repositories on this machine change, so that they are looked at at once.
//!
//! Only a hint: whatever is missed here (a network file system, a full queue, no watches left) the next poll finds. The
//! git directory and the directories of refs are watched, and never the objects.

mod parts;

use super::place::{Identity, Repository};
use notify::{Config, ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};
use parts::{Dir, Meaning, Part, dirs, meaning};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long nobody asks for another watch when they are used up.
const FULL: Duration = Duration::from_secs(60);

/// Why changes are not noticed at once. Polling goes on.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system gives no more watches to this user.
    #[error(
        "this user's file watches are used up: changes in some local repositories are seen when they are polled, and \
         not at once; raise fs.inotify.max_user_watches (or max_user_instances) with sysctl"
    )]
    Full,
    /// Something else.
    #[error("cannot watch {path}: changes there are seen when it is polled, and not at once")]
    Other {
        /// What should have been watched.
        path: PathBuf,
        /// Why.
        #[source]
        source: notify::Error,
    },
}

impl WatchError {
    fn new(path: &Path, error: notify::Error) -> Self {
        let errno = match &error.kind {
            ErrorKind::MaxFilesWatch => return Self::Full,
            ErrorKind::Io(error) => error.raw_os_error().map(nix::errno::Errno::from_raw),
            _ => None,
        };
        match errno {
            Some(nix::errno::Errno::ENOSPC | nix::errno::Errno::EMFILE) => Self::Full,
            _ => Self::Other {
                path: path.to_owned(),
                source: error,
            },
        }
    }
}

/// Watches the refs of local repositories until it is dropped, with one thread for all of them.
#[derive(Debug)]
pub struct RefWatch {
    watcher: RecommendedWatcher,
    roots: Arc<Mutex<Roots>>,
    remotes: HashMap<String, Target>,
    /// When there was last no watch to be had.
    full: Option<Instant>,
}

/// What a remote needs.
#[derive(Debug)]
struct Target {
    /// As it is configured, and what it led to.
    path: PathBuf,
    identity: Option<Identity>,
    dirs: Vec<Dir>,
}

/// What is watched, by the paths that the watcher was given.
type Roots = HashMap<PathBuf, Root>;

#[derive(Debug)]
struct Root {
    dir: Dir,
    remotes: BTreeSet<String>,
    /// It must be watched anew, or changes may be missed.
    stale: bool,
}

impl RefWatch {
    /// Starts the thread. `tell` is called on it with a remote as it was given to [`RefWatch::watch`], perhaps several
    /// times for one change, and must not block.
    pub fn start(tell: impl Fn(&str) + Send + 'static) -> Result<Self, WatchError> {
        let roots = Arc::new(Mutex::new(Roots::new()));
        let shared = Arc::clone(&roots);
        let handler = move |event: notify::Result<Event>| {
            let concerned = concerned(&mut lock(&shared), &event);
            concerned.iter().for_each(|remote| tell(remote));
        };
        let watcher = RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false));
        Ok(Self {
            watcher: watcher.map_err(|error| WatchError::new(Path::new("local repositories"), error))?,
            roots,
            remotes: HashMap::new(),
            full: None,
        })
    }

    /// Watches the repository at `path` for a remote. To be called before each look at it: what changes later is told,
    /// and what has changed before, the look sees. When nothing is to be done, that costs a few system calls.
    ///
    /// A repository that is not there is no error here, but the look's. [`WatchError::Full`] comes once, until there
    /// are watches again.
    pub fn watch(&mut self, remote: &str, path: &Path) -> Result<(), WatchError> {
        if self.is_watched(remote, path) || self.full.is_some_and(|since| since.elapsed() < FULL) {
            return Ok(());
        }
        self.unwatch(remote);
        let target = Target {
            path: path.to_owned(),
            identity: identity(path),
            dirs: Repository::find(path).map_or_else(|_| Vec::new(), |repository| dirs(&repository)),
        };
        let dirs = target.dirs.clone();
        self.remotes.insert(remote.to_owned(), target);
        match dirs.into_iter().try_for_each(|dir| self.add(remote, dir)) {
            Ok(()) => {
                self.full = None;
                Ok(())
            }
            Err(error) => {
                // Half a watch is of no use, and others may need it.
                self.unwatch(remote);
                match error {
                    WatchError::Full if self.full.replace(Instant::now()).is_some() => Ok(()),
                    error => Err(error),
                }
            }
        }
    }

    /// Watches it no more.
    pub fn unwatch(&mut self, remote: &str) {
        let Some(target) = self.remotes.remove(remote) else {
            return;
        };
        for dir in target.dirs {
            let mut roots = lock(&self.roots);
            let unused = roots.get_mut(&dir.path).is_some_and(|root| {
                root.remotes.remove(remote);
                root.remotes.is_empty()
            });
            if unused {
                roots.remove(&dir.path);
                // The watcher's thread takes the lock before it answers.
                drop(roots);
                // One that is gone with its directory is no longer known.
                let _ = self.watcher.unwatch(&dir.path);
            }
        }
    }

    /// What is made, removed or renamed in a watched directory makes it stale; only a directory above may be replaced
    /// without a word.
    fn is_watched(&self, remote: &str, path: &Path) -> bool {
        let Some(target) = self.remotes.get(remote).filter(|target| !target.dirs.is_empty()) else {
            return false;
        };
        let roots = lock(&self.roots);
        let fine = |dir: &Dir| roots.get(&dir.path).is_some_and(|root| root.dir == *dir && !root.stale);
        let there = |dir: &Dir| dir.part != Part::Git || identity(&dir.path) == Some(dir.identity);
        target.path == path
            && target.identity == identity(path)
            && target.dirs.iter().all(|dir| fine(dir) && there(dir))
    }

    fn add(&mut self, remote: &str, dir: Dir) -> Result<(), WatchError> {
        let mut roots = lock(&self.roots);
        let root = roots.entry(dir.path.clone()).or_insert_with(|| Root {
            dir: dir.clone(),
            remotes: BTreeSet::new(),
            stale: true,
        });
        root.remotes.insert(remote.to_owned());
        let replaced = std::mem::replace(&mut root.dir, dir.clone()) != dir;
        if !std::mem::replace(&mut root.stale, false) && !replaced {
            return Ok(());
        }
        drop(roots);
        if replaced {
            let _ = self.watcher.unwatch(&dir.path);
        }
        let mode = match dir.part {
            Part::Names => RecursiveMode::Recursive,
            _ => RecursiveMode::NonRecursive,
        };
        let Err(error) = self.watcher.watch(&dir.path, mode) else {
            return Ok(());
        };
        if let Some(root) = lock(&self.roots).get_mut(&dir.path) {
            root.stale = true;
        }
        match error.kind {
            // Gone again: the next look tells.
            ErrorKind::PathNotFound => Ok(()),
            _ => Err(WatchError::new(&dir.path, error)),
        }
    }
}

/// The remotes that an event concerns.
fn concerned(roots: &mut Roots, event: &notify::Result<Event>) -> BTreeSet<String> {
    let (paths, kind) = match event {
        Ok(event) if event.kind.is_access() => return BTreeSet::new(),
        Ok(event) if !event.need_rescan() => (&event.paths, Some(event.kind)),
        Err(error) if !error.paths.is_empty() => (&error.paths, None),
        // Events were lost, nobody knows whose.
        _ => {
            return roots
                .values_mut()
                .flat_map(|root| {
                    root.stale = true;
                    root.remotes.iter().cloned()
                })
                .collect();
        }
    };
    let mut remotes = BTreeSet::new();
    for path in paths {
        let Some(at) = path.ancestors().find(|at| roots.contains_key(*at)) else {
            continue;
        };
        let (Some(root), Ok(below)) = (roots.get_mut(at), path.strip_prefix(at)) else {
            continue;
        };
        let meaning = kind.map_or(Meaning::Stale, |kind| meaning(root.dir.part, below, kind));
        root.stale |= meaning == Meaning::Stale;
        if meaning != Meaning::Nothing {
            remotes.extend(root.remotes.iter().cloned());
        }
    }
    remotes
}

fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().as_ref().map(Identity::from)
}

/// No panic leaves the map half changed.
fn lock(roots: &Mutex<Roots>) -> MutexGuard<'_, Roots> {
    roots.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{EventKind, Flag};

    #[test]
    fn used_up_watches_are_told_from_other_trouble() {
        let of = |error| WatchError::new(Path::new("/r"), error);
        let os = |errno: nix::errno::Errno| of(notify::Error::io(errno.into()));
        assert!(matches!(
            of(notify::Error::new(ErrorKind::MaxFilesWatch)),
            WatchError::Full
        ));
        assert!(matches!(os(nix::errno::Errno::EMFILE), WatchError::Full));
        assert!(matches!(os(nix::errno::Errno::EACCES), WatchError::Other { .. }));
    }

    #[test]
    fn lost_events_concern_everybody() {
        let root = |part, remote: &str| Root {
            dir: Dir {
                path: "/".into(),
                identity: identity(Path::new("/")).unwrap(),
                part,
            },
            remotes: BTreeSet::from([remote.to_owned()]),
            stale: false,
        };
        let roots = || {
            Roots::from([
                ("/a".into(), root(Part::Git, "a")),
                ("/a/refs/heads".into(), root(Part::Names, "names")),
                ("/b".into(), root(Part::Git, "b")),
            ])
        };
        let told = |event: notify::Result<Event>| {
            let mut roots = roots();
            let told: Vec<String> = concerned(&mut roots, &event).into_iter().collect();
            (told.join(" "), roots.values().filter(|root| root.stale).count())
        };
        let rescan = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(told(Ok(rescan)), ("a b names".to_owned(), 3));
        assert_eq!(told(Err(notify::Error::generic("x"))), ("a b names".to_owned(), 3));
        let full = notify::Error::new(ErrorKind::MaxFilesWatch).add_path("/a/refs/heads/x/y".into());
        assert_eq!(told(Err(full)), ("names".to_owned(), 1));
        let change = Event::new(EventKind::Any).add_path("/b/HEAD".into());
        assert_eq!(told(Ok(change)), ("b".to_owned(), 0));
        let elsewhere = Event::new(EventKind::Any).add_path("/c/HEAD".into());
        assert_eq!(told(Ok(elsewhere)), (String::new(), 0));
    }
}
