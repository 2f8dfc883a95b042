//! A daemon that polls hardly ever and takes hooks, and a client that speaks as the senders do.

use crate::support::daemon::{Daemon, Site};
use crate::support::scratch::Scratch;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The secret of all senders in these tests.
pub const SECRET: &str = "hunter2 and more";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// How many projects and bases are looked at.
    #[track_caller]
    pub fn poked(&self) -> (u64, u64) {
        assert!(matches!(self.status, 200 | 202), "{self:?}");
        let json: Value = serde_json::from_str(&self.body).unwrap();
        let poked = &json["poked"];
        let poked = (poked["projects"].as_u64().unwrap(), poked["bases"].as_u64().unwrap());
        assert_eq!(self.status, if poked == (0, 0) { 202 } else { 200 }, "{self:?}");
        poked
    }
}

/// Files with the secret, and the lines of the config that name them.
pub fn secrets(scratch: &Scratch) -> String {
    let file = scratch.write("secret", format!("{SECRET}\n"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let senders = ["gitlab", "github", "gitea", "registry", "form"];
    let lines: String = senders.iter().map(|sender| format!("{sender} = {file:?}\n")).collect();
    format!("[hooks]\n{lines}")
}

/// Where the daemon takes hooks.
#[track_caller]
pub fn door(site: &Site) -> String {
    let status = site.json(&["status", "--json"]);
    let listen = &status["daemon"]["hooks"]["listen"];
    listen.as_str().unwrap_or_else(|| panic!("{status}")).to_owned()
}

/// accepted, refused, limited
pub fn counts(site: &Site) -> [u64; 3] {
    let status = site.json(&["status", "--json"]);
    let hooks = &status["daemon"]["hooks"];
    ["accepted", "refused", "limited"].map(|name| hooks[name].as_u64().unwrap())
}

/// A request, as its sender would write it.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

pub fn read_answer(mut stream: impl Read) -> Answer {
    let mut text = Vec::new();
    // What was cut off is shown as far as it came.
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_default(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// Sends it there, and reads until the end.
#[track_caller]
pub fn send(door: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(door).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request).unwrap();
    read_answer(stream)
}

#[track_caller]
pub fn post(door: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send(door, &request("POST", path, headers, body))
}

/// The same through the socket in the workdir.
#[track_caller]
pub fn post_inside(workdir: &Path, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = UnixStream::connect(workdir.join("pipelined.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&request("POST", path, headers, body)).unwrap();
    read_answer(stream)
}

/// What openssl makes of it, as a witness.
#[track_caller]
pub fn hmac(secret: &str, text: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl, see `make deps`");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().rsplit(' ').next().unwrap().to_owned()
}

/// How many questions to remotes there were.
pub fn asked(site: &Site) -> u64 {
    site.json(&["status", "--json"])["daemon"]["polls"]["asked"]
        .as_u64()
        .unwrap()
}

/// No secret is anywhere where people look.
#[track_caller]
pub fn nothing_is_told(site: &Site, daemon: &Daemon) {
    assert!(!daemon.log().contains(SECRET), "{}", daemon.log());
    for args in [&["config"][..], &["status"], &["status", "--json"]] {
        let output = site.cli(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains(SECRET), "{args:?}: {text}");
    }
}
