//! The directories that people look into, on disks that are full, read-only, or left half done by a crash.

use pipelined::model::{ProjectName, RefName};
use pipelined::workdir::{Layout, WorkdirError, job_directory, prepare, settle};
use rstest::rstest;
use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

struct Place {
    layout: Layout,
    project: ProjectName,
    reference: RefName,
}

impl Place {
    fn new(workdir: &Path) -> Self {
        Self {
            layout: Layout::new(workdir),
            project: ProjectName::new("ruby").unwrap(),
            reference: RefName::new("refs/heads/main").unwrap(),
        }
    }

    fn begin(&self, dir: &str) -> Result<PathBuf, WorkdirError> {
        job_directory(&self.layout, &self.project, &self.reference, dir)
    }

    fn settle(&self, dir: &str, newest: bool) -> Result<bool, WorkdirError> {
        settle(&self.layout, &self.project, &self.reference, dir, newest)
    }

    fn existing(&self, dir: &str) -> PathBuf {
        self.layout.existing(&self.project, &self.reference, dir)
    }

    fn of_ref(&self) -> PathBuf {
        self.layout.of_ref(&self.project, &self.reference)
    }

    fn latest(&self) -> Option<PathBuf> {
        fs::read_link(self.of_ref().join("latest")).ok()
    }

    /// What is below the ref, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.of_ref()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn the_suffix_goes_upon_success_and_latest_follows() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path());
    let running = place.begin("5bf417f5").unwrap();
    assert_eq!(running, dir.path().join("ruby/refs%2Fheads%2Fmain/5bf417f5.tmp"));
    assert_eq!(place.existing("5bf417f5"), running);
    fs::write(running.join("drop/result"), "x").unwrap();
    assert!(place.settle("5bf417f5", true).unwrap());
    assert_eq!(place.names(), ["5bf417f5", "latest"]);
    assert_eq!(place.existing("5bf417f5"), place.of_ref().join("5bf417f5"));
    // Relative, so that it holds where the workdir is mounted elsewhere.
    assert_eq!(place.latest(), Some("5bf417f5".into()));
    assert_eq!(
        fs::read_to_string(place.of_ref().join("latest/drop/result")).unwrap(),
        "x"
    );
    // Again: there is nothing to do.
    assert!(!place.settle("5bf417f5", true).unwrap());
}

#[test]
fn an_older_job_does_not_take_latest_back() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path());
    place.begin("aaaaaaaa").unwrap();
    place.begin("bbbbbbbb").unwrap();
    place.settle("bbbbbbbb", true).unwrap();
    assert!(place.settle("aaaaaaaa", false).unwrap());
    assert_eq!(place.names(), ["aaaaaaaa", "bbbbbbbb", "latest"]);
    assert_eq!(place.latest(), Some("bbbbbbbb".into()));
}

#[test]
fn a_crash_between_any_two_steps_is_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path());
    place.begin("aaaaaaaa").unwrap();
    place.settle("aaaaaaaa", true).unwrap();
    place.begin("bbbbbbbb").unwrap();
    // Renamed, but the link is not made.
    fs::rename(place.of_ref().join("bbbbbbbb.tmp"), place.of_ref().join("bbbbbbbb")).unwrap();
    // Or made, but not in its place.
    symlink("bbbbbbbb", place.of_ref().join(".latest.new")).unwrap();
    assert!(place.settle("bbbbbbbb", true).unwrap());
    assert_eq!(place.names(), ["aaaaaaaa", "bbbbbbbb", "latest"]);
    assert_eq!(place.latest(), Some("bbbbbbbb".into()));
}

#[test]
fn removing_a_finished_directory_is_safe() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path());
    assert!(!place.settle("aaaaaaaa", true).unwrap());
    place.begin("aaaaaaaa").unwrap();
    place.settle("aaaaaaaa", true).unwrap();
    fs::remove_dir_all(place.of_ref().join("aaaaaaaa")).unwrap();
    assert!(!place.settle("aaaaaaaa", true).unwrap());
    fs::remove_dir_all(dir.path().join("ruby")).unwrap();
    assert!(!place.settle("aaaaaaaa", true).unwrap());
    place.begin("aaaaaaaa.2").unwrap();
    assert!(place.settle("aaaaaaaa.2", true).unwrap());
    assert_eq!(place.latest(), Some("aaaaaaaa.2".into()));
}

#[test]
fn latest_is_there_at_every_moment() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path());
    place.begin("0").unwrap();
    place.settle("0", true).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                assert!(
                    place
                        .latest()
                        .is_some_and(|name| place.of_ref().join(name).join("drop").is_dir())
                );
                looks += 1;
            }
            looks
        });
        for n in 1..100 {
            place.begin(&n.to_string()).unwrap();
            place.settle(&n.to_string(), true).unwrap();
        }
        over.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 0);
    });
}

#[test]
fn a_directory_that_is_there_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path());
    let running = place.begin("aaaaaaaa").unwrap();
    fs::write(running.join("build.log"), "from before").unwrap();
    let error = place.begin("aaaaaaaa").unwrap_err();
    assert_eq!(error.to_string(), format!("cannot make {}", running.display()));
    assert_eq!(fs::read_to_string(running.join("build.log")).unwrap(), "from before");
}

#[rstest]
#[case::below_a_file("/etc/passwd/w", "it cannot be made")]
#[case::a_file("/etc/passwd", "it cannot be made")]
#[case::in_proc("/proc/pipelined", "it cannot be made")]
#[case::proc_itself("/proc", "it cannot be written to")]
fn a_workdir_that_cannot_be_used(#[case] path: &str, #[case] what: &str) {
    let error = prepare(Path::new(path)).unwrap_err();
    assert_eq!(error.to_string(), format!("the workdir {path} cannot be used: {what}"));
    assert!(error.source().is_some());
}

#[test]
fn a_workdir_is_made_and_nothing_is_left_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let workdir = dir.path().join("a/b");
    prepare(&workdir).unwrap();
    prepare(&workdir).unwrap();
    assert_eq!(fs::read_dir(&workdir).unwrap().count(), 0);
}

/// Runs a test of this file again, in a shell that first does something to its surroundings. `$W` is the workdir, by
/// which the test knows that it is inside.
fn inside(shell: &[&str], script: &str, test: &str, workdir: &Path) {
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .arg(format!("set -e; {script}; exec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("W", workdir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

const NAMESPACE: [&str; 5] = ["unshare", "--map-root-user", "--mount", "sh", "-c"];

/// Whether this machine lets us mount something where only we see it.
fn has_namespaces() -> bool {
    let script = "mount -t tmpfs none /mnt";
    let has = Command::new(NAMESPACE[0])
        .args(&NAMESPACE[1..])
        .arg(script)
        .output()
        .is_ok_and(|o| o.status.success());
    if !has {
        eprintln!("left out: no private mounts here");
    }
    has
}

/// The workdir of a test that [`inside`] runs.
fn given() -> Option<PathBuf> {
    std::env::var_os("W").map(PathBuf::from)
}

#[test]
fn the_umask_is_respected() {
    if let Some(workdir) = given() {
        let place = Place::new(&workdir);
        place.begin("aaaaaaaa").unwrap();
        place.settle("aaaaaaaa", true).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    inside(&["sh", "-c"], "umask 027", "the_umask_is_respected", dir.path());
    let place = Place::new(dir.path());
    for path in [
        place.of_ref(),
        place.existing("aaaaaaaa"),
        place.existing("aaaaaaaa").join("drop"),
    ] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o750, "{}", path.display());
    }
}

#[test]
fn a_read_only_disk() {
    if let Some(workdir) = given() {
        return on_a_read_only_disk(&workdir);
    }
    if has_namespaces() {
        let dir = tempfile::tempdir().unwrap();
        inside(
            &NAMESPACE,
            "mount -t tmpfs -o ro none \"$W\"",
            "a_read_only_disk",
            dir.path(),
        );
    }
}

fn on_a_read_only_disk(workdir: &Path) {
    let error = prepare(workdir).unwrap_err();
    assert!(
        error.to_string().ends_with("cannot be used: it cannot be written to"),
        "{error}"
    );
    assert_eq!(kind(&error), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(
        kind(&Place::new(workdir).begin("aaaaaaaa").unwrap_err()),
        ErrorKind::ReadOnlyFilesystem
    );
}

#[test]
fn a_full_disk() {
    if let Some(workdir) = given() {
        return on_a_full_disk(&workdir);
    }
    if has_namespaces() {
        let dir = tempfile::tempdir().unwrap();
        inside(
            &NAMESPACE,
            "mount -t tmpfs -o size=64k,nr_inodes=12 none \"$W\"",
            "a_full_disk",
            dir.path(),
        );
    }
}

fn on_a_full_disk(workdir: &Path) {
    prepare(workdir).unwrap();
    let place = Place::new(workdir);
    place.begin("aaaaaaaa").unwrap();
    place.settle("aaaaaaaa", true).unwrap();
    place.begin("bbbbbbbb").unwrap();

    // Not a byte more.
    let big = workdir.join("big");
    assert!(fs::write(&big, vec![0; 1 << 20]).is_err());
    let error = prepare(workdir).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::StorageFull);
    assert!(!workdir.join(".pipelined-probe").exists(), "the probe stays");

    // Not a file more.
    let mut others = (0..).map(|n| workdir.join(format!("other{n}")));
    while fs::File::create(others.next().unwrap()).is_ok() {}
    assert_eq!(kind(&place.begin("cccccccc").unwrap_err()), ErrorKind::StorageFull);
    let error = place.settle("bbbbbbbb", true).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::StorageFull);
    assert_eq!(place.latest(), Some("aaaaaaaa".into()), "the old link stays");

    fs::remove_file(&big).unwrap();
    assert!(place.settle("bbbbbbbb", true).unwrap(), "put right when there is room");
    assert_eq!(place.latest(), Some("bbbbbbbb".into()));
}

fn kind(error: &WorkdirError) -> ErrorKind {
    error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .unwrap()
        .kind()
}
