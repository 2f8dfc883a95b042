//! Where a git:// or ssh remote is, read from its URL exactly as git reads it (`connect.c`). Pure.
//!
//! Git decodes `%xx` in all of a URL before it looks for the parts. What git refuses is refused here: git itself is
//! then asked, and tells why in words that people know.

use bstr::ByteSlice;
use percent_encoding::percent_decode_str;

/// Why a URL has no address here. For people: a phrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAddress {
    /// Another transport's.
    #[error("its URL is neither of git:// nor of ssh")]
    Foreign,
    /// Git would say so too.
    #[error("its URL has no path")]
    NoPath,
    /// Git would say so too.
    #[error("its URL has a strange host or path")]
    Strange,
}

/// Of a `git daemon`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitAddress {
    /// Host and port as they stand in the URL: the server wants to be told.
    pub written: String,
    /// A name or an address, without brackets.
    pub host: String,
    /// 9418 where the URL says nothing.
    pub port: u16,
    /// As git sends it.
    pub path: Vec<u8>,
}

/// Of a repository behind an sshd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SshAddress {
    /// `[user@]host`, as ssh gets it.
    pub host: String,
    /// As ssh gets it; ssh knows the default.
    pub port: Option<u16>,
    /// As the server's git gets it.
    pub path: Vec<u8>,
}

/// What fits into one packet with all that git adds.
const LONGEST: usize = 30_000;

/// git://'s own.
const GIT_PORT: u16 = 9418;

impl GitAddress {
    /// Reads `git://host[:port]/path`.
    pub fn parse(url: &str) -> Result<Self, BadAddress> {
        let decoded = decode(url);
        let rest = decoded.strip_prefix(b"git://").ok_or(BadAddress::Foreign)?;
        let (written, path) = split(rest, b'/')?;
        if rest.contains(&b'\n') || rest.len() > LONGEST {
            return Err(BadAddress::Strange);
        }
        let (host, port) = host_and_port(written)?;
        Ok(Self {
            written: text(written)?,
            host,
            port: port.unwrap_or(GIT_PORT),
            path: path.to_vec(),
        })
    }
}

impl SshAddress {
    /// Reads `ssh://[user@]host[:port]/path`, the same with `git+ssh` and `ssh+git`, and `[user@]host:path`.
    pub fn parse(url: &str) -> Result<Self, BadAddress> {
        let decoded = decode(url);
        let (written, path) = match decoded.find("://") {
            Some(at) => match &decoded[..at] {
                b"ssh" | b"git+ssh" | b"ssh+git" => split(&decoded[at + 3..], b'/')?,
                _ => return Err(BadAddress::Foreign),
            },
            None if is_local(&decoded) => return Err(BadAddress::Foreign),
            None => split(&decoded, b':')?,
        };
        let (mut host, mut port) = host_and_port(written)?;
        if port.is_none() {
            // `[host:port]:path`: the brackets are gone by now.
            if let Some((name, number)) = host.clone().split_once(':')
                && let Some(number) = port_number(number.as_bytes())
            {
                (host, port) = (name.to_owned(), Some(number));
            }
        }
        // Each would be an option to the program that gets it.
        if host.starts_with('-') || path.starts_with(b"-") {
            return Err(BadAddress::Strange);
        }
        Ok(Self {
            host,
            port,
            path: path.to_vec(),
        })
    }
}

/// Only what git takes for a URL is decoded; and never to a zero byte, which would end a name early.
fn decode(url: &str) -> Vec<u8> {
    let scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let Some((name, rest)) = url.split_once("://").filter(|(name, _)| name.chars().all(scheme)) else {
        return url.as_bytes().to_vec();
    };
    let pieces: Vec<Vec<u8>> = rest.split("%00").map(|p| percent_decode_str(p).collect()).collect();
    [name.as_bytes(), b"://", &pieces.join(&b"%00"[..])].concat()
}

/// A path rather than `host:path`.
fn is_local(remote: &[u8]) -> bool {
    match (remote.find_byte(b':'), remote.find_byte(b'/')) {
        (Some(colon), Some(slash)) => slash < colon,
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// Host and path. Brackets hide a separator; `/~` begins at the tilde.
fn split(rest: &[u8], separator: u8) -> Result<(&[u8], &[u8]), BadAddress> {
    let behind = brackets(rest).map_or(0, |(_, close)| close);
    let at = rest[behind..].find_byte(separator).ok_or(BadAddress::NoPath)? + behind;
    let path = if separator == b':' {
        &rest[at + 1..]
    } else {
        &rest[at..]
    };
    let path = if path.get(1) == Some(&b'~') { &path[1..] } else { path };
    Ok((&rest[..at], path))
}

/// Where the brackets around a host open and close: at its start, or behind a user's `@`.
fn brackets(host: &[u8]) -> Option<(usize, usize)> {
    let open = host.find("@[").map_or(0, |at| at + 1);
    if host.get(open) != Some(&b'[') {
        return None;
    }
    let close = host[open..].find_byte(b']')? + open;
    Some((open, close))
}

fn host_and_port(written: &[u8]) -> Result<(String, Option<u16>), BadAddress> {
    let (mut host, rest) = match brackets(written) {
        Some((open, close)) => (
            [&written[..open], &written[open + 1..close]].concat(),
            &written[close + 1..],
        ),
        None => (Vec::new(), written),
    };
    let (before, port) = match rest.find_byte(b':') {
        Some(colon) if rest.len() == colon + 1 => (&rest[..colon], None),
        Some(colon) => match port_number(&rest[colon + 1..]) {
            Some(port) => (&rest[..colon], Some(port)),
            None => (rest, None),
        },
        None => (rest, None),
    };
    host.extend(before);
    Ok((text(&host)?, port))
}

fn port_number(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn text(bytes: &[u8]) -> Result<String, BadAddress> {
    String::from_utf8(bytes.to_vec()).map_err(|_| BadAddress::Strange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;
    use std::process::Command;

    /// What git makes of it, in git's own words.
    fn by_git(repo: &Path, url: &str) -> Option<Vec<u8>> {
        let output = Command::new("git")
            .args(["fetch-pack", "--diag-url", url])
            .current_dir(repo)
            .output()
            .unwrap();
        let (_, said) = output.stdout.split_once_str("Diag: protocol=")?;
        Some(said.to_vec())
    }

    /// The same in the same words.
    fn by_us(url: &str) -> Option<Vec<u8>> {
        if let Ok(git) = GitAddress::parse(url) {
            let mut said = format!("git\nDiag: hostandport={}\nDiag: path=", git.written).into_bytes();
            said.extend(git.path);
            said.push(b'\n');
            return Some(said);
        }
        let ssh = SshAddress::parse(url).ok()?;
        let port = ssh.port.map_or("NONE".to_owned(), |p| p.to_string());
        let mut said = format!("ssh\nDiag: userandhost={}\nDiag: port={port}\nDiag: path=", ssh.host).into_bytes();
        said.extend(ssh.path);
        said.push(b'\n');
        Some(said)
    }

    #[test]
    fn as_git_reads_them() {
        // The command wants to stand in one, though it looks at nothing there.
        let repo = tempfile::tempdir().unwrap();
        let init = Command::new("git").args(["init", "--quiet"]).arg(repo.path()).status();
        assert!(init.unwrap().success());
        for host in [
            "h",
            "h.example:22",
            "h:",
            "h:x",
            "[::1]",
            "[::1]:9",
            "u@h",
            "u@h:9",
            "u@[::1]:9",
            "u@v@h",
            "[h]",
            "[h:9]",
            "a%40b@h",
        ] {
            for path in ["/a.git", "/~u/a", "/a b", "/%20%41", "//x", "/", "/~", "/a:b", "/%e4"] {
                for scheme in ["git", "ssh", "git+ssh", "ssh+git"] {
                    let url = format!("{scheme}://{host}{path}");
                    assert_eq!(by_us(&url), by_git(repo.path(), &url), "{url}");
                }
            }
        }
        for host in ["h", "u@h", "[h]", "[h:9]", "[::1]", "u@[::1]", "u@[h:9]"] {
            for path in ["a.git", "/a.git", "~/a", "/~u/a", "a b", "%41", "a:b", ""] {
                let url = format!("{host}:{path}");
                assert_eq!(by_us(&url), by_git(repo.path(), &url), "{url}");
            }
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for url in ["/a:b", "./a:b", "a", "https://h/x", "file:///x", "rsync://h/x", ""] {
            assert_eq!(SshAddress::parse(url), Err(BadAddress::Foreign), "{url}");
            assert_eq!(GitAddress::parse(url), Err(BadAddress::Foreign), "{url}");
        }
        for url in [
            "ssh://-oProxyCommand=x/p",
            "-x:p",
            "h:-p",
            "ssh://%2dx/p",
            "ssh://[-x]/p",
        ] {
            assert_eq!(SshAddress::parse(url), Err(BadAddress::Strange), "{url}");
        }
        for url in ["git://h/a%0ab", "git://h%0a/a"] {
            assert_eq!(GitAddress::parse(url), Err(BadAddress::Strange), "{url}");
        }
        assert_eq!(GitAddress::parse("git://h"), Err(BadAddress::NoPath));
        assert_eq!(SshAddress::parse("ssh://h"), Err(BadAddress::NoPath));
    }

    proptest! {
        #[test]
        fn never_panics(url in "(git|ssh|)(://)?[-a@:/\\[\\]%0~\u{e4}]{0,12}") {
            let _ = GitAddress::parse(&url);
            if let Ok(address) = SshAddress::parse(&url) {
                prop_assert!(!address.host.starts_with('-') && !address.path.starts_with(b"-"));
            }
        }
    }
}
