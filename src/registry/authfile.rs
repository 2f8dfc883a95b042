//! What a file in the form of containers' auth.json or docker's config.json says of a repository. Pure.
//!
//! The rules are those of containers-auth.json(5): a helper that is named for the registry comes first, then the entry
//! with the longest path, then the helper for everything.

use super::secret::{Credentials, Secret, TOKEN_NAME};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Docker's old name of its own registry, which its files and helpers still use.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";

/// A file with logins.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// What is to be done for a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Here it is.
    Login(Credentials),
    /// Ask `docker-credential-NAME` for this server.
    Helper {
        /// NAME.
        name: String,
        /// As the helper knows it.
        server: String,
    },
}

impl AuthFile {
    /// Reads one. The error does not quote the text: it is secret.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes)
            .map_err(|e| format!("line {} column {}: not what is expected", e.line(), e.column()))
    }

    /// What may be tried for a repository, in order.
    pub fn advice(&self, registry: &str, repository: &str) -> Result<Vec<Advice>, String> {
        let server = || match registry {
            HUB => HUB_KEY.to_owned(),
            other => other.to_owned(),
        };
        let helper = |name: &String| Advice::Helper {
            name: name.clone(),
            server: server(),
        };
        let mut found = Vec::new();
        let mut helpers = self.cred_helpers.iter();
        found.extend(
            helpers
                .find(|(key, _)| host_of(key) == registry)
                .map(|(_, name)| helper(name)),
        );
        if let Some(login) = self.entry(registry, repository)? {
            found.push(Advice::Login(login));
        }
        found.extend(self.creds_store.as_ref().filter(|name| !name.is_empty()).map(helper));
        Ok(found)
    }

    fn entry(&self, registry: &str, repository: &str) -> Result<Option<Credentials>, String> {
        let mut path = format!("{registry}/{repository}");
        loop {
            // An old form of the registry's own name counts when the plain one is not there.
            let exact = self.auths.get(&path);
            let other = || {
                self.auths
                    .iter()
                    .find(|(key, _)| host_of(key) == registry && is_old(key))
                    .map(|(_, e)| e)
            };
            let entry = if path == registry { exact.or_else(other) } else { exact };
            if let Some(login) = entry
                .map(Entry::login)
                .transpose()
                .map_err(|why| format!("{path}: {why}"))?
                .flatten()
            {
                return Ok(Some(login));
            }
            match path.rfind('/') {
                Some(at) => path.truncate(at),
                None => return Ok(None),
            }
        }
    }
}

/// A URL, as docker wrote them once.
fn is_old(key: &str) -> bool {
    key.contains("://")
        || key.ends_with('/')
        || matches!(key, "index.docker.io" | "registry-1.docker.io")
        || key.contains("/v1")
        || key.contains("/v2")
}

/// The registry that a key is for.
fn host_of(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or(key.strip_prefix("http://"))
        .unwrap_or(key);
    match key.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        host => host,
    }
}

impl Entry {
    fn login(&self) -> Result<Option<Credentials>, &'static str> {
        let login = |username: &str, password: &str| Credentials {
            username: username.to_owned(),
            password: Secret::new(password),
        };
        if !self.identitytoken.is_empty() {
            return Ok(Some(login(TOKEN_NAME, &self.identitytoken)));
        }
        if !self.username.is_empty() && !self.password.is_empty() {
            return Ok(Some(login(&self.username, &self.password)));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let bytes = STANDARD
            .decode(self.auth.trim())
            .map_err(|_| "its auth is not base64")?;
        let text = String::from_utf8(bytes).map_err(|_| "its auth is not UTF-8")?;
        // Docker wrote a zero at the end once.
        let (username, password) = text
            .trim_end_matches('\0')
            .split_once(':')
            .ok_or("its auth has no colon")?;
        Ok(Some(login(username, password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::secret::auth_json;
    use rstest::rstest;

    fn login(name: &str) -> Credentials {
        Credentials {
            username: name.to_owned(),
            password: Secret::new(format!("secret-of-{name}")),
        }
    }

    fn file(entries: &[&str]) -> AuthFile {
        let logins: Vec<_> = entries
            .iter()
            .map(|key| ((*key).to_owned(), login(&key.replace(':', "_"))))
            .collect();
        AuthFile::parse(auth_json(&logins).as_bytes()).unwrap()
    }

    #[rstest]
    #[case(&["r.io", "r.io/a", "r.io/a/b", "r.io/a/b/c"], "r.io", "a/b", Some("r.io/a/b"))]
    #[case(&["r.io", "r.io/a"], "r.io", "ab", Some("r.io"))]
    #[case(&["r.io/a"], "r.io", "b", None)]
    #[case(&["r.io:5000"], "r.io", "b", None)]
    #[case(&["r.io"], "r.io:5000", "b", None)]
    #[case(&["https://r.io/v2/"], "r.io", "b", Some("https_//r.io/v2/"))]
    #[case(&["https://r.io/v2/", "r.io"], "r.io", "b", Some("r.io"))]
    #[case(&["docker.io"], "docker.io", "library/x", Some("docker.io"))]
    #[case(&["index.docker.io"], "docker.io", "library/x", Some("index.docker.io"))]
    #[case(&["docker.io/me"], "docker.io", "library/x", None)]
    #[case(&["https://r.io.evil/v1/"], "r.io", "x", None)]
    fn the_longest_path_wins(
        #[case] keys: &[&str],
        #[case] registry: &str,
        #[case] repository: &str,
        #[case] user: Option<&str>,
    ) {
        let advice = file(keys).advice(registry, repository).unwrap();
        let expected: Vec<_> = user.map(|user| Advice::Login(login(user))).into_iter().collect();
        assert_eq!(advice, expected);
    }

    #[test]
    fn helpers_stand_around_the_entries() {
        let text = r#"{"auths":{"r.io":{"auth":"dTpw"},"x.io":{}},"credsStore":"all","credHelpers":{"r.io":"one"}}"#;
        let file = AuthFile::parse(text.as_bytes()).unwrap();
        let helper = |name: &str, server: &str| Advice::Helper {
            name: name.to_owned(),
            server: server.to_owned(),
        };
        let advice = file.advice("r.io", "a").unwrap();
        assert_eq!(
            (&advice[0], &advice[2]),
            (&helper("one", "r.io"), &helper("all", "r.io"))
        );
        assert_eq!(file.advice("x.io", "a").unwrap(), [helper("all", "x.io")]);
        assert_eq!(file.advice("docker.io", "a/b").unwrap(), [helper("all", HUB_KEY)]);
    }

    #[test]
    fn tokens_and_what_is_broken() {
        let token = r#"{"auths":{"r.io":{"auth":"dTpw","identitytoken":"t"}}}"#;
        let advice = AuthFile::parse(token.as_bytes()).unwrap().advice("r.io", "a").unwrap();
        assert!(matches!(&advice[..], [Advice::Login(l)] if l.is_identity_token()));
        for auth in ["%%%", "dQ==", "/w=="] {
            let text = format!(r#"{{"auths":{{"r.io":{{"auth":"{auth}"}}}}}}"#);
            let error = AuthFile::parse(text.as_bytes())
                .unwrap()
                .advice("r.io", "a")
                .unwrap_err();
            assert!(error.starts_with("r.io: its auth ") && !error.contains(auth), "{error}");
        }
        let error = AuthFile::parse(br#"{"auths":{"r.io":{"auth":{"hunter2":1}}}}"#)
            .err()
            .unwrap();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn nothing_derived_shows_a_password() {
        let shown = format!("{:?}", Advice::Login(login("u")));
        assert!(!shown.contains("secret-of"), "{shown}");
    }
}
