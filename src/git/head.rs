//! Which branch a remote's HEAD points at: what people there take for the branch that the others come from.

use super::environment::{environment, sharing};
use super::list::{ListError, Question};
use crate::model::{CommitId, Failure, RefName};
use crate::process::Runner;
use bstr::ByteSlice;
use std::path::Path;
use std::time::Duration;

/// Two lines, of a name that no file system would hold.
const ANSWER_LIMIT: u64 = 64 << 10;

/// A remote's HEAD.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The branch; none if it is detached, or the server does not tell.
    pub branch: Option<RefName>,
    /// The commit; none if the branch does not exist.
    pub tip: Option<CommitId>,
}

/// The branch that the remote's HEAD points at. None if it points at a commit, at nothing that exists, or the server does
/// not tell.
pub async fn default_branch(
    runner: &Runner,
    remote: &str,
    ssh_socket: Option<&Path>,
    dir: &Path,
    timeout: Duration,
) -> Result<Option<RefName>, Failure> {
    let head = head(runner, remote, ssh_socket, dir, timeout).await?;
    Ok(head.branch.filter(|_| head.tip.is_some()))
}

pub(super) async fn head(
    runner: &Runner,
    remote: &str,
    ssh_socket: Option<&Path>,
    dir: &Path,
    timeout: Duration,
) -> Result<Head, Failure> {
    let question = Question::new(remote, timeout, ANSWER_LIMIT);
    let env = environment(runner, remote, false, dir).await?;
    let runner = runner.with_env(sharing(env, ssh_socket));
    let runner = runner.with_env([("LC_ALL".into(), "C".into())]);
    let answer = question
        .ask(&runner, dir, &["--symref"], Some("HEAD"))
        .await
        .map_err(ListError::into_failure)?;
    parse(&answer.stdout).map_err(|line| question.not_git(format!("it sent {line:?}")).into_failure())
}

/// `ref: NAME<tab>HEAD` and `HASH<tab>HEAD`. Refs whose names only end so are there too.
fn parse(answer: &[u8]) -> Result<Head, String> {
    let mut head = Head::default();
    for line in answer.lines() {
        let odd = || String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        let (value, name) = line.split_once_str("\t").ok_or_else(odd)?;
        if name != b"HEAD" {
            continue;
        }
        match value.strip_prefix(b"ref: ") {
            // What is no branch is no branch to come from.
            Some(target) => {
                head.branch = RefName::new(target)
                    .ok()
                    .filter(|name| name.as_bytes().starts_with(b"refs/heads/"))
            }
            None => {
                let hash = value.to_str().ok().and_then(|hash| CommitId::new(hash).ok());
                head.tip = Some(hash.ok_or_else(odd)?);
            }
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_git_says() {
        const TIP: &str = "1111111111111111111111111111111111111111";
        let of = |text: &str| parse(text.replace('1', TIP).as_bytes());
        let head = |branch: Option<&str>, tip: bool| {
            Ok(Head {
                branch: branch.map(|name| RefName::new(name).unwrap()),
                tip: tip.then(|| CommitId::new(TIP).unwrap()),
            })
        };
        for (text, expected) in [
            (
                "ref: refs/heads/main\tHEAD\n1\tHEAD\n",
                head(Some("refs/heads/main"), true),
            ),
            ("1\tHEAD\n1\trefs/remotes/x/HEAD\n", head(None, true)),
            ("ref: refs/heads/x\trefs/remotes/x/HEAD\n", head(None, false)),
            ("ref: refs/heads/main\tHEAD\n", head(Some("refs/heads/main"), false)),
            ("ref: refs/tags/v\tHEAD\n1\tHEAD\n", head(None, true)),
            ("ref: ../../x\tHEAD\n", head(None, false)),
            ("", head(None, false)),
            ("<html>", Err("<html>".to_owned())),
            ("x\tHEAD", Err("x\tHEAD".to_owned())),
        ] {
            assert_eq!(of(text), expected, "{text:?}");
        }
    }
}
