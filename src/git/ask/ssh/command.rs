//! How the user's ssh is called. Pure.

use super::Host;
use crate::git::world::Ssh;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

/// ssh with options and a host behind it, called as git would call it: a configured command by the shell, so that all
/// that a shell does to it is done here as well.
fn command(ssh: &Ssh, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let before: Vec<OsString> = match ssh {
        Ssh::Default => vec!["ssh".into()],
        Ssh::Program(program) => vec![program.into()],
        Ssh::Command(line) => vec!["sh".into(), "-c".into(), format!("{line} \"$@\"").into(), line.into()],
    };
    before.into_iter().chain(args).collect()
}

/// `-p PORT HOST`, as git gives them.
fn destination(host: &Host) -> impl Iterator<Item = OsString> {
    let port = host.port.map(|port| ["-p".into(), port.to_string().into()]);
    port.into_iter().flatten().chain([OsString::from(&host.name)])
}

/// The question what ssh's own configuration says about a host; nothing is connected.
pub(super) fn show_config(host: &Host) -> Vec<OsString> {
    command(&host.ssh, ["-G".into()].into_iter().chain(destination(host)))
}

/// A process that connects, opens a control socket, and does nothing else. ssh takes the first value of an option, so
/// those of a configured command win over ours. `set_env` is the user's own `SetEnv`, which ours would hide.
pub(super) fn master(host: &Host, socket: &Path, connect: Duration, set_env: &[String]) -> Vec<OsString> {
    // Its own deadline lies behind ours, which says better what happened.
    let connect = connect.as_secs() + 2;
    let variables = std::iter::once("GIT_PROTOCOL=version=2").chain(set_env.iter().map(String::as_str));
    let variables: Vec<String> = variables.map(quoted).collect();
    let options = [
        "BatchMode=yes".to_owned(),
        format!("ConnectTimeout={connect}"),
        "ServerAliveInterval=15".to_owned(),
        "ServerAliveCountMax=4".to_owned(),
        "ControlPersist=no".to_owned(),
        // The ports that the user forwards by this host are for the user's own ssh.
        "ClearAllForwardings=yes".to_owned(),
        format!("SetEnv={}", variables.join(" ")),
    ];
    let options = options.into_iter().flat_map(|option| ["-o".into(), option.into()]);
    let socket = ["-M".into(), "-N".into(), "-S".into(), socket.into()];
    command(&host.ssh, socket.into_iter().chain(options).chain(destination(host)))
}

/// One word of a value in ssh's configuration.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What the server is asked to run, as git writes it (`sq_quote`).
pub(super) fn upload_pack(path: &[u8]) -> Vec<u8> {
    let mut line = b"git-upload-pack '".to_vec();
    for byte in path {
        match byte {
            b'\'' | b'!' => line.extend([b'\'', b'\\', *byte, b'\'']),
            byte => line.push(*byte),
        }
    }
    line.push(b'\'');
    line
}

/// What ssh gets beside the daemon's own environment: it must not open a window, and speak plainly.
pub(super) fn environment() -> [(OsString, OsString); 3] {
    [("SSH_ASKPASS", ""), ("SSH_ASKPASS_REQUIRE", "never"), ("LC_ALL", "C")]
        .map(|(name, value)| (OsStr::new(name).to_owned(), OsStr::new(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(ssh: &Ssh) -> Host {
        Host {
            ssh: ssh.clone(),
            name: "u@h".to_owned(),
            port: Some(9),
        }
    }

    #[test]
    fn a_configured_command_is_the_shell_s() {
        let words = |ssh: &Ssh| show_config(&host(ssh)).join(OsStr::new("|"));
        assert_eq!(words(&Ssh::Default), "ssh|-G|-p|9|u@h");
        assert_eq!(words(&Ssh::Program("/x y".into())), "/x y|-G|-p|9|u@h");
        let line = "ssh -i \"$HOME/k\"";
        let expected = format!("sh|-c|{line} \"$@\"|{line}|-G|-p|9|u@h");
        assert_eq!(words(&Ssh::Command(line.to_owned())), expected.as_str());
    }

    #[test]
    fn a_master_never_asks_and_hides_no_variable() {
        let set_env = ["A=b \"c\\".to_owned()];
        let socket = Path::new("/run/s");
        let argv = master(&host(&Ssh::Default), socket, Duration::from_millis(1500), &set_env);
        let argv = argv.join(OsStr::new(" ")).into_string().unwrap();
        assert!(
            argv.starts_with("ssh -M -N -S /run/s -o BatchMode=yes -o ConnectTimeout=3 "),
            "{argv}"
        );
        let end = "-o SetEnv=\"GIT_PROTOCOL=version=2\" \"A=b \\\"c\\\\\" -p 9 u@h";
        assert!(argv.ends_with(end), "{argv}");
    }

    #[test]
    fn the_remote_shell_sees_one_word() {
        assert_eq!(upload_pack(b"/a b"), b"git-upload-pack '/a b'");
        assert_eq!(upload_pack(b"a'b!c"), br"git-upload-pack 'a'\''b'\!'c'");
        assert_eq!(upload_pack(b"\xff$(x)\n"), b"git-upload-pack '\xff$(x)\n'");
    }
}
