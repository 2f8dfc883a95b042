//! What the user's ssh says of itself (`ssh -G`): whether sharing a connection is left to us. Pure.

/// What matters of it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SshConfig {
    /// `SetEnv`, a `NAME=value` each.
    pub set_env: Vec<String>,
}

/// Reads the answer of `ssh -G`. The error says, for people, why connections are not ours to share.
pub(super) fn read(answer: &str) -> Result<SshConfig, String> {
    let values = |key: &'static str| {
        answer.lines().filter_map(move |line| {
            let (name, value) = line.split_once(' ')?;
            (name == key).then_some(value)
        })
    };
    let value = |key| values(key).next();
    // git itself knows an OpenSSH by its taking of -G; another program may take anything.
    if value("hostname").is_none() {
        return Err("the configured ssh is no OpenSSH".to_owned());
    }
    if let Some(mode) = value("controlmaster").filter(|mode| !matches!(*mode, "false" | "no")) {
        return Err(format!("ssh is configured with ControlMaster {mode}"));
    }
    if let Some(path) = value("controlpath").filter(|path| *path != "none") {
        return Err(format!("ssh is configured with ControlPath {path}"));
    }
    if value("forkafterauthentication") == Some("yes") {
        return Err("ssh is configured with ForkAfterAuthentication".to_owned());
    }
    Ok(SshConfig {
        set_env: values("setenv").map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn by_ssh(options: &[&str]) -> Result<SshConfig, String> {
        let mut ssh = Command::new("ssh");
        let output = ssh
            .args(["-F", "/dev/null", "-G"])
            .args(options)
            .arg("h")
            .output()
            .unwrap();
        read(&String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn who_shares_keeps_sharing() {
        assert_eq!(by_ssh(&[]), Ok(SshConfig { set_env: Vec::new() }));
        assert!(by_ssh(&["-o", "ControlPath=none", "-o", "ControlMaster=no"]).is_ok());
        for (options, word) in [
            (&["-S", "/x/%h"][..], "ControlPath /x/"),
            (&["-o", "ControlPath=\"/x y\""], "ControlPath /x y"),
            (&["-o", "ControlMaster=auto"], "ControlMaster auto"),
            (&["-M"], "ControlMaster"),
            (&["-fN"], "ForkAfterAuthentication"),
        ] {
            let error = by_ssh(options).unwrap_err();
            assert!(error.contains(word), "{options:?}: {error}");
        }
        let set = by_ssh(&["-o", "SetEnv=A=b \"C=d e\""]).unwrap().set_env;
        assert_eq!(set, ["A=b", "C=d e"]);
    }

    #[test]
    fn another_program_is_no_openssh() {
        for answer in [
            "",
            "plink: unknown option \"-G\"",
            "hostname\n",
            "<html>\nhostnames x\n",
        ] {
            assert!(read(answer).unwrap_err().contains("no OpenSSH"), "{answer}");
        }
    }
}
