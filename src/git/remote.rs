//! A remote's URL, taken apart so that its credentials can go another way than its address.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

use crate::model::mask_url;

/// A remote as git may see it in arguments and in `.git/config`, and the credentials that it was written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    /// URL or path, without a secret.
    pub url: String,
    /// For http and https only: nothing else can use them.
    pub credentials: Option<Credentials>,
}

/// From the userinfo of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// `scheme://host:port`, to which they belong and to no other.
    pub scope: String,
    /// Decoded.
    pub username: String,
    /// Decoded; none if the URL has only a name.
    pub password: Option<String>,
}

/// A derived one would print the secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials for {}", self.scope)
    }
}

impl Remote {
    /// Splits off the userinfo of an http URL and the password of any other.
    pub fn new(remote: &str) -> Self {
        let plain = || Self {
            url: remote.to_owned(),
            credentials: None,
        };
        let Some((scheme, rest)) = remote.split_once("://") else {
            return plain();
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let Some((userinfo, host)) = authority.rsplit_once('@') else {
            return plain();
        };
        let (username, password) = match userinfo.split_once(':') {
            Some((username, password)) => (username, Some(password)),
            None => (userinfo, None),
        };
        if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
            // ssh takes no password from a URL, but would show it in its arguments.
            let url = format!("{scheme}://{username}@{host}{path}");
            return Self { url, credentials: None };
        }
        Self {
            url: format!("{scheme}://{host}{path}"),
            credentials: Some(Credentials {
                scope: format!("{scheme}://{host}"),
                username: decode(username),
                password: password.map(decode),
            }),
        }
    }

    /// Whether git would use ssh for it: `ssh://…`, `git+ssh://…` or `host:path`.
    pub fn is_ssh(&self) -> bool {
        match self.url.split_once("://") {
            Some((scheme, _)) => scheme.contains("ssh"),
            None => self.url.find(':').is_some_and(|colon| !self.url[..colon].contains('/')),
        }
    }

    /// What git said, without credentials: those of any URL in it, and ours wherever they stand.
    pub fn mask(&self, said: &str) -> String {
        let mut text = said
            .split_inclusive([' ', '\'', '"', '\n', '\t', '<', '>', '(', ')'])
            .map(mask_url)
            .collect::<String>();
        let secrets = self.credentials.iter().flat_map(|c| {
            let name_alone = c.password.is_none().then_some(&c.username);
            name_alone.into_iter().chain(&c.password)
        });
        for secret in secrets.filter(|s| s.len() > 2) {
            text = text.replace(secret.as_str(), "***");
        }
        text
    }
}

/// The host that a remote's URL names, without port and case; none for this machine's own files.
pub fn host_of(remote: &str) -> Option<String> {
    let host = match remote.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
                Some((v6, _)) => v6,
                None => host.split(':').next().unwrap_or_default(),
            }
        }
        None => {
            let (host, _) = remote.split_once(':').filter(|(host, _)| !host.contains('/'))?;
            host.rsplit('@').next().unwrap_or_default().trim_matches(['[', ']'])
        }
    };
    Some(host.to_ascii_lowercase())
}

fn decode(text: &str) -> String {
    let decoded: Cow<'_, [u8]> = percent_decode_str(text).into();
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_credentials_out_of_urls() {
        let of = |url: &str| {
            let remote = Remote::new(url);
            let credentials = remote.credentials.map(|c| (c.scope, c.username, c.password));
            (remote.url, credentials)
        };
        let (url, credentials) = of("https://us%65r:p%40ss%3A@h:8443/x.git");
        assert_eq!(url, "https://h:8443/x.git");
        assert_eq!(
            credentials.unwrap(),
            ("https://h:8443".into(), "user".into(), Some("p@ss:".into()))
        );
        let (url, credentials) = of("http://token@h/x");
        assert_eq!(url, "http://h/x");
        assert_eq!(credentials.unwrap(), ("http://h".into(), "token".into(), None));
        for same in [
            "/a/b@c",
            "git@h:x",
            "ssh://git@h/x",
            "file:///x",
            "https://h/a@b",
            "git://h/x",
        ] {
            assert_eq!(of(same), (same.to_owned(), None));
        }
        assert_eq!(of("ssh://git:pw@h/x"), ("ssh://git@h/x".to_owned(), None));
    }

    #[test]
    fn hosts() {
        for (remote, host) in [
            ("https://u:p@Git.Example.org:8443/x", Some("git.example.org")),
            ("ssh://git@h:22/x", Some("h")),
            ("git://[::1]:9418/x", Some("::1")),
            ("git@H:x/y", Some("h")),
            ("[h]:x", Some("h")),
            ("/srv/x", None),
            ("./a:b", None),
            ("file:///srv/x", None),
        ] {
            assert_eq!(host_of(remote).as_deref(), host, "{remote}");
        }
    }

    #[test]
    fn knows_ssh() {
        for (url, ssh) in [
            ("ssh://h/x", true),
            ("git@h:x", true),
            ("h:x/y", true),
            ("/a:b", false),
            ("./a:b", false),
            ("https://h:1/x", false),
        ] {
            assert_eq!(Remote::new(url).is_ssh(), ssh, "{url}");
        }
    }

    #[test]
    fn what_git_says_is_masked() {
        let remote = Remote::new("https://u:hunter2@h/x");
        assert_eq!(
            remote.mask("fatal: 'https://a:b@c/d' and hunter2"),
            "fatal: 'https://***@c/d' and ***"
        );
        assert!(!format!("{remote:?}").contains("hunter2"));
    }
}
