//! What the JSON of several senders has in common.

use super::{Headers, Hint, HookError};
use crate::model::{ImageRef, remote_key};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The longest URL that is taken for a remote.
const LONGEST: usize = 4096;

/// The JSON itself: all of the body, or in a form the field `payload`.
pub(super) fn json<'a>(headers: Headers<'_>, body: &'a [u8]) -> Cow<'a, [u8]> {
    if !headers.is_form() {
        return Cow::Borrowed(body);
    }
    let mut fields = form_urlencoded::parse(body);
    let payload = fields.find(|(key, _)| key == "payload");
    let payload = payload.map(|(_, value)| value.into_owned()).unwrap_or_default();
    Cow::Owned(payload.into_bytes())
}

pub(super) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, HookError> {
    // In the place of the mistake, never what is there.
    serde_json::from_slice(json)
        .map_err(|error| HookError::Json(format!("line {}, column {}", error.line(), error.column())))
}

/// The remotes that these URLs stand for.
pub(super) fn remotes<'a>(urls: impl IntoIterator<Item = Option<&'a String>>) -> BTreeSet<Hint> {
    let urls = urls.into_iter().flatten();
    urls.filter(|url| !url.trim().is_empty() && url.len() <= LONGEST)
        .map(|url| Hint::Remote(remote_key(url)))
        .collect()
}

/// What a registry has under this host. A host without a dot or a port would be a path on Docker Hub.
pub(super) fn image(host: &str, path: &str) -> Option<ImageRef> {
    let image = ImageRef::parse(&format!("{host}/{path}")).ok()?;
    (image.registry() == host && !image.is_local()).then_some(image)
}

/// The host of a URL, with its port.
pub(super) fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next()
}
