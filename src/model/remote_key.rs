//! By what two ways to write a remote are known for the same repository.

/// A remote without what says how it is reached: `host/path`, without scheme, login, port of its own and `.git`, the host
/// in lower case. A path on this machine stays as it is. Two remotes with one key are taken for the same repository
/// where others name it: in `.gitlab-deps` and in webhooks.
pub fn remote_key(remote: &str) -> String {
    let remote = remote.trim();
    let rest = match remote.split_once("://") {
        Some(("file", path)) => return trimmed(path).to_owned(),
        Some((scheme, rest)) => (rest, Some(scheme)),
        // host:path, as scp has it; a slash before the colon makes it a path.
        None => match remote.split_once(':') {
            Some((host, path)) if !host.contains('/') => return joined(host, path),
            _ => return trimmed(remote).to_owned(),
        },
    };
    let (rest, scheme) = rest;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let usual = match scheme {
        Some("http") => ":80",
        Some("https") => ":443",
        Some("ssh" | "git+ssh" | "ssh+git") => ":22",
        Some("git") => ":9418",
        _ => "",
    };
    let host = match usual {
        "" => host,
        usual => host.strip_suffix(usual).unwrap_or(host),
    };
    joined(host, path)
}

fn joined(authority: &str, path: &str) -> String {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!(
        "{}/{}",
        host.to_ascii_lowercase(),
        trimmed(path).trim_start_matches('/')
    )
}

/// Whether a repository is written with `.git` or a slash at its end is a matter of taste.
fn trimmed(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://git.example.org/images/ruby.git")]
    #[case("https://git.example.org/images/ruby")]
    #[case("https://git.example.org/images/ruby/")]
    #[case("https://user:secret@git.example.org:443/images/ruby.git")]
    #[case("http://GIT.example.org/images/ruby.git/")]
    #[case("ssh://git@git.example.org:22/images/ruby.git")]
    #[case("git@git.example.org:images/ruby.git")]
    #[case("git.example.org:/images/ruby")]
    #[case("git://git.example.org/images/ruby")]
    fn one_repository_has_one_key(#[case] remote: &str) {
        assert_eq!(remote_key(remote), "git.example.org/images/ruby");
    }

    #[rstest]
    #[case("https://git.example.org:8443/ruby.git", "git.example.org:8443/ruby")]
    #[case("/srv/git/ruby.git", "/srv/git/ruby")]
    #[case("file:///srv/git/ruby.git/", "/srv/git/ruby")]
    #[case("./a:b", "./a:b")]
    #[case("https://git.example.org", "git.example.org/")]
    #[case("https://git.example.org/Ruby", "git.example.org/Ruby")]
    fn others_have_others(#[case] remote: &str, #[case] key: &str) {
        assert_eq!(remote_key(remote), key);
    }
}
