//! Logins: where they come from, and how they are sent.

use super::super::reply::Missed;
use crate::git::world::Login;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, HeaderValue, InvalidHeaderValue, WWW_AUTHENTICATE};

/// Where logins come from. Every URL is that of a repository, without userinfo; after a redirect it may be at another
/// origin than the remote's own, and a login must not be given for an origin that it does not belong to.
pub(in crate::git) trait Vault: Sync {
    /// What is at hand without asking anyone: the userinfo of the remote's URL, `.netrc`.
    fn known(&self, url: &str) -> Option<Login>;

    /// `git credential fill`, which may ask nobody but the helpers. None if they know nothing.
    fn fill(&self, url: &str) -> impl Future<Output = Result<Option<Login>, Missed>> + Send;

    /// `git credential approve`: the server took it.
    fn approve(&self, url: &str, login: &Login) -> impl Future<Output = ()> + Send;

    /// `git credential reject`: the server did not.
    fn reject(&self, url: &str, login: &Login) -> impl Future<Output = ()> + Send;
}

/// The value of `Authorization` or `Proxy-Authorization` (RFC 7617).
pub(super) fn basic(login: &Login) -> Result<HeaderValue, InvalidHeaderValue> {
    let pair = STANDARD.encode(format!("{}:{}", login.username, login.password));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a server that answers 401 would take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password.
    Basic,
    /// What only git and curl can do: the scheme's name.
    Other(String),
    /// It does not say.
    None,
}

impl Challenge {
    /// Reads every `WWW-Authenticate` (RFC 9110, 11.6.1). A comma within a quoted parameter may make up a scheme that
    /// is none; nothing worse comes of that than a login sent in vain to the server that it belongs to.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        let mut other = Self::None;
        for part in values.flat_map(|v| v.split(',')) {
            let scheme = part.split_whitespace().next().unwrap_or_default();
            if scheme.eq_ignore_ascii_case("basic") {
                return Self::Basic;
            }
            let is_token = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if is_token && other == Self::None {
                other = Self::Other(scheme.to_owned());
            }
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_sent_as_the_rfc_says() {
        let login = Login {
            username: "Aladdin".into(),
            password: "open sesame".into(),
        };
        let value = basic(&login).unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{value:?}").contains("QWx"));
    }

    #[test]
    fn challenges() {
        let other = |s: &str| Challenge::Other(s.to_owned());
        for (values, expected) in [
            (&[][..], Challenge::None),
            (&["Basic realm=\"git\""], Challenge::Basic),
            (&["basic"], Challenge::Basic),
            (&["Negotiate", "Basic realm=x"], Challenge::Basic),
            (
                &["Digest realm=\"a, b\", nonce=\"c\", Basic realm=\"d\""],
                Challenge::Basic,
            ),
            (&["Negotiate"], other("Negotiate")),
            (&["NTLM, Negotiate"], other("NTLM")),
            (&["Bearer realm=\"x\", service=\"y\""], other("Bearer")),
            (&["realm=\"x\""], Challenge::None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
            }
            assert_eq!(Challenge::of(&headers), expected, "{values:?}");
        }
    }
}
