//! sshd on a high port, with keys of its own.

use super::child::{Server, free_port};
use crate::support::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Serves whatever the user who runs the tests may read, to one key.
pub struct SshGit {
    _server: Server,
    port: u16,
    dir: PathBuf,
    user: String,
}

impl SshGit {
    /// Starts it.
    pub fn start(scratch: &Scratch) -> Self {
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
             AcceptEnv GIT_PROTOCOL\nSetEnv GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1\n"
        );
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        // sshd wants it when started by root; Debian's service makes it, which need not run.
        if nix::unistd::getuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config"));
        let mut server = Server::start(&mut sshd, &dir.join("sshd.log"));
        server.wait_until_accepting(port);
        let user = nix::unistd::User::from_uid(nix::unistd::getuid())
            .unwrap()
            .unwrap()
            .name;
        Self {
            _server: server,
            port,
            dir,
            user,
        }
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
