//! Webhooks in, by TCP and by the socket: who may speak, what is said, and the answer.
//!
//! Anybody may knock, so that nothing here may cost more than a little: what is too often, too long or not proved is
//! turned away before it is read, and nobody is told why. What is heard is only a hint to the daemon to look.

use super::bucket::{Bucket, Seldom};
use super::command::{Answer, Command, HookStatus, Refused};
use super::message::{Looks, Poked};
use super::server::error;
use crate::hooks::{self, Headers, HookError};
use crate::model::Sender;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::BodyExt;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// The longest hook that is read.
const BODY_LIMIT: usize = 1 << 20;
/// What is read of a longer one, and thrown away: who is still sending does not hear the answer.
const DISCARDED: usize = 8 << 20;
/// Hooks by TCP at once.
const BURST: u32 = 60;
/// And after that.
const A_SECOND: u32 = 10;

/// What is there of a sender's secret.
pub enum Secret {
    /// None is configured.
    Missing,
    /// This.
    Is(Vec<u8>),
    /// One is configured, and cannot be read.
    Unreadable(String),
}

/// Finds a sender's secret.
type ReadSecret = dyn Fn(Sender) -> Secret + Send + Sync;

/// What all doors share: the secrets, what is allowed, and what has happened.
pub struct Hooks {
    secrets: Mutex<Arc<ReadSecret>>,
    bucket: Mutex<Bucket>,
    troubles: Mutex<Troubles>,
    accepted: AtomicU64,
    refused: AtomicU64,
    limited: AtomicU64,
}

#[derive(Default)]
struct Troubles {
    wrong: Seldom,
    missing: Seldom,
    unreadable: Seldom,
}

/// Who speaks by TCP.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub SocketAddr);

#[derive(Clone)]
struct Door {
    hooks: Arc<Hooks>,
    tx: mpsc::Sender<Command>,
    /// Whoever may open the socket may do more than this.
    trusted: bool,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is held can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self::new(|_| Secret::Missing)
    }
}

impl Hooks {
    /// With this way to the secrets, which is gone for each hook.
    pub fn new(secrets: impl Fn(Sender) -> Secret + Send + Sync + 'static) -> Self {
        Self {
            secrets: Mutex::new(Arc::new(secrets)),
            bucket: Mutex::new(Bucket::new(BURST, A_SECOND, Instant::now())),
            troubles: Mutex::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            limited: AtomicU64::new(0),
        }
    }

    /// From now on they are found in this way.
    pub fn set_secrets(&self, secrets: impl Fn(Sender) -> Secret + Send + Sync + 'static) {
        *lock(&self.secrets) = Arc::new(secrets);
    }

    /// What has come since the start; `listen`: where.
    pub fn status(&self, listen: Option<SocketAddr>) -> HookStatus {
        HookStatus {
            listen: listen.map(|at| at.to_string()),
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            limited: self.limited.load(Ordering::Relaxed),
        }
    }

    fn say(&self, which: fn(&mut Troubles) -> &mut Seldom) -> Option<u64> {
        which(&mut lock(&self.troubles)).say(Instant::now())
    }
}

/// For the socket in the workdir.
pub(super) fn trusted<S: Clone + Send + Sync + 'static>(hooks: Arc<Hooks>, tx: mpsc::Sender<Command>) -> Router<S> {
    let door = Door {
        hooks,
        tx,
        trusted: true,
    };
    Router::new().route("/hooks/{sender}", post(hook)).with_state(door)
}

/// For everybody: hooks, and nothing else.
pub(super) fn open(hooks: Arc<Hooks>, tx: mpsc::Sender<Command>) -> Router {
    let door = Door {
        hooks,
        tx,
        trusted: false,
    };
    Router::new()
        .route("/hooks/{sender}", post(hook))
        .fallback(unknown)
        .method_not_allowed_fallback(|| async { error(StatusCode::METHOD_NOT_ALLOWED, "not with this method") })
        .layer(middleware::from_fn_with_state(door.clone(), limited))
        .with_state(door)
}

async fn unknown() -> Response {
    error(StatusCode::NOT_FOUND, "there is no such request")
}

/// Turns away what is too much, before anything of it is looked at.
async fn limited(State(door): State<Door>, request: Request, next: Next) -> Response {
    let taken = lock(&door.hooks.bucket).take(Instant::now());
    let Err(wait) = taken else {
        return next.run(request).await;
    };
    door.hooks.limited.fetch_add(1, Ordering::Relaxed);
    let mut answer = error(StatusCode::TOO_MANY_REQUESTS, "too many hooks");
    let seconds = wait.as_secs() + 1;
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    discard(request.into_body(), BODY_LIMIT).await;
    answer
}

async fn hook(State(door): State<Door>, Path(name): Path<String>, request: Request) -> Response {
    let Some(sender) = Sender::named(&name) else {
        return unknown().await;
    };
    match heard(&door, sender, request).await {
        Ok((status, looks)) => {
            door.hooks.accepted.fetch_add(1, Ordering::Relaxed);
            (status, Json(Poked { poked: looks })).into_response()
        }
        Err(no) => {
            door.hooks.refused.fetch_add(1, Ordering::Relaxed);
            no.into_response()
        }
    }
}

/// Why a hook is not taken.
enum No {
    /// There is no secret that its sender could know.
    Closed,
    /// Ours to mend.
    Unreadable,
    Wrong,
    TooLong,
    BrokenOff,
    Unclear(HookError),
    Refused(Refused),
    Gone,
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        match self {
            Self::Closed => error(StatusCode::NOT_FOUND, "there is no such request"),
            Self::Unreadable => {
                let why = "the secret cannot be read: the daemon's log says why";
                error(StatusCode::SERVICE_UNAVAILABLE, why)
            }
            Self::Wrong => error(StatusCode::FORBIDDEN, "refused"),
            Self::TooLong => error(StatusCode::PAYLOAD_TOO_LARGE, "a hook may have 1 MiB at most"),
            Self::BrokenOff => error(StatusCode::BAD_REQUEST, "the body broke off"),
            Self::Unclear(why) => error(StatusCode::BAD_REQUEST, &why.to_string()),
            Self::Refused(Refused(why)) => error(StatusCode::CONFLICT, &why),
            Self::Gone => error(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping"),
        }
    }
}

/// Takes a hook from its first byte to the daemon's answer.
async fn heard(door: &Door, sender: Sender, request: Request) -> Result<(StatusCode, Looks), No> {
    let secret = secret(door, sender)?;
    let peer = request.extensions().get().copied();
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body).await?;
    let headers: Vec<(&str, &[u8])> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let headers = Headers(&headers);
    if let Some(secret) = secret
        && !hooks::is_genuine(sender, &secret, headers, &body)
    {
        tell_wrong(door, sender, peer);
        return Err(No::Wrong);
    }
    let hints = hooks::hints(sender, headers, &body).map_err(No::Unclear)?;
    if hints.is_empty() {
        tracing::debug!(sender = sender.as_str(), "a webhook that names nothing");
        return Ok((StatusCode::OK, Looks::default()));
    }
    let (answer, answered): (Answer<Looks>, _) = oneshot::channel();
    let command = Command::Hook { sender, hints, answer };
    door.tx.send(command).await.map_err(|_| No::Gone)?;
    let looks = answered.await.map_err(|_| No::Gone)?.map_err(No::Refused)?;
    // What is not known here is no mistake: hooks of a whole group are usual.
    let status = match looks == Looks::default() {
        true => StatusCode::ACCEPTED,
        false => StatusCode::OK,
    };
    Ok((status, looks))
}

/// The secret that must be known; none if there need be none.
fn secret(door: &Door, sender: Sender) -> Result<Option<Vec<u8>>, No> {
    let find = lock(&door.hooks.secrets).clone();
    let name = sender.as_str();
    match find(sender) {
        Secret::Is(secret) => Ok(Some(secret)),
        Secret::Missing if door.trusted => Ok(None),
        Secret::Missing => {
            if let Some(others) = door.hooks.say(|troubles| &mut troubles.missing) {
                tracing::warn!(
                    sender = name,
                    others,
                    "a webhook was refused, as there is no secret for its sender: name its file in [hooks]"
                );
            }
            Err(No::Closed)
        }
        Secret::Unreadable(why) => {
            if let Some(others) = door.hooks.say(|troubles| &mut troubles.unreadable) {
                tracing::error!(
                    sender = name,
                    others,
                    why,
                    "a webhook was refused, as its secret cannot be read"
                );
            }
            Err(No::Unreadable)
        }
    }
}

fn tell_wrong(door: &Door, sender: Sender, peer: Option<Peer>) {
    if let Some(others) = door.hooks.say(|troubles| &mut troubles.wrong) {
        let sender = sender.as_str();
        let peer = peer.map_or_else(|| "the socket".to_owned(), |Peer(at)| at.to_string());
        tracing::warn!(
            sender,
            peer,
            others,
            "a webhook was refused: whoever sent it does not know the secret"
        );
    }
}

async fn read(headers: &HeaderMap, mut body: Body) -> Result<Vec<u8>, No> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT as u64) {
        // Whoever asks first has not sent it yet.
        if !headers.contains_key(header::EXPECT) {
            discard(body, DISCARDED).await;
        }
        return Err(No::TooLong);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| No::BrokenOff)?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > BODY_LIMIT {
            discard(body, DISCARDED).await;
            return Err(No::TooLong);
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// Reads so much and keeps nothing.
async fn discard(mut body: Body, most: usize) {
    let mut read = 0;
    while read < most
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, |data| data.len());
    }
}
