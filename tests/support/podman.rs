//! podman with a storage of its own, which settings of the machine do not reach.

use crate::support::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An image with busybox in every test's storage after [`Podman::load_busybox`].
pub const BUSYBOX: &str = "localhost/busybox:latest";

/// A storage. Declare it after its [`Scratch`]: it must be emptied before the directory goes.
pub struct Podman {
    dir: PathBuf,
    /// Seen to be used: dropping it removes every container there is, never those of the user who runs the tests.
    ours: bool,
}

impl Podman {
    /// An empty storage.
    pub fn new(scratch: &Scratch) -> Self {
        let dir = scratch.mkdir("podman");
        let d = dir.display();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{d}/root\"\nrootless_storage_path = \"{d}/root\"\n\
             runroot = \"{d}/run\"\n"
        );
        std::fs::write(dir.join("storage.conf"), storage).unwrap();
        // runc and cgroupfs work with every version of cgroups; locks of its own, since shared ones are freed by
        // whichever storage comes up first; the host's network, since a bridge needs rights and time.
        let containers = format!(
            r#"[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{d}/tmp"
[network]
network_backend = "netavark"
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"#
        );
        std::fs::write(dir.join("containers.conf"), containers).unwrap();
        let mut podman = Self { dir, ours: false };
        let root = podman.run(&["info", "--format", "{{.Store.GraphRoot}}"]);
        podman.ours = Path::new(&root).starts_with(&podman.dir);
        assert!(podman.ours, "podman uses {root} and not the storage of the test");
        podman
    }

    /// What a process needs to use this storage.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("CONTAINERS_CONF", "containers.conf"),
        ]
        .map(|(name, file)| (name.to_owned(), self.dir.join(file).display().to_string()))
        .into()
    }

    /// A podman command.
    pub fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.envs(self.env());
        command
    }

    /// Runs podman.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// Runs podman, which must end well; its stdout without the last newline.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {args:?}: {}\n{errors}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The names of all containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        self.run(&["ps", "--all", "--format", "{{.Names}}"])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// The working containers that builds have left behind, which [`Podman::containers`] does not know.
    pub fn working_containers(&self) -> Vec<String> {
        let all = self.run(&["ps", "--all", "--external", "--format", "{{.Names}}"]);
        let known = self.containers();
        all.lines()
            .map(str::to_owned)
            .filter(|name| !known.contains(name))
            .collect()
    }

    /// Makes [`BUSYBOX`] in this storage, of a kept archive: quicker than a build, and the same id in every test.
    pub fn load_busybox(&self) {
        let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).join("busybox.tar");
        if !archive.exists() {
            let context = self.dir.join("context");
            busybox_context(&context);
            self.run(&["build", "--quiet", "--tag", BUSYBOX, &context.display().to_string()]);
            // Tests run side by side: each makes its own, and the last one wins.
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let own = dir.path().join("busybox.tar");
            self.run(&["save", "--quiet", "--output", &own.display().to_string(), BUSYBOX]);
            std::fs::rename(own, &archive).unwrap();
        }
        self.run(&["load", "--quiet", "--input", &archive.display().to_string()]);
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Cleaning up goes on, whatever fails: the scratch directory tells when something is left.
        if self.ours {
            let _ = self.command().args(["rm", "--all", "--force", "--time", "0"]).output();
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|m| Path::new(m).starts_with(&self.dir));
        for mount in ours.collect::<Vec<_>>().into_iter().rev() {
            let _ = Command::new("umount").args(["-l", mount]).output();
        }
        if !nix::unistd::getuid().is_root() {
            let _ = self
                .command()
                .args(["unshare", "rm", "-rf"])
                .arg(self.dir.join("root"))
                .output();
            // What rootless podman leaves running.
            if let Ok(pid) = std::fs::read_to_string(self.dir.join("tmp/pause.pid")) {
                let _ = Command::new("kill").args(["-KILL", pid.trim()]).output();
            }
        }
    }
}

/// Writes a build context whose image has busybox and nothing else.
pub fn busybox_context(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    std::fs::copy(busybox.expect("busybox-static, see `make deps`"), dir.join("busybox")).unwrap();
    std::fs::write(dir.join("Containerfile"), BUSYBOX_CONTAINERFILE).unwrap();
}

/// What [`busybox_context`] writes; append to it.
pub const BUSYBOX_CONTAINERFILE: &str =
    "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";
