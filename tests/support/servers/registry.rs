//! Debian's docker-registry: plain or with TLS, open or with a login.

use super::child::{Server, free_port};
use super::http::make_certificates;
use crate::support::scratch::Scratch;
use std::path::PathBuf;
use std::process::Command;

/// How it serves.
#[derive(Debug, Default, Clone, Copy)]
pub struct RegistryOptions<'a> {
    /// User and password, if it asks for them.
    pub auth: Option<(&'a str, &'a str)>,
    /// TLS with a certificate of a private CA, see [`Registry::ca_file`].
    pub tls: bool,
    /// Where it tells what is pushed and deleted, and the token that it sends with it.
    pub notify: Option<(&'a str, &'a str)>,
}

/// A registry that is empty at first.
pub struct Registry {
    _server: Server,
    port: u16,
    dir: PathBuf,
}

impl Registry {
    /// Plain and open.
    pub fn start(scratch: &Scratch) -> Self {
        Self::start_with(scratch, RegistryOptions::default())
    }

    /// As the options say.
    pub fn start_with(scratch: &Scratch, options: RegistryOptions) -> Self {
        let port = free_port();
        let dir = scratch.mkdir(format!("registry-{port}"));
        let d = dir.display();
        let mut config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {d}/data}}, delete: {{enabled: true}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n"
        );
        if options.tls {
            make_certificates(&dir, 1);
            config += &format!("  tls: {{certificate: {d}/server.crt, key: {d}/server.key}}\n");
        }
        if let Some((user, password)) = options.auth {
            let made = Command::new("htpasswd").args(["-nbB", user, password]).output();
            let made = made.expect("htpasswd of apache2-utils, see `make deps`");
            assert!(made.status.success(), "{made:?}");
            std::fs::write(dir.join("htpasswd"), made.stdout).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {d}/htpasswd}}}}\n");
        }
        if let Some((url, token)) = options.notify {
            config += &format!(
                "notifications:\n  endpoints:\n    - name: test\n      url: {url}\n      timeout: 5s\n      \
                 threshold: 3\n      backoff: 500ms\n      headers: {{Authorization: [Bearer {token}]}}\n"
            );
        }
        let file = dir.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        let mut server = Server::start(&mut command, &dir.join("log"));
        server.wait_until_accepting(port);
        Self {
            _server: server,
            port,
            dir,
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As references and the config name it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it keeps what it has.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The CA of one with TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }
}
