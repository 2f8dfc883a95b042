//! By which transport git would ask a URL. Pure.

/// What a URL, or a path, calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport<'a> {
    /// `http://…`
    Http,
    /// `https://…`
    Https,
    /// `git://…`
    Git,
    /// `ssh://…`, `git+ssh://…`, `ssh+git://…` or `host:path`.
    Ssh,
    /// `file://…` or a path.
    File,
    /// A remote helper of git's.
    Other(&'a str),
}

impl<'a> Transport<'a> {
    /// As git's connect.c and transport.c have it.
    pub fn of(url: &'a str) -> Self {
        let is_helper = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some((helper, _)) = url.split_once("::")
            && is_helper(helper)
        {
            return Self::Other(helper);
        }
        match url.split_once("://") {
            Some(("http", _)) => Self::Http,
            Some(("https", _)) => Self::Https,
            Some(("git", _)) => Self::Git,
            Some(("ssh" | "git+ssh" | "ssh+git", _)) => Self::Ssh,
            Some(("file", _)) => Self::File,
            Some((name, _)) if !name.contains('/') => Self::Other(name),
            _ => match url.split_once(':') {
                Some((host, _)) if !host.contains('/') => Self::Ssh,
                _ => Self::File,
            },
        }
    }

    /// As `protocol.<name>.allow` has it.
    pub fn name(self) -> &'a str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Git => "git",
            Self::Ssh => "ssh",
            Self::File => "file",
            Self::Other(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_git_takes_it() {
        for (url, transport) in [
            ("http://h/x", Transport::Http),
            ("https://h/x", Transport::Https),
            ("git://h/x", Transport::Git),
            ("ssh://h/x", Transport::Ssh),
            ("git+ssh://h/x", Transport::Ssh),
            ("git@h:x", Transport::Ssh),
            ("[::1]:x", Transport::Ssh),
            ("file:///x", Transport::File),
            ("/x", Transport::File),
            ("/x:y", Transport::File),
            ("./x://y", Transport::File),
            ("ext::sh -c x", Transport::Other("ext")),
            ("https::http://h/x", Transport::Other("https")),
            ("hg://h/x", Transport::Other("hg")),
        ] {
            assert_eq!(Transport::of(url), transport, "{url}");
        }
    }
}
