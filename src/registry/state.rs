//! What is remembered from call to call: clients, tokens, how each registry wants to be spoken to, and when.
//!
//! Nothing here is kept on disk, and no lock is held while anything is waited for.

use super::challenge::Challenge;
use super::limits::Deadlines;
use super::secret::Secret;
use super::words::LimitReading;
use super::{RegistryError, tls};
use crate::config::{RegistrySettings, is_loopback};
use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Calls to registries. Clones share everything.
#[derive(Clone)]
pub struct Registries(pub(super) Arc<State>);

/// Without what it knows: there are secrets in it.
impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries").finish_non_exhaustive()
    }
}

pub(super) struct State {
    settings: BTreeMap<String, RegistrySettings>,
    pub deadlines: Deadlines,
    clients: Mutex<HashMap<ClientKey, Client>>,
    /// Registries that are insecure and speak plain http.
    plain: Mutex<HashMap<String, bool>>,
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<TokenKey, Token>>,
    /// By host and port.
    pauses: Mutex<BTreeMap<String, Timestamp>>,
    limits: Mutex<BTreeMap<String, LimitReading>>,
}

/// The registry, whether this machine itself is asked, and when the CA's file was changed.
type ClientKey = (String, bool, Option<SystemTime>);

/// Whose a token is and what for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub registry: String,
    pub realm: String,
    pub scopes: Vec<String>,
    pub login: Option<super::Credentials>,
}

/// What a token server gave.
#[derive(Clone)]
pub(super) struct Token {
    pub secret: Secret,
    pub until: Instant,
}

/// How long a host wants to be left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Host and port.
    pub host: String,
    /// No request goes there before.
    pub until: Timestamp,
}

/// The maps are right at any time, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registries {
    /// With what the config says of single registries, by host or host:port.
    pub fn new(settings: BTreeMap<String, RegistrySettings>) -> Self {
        Self::with_deadlines(settings, Deadlines::default())
    }

    /// The same with other deadlines.
    pub fn with_deadlines(settings: BTreeMap<String, RegistrySettings>, deadlines: Deadlines) -> Self {
        Self(Arc::new(State {
            settings,
            deadlines,
            clients: Mutex::default(),
            plain: Mutex::default(),
            challenges: Mutex::default(),
            tokens: Mutex::default(),
            pauses: Mutex::default(),
            limits: Mutex::default(),
        }))
    }

    /// The last reading of each registry that limits pulls and says so.
    pub fn limits(&self) -> Vec<LimitReading> {
        lock(&self.0.limits).values().cloned().collect()
    }

    /// What the config says of a registry; none if it does not name it.
    pub fn settings(&self, registry: &str) -> Option<&RegistrySettings> {
        self.0.settings.get(registry)
    }

    /// Hosts that want to be left alone now.
    pub fn pauses(&self) -> Vec<Pause> {
        let now = Timestamp::now();
        let pauses = lock(&self.0.pauses);
        let waiting = pauses.iter().filter(|(_, until)| **until > now);
        waiting
            .map(|(host, until)| Pause {
                host: host.clone(),
                until: *until,
            })
            .collect()
    }
}

impl State {
    pub fn settings(&self, registry: &str) -> RegistrySettings {
        self.settings.get(registry).cloned().unwrap_or_default()
    }

    /// A client for a registry's settings and the host of this URL. As with docker and podman, what is on this machine is
    /// never asked by a proxy.
    pub fn client(&self, registry: &str, settings: &RegistrySettings, url: &Url) -> Result<Client, RegistryError> {
        let changed = settings
            .ca_file
            .as_ref()
            .and_then(|path| path.metadata().ok()?.modified().ok());
        let key = (registry.to_owned(), is_loopback(url), changed);
        if let Some(client) = lock(&self.clients).get(&key) {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls::config(settings)?)
            .user_agent(concat!("pipelined/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(self.deadlines.connect)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2);
        if key.1 {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| {
            let why = super::words::plain(&crate::model::error_chain(&e.without_url()));
            RegistryError::Settings(format!("no connection to {registry} can be made: {why}"))
        })?;
        let mut clients = lock(&self.clients);
        // One that trusts an older CA file is of no more use.
        clients.retain(|(name, loopback, _), _| (name, *loopback) != (&key.0, key.1));
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// Whether this insecure registry is known to speak plain http.
    pub fn is_plain(&self, registry: &str) -> Option<bool> {
        lock(&self.plain).get(registry).copied()
    }

    pub fn set_plain(&self, registry: &str, plain: bool) {
        lock(&self.plain).insert(registry.to_owned(), plain);
    }

    pub fn challenge(&self, registry: &str) -> Option<Challenge> {
        lock(&self.challenges).get(registry).cloned()
    }

    pub fn set_challenge(&self, registry: &str, challenge: &Challenge) {
        lock(&self.challenges).insert(registry.to_owned(), challenge.clone());
    }

    pub fn token(&self, key: &TokenKey) -> Option<Token> {
        let tokens = lock(&self.tokens);
        tokens.get(key).filter(|token| token.until > Instant::now()).cloned()
    }

    pub fn keep_token(&self, key: TokenKey, token: Token) {
        let now = Instant::now();
        let mut tokens = lock(&self.tokens);
        tokens.retain(|_, token| token.until > now);
        tokens.insert(key, token);
    }

    /// Unless somebody else has put a newer one in its place.
    pub fn forget_token(&self, key: &TokenKey, refused: &Secret) {
        let mut tokens = lock(&self.tokens);
        if tokens.get(key).is_some_and(|token| token.secret == *refused) {
            tokens.remove(key);
        }
    }

    pub fn keep_limit(&self, reading: LimitReading) {
        lock(&self.limits).insert(reading.registry.clone(), reading);
    }

    /// Nobody goes to this host for so long. A longer pause stays.
    pub fn pause(&self, host: String, wait: Duration) -> Timestamp {
        let until = Timestamp::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        let mut pauses = lock(&self.pauses);
        let kept = pauses.entry(host).or_insert(until);
        *kept = (*kept).max(until);
        *kept
    }

    /// How long this host wants to be left alone yet, and until when.
    pub fn paused(&self, host: &str) -> Option<(Duration, Timestamp)> {
        let mut pauses = lock(&self.pauses);
        let until = *pauses.get(host)?;
        let wait = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
        if wait.is_zero() {
            pauses.remove(host);
            return None;
        }
        Some((wait, until))
    }
}

/// Host and port, by which pauses are known.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
