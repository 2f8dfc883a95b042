//! Where the logins of http remotes come from: the URL, `.netrc`, the user's credential helpers.

use super::http::Vault;
use super::reply::Missed;
use crate::git::list::ListError;
use crate::git::remote::Remote;
use crate::git::world::{Filled, Login, World, fill};
use crate::model::mask_url;
use crate::process::Runner;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Logins for one question.
pub(super) struct Logins<'a> {
    pub runner: &'a Runner,
    pub cwd: &'a Path,
    pub world: &'a World,
    /// As it is asked: with the userinfo that `url.*.insteadOf` may have brought, else its own.
    pub remote: &'a Remote,
    /// For one helper.
    pub deadline: Duration,
    /// What a helper gave, for its owner to be told whether it worked.
    pub filled: Mutex<Option<Filled>>,
}

impl Logins<'_> {
    fn filled(&self, login: &Login) -> Option<Filled> {
        let filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        filled.clone().filter(|filled| filled.login == *login)
    }
}

impl Vault for Logins<'_> {
    fn known(&self, url: &str) -> Option<Login> {
        self.world.login(self.remote, url)
    }

    async fn fill(&self, url: &str) -> Result<Option<Login>, Missed> {
        let credentials = World::credentials(self.remote, url);
        if credentials.as_ref().is_some_and(|c| c.password.is_some()) {
            // It was refused, and nobody knows better than the URL.
            return Ok(None);
        }
        let username = credentials.as_ref().map(|c| c.username.as_str());
        let filled = fill(self.runner, self.cwd, url, username, self.deadline)
            .await
            .map_err(|failure| ListError::Command(format!("{}: {failure}", mask_url(url))))?;
        let login = filled.as_ref().map(|filled| filled.login.clone());
        *self.filled.lock().unwrap_or_else(PoisonError::into_inner) = filled;
        Ok(login)
    }

    async fn approve(&self, _url: &str, login: &Login) {
        if let Some(filled) = self.filled(login)
            && let Err(error) = filled.approve(self.runner, self.cwd, self.deadline).await
        {
            tracing::debug!(%error, "cannot tell the credential helpers that a login works");
        }
    }

    async fn reject(&self, _url: &str, login: &Login) {
        if let Some(filled) = self.filled(login)
            && let Err(error) = filled.reject(self.runner, self.cwd, self.deadline).await
        {
            tracing::debug!(%error, "cannot tell the credential helpers that a login was refused");
        }
    }
}
