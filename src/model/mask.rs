//! Credentials never reach a log, an error or a terminal.

/// `https://user:secret@host/x` becomes `https://***@host/x`; anything that has no userinfo is unchanged.
/// ssh's `git@host` is a login name, not a secret, and stays.
pub fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((userinfo, host)) if scheme.starts_with("http") || userinfo.contains(':') => {
            format!("{scheme}://***@{host}{path}")
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::mask_url;

    #[test]
    fn masks_credentials_and_nothing_else() {
        for (url, masked) in [
            ("https://u:p@h/x", "https://***@h/x"),
            ("https://token@h:8443/x@y", "https://***@h:8443/x@y"),
            ("https://u:p@ss@h/x", "https://***@h/x"),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("ssh://git:pw@h/x", "ssh://***@h/x"),
            ("git@h:x", "git@h:x"),
            ("/srv/a@b", "/srv/a@b"),
            ("https://h/x?at=a@b", "https://h/x?at=a@b"),
        ] {
            assert_eq!(mask_url(url), masked);
        }
    }
}
