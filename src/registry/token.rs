//! Tokens: asked for at the server that a registry names, kept until they expire.

use super::body::Content;
use super::challenge::token_url;
use super::secret::Secret;
use super::session::{Pass, Session};
use super::state::{Token, TokenKey};
use super::{RegistryError, limits, words};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, Url};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// What is meant when a server does not say (docs of distribution, "Token Authentication Specification").
const DEFAULT_LIFE: u64 = 60;
/// Nobody keeps one for longer.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

impl Session<'_> {
    /// A token for this session's scopes; with `fresh`, not one that was used before.
    pub(super) async fn token(&self, realm: &Url, service: Option<&str>, fresh: bool) -> Result<Pass, RegistryError> {
        let login = self.found().await?.login.clone();
        let key = TokenKey {
            registry: self.registry().to_owned(),
            realm: realm.to_string(),
            scopes: self.scopes.clone(),
            login,
        };
        let kept = self.state.token(&key).filter(|_| !fresh);
        if let Some(token) = kept {
            return Ok(Pass::Token {
                key,
                secret: token.secret,
                fresh: false,
            });
        }
        let begin = Instant::now();
        let answer = self.ask_token_server(realm, service, &key).await?;
        let text = match answer.token.as_str() {
            "" => answer.access_token,
            _ => answer.token,
        };
        let fine = !text.is_empty() && text.bytes().all(|b| (b'!'..=b'~').contains(&b));
        if !fine {
            return Err(self.protocol("its token server gives no token"));
        }
        let secret = Secret::new(text);
        let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
        // A request may be under way for a while.
        let life = Duration::from_secs(life - life / 10);
        let token = Token {
            secret: secret.clone(),
            until: begin + life,
        };
        self.state.keep_token(key.clone(), token);
        Ok(Pass::Token {
            key,
            secret,
            fresh: true,
        })
    }

    async fn ask_token_server(
        &self,
        realm: &Url,
        service: Option<&str>,
        key: &TokenKey,
    ) -> Result<Answer, RegistryError> {
        self.turn(realm).await?;
        let client = self.state.client(self.registry(), &self.settings, realm)?;
        let pass = key.login.clone().map_or(Pass::Nothing, Pass::Basic);
        let response: Response = match &key.login {
            Some(login) if login.is_identity_token() => {
                let scopes = self.scopes.join(" ");
                let pairs = [
                    ("grant_type", "refresh_token"),
                    ("client_id", "pipelined"),
                    ("service", service.unwrap_or_default()),
                    ("scope", &scopes),
                    ("refresh_token", login.password.expose()),
                ];
                // A URL's query is a form.
                let mut form = realm.clone();
                form.query_pairs_mut().clear().extend_pairs(pairs);
                let form = form.query().unwrap_or_default().to_owned();
                let request = client
                    .post(realm.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                self.send(request, &Content::Bytes(form.as_bytes())).await?
            }
            login => {
                let account = login.as_ref().map(|login| login.username.as_str());
                let mut request = client.get(token_url(realm, service, &self.scopes, account));
                if let Some(login) = login {
                    request = request.basic_auth(&login.username, Some(login.password.expose()));
                }
                self.send(request, &Content::Empty).await?
            }
        };
        self.heed(&response, false);
        if !response.status().is_success() {
            let what = format!("a token for {}", self.image.name());
            return Err(self.refusal(response, &what, &pass).await);
        }
        let body = self
            .body(response, limits::TOKEN, "the answer of a token server")
            .await?;
        serde_json::from_slice(&body).map_err(|e| {
            // Not the parser's words: they may quote the token.
            let place = words::plain(&format!("line {} column {}", e.line(), e.column()));
            self.protocol(format!("its token server's answer cannot be read ({place})"))
        })
    }
}
