//! sshd on a high port, with keys of its own.

use super::child::{Server, free_port};
use crate::support::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Serves whatever the user who runs the tests may read, to one key.
pub struct SshGit {
    /// None for a moment, while it is started again.
    server: Option<Server>,
    port: u16,
    dir: PathBuf,
    user: String,
}

impl SshGit {
    /// Starts it, with git's protocol v2.
    pub fn start(scratch: &Scratch) -> Self {
        Self::start_with(scratch, "AcceptEnv GIT_PROTOCOL")
    }

    /// Starts it with more lines of `sshd_config`. Debian's own does not accept `GIT_PROTOCOL`, so that v0 is spoken.
    pub fn start_with(scratch: &Scratch, settings: &str) -> Self {
        let port = free_port();
        let dir = scratch.mkdir(format!("ssh-{port}"));
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"])
                .arg(dir.join(key));
            assert!(keygen.status().unwrap().success(), "ssh-keygen");
        }
        let host_key = std::fs::read_to_string(dir.join("host.pub")).unwrap();
        std::fs::write(dir.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        let d = dir.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host\nPidFile none\nAuthorizedKeysFile {d}/user.pub\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
             {settings}\nSetEnv GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1\n"
        );
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        // sshd wants it when started by root; Debian's service makes it, which need not run.
        if nix::unistd::getuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let server = run(&dir, port);
        let user = nix::unistd::User::from_uid(nix::unistd::getuid())
            .unwrap()
            .unwrap()
            .name;
        Self {
            server: Some(server),
            port,
            dir,
            user,
        }
    }

    /// Ends it and its connections, and starts it again on the same port.
    pub fn restart(&mut self) {
        self.end_connections();
        self.server = None;
        self.server = Some(run(&self.dir, self.port));
    }

    /// Ends every connection, as a server does that goes down. Each is a child of the listening process.
    pub fn end_connections(&self) {
        for pid in self.server.iter().flat_map(|server| children(server.pid())) {
            for session in children(pid) {
                kill_one(session);
            }
            kill_one(pid);
        }
    }

    /// How many times somebody was let in since it was started.
    pub fn logins(&self) -> usize {
        let log = std::fs::read_to_string(self.dir.join("sshd.log")).unwrap();
        log.matches("Accepted publickey").count()
    }

    /// Of a repository, by its absolute path.
    pub fn url(&self, repo: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, repo.display())
    }

    /// What `GIT_SSH_COMMAND` must be: the key, the known host, nothing of the user's own.
    pub fn command(&self) -> String {
        let d = self.dir.display();
        format!(
            "ssh -F /dev/null -i {d}/user -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile={d}/known_hosts \
             -o StrictHostKeyChecking=yes -o KexAlgorithms=curve25519-sha256"
        )
    }

    /// A directory as rsync names it; the port is in [`SshGit::rsync_shell`].
    pub fn rsync_destination(&self, dir: &Path) -> String {
        format!("{}@127.0.0.1:{}", self.user, dir.display())
    }

    /// What `RSYNC_RSH` must be.
    pub fn rsync_shell(&self) -> String {
        format!("{} -p {}", self.command(), self.port)
    }
}

fn run(dir: &Path, port: u16) -> Server {
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config"));
    let mut server = Server::start(&mut sshd, &dir.join("sshd.log"));
    server.wait_until_accepting(port);
    server
}

/// Processes whose parent it is.
fn children(pid: i32) -> Vec<i32> {
    let parent = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name in brackets come the state and the parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|child| parent(child) == Some(pid)).collect()
}

fn kill_one(pid: i32) {
    // It may have ended by itself.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}
