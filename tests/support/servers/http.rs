//! nginx, fcgiwrap and `git http-backend`: smart http, with passwords and TLS if asked.

use super::child::{Server, free_port};
use crate::support::repo::{GIT_ENV, git_in};
use crate::support::scratch::Scratch;
use std::fmt::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How it serves.
#[derive(Debug, Default, Clone, Copy)]
pub struct HttpOptions<'a> {
    /// User and password, if it asks for them.
    pub auth: Option<(&'a str, &'a str)>,
    /// TLS with a certificate of a private CA, see [`HttpGit::ca_file`].
    pub tls: bool,
}

/// Serves every repository beneath a directory.
pub struct HttpGit {
    _nginx: Server,
    _fcgiwrap: Server,
    port: u16,
    tls: bool,
    dir: PathBuf,
}

impl HttpGit {
    /// Serves what is beneath `root`.
    pub fn start(scratch: &Scratch, root: &Path, options: HttpOptions) -> Self {
        let port = free_port();
        let dir = scratch.mkdir(format!("http-{port}"));
        let socket = dir.join("fcgi");
        let mut fcgiwrap = Command::new("/usr/sbin/fcgiwrap");
        fcgiwrap
            .args(["-f", "-c", "2", "-s"])
            .arg(format!("unix:{}", socket.display()))
            .envs(GIT_ENV);
        let mut fcgiwrap = Server::start(&mut fcgiwrap, &dir.join("fcgiwrap.log"));
        fcgiwrap.wait_until(|| UnixStream::connect(&socket).is_ok());

        if options.tls {
            make_certificates(&dir);
        }
        let config = dir.join("nginx.conf");
        std::fs::write(&config, nginx_config(&dir, root, port, &options)).unwrap();
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx
            .arg("-e")
            .arg(dir.join("error.log"))
            .arg("-p")
            .arg(&dir)
            .arg("-c")
            .arg(&config);
        let mut nginx = Server::start(&mut nginx, &dir.join("nginx.log"));
        nginx.wait_until_accepting(port);
        Self {
            _nginx: nginx,
            _fcgiwrap: fcgiwrap,
            port,
            tls: options.tls,
            dir,
        }
    }

    /// Of a repository, by its path beneath the root; without user and password.
    pub fn url(&self, repo: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/{repo}", self.port)
    }

    /// What `GIT_SSL_CAINFO` must name for a server with TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Every request until now, a line each: the request line, its status, the user.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("access.log")).unwrap()
    }
}

fn nginx_config(dir: &Path, root: &Path, port: u16, options: &HttpOptions) -> String {
    let HttpOptions { auth, tls } = options;
    let d = dir.display();
    let backend = Path::new(&git_in(dir, ["--exec-path"])).join("git-http-backend");
    let mut server = format!("listen 127.0.0.1:{port}{};\n", if *tls { " ssl" } else { "" });
    if *tls {
        writeln!(
            server,
            "ssl_certificate {d}/server.crt; ssl_certificate_key {d}/server.key;"
        )
        .unwrap();
    }
    if let Some((user, password)) = auth {
        std::fs::write(dir.join("passwords"), format!("{user}:{{PLAIN}}{password}\n")).unwrap();
        writeln!(server, "auth_basic git; auth_basic_user_file {d}/passwords;").unwrap();
    }
    // As root it would change to another user, who may not look into the scratch directory.
    let user = if nix::unistd::getuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        r#"{user} daemon off; master_process off; pid {d}/nginx.pid;
events {{}}
http {{
  log_format short '"$request" $status $remote_user';
  access_log {d}/access.log short;
  client_max_body_size 0;
  client_body_temp_path {d}/body; proxy_temp_path {d}/proxy; fastcgi_temp_path {d}/fastcgi;
  uwsgi_temp_path {d}/uwsgi; scgi_temp_path {d}/scgi;
  server {{
    {server}
    location / {{
      fastcgi_pass unix:{d}/fcgi;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
      fastcgi_param REMOTE_USER $remote_user;
    }}
  }}
}}
"#,
        backend = backend.display(),
        root = root.display(),
    )
}

/// A CA and a certificate for loopback, valid for a day.
fn make_certificates(dir: &Path) {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1";
    let ca = "-subj /CN=test-ca -keyout ca.key -out ca.crt";
    let server = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
                  -addext basicConstraints=CA:FALSE -CA ca.crt -CAkey ca.key -keyout server.key -out server.crt";
    for rest in [ca, server] {
        let args = request.split_whitespace().chain(rest.split_whitespace());
        let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
        assert!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
