//! A docker daemon with a storage of its own.

use crate::support::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The daemon. Declare it after its [`Scratch`].
pub struct Docker {
    daemon: std::process::Child,
    /// As `DOCKER_HOST` takes it.
    pub host: String,
    dir: PathBuf,
}

impl Docker {
    /// None where dockerd does not start.
    pub fn start(scratch: &Scratch) -> Option<Self> {
        let dir = scratch.mkdir("docker");
        let at = |name: &str| dir.join(name).display().to_string();
        let host = format!("unix://{}", at("d.sock"));
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let daemon = std::process::Command::new("dockerd")
            .args([
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
                "-p",
                &at("pid"),
                "-H",
                &host,
            ])
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .ok()?;
        let mut docker = Self { daemon, host, dir };
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(15) {
            if docker.daemon.try_wait().unwrap().is_some() {
                return None;
            }
            if std::os::unix::net::UnixStream::connect(docker.dir.join("d.sock")).is_ok() {
                return Some(docker);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.daemon.id().try_into().unwrap());
        // It ends its containerd, too, if it is asked to.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.daemon.wait();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for mount in ours.filter(|m| Path::new(m).starts_with(&self.dir)) {
            let _ = std::process::Command::new("umount").args(["-l", mount]).output();
        }
    }
}
