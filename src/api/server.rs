//! Requests in, commands out.
//!
//! It must never keep the daemon from stopping, nor let one client keep another one waiting: every request has a
//! deadline, and every answer is JSON, errors too: `{"error": "…"}`.

use super::command::{Answer, Command, Refused};
use super::hooks::{Hooks, trusted};
use super::message::{BuildAsked, CancelAsked, PollAsked, Polled, Queued, Reloaded};
use super::pokes::PokesAsked;
use super::rebuild::RebuildAsked;
use super::updates::UpdatesAsked;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// The longest request that is read.
const BODY_LIMIT: usize = 64 << 10;
/// For a whole request: asking a remote before a build may take its poll timeout.
const DEADLINE: Duration = Duration::from_secs(80);
/// For answers that are on their way when the daemon stops.
const LAST_WORDS: Duration = Duration::from_secs(1);

type Sender = mpsc::Sender<Command>;

/// Serves until the token is cancelled, and a moment longer for those who wait for an answer.
pub async fn serve(
    listener: UnixListener,
    tx: Sender,
    hooks: Arc<Hooks>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let server = axum::serve(listener, router(tx, hooks)).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        ended = async { server.await } => ended,
        () = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        } => Ok(()),
    }
}

fn router(tx: Sender, hooks: Arc<Hooks>) -> Router {
    let hooks = trusted(hooks, tx.clone());
    Router::new()
        .route("/status", get(status))
        .route("/build", post(build))
        .route("/rebuild", post(rebuild))
        .route("/cancel", post(cancel))
        .route("/poll", post(poll))
        .route("/pokes", post(pokes))
        .route("/reload", post(reload))
        .route("/updates", post(updates))
        .route("/updates/{round}", get(updates_round))
        .merge(hooks)
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is no such request") })
        .method_not_allowed_fallback(|| async { error(StatusCode::METHOD_NOT_ALLOWED, "not with this method") })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(deadline))
        .with_state(tx)
}

async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => error(StatusCode::GATEWAY_TIMEOUT, "the daemon did not answer in time"),
    }
}

async fn status(State(tx): State<Sender>) -> Response {
    ask(&tx, Command::Status, |status| status).await
}

async fn build(State(tx): State<Sender>, body: Bytes) -> Result<Response, Unclear> {
    let asked: BuildAsked = read(&body)?;
    let command = |answer| Command::Build {
        project: asked.project,
        reference: asked.reference,
        answer,
    };
    Ok(ask(&tx, command, |job| Queued { job }).await)
}

async fn rebuild(State(tx): State<Sender>, body: Bytes) -> Result<Response, Unclear> {
    let asked: RebuildAsked = read(&body)?;
    let command = |answer| Command::Rebuild { asked, answer };
    Ok(ask(&tx, command, |started| started).await)
}

async fn cancel(State(tx): State<Sender>, body: Bytes) -> Result<Response, Unclear> {
    let CancelAsked { jobs } = read(&body)?;
    let command = |answer| Command::Cancel { jobs, answer };
    Ok(ask(&tx, command, |cancelled| cancelled).await)
}

async fn poll(State(tx): State<Sender>, body: Bytes) -> Result<Response, Unclear> {
    let PollAsked { project } = read_or_default(&body)?;
    let command = |answer| Command::Poll { project, answer };
    Ok(ask(&tx, command, |remotes| Polled { remotes }).await)
}

async fn pokes(State(tx): State<Sender>, body: Bytes) -> Result<Response, Unclear> {
    let asked: PokesAsked = read_or_default(&body)?;
    let command = |answer| Command::Pokes { asked, answer };
    Ok(ask(&tx, command, |sent| sent).await)
}

async fn updates(State(tx): State<Sender>, body: Bytes) -> Result<Response, Unclear> {
    let asked: UpdatesAsked = read_or_default(&body)?;
    let command = |answer| Command::Updates { asked, answer };
    Ok(ask(&tx, command, |started| started).await)
}

async fn updates_round(State(tx): State<Sender>, Path(round): Path<u64>) -> Response {
    ask(&tx, |answer| Command::UpdatesRound { round, answer }, |round| round).await
}

async fn reload(State(tx): State<Sender>) -> Response {
    ask(&tx, Command::Reload, |summary| Reloaded { summary }).await
}

async fn ask<T, J: Serialize>(tx: &Sender, command: impl FnOnce(Answer<T>) -> Command, json: fn(T) -> J) -> Response {
    let gone = || error(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    let (answer, answered) = oneshot::channel();
    if tx.send(command(answer)).await.is_err() {
        return gone();
    }
    match answered.await {
        Ok(Ok(value)) => Json(json(value)).into_response(),
        Ok(Err(Refused(why))) => error(StatusCode::CONFLICT, &why),
        Err(_) => gone(),
    }
}

/// A request that makes no sense.
struct Unclear(serde_json::Error);

impl IntoResponse for Unclear {
    fn into_response(self) -> Response {
        let why = format!("the request cannot be understood: {}", self.0);
        error(StatusCode::BAD_REQUEST, &why)
    }
}

/// Whatever the content type says, so that `curl -d` needs no header.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unclear> {
    serde_json::from_slice(body).map_err(Unclear)
}

/// Who sends nothing asks for what is usual.
fn read_or_default<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Unclear> {
    match body.is_empty() {
        true => Ok(T::default()),
        false => read(body),
    }
}

pub(super) fn error(status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}
