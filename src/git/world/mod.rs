//! The user's git world: what their git config, environment, `.netrc` and credential helpers say about a remote.
//!
//! Git itself reads its config files (`git config --list`), once for many questions; what the settings mean for one
//! URL is decided here, purely. Nothing here may ever ask a person, show a secret, or give one server's login to
//! another.

mod config;
mod credential;
mod header;
mod http;
mod login;
mod netrc;
mod proxy;
mod read;
mod settings;
mod urlmatch;
mod variables;
mod worlds;

pub use credential::{Filled, fill};
pub use read::WorldError;
pub use settings::{Header, HttpSettings, Login, Proxy, Ssh, Tls};
pub(in crate::git) use variables::relevant;
pub use worlds::Worlds;

use config::{Config, boolean};
use netrc::Netrc;
use std::path::PathBuf;
use variables::Variables;

/// All that was read at one time, for one environment. Questions to it cost no IO.
pub struct World {
    config: Config,
    variables: Variables,
    netrc: Netrc,
    /// Git's own name for servers.
    agent: String,
    /// To which relative paths in the settings refer.
    cwd: PathBuf,
}

/// A derived one would print secrets.
impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World(***)")
    }
}

impl World {
    /// The URL that git asks in place of `remote`, by `url.<base>.insteadOf`: the longest that fits, of equals the one
    /// whose base comes first. To agree with the checkout, give it the remote as git gets it, without credentials.
    pub fn rewrite(&self, remote: &str) -> String {
        let mut bases: Vec<&str> = Vec::new();
        let mut best: Option<(usize, usize)> = None;
        for (base, prefix) in self.config.each("url", "insteadof") {
            let place = bases.iter().position(|b| *b == base).unwrap_or_else(|| {
                bases.push(base);
                bases.len() - 1
            });
            let Some(prefix) = prefix.filter(|prefix| remote.starts_with(prefix)) else {
                continue;
            };
            if best.is_none_or(|(len, first)| prefix.len() > len || (prefix.len() == len && place < first)) {
                best = Some((prefix.len(), place));
            }
        }
        match best {
            Some((len, place)) => format!("{}{}", bases[place], &remote[len..]),
            None => remote.to_owned(),
        }
    }

    /// How to talk to an http(s) URL, which was rewritten before. Userinfo in it is weighed as git does.
    pub fn http(&self, url: &str) -> HttpSettings {
        http::settings(self, url)
    }

    /// Whether git would use this transport (`http`, `https`, `ssh`, `git`, `file`): `GIT_ALLOW_PROTOCOL`,
    /// `protocol.<name>.allow`, `protocol.allow`. A value that git does not know allows nothing.
    pub fn allows(&self, transport: &str) -> bool {
        if let Some(list) = self.variables.text("GIT_ALLOW_PROTOCOL") {
            return list.split(':').any(|allowed| allowed == transport);
        }
        let configured = self
            .config
            .last("protocol", Some(transport), "allow")
            .or_else(|| self.config.last("protocol", None, "allow"));
        let policy = match (configured, transport) {
            (Some(value), _) => value.unwrap_or_default().to_ascii_lowercase(),
            (None, "http" | "https" | "git" | "ssh") => "always".to_owned(),
            (None, "ext") => "never".to_owned(),
            (None, _) => "user".to_owned(),
        };
        match policy.as_str() {
            "always" => true,
            "user" => match self.variables.text("GIT_PROTOCOL_FROM_USER") {
                Some(value) => boolean(Some(&value)).unwrap_or(false),
                None => true,
            },
            _ => false,
        }
    }

    /// How the user wants ssh to be called.
    pub fn ssh(&self) -> Ssh {
        let configured = || Some(self.config.last("core", None, "sshcommand")??.to_owned());
        match self.variables.text("GIT_SSH_COMMAND").or_else(configured) {
            Some(command) => Ssh::Command(command),
            None => match self.variables.get("GIT_SSH") {
                Some(program) => Ssh::Program(program.into()),
                None => Ssh::Default,
            },
        }
    }

    /// `GIT_SSH_VARIANT`, else `ssh.variant`, as it was written: which options the user's ssh takes.
    pub fn ssh_variant(&self) -> Option<String> {
        let configured = || Some(self.config.last("ssh", None, "variant")??.to_owned());
        self.variables.text("GIT_SSH_VARIANT").or_else(configured)
    }

    /// Whether `git://` may go through a command of the user's (`GIT_PROXY_COMMAND`, `core.gitProxy`): git's to do.
    pub fn git_proxy(&self) -> bool {
        let variable = self.variables.get("GIT_PROXY_COMMAND");
        variable.is_some_and(|command| !command.is_empty()) || self.config.last("core", None, "gitproxy").is_some()
    }

    /// Whether git would speak version 2 of its protocol, which is its default.
    pub fn protocol_v2(&self) -> bool {
        self.config
            .last("protocol", None, "version")
            .is_none_or(|version| version == Some("2"))
    }

    /// Whether a repository on this machine may be told to hide refs, by settings outside of it.
    pub fn hides_refs(&self) -> bool {
        ["transfer", "uploadpack"]
            .iter()
            .any(|section| self.config.last(section, None, "hiderefs").is_some())
    }
}

#[cfg(test)]
mod tests;
