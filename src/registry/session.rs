//! Requests to one repository: with the right login, at the right time, by the right scheme, within the deadlines.
//!
//! A login goes to the registry and to its token server only, never to where either sends us, and never by plain http
//! unless the config says so.

use super::body::{Content, Progress, Stream};
use super::challenge::{self, Challenge};
use super::login::{self, Found};
use super::secret::{Credentials, Secret};
use super::state::{State, TokenKey, authority};
use super::tls::{Broken, judge};
use super::words::Refusal;
use super::{RegistryError, limits, words};
use crate::config::RegistrySettings;
use crate::model::ImageRef;
use crate::process::Runner;
use base64::Engine;
use hyper::body::Bytes;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderName, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use std::time::SystemTime;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// Where docker.io is in fact.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// From one place to the next.
const REDIRECTS: usize = 5;
/// Chunks of a body that are under way.
const PIPE: usize = 4;

/// One call's dealings with one repository.
pub(super) struct Session<'a> {
    pub state: &'a State,
    pub runner: &'a Runner,
    pub image: &'a ImageRef,
    pub settings: RegistrySettings,
    pub scopes: Vec<String>,
    found: OnceCell<Found>,
}

/// A request.
pub(super) struct Ask<'a> {
    pub method: Method,
    pub to: To<'a>,
    pub headers: Vec<(HeaderName, String)>,
    pub content: Content<'a>,
    /// For errors.
    pub what: &'a str,
}

/// Where to.
pub(super) enum To<'a> {
    /// Below `/v2/REPOSITORY/`.
    Path(&'a str),
    /// Where the registry said.
    Url(&'a Url),
}

/// What was sent to be let in.
pub(super) enum Pass {
    Nothing,
    Basic(Credentials),
    Token { key: TokenKey, secret: Secret, fresh: bool },
}

impl Pass {
    fn header(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Basic(login) => {
                let pair = format!("{}:{}", login.username, login.password.expose());
                Some(format!(
                    "Basic {}",
                    base64::engine::general_purpose::STANDARD.encode(pair)
                ))
            }
            Self::Token { secret, .. } => Some(format!("Bearer {}", secret.expose())),
        }
    }

    /// What a server must not make us print.
    pub fn secrets(&self) -> Vec<String> {
        let header = self.header();
        let coded = header.as_deref().and_then(|h| Some(h.split_once(' ')?.1.to_owned()));
        let password = match self {
            Self::Basic(login) => Some(login.password.expose().to_owned()),
            Self::Token { key, .. } => key.login.as_ref().map(|l| l.password.expose().to_owned()),
            Self::Nothing => None,
        };
        coded.into_iter().chain(password).collect()
    }
}

impl<'a> Session<'a> {
    /// `actions` are `pull` or `pull,push`.
    pub fn new(state: &'a State, runner: &'a Runner, image: &'a ImageRef, actions: &str) -> Self {
        Self {
            state,
            runner,
            image,
            settings: state.settings(image.registry()),
            scopes: vec![challenge::scope(image.repository(), actions)],
            found: OnceCell::new(),
        }
    }

    /// The login and where it comes from, looked for once a call.
    pub async fn found(&self) -> Result<&Found, RegistryError> {
        self.found
            .get_or_try_init(|| login::find(self.runner, &self.settings, self.image))
            .await
    }

    pub fn registry(&self) -> &str {
        self.image.registry()
    }

    pub(super) fn protocol(&self, said: impl Into<String>) -> RegistryError {
        RegistryError::Protocol {
            registry: self.registry().to_owned(),
            said: said.into(),
        }
    }

    fn url(&self, path: &str, plain: bool) -> Result<Url, RegistryError> {
        let host = if self.registry() == HUB.0 {
            HUB.1
        } else {
            self.registry()
        };
        let scheme = if plain { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}/v2/{}/{path}", self.image.repository()))
            .map_err(|e| self.protocol(format!("its name makes no URL: {e}")))
    }

    /// Asks, and answers with what is a success.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let mut refused = false;
        loop {
            let pass = self.pass(refused).await?;
            let (response, own) = self.follow(ask, &pass).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            // Only the registry itself may ask for a login.
            if status != StatusCode::UNAUTHORIZED || !own || !self.may_try_again(&response, &pass).await? {
                return Err(self.refusal(response, ask.what, &pass).await);
            }
            refused = true;
        }
    }

    /// Learns what the registry wants. False if that was tried already, or cannot be met.
    async fn may_try_again(&self, response: &Response, pass: &Pass) -> Result<bool, RegistryError> {
        let values = response.headers().get_all(WWW_AUTHENTICATE);
        let Some(challenge) = challenge::read(values.iter().filter_map(|v| v.to_str().ok())) else {
            return Ok(false);
        };
        if let Challenge::Bearer { realm, .. } = &challenge
            && realm.scheme() == "http"
            && response.url().scheme() == "https"
            && !self.settings.insecure
        {
            return Err(self.protocol("its token server does not use TLS"));
        }
        let before = self.state.challenge(self.registry());
        self.state.set_challenge(self.registry(), &challenge);
        let changed = before.as_ref() != Some(&challenge);
        Ok(match pass {
            Pass::Nothing => changed || self.found().await?.login.is_some() || challenge != Challenge::Basic,
            Pass::Basic(_) => challenge != Challenge::Basic,
            Pass::Token { key, secret, fresh } => {
                self.state.forget_token(key, secret);
                !fresh
            }
        })
    }

    async fn pass(&self, fresh: bool) -> Result<Pass, RegistryError> {
        match self.state.challenge(self.registry()) {
            None => Ok(Pass::Nothing),
            Some(Challenge::Basic) => {
                let login = self.found().await?.login.clone();
                Ok(login.map_or(Pass::Nothing, Pass::Basic))
            }
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref(), fresh).await,
        }
    }

    /// Sends it, and goes where it is sent. Answers also whether the registry itself gave the answer.
    async fn follow(&self, ask: &Ask<'_>, pass: &Pass) -> Result<(Response, bool), RegistryError> {
        let (mut response, first) = self.first(ask, pass).await?;
        let mut own = true;
        for _ in 0..REDIRECTS {
            let moved = response.status().is_redirection() && matches!(ask.method, Method::GET | Method::HEAD);
            let Some(to) = words::text(response.headers(), LOCATION).filter(|_| moved) else {
                return Ok((response, own));
            };
            let to = self.next(response.url(), to)?;
            own = to.origin() == first.origin();
            response = self.exchange(ask, &to, pass, &first).await?;
        }
        Err(self.protocol("it sends us in circles"))
    }

    /// Where a `Location` leads from here.
    pub fn next(&self, from: &Url, to: &str) -> Result<Url, RegistryError> {
        let to = from
            .join(to)
            .map_err(|_| self.protocol("it sends us to what is no URL"))?;
        match to.scheme() {
            "https" => Ok(to),
            "http" if from.scheme() == "http" || self.settings.insecure => Ok(to),
            "http" => Err(self.protocol("it sends us from TLS to a place without")),
            _ => Err(self.protocol("it sends us to what is no registry's")),
        }
    }

    /// Sends it where it is meant to go first, finding out whether an insecure registry speaks TLS.
    async fn first(&self, ask: &Ask<'_>, pass: &Pass) -> Result<(Response, Url), RegistryError> {
        let known = self.state.is_plain(self.registry()).filter(|_| self.settings.insecure);
        let home = self.url("", known == Some(true))?;
        let path = match ask.to {
            To::Url(url) => return Ok((self.exchange(ask, url, pass, &home).await?, home)),
            To::Path(path) => path,
        };
        let answer = self
            .exchange(ask, &self.url(path, known == Some(true))?, pass, &home)
            .await;
        if !self.settings.insecure || known.is_some() {
            return Ok((answer?, home));
        }
        let with_port = home.port().is_some();
        let hung_up = match answer {
            // Nothing listens there, whatever is spoken.
            Err(RegistryError::Unreachable { said, .. }) if said == REFUSED && with_port => {
                return Err(self.unreachable(said));
            }
            Err(RegistryError::PlainHttp { .. }) => None,
            // Some servers hang up on what they do not understand.
            Err(error @ RegistryError::Unreachable { .. }) => Some(error),
            Ok(response) => {
                self.state.set_plain(self.registry(), false);
                return Ok((response, home));
            }
            Err(error) => return Err(error),
        };
        let home = self.url("", true)?;
        let response = match (self.exchange(ask, &self.url(path, true)?, pass, &home).await, hung_up) {
            (Err(_), Some(error)) => return Err(error),
            (answer, _) => answer?,
        };
        self.state.set_plain(self.registry(), true);
        Ok((response, home))
    }

    /// One request and the headers of its answer.
    async fn exchange(&self, ask: &Ask<'_>, url: &Url, pass: &Pass, home: &Url) -> Result<Response, RegistryError> {
        let own = url.origin() == home.origin();
        self.turn(url).await?;
        let client = self.state.client(self.registry(), &self.settings, url)?;
        let mut request = client.request(ask.method.clone(), url.clone());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(header) = pass.header().filter(|_| own) {
            request = request.header(AUTHORIZATION, header);
        }
        let sent = self.send(request, &ask.content).await?;
        self.heed(&sent, own);
        Ok(sent)
    }

    /// Sends a request within its deadlines.
    pub async fn send(
        &self,
        request: reqwest::RequestBuilder,
        content: &Content<'_>,
    ) -> Result<Response, RegistryError> {
        let deadlines = &self.state.deadlines;
        let Some(length) = content.streamed() else {
            let request = match content {
                Content::Bytes(bytes) => request.body(bytes.to_vec()),
                _ => request,
            };
            return match timeout(deadlines.headers, request.send()).await {
                Ok(sent) => sent.map_err(|e| self.broken(e)),
                Err(_) => Err(self.timed_out("an answer", deadlines.headers)),
            };
        };
        let (pipe, end) = tokio::sync::mpsc::channel(PIPE);
        let progress = Progress::new();
        let body = reqwest::Body::wrap(Stream::new(end, length, progress.clone()));
        tokio::select! {
            biased;
            sent = request.body(body).send() => sent.map_err(|e| self.broken(e)),
            error = content.feed(pipe) => Err(error),
            (what, after) = progress.stalled(deadlines.idle, deadlines.commit) => Err(self.timed_out(what, after)),
        }
    }

    /// Waits for the host's pause to pass, if that is not too long.
    pub async fn turn(&self, url: &Url) -> Result<(), RegistryError> {
        while let Some((wait, until)) = self.state.paused(&authority(url)) {
            if wait > self.state.deadlines.pause {
                return Err(RegistryError::Throttled {
                    registry: self.registry().to_owned(),
                    until: Some(until),
                });
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Remembers what an answer says about the next request.
    pub fn heed(&self, response: &Response, own: bool) {
        let headers = response.headers();
        if own && let Some(reading) = words::rate_limit(headers, self.registry(), Timestamp::now()) {
            self.state.keep_limit(reading);
        }
        if matches!(response.status().as_u16(), 429 | 503)
            && let Some(wait) = words::retry_after(headers, SystemTime::now())
        {
            self.state.pause(authority(response.url()), wait);
        }
    }

    /// What an answer means that is no success.
    pub async fn refusal(&self, response: Response, what: &str, pass: &Pass) -> RegistryError {
        let status = response.status().as_u16();
        let until = self.state.paused(&authority(response.url())).map(|(_, until)| until);
        let body = self.body(response, limits::ERROR, what).await.unwrap_or_default();
        let tried = match self.found.get() {
            Some(found) => found.places.clone(),
            None => "no login was looked for".to_owned(),
        };
        let refusal = Refusal {
            registry: self.registry(),
            what,
            tried,
            status,
            said: words::complaint(&body, &pass.secrets()),
            until,
        };
        refusal.into_error()
    }

    /// The next part of a body; none at its end.
    pub async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, RegistryError> {
        let idle = self.state.deadlines.idle;
        match timeout(idle, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_) => Err(self.timed_out("a body", idle)),
        }
    }

    /// All of a body.
    pub async fn body(&self, mut response: Response, limit: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                let what = what.to_owned();
                return Err(RegistryError::TooBig { what, limit });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn unreachable(&self, said: impl Into<String>) -> RegistryError {
        RegistryError::Unreachable {
            registry: self.registry().to_owned(),
            said: said.into(),
        }
    }

    fn timed_out(&self, what: &'static str, after: std::time::Duration) -> RegistryError {
        RegistryError::TimedOut {
            registry: self.registry().to_owned(),
            what,
            after,
        }
    }

    fn broken(&self, error: reqwest::Error) -> RegistryError {
        let registry = self.registry().to_owned();
        match judge(&error.without_url()) {
            Broken::NotTls => RegistryError::PlainHttp { registry },
            Broken::Untrusted(said) => RegistryError::Tls { registry, said },
            Broken::Slow => self.timed_out("a connection", self.state.deadlines.connect),
            Broken::Refused => self.unreachable(REFUSED),
            Broken::Other(said) => self.unreachable(said),
        }
    }
}

/// Nothing listens there.
const REFUSED: &str = "the connection was refused";
