//! A form of whoever has no hook of their own: `curl -d project=ruby -d token=…`.
//!
//! It is written by hand, so that a mistake in it is told, unlike those of the others.

use super::{Headers, Hint, HookError, signature};
use crate::model::{ImageRef, ProjectName, remote_key};
use std::collections::BTreeSet;

pub(super) fn is_genuine(secret: &[u8], headers: Headers<'_>, body: &[u8]) -> bool {
    if signature::is_bearer(secret, headers.get("authorization")) {
        return true;
    }
    let token = form_urlencoded::parse(body).find(|(key, _)| key == "token");
    token.is_some_and(|(_, token)| signature::is_secret(secret, token.as_bytes()))
}

pub(super) fn hints(body: &[u8]) -> Result<BTreeSet<Hint>, HookError> {
    let mut hints = BTreeSet::new();
    for (key, value) in form_urlencoded::parse(body) {
        match key.as_ref() {
            "project" => {
                let project = ProjectName::new(value.as_ref()).map_err(wrong("project"))?;
                hints.insert(Hint::Project(project));
            }
            "remote" if !value.trim().is_empty() => {
                hints.insert(Hint::Remote(remote_key(&value)));
            }
            "image" => {
                let image = ImageRef::parse(&value).map_err(wrong("image"))?;
                hints.insert(Hint::Image(image));
            }
            _ => {}
        }
    }
    match hints.is_empty() {
        true => Err(HookError::Empty),
        false => Ok(hints),
    }
}

fn wrong<E: std::fmt::Display>(key: &'static str) -> impl Fn(E) -> HookError {
    move |error| HookError::Value {
        key,
        why: error.to_string(),
    }
}
