//! GitHub's hooks, as JSON or as a form with a payload, signed.

use super::payload::{image, json, read, remotes};
use super::{Headers, Hint, HookError, signature};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    repository: Option<Repository>,
    /// Of the event `registry_package`.
    #[serde(default)]
    registry_package: Option<Package>,
    /// Of the event `package`.
    #[serde(default)]
    package: Option<Package>,
}

#[derive(Deserialize)]
struct Package {
    package_version: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    /// `ghcr.io/OWNER/NAME:TAG` of a container's.
    package_url: Option<String>,
}

/// As Gitea has it too.
#[derive(Deserialize)]
struct Repository {
    clone_url: Option<String>,
    ssh_url: Option<String>,
    git_url: Option<String>,
    html_url: Option<String>,
}

pub(super) fn is_genuine(secret: &[u8], headers: Headers<'_>, body: &[u8]) -> bool {
    is_signed(secret, headers.get("x-hub-signature-256"), body)
}

/// By the header `sha256=HEX`.
pub(super) fn is_signed(secret: &[u8], header: Option<&str>, body: &[u8]) -> bool {
    let hex = header.and_then(|header| header.trim().strip_prefix("sha256="));
    hex.is_some_and(|hex| signature::is_hmac(secret, body, hex))
}

pub(super) fn hints(headers: Headers<'_>, body: &[u8]) -> Result<BTreeSet<Hint>, HookError> {
    let event = headers.get("x-github-event");
    match event {
        Some("registry_package" | "package") => {
            let payload: Payload = read(&json(headers, body))?;
            let package = payload.registry_package.or(payload.package);
            Ok(package.and_then(Package::image).into_iter().collect())
        }
        _ => of_event(event, headers, body),
    }
}

impl Package {
    /// Only one with a tag: without, it is a part of one that has one, or nobody can ask for it yet.
    fn image(self) -> Option<Hint> {
        let url = self.package_version?.package_url?;
        let (host, path) = url.split_once('/')?;
        let is_tagged = path.rsplit('/').next()?.contains(':');
        image(host, path).filter(|_| is_tagged).map(Hint::Image)
    }
}

/// The remote of an event that may have moved its refs.
pub(super) fn of_event(event: Option<&str>, headers: Headers<'_>, body: &[u8]) -> Result<BTreeSet<Hint>, HookError> {
    // A ping tells that the hook was set up; all the rest are no refs.
    if !matches!(event, Some("push" | "create" | "delete")) {
        return Ok(BTreeSet::new());
    }
    let payload: Payload = read(&json(headers, body))?;
    let Some(of) = payload.repository else {
        return Ok(BTreeSet::new());
    };
    let urls = [&of.clone_url, &of.ssh_url, &of.git_url, &of.html_url];
    Ok(remotes(urls.map(Option::as_ref)))
}
