//! What the webhooks of others say: which remote, project or image should be looked at now.
//!
//! PURE: bytes and headers in, hints out. A hint is never more than a reason to look early: what is there is asked of
//! whoever has it, so that a forged or lost hook changes nothing that polling would not. Nothing here may read a clock
//! or a file, panic on any bytes, or take longer than they are long.

mod form;
mod gitea;
mod github;
mod gitlab;
mod payload;
mod registry;
mod signature;

use crate::model::{ImageRef, ProjectName, Sender};

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// The remote with this key, see [`crate::model::remote_key`].
    Remote(String),
    /// A project of the config.
    Project(ProjectName),
    /// An image on a registry.
    Image(ImageRef),
}

/// Why a hook cannot be understood, in words for whoever sends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The body is no JSON.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// A form has a value that cannot be meant.
    #[error("`{key}`: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A form says nothing.
    #[error("the form names nothing: send project=NAME, remote=URL or image=REFERENCE")]
    Empty,
}

/// The headers of a request, their names in lower case.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(pub &'a [(&'a str, &'a [u8])]);

impl<'a> Headers<'a> {
    /// The first of this name, if it is text.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
        std::str::from_utf8(value).ok()
    }

    fn is_form(&self) -> bool {
        let kind = self.get("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }
}

/// Whether whoever sent this knows the secret. Takes the same time however wrong it is.
pub fn is_genuine(sender: Sender, secret: &[u8], headers: Headers<'_>, body: &[u8]) -> bool {
    // Without a secret everybody would know it.
    if secret.is_empty() {
        return false;
    }
    match sender {
        Sender::Gitlab => gitlab::is_genuine(secret, headers),
        Sender::Github => github::is_genuine(secret, headers, body),
        Sender::Gitea => gitea::is_genuine(secret, headers, body),
        Sender::Registry => registry::is_genuine(secret, headers),
        Sender::Form => form::is_genuine(secret, headers, body),
    }
}

/// What a hook names, each thing once. Events that say nothing of what is watched here name nothing.
pub fn hints(sender: Sender, headers: Headers<'_>, body: &[u8]) -> Result<Vec<Hint>, HookError> {
    let hints = match sender {
        Sender::Gitlab => gitlab::hints(body),
        Sender::Github => github::hints(headers, body),
        Sender::Gitea => gitea::hints(headers, body),
        Sender::Registry => registry::hints(body),
        Sender::Form => form::hints(body),
    }?;
    Ok(hints.into_iter().collect())
}

#[cfg(test)]
mod tests;
