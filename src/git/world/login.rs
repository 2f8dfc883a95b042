//! The login that is known without asking anybody: the URL's own, else the one in `~/.netrc`.

use super::urlmatch::Url;
use super::{Login, World};
use crate::git::remote::{Credentials, Remote};

impl World {
    /// The userinfo that may go to `url`: its own, which a `url.*.insteadOf` may have brought, else that of the remote
    /// as it is written, if both name the same server. It goes to no other.
    pub(in crate::git) fn credentials(remote: &Remote, url: &str) -> Option<Credentials> {
        let own = Remote::new(url).credentials;
        let written = || {
            let credentials = remote.credentials.clone()?;
            let (theirs, asked) = (Url::parse(&credentials.scope)?, Url::parse(url)?);
            let same = theirs.scheme == asked.scheme && theirs.host == asked.host && theirs.port == asked.port;
            same.then_some(credentials)
        };
        own.or_else(written)
    }

    /// The login for `url` if it is known. Of a URL with only a name, `.netrc` must have that name.
    ///
    /// When a server refuses one that the URL has, no other may be tried; when it refuses another, or there is none,
    /// [`super::fill`] asks the user's helpers.
    pub(in crate::git) fn login(&self, remote: &Remote, url: &str) -> Option<Login> {
        let (username, password) = match Self::credentials(remote, url) {
            Some(credentials) => (Some(credentials.username), credentials.password),
            None => (None, None),
        };
        if let (Some(username), Some(password)) = (&username, password) {
            let username = username.clone();
            return Some(Login { username, password });
        }
        let host = Url::parse(url)?.host;
        self.netrc.login(host.trim_matches(['[', ']']), username.as_deref())
    }
}
