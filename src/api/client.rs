//! The command line's side of the socket.
//!
//! It must never hang, whatever the daemon does, and never take a silent daemon for one that is not there.

use super::command::Refused;
use super::socket::connect;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For a whole conversation; longer than the daemon's own deadline for a request.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// The longest answer that is read.
const ANSWER_LIMIT: usize = 16 << 20;

/// Why there is no answer, or none that is wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon works in {}: start it with `pipelined run --config …`", workdir.display())]
    NoDaemon {
        /// Where.
        workdir: PathBuf,
    },
    /// The socket is there, but not for us.
    #[error("cannot talk to the daemon in {}: is this its user?", workdir.display())]
    Connect {
        /// Where.
        workdir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It takes too long.
    #[error("the daemon in {} did not answer within {}", workdir.display(), humantime::format_duration(*deadline))]
    Hung {
        /// Where.
        workdir: PathBuf,
        /// How long we waited.
        deadline: Duration,
    },
    /// The conversation broke off.
    #[error("the daemon ended the conversation")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The daemon says no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The daemon says something else.
    #[error("the daemon answered {status}: {text}: is it of another version?")]
    Answer {
        /// Of HTTP.
        status: u16,
        /// The answer's beginning.
        text: String,
    },
}

/// Asks the daemon of a workdir and waits for its answer, [`DEADLINE`] at most.
pub fn call<T: DeserializeOwned>(
    workdir: &Path,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<T, ClientError> {
    call_within(DEADLINE, workdir, method, path, body)
}

/// As [`call`], with a deadline of the caller's own.
pub fn call_within<T: DeserializeOwned>(
    deadline: Duration,
    workdir: &Path,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(broken)?;
    let hung = |_| ClientError::Hung {
        workdir: workdir.to_owned(),
        deadline,
    };
    let asked = async { tokio::time::timeout(deadline, ask(workdir, method, path, body)).await };
    let (status, bytes) = runtime.block_on(asked).map_err(hung)??;
    answer(status, &bytes)
}

async fn ask(
    workdir: &Path,
    method: Method,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let stream = connect(workdir).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            ClientError::NoDaemon {
                workdir: workdir.to_owned(),
            }
        }
        _ => ClientError::Connect {
            workdir: workdir.to_owned(),
            source,
        },
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Ends with the conversation; what goes wrong in it shows in the answer.
    tokio::spawn(connection);
    let body = body.map(ToString::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "pipelined")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    Ok((status, body.map_err(ClientError::Broken)?.to_bytes()))
}

fn answer<T: DeserializeOwned>(status: StatusCode, bytes: &[u8]) -> Result<T, ClientError> {
    let odd = || ClientError::Answer {
        status: status.as_u16(),
        text: String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned(),
    };
    if status.is_success() {
        return serde_json::from_slice(bytes).map_err(|_| odd());
    }
    let why = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let why = why.as_ref().and_then(|json| json.get("error")?.as_str());
    match (status, why) {
        (StatusCode::CONFLICT, Some(why)) => Err(Refused(why.to_owned()).into()),
        (_, Some(why)) => Err(ClientError::Answer {
            status: status.as_u16(),
            text: why.to_owned(),
        }),
        (_, None) => Err(odd()),
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Broken(error.into())
}
