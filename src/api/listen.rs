//! The door by TCP: hooks, one on a connection, and not for long.
//!
//! It must never keep the daemon from stopping, nor let those who are slow keep others out for longer than a deadline.

use super::command::Command;
use super::hooks::{Hooks, Peer, open};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// Others wait until one of these ends.
const CONNECTIONS: usize = 64;
/// From the connection to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// For answers that are on their way when the door is closed.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The longest head of a request.
const HEAD_LIMIT: usize = 32 << 10;
/// After an accept that failed: most likely there are too many open files.
const BREATH: Duration = Duration::from_millis(200);

/// Serves until the token is cancelled. When it returns, the address is free.
pub async fn listen(listener: TcpListener, tx: mpsc::Sender<Command>, hooks: Arc<Hooks>, shutdown: CancellationToken) {
    let router = open(hooks, tx);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer, router.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take a webhook's connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }
    drop(listener);
    tokio::spawn(tokio::time::timeout(LAST_WORDS, async move {
        while connections.join_next().await.is_some() {}
    }));
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let conversation = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(DEADLINE, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a webhook's connection broke off"),
        Err(_) => tracing::debug!(%peer, "a webhook was too slow: cut off"),
    }
}
