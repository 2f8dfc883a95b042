//! Reading the user's world: two short git commands and one file.

use super::World;
use super::config::Config;
use super::netrc::Netrc;
use super::variables::Variables;
use crate::git::list::ListError;
use crate::git::remote::Remote;
use crate::model::{Failure, FailureKind, Step, mask_url};
use crate::process::{Captured, Runner};
use nix::unistd::{Uid, User};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long git may take to read its own config.
const DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of config, and of `.netrc`, that are read.
const LIMIT: usize = 16 << 20;

/// Why the user's world is not known. Nothing may be asked then: it could go to the wrong place, or say too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// Git does not understand its own config, or may not read it.
    #[error("git cannot read its config ({said}): as the daemon's user, `git config --list` tells the same")]
    Config {
        /// Git's last words, masked.
        said: String,
    },
    /// Git could not be run at all.
    #[error("{0}")]
    Command(String),
    /// The question was called off.
    #[error("cancelled")]
    Cancelled,
}

impl WorldError {
    /// As the reason why this remote was not asked.
    pub(in crate::git) fn into_list_error(self, remote: &str) -> ListError {
        match self {
            Self::Cancelled => ListError::Cancelled {
                remote: mask_url(remote),
            },
            other => ListError::Command(other.to_string()),
        }
    }
}

impl From<Failure> for WorldError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::Cancelled => Self::Cancelled,
            _ => {
                let prefix = format!("{}: ", Step::Checkout);
                Self::Command(failure.message.trim_start_matches(&prefix).to_owned())
            }
        }
    }
}

impl World {
    /// Reads all of it, as a git command of this runner would see it in `cwd`.
    pub async fn read(runner: &Runner, cwd: &Path) -> Result<Self, WorldError> {
        let variables = Variables::new(std::env::vars_os().chain(runner.env.iter().cloned()));
        let home = variables.get("HOME").map(PathBuf::from);
        // All to their ends: a command that is dropped is ended, but nobody waits for that.
        let (version, config, netrc) = tokio::join!(
            git(runner, cwd, &["git", "version"]),
            git(runner, cwd, &["git", "config", "--list", "-z"]),
            netrc(home)
        );
        Ok(Self::new(&config?, &version?, &netrc?, variables, cwd))
    }

    /// What these outputs and this file mean together.
    pub(super) fn new(config: &[u8], version: &[u8], netrc: &[u8], variables: Variables, cwd: &Path) -> Self {
        let version = String::from_utf8_lossy(version);
        let number = version.split_whitespace().nth(2).unwrap_or_default();
        Self {
            config: Config::parse(config),
            netrc: Netrc::parse(netrc),
            agent: variables
                .text("GIT_USER_AGENT")
                .unwrap_or_else(|| format!("git/{number}")),
            cwd: cwd.to_owned(),
            variables,
        }
    }
}

async fn git(runner: &Runner, cwd: &Path, argv: &[&str]) -> Result<Vec<u8>, WorldError> {
    let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
    let answer = runner.capture(Step::Checkout, &argv, cwd, DEADLINE, LIMIT).await?;
    match answer {
        answer if !answer.success() => Err(WorldError::Config { said: words(&answer) }),
        answer if answer.truncated => Err(WorldError::Config {
            said: format!("it is longer than {} MiB", LIMIT >> 20),
        }),
        answer => Ok(answer.stdout),
    }
}

/// A home directory on a dead server must hold up nobody else, nor the end of the daemon, which waits for the threads
/// of its runtime; so this one is none of them.
async fn netrc(home: Option<PathBuf>) -> Result<Vec<u8>, WorldError> {
    let (done, content) = tokio::sync::oneshot::channel();
    let failed = |why: &str| WorldError::Command(format!("cannot read ~/.netrc: {why}"));
    std::thread::Builder::new()
        .name("netrc".to_owned())
        // Nobody may be there any more to take it.
        .spawn(move || drop(done.send(read_netrc(home))))
        .map_err(|error| failed(&error.to_string()))?;
    match tokio::time::timeout(DEADLINE, content).await {
        Ok(Ok(content)) => Ok(content),
        Ok(Err(_)) => Err(failed("the thread that did is gone")),
        Err(_) => Err(failed("the file system does not answer")),
    }
}

fn words(answer: &Captured) -> String {
    let masked = Remote::new("").mask(answer.last_words());
    masked.chars().filter(|c| !c.is_control()).collect()
}

/// Curl takes the home directory of the password file if `HOME` is not set. A file that cannot be read is none.
fn read_netrc(home: Option<PathBuf>) -> Vec<u8> {
    let of_user = || User::from_uid(Uid::effective()).ok().flatten().map(|user| user.dir);
    let Some(path) = home.or_else(of_user).map(|home| home.join(".netrc")) else {
        return Vec::new();
    };
    // A pipe or a device may never end.
    if !std::fs::metadata(&path).is_ok_and(|file| file.is_file()) {
        return Vec::new();
    }
    let mut content = Vec::new();
    match std::fs::File::open(&path).and_then(|file| file.take(LIMIT as u64).read_to_end(&mut content)) {
        Ok(_) => content,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_netrc_is_that_of_the_home_directory() {
        let home = tempfile::tempdir().unwrap();
        let read = || read_netrc(Some(home.path().to_owned()));
        assert_eq!(read(), b"");
        std::fs::write(home.path().join(".netrc"), "machine h").unwrap();
        assert_eq!(read(), b"machine h");
        std::fs::remove_file(home.path().join(".netrc")).unwrap();
        std::fs::create_dir(home.path().join(".netrc")).unwrap();
        assert_eq!(read(), b"");
    }

    #[test]
    fn errors_keep_their_meaning() {
        let cancelled = WorldError::from(Failure::new(FailureKind::Cancelled, "x"));
        let remote = "https://***@h/x".to_owned();
        assert_eq!(
            cancelled.into_list_error("https://u:p@h/x"),
            ListError::Cancelled { remote }
        );
        let dead = WorldError::from(Failure::errored("checkout: cannot start git"));
        assert_eq!(
            dead.into_list_error("r"),
            ListError::Command("cannot start git".to_owned())
        );
    }
}
