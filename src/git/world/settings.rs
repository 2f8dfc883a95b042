//! What was found out for one URL.

use std::path::PathBuf;

/// How to talk to an http(s) remote.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpSettings {
    /// By which way.
    pub proxy: Proxy,
    /// Sent with every request, in this order.
    pub headers: Vec<Header>,
    /// For https.
    pub tls: Tls,
    /// `http.userAgent`, or git's own (`git/2.47.3`).
    pub user_agent: String,
    /// Redirects of the first request are followed (`http.followRedirects`: `true` and `initial` are; `false` is not).
    pub follow_redirects: bool,
    /// Why only git can ask this URL, if so: a client certificate, a cookie file, a SOCKS proxy …
    pub unable: Option<String>,
}

/// One of `http.extraHeader`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// As it was written.
    pub name: String,
    /// May be a credential: never shown.
    pub value: String,
}

/// A derived one would print the secret.
impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ***", self.name)
    }
}

/// `http.proxy`, or the usual environment variables, with `no_proxy` already weighed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub enum Proxy {
    /// Straight to the server.
    #[default]
    None,
    /// An http proxy: absolute requests for http, CONNECT for https.
    Http {
        /// `http://host:port`, without userinfo.
        url: String,
        /// From its userinfo.
        login: Option<Login>,
    },
}

/// What a TLS server must show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// `http.sslVerify`, `GIT_SSL_NO_VERIFY`.
    pub verify: bool,
    /// `http.sslCAInfo`, `GIT_SSL_CAINFO`: in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// `http.sslCAPath`, `GIT_SSL_CAPATH`: in place of the system's.
    pub ca_path: Option<PathBuf>,
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Login {
    /// Decoded.
    pub username: String,
    /// Decoded; may be empty.
    pub password: String,
}

/// A derived one would print the secret.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(***)")
    }
}

/// How the user wants ssh to be called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ssh {
    /// Plain `ssh`, as git's default.
    Default,
    /// A command line that a shell would split: `GIT_SSH_COMMAND`, else `core.sshCommand`.
    Command(String),
    /// A program, by `GIT_SSH`.
    Program(PathBuf),
}
