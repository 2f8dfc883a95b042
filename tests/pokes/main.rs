//! Whoever builds elsewhere is told of releases: over real connections, by the real daemon, and no secret gets out.

#![cfg(test)]

#[allow(dead_code, reason = "what the tests of the release have, and a part of it")]
#[path = "../release/common.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

mod daemon;
mod sender;

/// The body of a request.
fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").unwrap().1
}

/// A header of a request, by its name in lower case.
fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split_once("\r\n\r\n").unwrap().0;
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

/// The pairs of a form.
fn form(body: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

/// What openssl makes of it.
fn signed_by_openssl(secret: &str, body: &str) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-r", "-hmac", secret])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256={}", text.split(' ').next().unwrap())
}
