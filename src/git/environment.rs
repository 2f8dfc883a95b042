//! What git is told by its environment: never to ask, to give up on a dead connection, and the credentials.
//!
//! Credentials go by environment because arguments are public and `.git/config` is read by the build. Settings that
//! the user made (in the environment, or ssh's in git's config) are kept.

use super::remote::Remote;
use crate::model::{Failure, Step};
use crate::process::Runner;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

const USERNAME: &str = "PIPELINED_GIT_USERNAME";
const PASSWORD: &str = "PIPELINED_GIT_PASSWORD";

/// A helper that answers `get` and ignores `store` and `erase`. The secret is in its environment, not in its text.
const HELPER: &str = "!f() { test \"$1\" = get && \
                      printf 'username=%s\\npassword=%s\\n' \"$PIPELINED_GIT_USERNAME\" \"$PIPELINED_GIT_PASSWORD\"; }; f";

/// ssh must not ask, and must notice a peer that is gone.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";

/// By which no helper of git's asks a person.
pub(super) const QUIET: [(&str, &str); 4] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GCM_INTERACTIVE", "never"),
    // What a desktop session put there would open a window. GIT_ASKPASS and core.askPass are set for git on purpose.
    ("SSH_ASKPASS", ""),
    ("SSH_ASKPASS_REQUIRE", "never"),
];

/// Bytes a second, and seconds, below which git drops an http connection. A server that packs sends keep-alives.
const LOW_SPEED: (&str, &str) = ("1", "120");

/// How long git may take to read its own config.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(30);

/// The variables that every git command on this remote gets, beside those of the runner. `ssh` says whether ssh may
/// come into play, for the remote or for a submodule.
pub async fn environment(
    runner: &Runner,
    remote: &str,
    ssh: bool,
    cwd: &Path,
) -> Result<Vec<(OsString, OsString)>, Failure> {
    let remote = Remote::new(remote);
    let ssh = (ssh || remote.is_ssh()) && !ssh_is_configured(runner, cwd).await?;
    Ok(variables(&remote, ssh, |name| runner.variable(name)))
}

/// Whether the user chose how ssh is called.
async fn ssh_is_configured(runner: &Runner, cwd: &Path) -> Result<bool, Failure> {
    if ["GIT_SSH_COMMAND", "GIT_SSH"]
        .iter()
        .any(|n| runner.variable(n).is_some())
    {
        return Ok(true);
    }
    let argv = ["git", "config", "--get", "core.sshCommand"].map(OsString::from);
    let answer = runner
        .capture(Step::Checkout, &argv, cwd, CONFIG_TIMEOUT, 64 * 1024)
        .await?;
    Ok(answer.success())
}

/// Lets git's own ssh use a connection of ours, where how ssh is called was left to us. If it is gone by then, ssh makes
/// one of its own. The path is one that a shell takes for one word.
pub fn sharing(mut variables: Vec<(OsString, OsString)>, socket: Option<&Path>) -> Vec<(OsString, OsString)> {
    let command = variables.iter_mut().find(|(name, _)| name == "GIT_SSH_COMMAND");
    if let (Some((_, command)), Some(socket)) = (command, socket) {
        command.push(" -o ControlMaster=no -o ControlPath=");
        command.push(socket);
    }
    variables
}

fn variables(remote: &Remote, ssh: bool, user: impl Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &str, value: &str| all.push((name.into(), value.into()));
    for (name, value) in QUIET {
        set(name, value);
    }
    if ssh {
        set("GIT_SSH_COMMAND", SSH);
    }
    for (name, value) in [
        ("GIT_HTTP_LOW_SPEED_LIMIT", LOW_SPEED.0),
        ("GIT_HTTP_LOW_SPEED_TIME", LOW_SPEED.1),
    ] {
        if user(name).is_none() {
            set(name, value);
        }
    }
    if let Some(credentials) = &remote.credentials {
        set(USERNAME, &credentials.username);
        set(PASSWORD, credentials.password.as_deref().unwrap_or_default());
        let key = |name: &str| format!("credential.{}.{name}", credentials.scope);
        let config = match credentials.password {
            // The empty value drops the user's own helpers, which would save the password somewhere else.
            Some(_) => [(key("helper"), ""), (key("helper"), HELPER)],
            // Only a name: the user's helpers may know the password; if none does, it is empty, as for a token.
            None => [
                (key("username"), credentials.username.as_str()),
                (key("helper"), HELPER),
            ],
        };
        let first: usize = user("GIT_CONFIG_COUNT")
            .and_then(|count| count.to_str()?.parse().ok())
            .unwrap_or(0);
        for (index, (key, value)) in (first..).zip(&config) {
            set(&format!("GIT_CONFIG_KEY_{index}"), key);
            set(&format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        set("GIT_CONFIG_COUNT", &(first + config.len()).to_string());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn of(remote: &str, ssh: bool, user: &[(&str, &str)]) -> HashMap<String, String> {
        let user: HashMap<&str, &str> = user.iter().copied().collect();
        variables(&Remote::new(remote), ssh, |name| user.get(name).map(OsString::from))
            .into_iter()
            .map(|(n, v)| (n.into_string().unwrap(), v.into_string().unwrap()))
            .collect()
    }

    #[test]
    fn credentials_are_added_behind_what_the_user_configured() {
        let env = of("https://u:p%20w@h/x", false, &[("GIT_CONFIG_COUNT", "3")]);
        assert_eq!(env["GIT_CONFIG_COUNT"], "5");
        assert_eq!(env["GIT_CONFIG_KEY_3"], "credential.https://h.helper");
        assert_eq!(env["GIT_CONFIG_VALUE_3"], "");
        assert_eq!(env["GIT_CONFIG_VALUE_4"], HELPER);
        assert_eq!(env[PASSWORD], "p w");
        assert!(!of("https://h/x", false, &[]).contains_key("GIT_CONFIG_COUNT"));
        assert_eq!(
            of("https://tok@h/x", false, &[])["GIT_CONFIG_KEY_0"],
            "credential.https://h.username"
        );
    }

    #[test]
    fn a_connection_is_shared_only_where_ssh_is_ours() {
        let socket = Some(Path::new("/run/s"));
        let ours = sharing(variables(&Remote::new("git@h:x"), true, |_| None), socket);
        let (_, ssh) = ours.iter().find(|(name, _)| name == "GIT_SSH_COMMAND").unwrap();
        assert_eq!(*ssh, *format!("{SSH} -o ControlMaster=no -o ControlPath=/run/s"));
        let theirs = variables(&Remote::new("git@h:x"), false, |_| None);
        assert_eq!(sharing(theirs.clone(), socket), theirs);
    }

    #[test]
    fn keeps_what_the_user_chose() {
        let env = of("git@h:x", true, &[("GIT_HTTP_LOW_SPEED_TIME", "5")]);
        assert!(env["GIT_SSH_COMMAND"].contains("BatchMode=yes"));
        assert!(!env.contains_key("GIT_HTTP_LOW_SPEED_TIME"));
        assert!(!of("git@h:x", false, &[]).contains_key("GIT_SSH_COMMAND"));
    }
}
