//! The hooks of Gitea and Forgejo, signed in one of three ways.

use super::payload::{host, image, json, read};
use super::{Headers, Hint, HookError, github, signature};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Headers that name the event; old releases have only the later ones.
const EVENTS: [&str; 4] = ["x-forgejo-event", "x-gitea-event", "x-gogs-event", "x-github-event"];
/// Headers with nothing but the HMAC in hex.
const SIGNATURES: [&str; 3] = ["x-forgejo-signature", "x-gitea-signature", "x-gogs-signature"];

pub(super) fn is_genuine(secret: &[u8], headers: Headers<'_>, body: &[u8]) -> bool {
    // The first that is there counts: a good one does not make up for a bad one.
    let of = |text: &[u8]| match SIGNATURES.iter().find_map(|name| headers.get(name)) {
        Some(hex) => signature::is_hmac(secret, text, hex),
        None => github::is_signed(secret, headers.get("x-hub-signature-256"), text),
    };
    // In a form it is the payload that is signed, and not the body.
    of(body) || headers.is_form() && of(&json(headers, body))
}

pub(super) fn hints(headers: Headers<'_>, body: &[u8]) -> Result<BTreeSet<Hint>, HookError> {
    let event = EVENTS.iter().find_map(|name| headers.get(name));
    if event != Some("package") {
        return github::of_event(event, headers, body);
    }
    let payload: Payload = read(&json(headers, body))?;
    Ok(payload.package.and_then(Package::image).into_iter().collect())
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    package: Option<Package>,
}

#[derive(Deserialize)]
struct Package {
    #[serde(rename = "type")]
    kind: Option<String>,
    owner: Option<Owner>,
    name: Option<String>,
    version: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    login: Option<String>,
}

impl Package {
    /// The registry is where the forge is.
    fn image(self) -> Option<Hint> {
        let is_container = self.kind.as_deref() == Some("container");
        let (owner, name, tag) = (self.owner?.login?, self.name?, self.version?);
        // Those without a tag are parts of one that has one.
        let is_tagged = !tag.contains(':');
        let path = format!("{}/{}:{tag}", owner.to_lowercase(), name.to_lowercase());
        let image = image(host(self.html_url.as_deref()?)?, &path);
        image.filter(|_| is_container && is_tagged).map(Hint::Image)
    }
}
