//! The notifications of docker-registry (CNCF distribution): what was pushed or deleted there.
//!
//! A registry does not know under which name the world has it: it tells by which it was asked, and an URL.

use super::payload::{host, image, read};
use super::{Headers, Hint, HookError, signature};
use crate::model::ImageRef;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    action: String,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    media_type: Option<String>,
    repository: Option<String>,
    tag: Option<String>,
    digest: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    host: Option<String>,
}

/// The registry is told which headers to send.
pub(super) fn is_genuine(secret: &[u8], headers: Headers<'_>) -> bool {
    signature::is_bearer(secret, headers.get("authorization"))
}

pub(super) fn hints(body: &[u8]) -> Result<BTreeSet<Hint>, HookError> {
    let envelope: Envelope = read(body)?;
    Ok(envelope.events.iter().flat_map(images).map(Hint::Image).collect())
}

fn images(event: &Event) -> Vec<ImageRef> {
    let is_change = matches!(event.action.as_str(), "push" | "delete");
    let Some(target) = event.target.as_ref().filter(|_| is_change) else {
        return Vec::new();
    };
    let Some(repository) = &target.repository else {
        return Vec::new();
    };
    let name = match (&target.tag, &target.digest) {
        (Some(tag), _) if !tag.is_empty() => format!(":{tag}"),
        // Layers have a digest too.
        (_, Some(digest)) if !target.is_blob() => format!("@{digest}"),
        _ => return Vec::new(),
    };
    let asked = event.request.as_ref().and_then(|request| request.host.as_deref());
    let hosts: BTreeSet<&str> = asked.into_iter().chain(target.url.as_deref().and_then(host)).collect();
    let path = format!("{repository}{name}");
    hosts.into_iter().filter_map(|host| image(host, &path)).collect()
}

impl Target {
    fn is_blob(&self) -> bool {
        self.media_type.as_deref() == Some("application/octet-stream")
    }
}
