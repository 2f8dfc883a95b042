//! What git may be given as a remote.
//!
//! It exists because git takes more than URLs: options, and transports that run any command. It must never let either
//! through, and never quote a remote, which may hold a password.

use super::text::{Mistake, path};
use std::path::Path;

/// Transports that run what the URL says, or talk over inherited descriptors.
const UNSAFE_HELPERS: [&str; 2] = ["ext", "fd"];

/// Checks a remote; a path that begins with a dot is seen from `base`.
pub(super) fn remote(text: &str, base: &Path) -> Result<String, Mistake> {
    if text.is_empty() {
        return Err(Mistake::new("the remote is empty"));
    }
    if text.starts_with('-') {
        return Err(Mistake::new(
            "the remote begins with `-` and would be taken for an option",
        ));
    }
    if let Some((helper, _)) = text.split_once("::")
        && UNSAFE_HELPERS.iter().any(|h| h.eq_ignore_ascii_case(helper))
    {
        return Err(Mistake::new(format!(
            "`{helper}::` remotes are refused, as they can run any command"
        )));
    }
    if text.contains(|c: char| c.is_control() || c == ' ') {
        return Err(
            Mistake::new("the remote holds a space or a control character").help("write a space in a URL as %20")
        );
    }
    if let Some((_, rest)) = text.split_once("://") {
        return url(rest).map(|()| text.to_owned());
    }
    let first = text.split('/').next().unwrap_or_default();
    match first {
        "." | ".." => Ok(path(text, base)?.to_string_lossy().into_owned()),
        // An absolute path, or ssh's `host:path`.
        "" => Ok(text.to_owned()),
        _ if first.contains(':') => Ok(text.to_owned()),
        _ => Err(Mistake::new(
            "the remote is neither a URL, nor `host:path`, nor a path that begins with `/`, `./` or `../`",
        )
        .help("a relative path is seen from the directory of this file and begins with `./`")),
    }
}

/// What follows the scheme: a password with a slash in it would end up in the path, where nothing masks it.
fn url(rest: &str) -> Result<(), Mistake> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.starts_with('-') {
        return Err(Mistake::new(
            "the host begins with `-` and would be taken for an option",
        ));
    }
    let port = match host.rsplit_once(':') {
        Some((_, port)) if !host.ends_with(']') => port,
        _ => "",
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Mistake::new("the port in the URL is not a number")
            .help("in a password, write `/` as %2F, `?` as %3F and `#` as %23"));
    }
    Ok(())
}

/// Whether a remote carries a password or token.
pub(super) fn has_credentials(remote: &str) -> bool {
    crate::model::mask_url(remote) != remote
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_git_takes() {
        for fine in [
            "https://h/x.git",
            "https://u:p@h:8443/x",
            "ssh://git@[::1]:22/x",
            "ssh://git@[::1]/x",
            "git@h:x/y",
            "h:x",
            "/srv/x",
            "file:///srv/x",
            "codecommit::eu://x",
        ] {
            assert_eq!(remote(fine, Path::new("/etc")), Ok(fine.to_owned()), "{fine}");
        }
        assert_eq!(remote("./x", Path::new("/etc/p")), Ok("/etc/p/x".to_owned()));
        assert_eq!(remote("../x", Path::new("/etc/p")), Ok("/etc/p/../x".to_owned()));
    }

    #[test]
    fn refuses_options_helpers_and_accidents() {
        for bad in [
            "",
            "-u",
            "--upload-pack=x",
            "ext::sh -c x",
            "EXT::sh",
            "fd::17",
            "x/y",
            "ssh://-oProxyCommand=x/y",
            "ssh://u@-x/y",
            "https://u:p/w@h/x",
            "https://h/x\ny",
        ] {
            assert!(remote(bad, Path::new("/etc")).is_err(), "{bad}");
        }
    }
}
