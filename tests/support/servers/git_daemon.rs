//! `git daemon`: git:// without authentication.

use super::child::{Server, free_port};
use crate::support::repo::git_command;
use crate::support::scratch::Scratch;
use std::path::Path;

/// Serves every repository beneath a directory.
pub struct GitDaemon {
    _server: Server,
    port: u16,
}

impl GitDaemon {
    /// Serves what is beneath `root`.
    pub fn start(scratch: &Scratch, root: &Path) -> Self {
        let port = free_port();
        let mut command = git_command();
        command.args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"]);
        command
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", root.display()))
            .arg(root);
        let mut server = Server::start(&mut command, &scratch.join(format!("git-daemon-{port}.log")));
        server.wait_until_accepting(port);
        Self { _server: server, port }
    }

    /// Of a repository, by its path beneath the root.
    pub fn url(&self, repo: &str) -> String {
        format!("git://127.0.0.1:{}/{repo}", self.port)
    }
}
