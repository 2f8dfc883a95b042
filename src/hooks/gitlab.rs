//! GitLab's hooks of projects, groups and the system: pushes, tags, pipelines.
//!
//! What kind of event it is says the body, as the header is the same for all of the system's.

use super::payload::{read, remotes};
use super::{Headers, Hint, HookError, signature};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct Payload {
    object_kind: Option<String>,
    event_name: Option<String>,
    #[serde(default)]
    project: Option<Place>,
    #[serde(default)]
    repository: Option<Place>,
}

#[derive(Deserialize, Default)]
struct Place {
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
    http_url: Option<String>,
    ssh_url: Option<String>,
    url: Option<String>,
    web_url: Option<String>,
    homepage: Option<String>,
}

pub(super) fn is_genuine(secret: &[u8], headers: Headers<'_>) -> bool {
    let token = headers.get("x-gitlab-token").unwrap_or_default();
    signature::is_secret(secret, token.as_bytes())
}

pub(super) fn hints(body: &[u8]) -> Result<BTreeSet<Hint>, HookError> {
    let payload: Payload = read(body)?;
    let kind = payload.object_kind.or(payload.event_name).unwrap_or_default();
    if !matches!(kind.as_str(), "push" | "tag_push" | "pipeline" | "repository_update") {
        return Ok(BTreeSet::new());
    }
    let places = [payload.project, payload.repository];
    Ok(remotes(places.iter().flatten().flat_map(Place::urls)))
}

impl Place {
    fn urls(&self) -> [Option<&String>; 7] {
        [
            &self.git_http_url,
            &self.git_ssh_url,
            &self.http_url,
            &self.ssh_url,
            &self.url,
            &self.web_url,
            &self.homepage,
        ]
        .map(Option::as_ref)
    }
}
