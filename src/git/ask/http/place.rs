//! Where a repository is, as far as http is concerned. Pure.

use crate::git::remote::Remote;
use crate::model::mask_url;
use hyper::Uri;

/// What is asked first of a repository, behind its URL (gitprotocol-http(5), "Discovering References").
pub(super) const GREETING: &str = "/info/refs?service=git-upload-pack";

/// The http or https URL of a repository, without userinfo, query, fragment and last slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base(Box<str>);

impl Base {
    /// None if the URL is not as plain as that; git may know what to do with it.
    pub fn new(url: &str) -> Option<Self> {
        let url = url.strip_suffix('/').unwrap_or(url);
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        let is_plain = matches!(uri.scheme_str(), Some("http" | "https"))
            && !authority.host().is_empty()
            && !authority.as_str().contains('@')
            && !url.contains(['?', '#']);
        is_plain.then(|| Self(url.into()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether TLS is spoken there.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Scheme, host and port, by which it is decided who may see a login.
    fn origin(&self) -> Option<(String, String, u16)> {
        let uri: Uri = self.0.parse().ok()?;
        let port = uri.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 });
        Some((uri.scheme_str()?.to_owned(), uri.host()?.to_ascii_lowercase(), port))
    }

    /// Whether what belongs to one may be shown to the other.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.origin().is_some() && self.origin() == other.origin()
    }

    /// Where the repository is if [`GREETING`] was answered with this `Location` (RFC 9110, 10.2.2). As with git it
    /// must end as the question did. An error is for people.
    pub fn redirected(&self, location: &str) -> Result<Self, String> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.is_https() { "https" } else { "http" };
        let whole = if let Some(rest) = location.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else if location.starts_with('/') {
            let authority = self.0[scheme.len() + 3..].split('/').next().unwrap_or_default();
            format!("{scheme}://{authority}{location}")
        } else if location
            .split(['/', '?'])
            .next()
            .is_some_and(|first| first.ends_with(':'))
        {
            location.to_owned()
        } else {
            format!("{}/info/{location}", self.0)
        };
        // Whoever redirects does not choose our login.
        let whole = Remote::new(&whole).url;
        let shown = || {
            let path = whole.split('?').next().unwrap_or_default();
            path.chars().filter(|c| !c.is_control()).take(200).collect::<String>()
        };
        let to = whole
            .strip_suffix(GREETING)
            .and_then(Self::new)
            .ok_or_else(|| format!("it redirects to {}", mask_url(&shown())))?;
        if self.is_https() && !to.is_https() {
            return Err(format!("it redirects from https to {}", mask_url(&shown())));
        }
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_urls() {
        for (url, base) in [
            ("http://h/x.git", Some("http://h/x.git")),
            ("https://h:8443/x/", Some("https://h:8443/x")),
            ("http://[::1]:80/x", Some("http://[::1]:80/x")),
            ("http://h", Some("http://h")),
            ("http://u@h/x", None),
            ("http://h/x?y", None),
            ("http://h/x#y", None),
            ("http://h/a b", None),
            ("http:///x", None),
            ("http://", None),
            ("git://h/x", None),
            ("/x", None),
            ("", None),
        ] {
            assert_eq!(Base::new(url).as_ref().map(Base::as_str), base, "{url}");
        }
    }

    #[test]
    fn origins() {
        for (a, b, same) in [
            ("http://h/x", "http://H:80/y", true),
            ("https://h/x", "https://h:443/x", true),
            ("http://h/x", "https://h/x", false),
            ("http://h/x", "http://h:81/x", false),
            ("http://h/x", "http://h.evil/x", false),
        ] {
            assert_eq!(
                Base::new(a).unwrap().is_same_origin(&Base::new(b).unwrap()),
                same,
                "{a} {b}"
            );
        }
    }

    #[test]
    fn redirects() {
        let from = Base::new("https://h:1/a/b").unwrap();
        let greeting = |to: &str| from.redirected(&format!("{to}{GREETING}"));
        for (to, base) in [
            ("https://other/c", "https://other/c"),
            ("//other/c", "https://other/c"),
            ("/c.git", "https://h:1/c.git"),
            ("https://u:p@other/c", "https://other/c"),
            ("https://h:1/a/b/", "https://h:1/a/b"),
        ] {
            assert_eq!(greeting(to).as_ref().map(Base::as_str), Ok(base), "{to}");
        }
        let relative = from.redirected("refs?service=git-upload-pack").unwrap();
        assert_eq!(relative.as_str(), "https://h:1/a/b");
        let error = greeting("http://h:1/a/b").unwrap_err();
        assert!(error.contains("from https"), "{error}");
        for bad in [
            "https://h/login?state=secret",
            "",
            "ftp://h/x/info/refs?service=git-upload-pack",
            "https://u:secret@h/x",
            "https://h/x/info/refs",
        ] {
            let error = from.redirected(bad).unwrap_err();
            assert!(error.starts_with("it redirects"), "{bad}: {error}");
            assert!(!error.contains("secret"), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(location in "\\PC{0,40}", url in "https?://[a-z]{1,3}(:[0-9]{1,3})?(/[a-z]{0,3}){0,2}") {
            let base = Base::new(&url).unwrap();
            if let Ok(to) = base.redirected(&location) {
                prop_assert!(!to.as_str().contains('@') || to.as_str().splitn(4, '/').nth(3).is_some());
            }
            let _ = Base::new(&location);
        }
    }
}
