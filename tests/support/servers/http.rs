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

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The number of its connection.
    pub connection: u64,
    /// GET or POST.
    pub method: String,
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
        Self::serve(scratch, root, options, 1, "")
    }

    /// The same on so many addresses, from 127.0.0.1 on: see [`HttpGit::url_on`].
    pub fn start_on(scratch: &Scratch, root: &Path, options: HttpOptions, hosts: u8) -> Self {
        Self::serve(scratch, root, options, hosts, "")
    }

    /// The same with more of nginx's settings for the server.
    pub fn start_with(scratch: &Scratch, root: &Path, options: HttpOptions, settings: &str) -> Self {
        Self::serve(scratch, root, options, 1, settings)
    }

    fn serve(scratch: &Scratch, root: &Path, options: HttpOptions, hosts: u8, settings: &str) -> Self {
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
            make_certificates(&dir, hosts);
        }
        let config = dir.join("nginx.conf");
        let text = nginx_config(&dir, root, port, &options, hosts, settings);
        std::fs::write(&config, text).unwrap();
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
        self.url_on(1, repo)
    }

    /// The same on the host 127.0.0.`host`.
    pub fn url_on(&self, host: u8, repo: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.{host}:{}/{repo}", self.port)
    }

    /// What `GIT_SSL_CAINFO` must name for a server with TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// From now on it speaks protocol v0, whatever is asked for, or again what is asked for.
    pub fn speak_v0(&self, v0: bool) {
        let switch = self.dir.join("v0");
        if v0 {
            std::fs::write(switch, "").unwrap();
        } else {
            std::fs::remove_file(switch).unwrap();
        }
    }

    /// Every request until now: the number of its connection, and its method.
    pub fn requests(&self) -> Vec<(u64, String)> {
        let looks = self.looks("");
        looks.into_iter().map(|look| (look.connection, look.method)).collect()
    }

    /// What each request until now took and gave, in bytes of HTTP: without TLS.
    pub fn traffic(&self) -> Vec<(u64, u64)> {
        let log = std::fs::read_to_string(self.dir.join("bytes.log")).unwrap();
        let words = log.lines().map(|line| line.split_once(' ').unwrap());
        words
            .map(|(received, sent)| (received.parse().unwrap(), sent.parse().unwrap()))
            .collect()
    }

    /// The bytes of each answer until now.
    pub fn bytes_sent(&self) -> Vec<u64> {
        self.traffic().into_iter().map(|(_, sent)| sent).collect()
    }

    /// Every request for what is beneath this path.
    pub fn looks(&self, path: &str) -> Vec<Look> {
        let log = std::fs::read_to_string(self.dir.join("looks.log")).unwrap();
        let looks = log.lines().filter_map(|line| {
            let [connection, method, at] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            at.starts_with(path).then(|| Look {
                connection: connection.parse().unwrap(),
                method: method.to_owned(),
            })
        });
        looks.collect()
    }

    /// Every request until now, a line each: the request line, its status, the user.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("access.log")).unwrap()
    }
}

fn nginx_config(dir: &Path, root: &Path, port: u16, options: &HttpOptions, hosts: u8, settings: &str) -> String {
    let HttpOptions { auth, tls } = options;
    let d = dir.display();
    let backend = Path::new(&git_in(dir, ["--exec-path"])).join("git-http-backend");
    let mut server = String::new();
    for host in 1..=hosts {
        let ssl = if *tls { " ssl" } else { "" };
        writeln!(server, "listen 127.0.0.{host}:{port}{ssl};").unwrap();
    }
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
  log_format look '$connection $request_method $uri'; log_format bytes '$request_length $bytes_sent';
  access_log {d}/access.log short; access_log {d}/looks.log look; access_log {d}/bytes.log bytes;
  client_max_body_size 0;
  client_body_temp_path {d}/body; proxy_temp_path {d}/proxy; fastcgi_temp_path {d}/fastcgi;
  uwsgi_temp_path {d}/uwsgi; scgi_temp_path {d}/scgi;
  server {{
    {server}
    {settings}
    set $protocol $http_git_protocol;
    if (-f {d}/v0) {{ set $protocol ""; }}
    location / {{
      fastcgi_pass unix:{d}/fcgi;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_PROTOCOL $protocol;
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
pub fn make_certificates(dir: &Path, hosts: u8) {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1";
    let ca = "-subj /CN=test-ca -keyout ca.key -out ca.crt";
    let mut names = "DNS:localhost".to_owned();
    for host in 1..=hosts {
        write!(names, ",IP:127.0.0.{host}").unwrap();
    }
    let server = format!(
        "-subj /CN=127.0.0.1 -addext subjectAltName={names} -addext basicConstraints=CA:FALSE \
         -CA ca.crt -CAkey ca.key -keyout server.key -out server.crt"
    );
    for rest in [ca, &server] {
        let args = request.split_whitespace().chain(rest.split_whitespace());
        let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
        assert!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
