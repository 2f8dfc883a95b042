//! Which of `http.<url>.*` is meant for a URL: git's own rules (`git help config`, `http.<url>.*`; urlmatch.c).
//!
//! It must agree with git to the letter, also on what is no URL at all: a header meant for one server would else go to
//! another. So it takes no URL library, which would know better.

/// An http(s) URL in the one spelling in which git compares them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// `http` or `https`.
    pub scheme: String,
    /// Still escaped, without the password; may be empty.
    pub user: Option<String>,
    /// Lower case; a pattern's may hold `*` in place of a label.
    pub host: String,
    /// Empty if it is the scheme's own.
    pub port: String,
    /// Begins with `/`; with the query and the fragment.
    pub path: String,
}

/// How well a pattern fits. The greater one wins; among equals, the later. The default is a setting for all URLs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fit {
    host: usize,
    path: usize,
    user: bool,
}

impl Url {
    /// A URL that is asked. `None` is what git calls invalid, and whatever is not http.
    pub fn parse(url: &str) -> Option<Self> {
        Self::normalized(url, false)
    }

    /// The middle part of `http.<url>.*`.
    pub fn pattern(pattern: &str) -> Option<Self> {
        Self::normalized(pattern, true)
    }

    fn normalized(url: &str, stars: bool) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (userinfo, address) = match authority.split_once('@') {
            Some((userinfo, address)) => (Some(userinfo), address),
            None => (None, authority),
        };
        let (host, port) = match address.rfind([':', ']']) {
            Some(at) if address[at..].starts_with(':') => (&address[..at], &address[at + 1..]),
            _ => (address, ""),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || ".-_[:]".contains(c) || (stars && c == '*');
        if host.is_empty() || host.starts_with(':') || !host.chars().all(known) {
            return None;
        }
        // Escapes are checked in the password too: one that is broken makes the whole URL invalid.
        let user = match userinfo.map(escaped) {
            Some(userinfo) => Some(userinfo?.split(':').next().unwrap_or_default().to_owned()),
            None => None,
        };
        Some(Self {
            port: normalized_port(&scheme, port)?,
            path: normalized_path(path)?,
            host: host.to_ascii_lowercase(),
            scheme,
            user,
        })
    }

    /// How well a pattern fits this URL, if it does.
    pub fn fit(&self, pattern: &Self) -> Option<Fit> {
        let user = pattern.user.is_some();
        let same = self.scheme == pattern.scheme
            && self.port == pattern.port
            && (!user || self.user == pattern.user)
            && host_fits(&self.host, &pattern.host);
        same.then_some(Fit {
            host: pattern.host.len(),
            path: path_fit(&self.path, &pattern.path)?,
            user,
        })
    }
}

/// A label for a label; a dot at the end makes no difference.
fn host_fits(host: &str, pattern: &str) -> bool {
    let mut labels = host.split_terminator('.');
    let mut patterns = pattern.split_terminator('.');
    loop {
        match (labels.next(), patterns.next()) {
            (None, None) => return true,
            (Some(label), Some(pattern)) if pattern == "*" || pattern == label => {}
            _ => return false,
        }
    }
}

/// The length of the pattern with a slash at its end, if the path is it or is below it.
fn path_fit(path: &str, pattern: &str) -> Option<usize> {
    let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
    let rest = path.strip_prefix(pattern)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(pattern.len() + 1)
}

fn normalized_port(scheme: &str, port: &str) -> Option<String> {
    if port.is_empty() {
        return Some(String::new());
    }
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = port.parse::<u16>().ok().filter(|number| *number != 0)?;
    let own = matches!((scheme, number), ("http", 80) | ("https", 443));
    Some(if own { String::new() } else { number.to_string() })
}

/// Escapes in one spelling, `.` and `..` resolved. `None` if an escape is broken or `..` leads out of the root.
fn normalized_path(path: &str) -> Option<String> {
    let (path, rest) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
    let mut done = "/".to_owned();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let mut slash = true;
        match escaped(segment)?.as_str() {
            "." if done == "/" => slash = false,
            "." => {
                done.pop();
            }
            ".." if done == "/" => return None,
            ".." => {
                done.pop();
                done.truncate(done.rfind('/')?);
                if done.is_empty() {
                    done.push('/');
                    slash = false;
                }
            }
            segment => done.push_str(segment),
        }
        if slash && segments.peek().is_some() {
            done.push('/');
        }
    }
    done.push_str(&escaped(rest)?);
    Some(done)
}

/// Escapes what must be, in upper case, and nothing else. What delimits parts of a URL stays as it was written.
fn escaped(text: &str) -> Option<String> {
    let mut done = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, was_escaped) = match byte {
            b'%' => (hex(bytes.next()?)? << 4 | hex(bytes.next()?)?, true),
            byte => (byte, false),
        };
        let unsafe_byte = byte <= b' ' || byte >= 0x7f || b"<>\"%{}|\\^`".contains(&byte);
        if unsafe_byte || (was_escaped && b":/?#[]@!$&'()*+,;=".contains(&byte)) {
            done.push_str(&format!("%{byte:02X}"));
        } else {
            done.push(char::from(byte));
        }
    }
    Some(done)
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fit(pattern: &str, url: &str) -> Option<Fit> {
        Url::parse(url)?.fit(&Url::pattern(pattern)?)
    }

    // tests/world/urls.rs has many more, each compared with git's own answer.
    #[test]
    fn fits_as_git_documents() {
        for (pattern, url, fits) in [
            ("https://h", "https://h/x", true),
            ("https://h/", "HTTPS://H:443/x", true),
            ("https://h/a", "https://h/a/b", true),
            ("https://h/a", "https://h/ab", false),
            ("https://h/a%2fb", "https://h/a/b", false),
            ("https://h/%61", "https://h/a", true),
            ("https://h/a", "https://h/b/../a/x", true),
            ("http://h", "https://h", false),
            ("https://h:8443", "https://h", false),
            ("https://*.example.org", "https://a.example.org", true),
            ("https://*.example.org", "https://a.b.example.org", false),
            ("https://*.example.org", "https://example.org", false),
            ("https://u@h", "https://u@h/x", true),
            ("https://u@h", "https://h/x", false),
            ("https://h", "https://u:p@h/x", true),
            ("https://h", "https://h/..", false),
            ("https://h", "https://h/%zz", false),
        ] {
            assert_eq!(fit(pattern, url).is_some(), fits, "{pattern} for {url}");
        }
    }

    #[test]
    fn the_better_fit_is_the_greater() {
        let url = "https://u@abc.example.org/x/y";
        let worse_to_better = [
            "https://*.example.org/x/y",
            "https://abc.example.org",
            "https://u@abc.example.org",
            "https://abc.example.org/x",
            "https://u@abc.example.org/x",
        ];
        let fits = worse_to_better.map(|pattern| fit(pattern, url).unwrap());
        assert!(Fit::default() < fits[0]);
        assert!(fits.is_sorted_by(|a, b| a < b), "{fits:?}");
    }

    proptest! {
        #[test]
        fn never_panics_and_is_stable(tail in "\\PC{0,30}") {
            if let Some(url) = Url::parse(&format!("http://{tail}")) {
                let port = if url.port.is_empty() { String::new() } else { format!(":{}", url.port) };
                let again = Url::parse(&format!("{}://{}{port}{}", url.scheme, url.host, url.path));
                prop_assert_eq!(again.map(|again| again.path), Some(url.path));
            }
        }
    }
}
