//! Bodies of requests that are too long for memory: what is to be sent, again if need be, and how it is watched.

use super::RegistryError;
use super::archive::Blob;
use super::manifest::Descriptor;
use super::session::Session;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Instant;

/// What a request carries. It can be sent as often as needed.
pub(super) enum Content<'a> {
    /// Nothing.
    Empty,
    /// A manifest or a form.
    Bytes(&'a [u8]),
    /// Part of a file.
    File(&'a Blob),
    /// A blob of another registry.
    Remote(&'a Session<'a>, &'a Descriptor),
}

impl Content<'_> {
    /// Sends all of it, and answers only if that fails: the answer of the server is what ends a request.
    pub async fn feed(&self, pipe: Sender<Bytes>) -> RegistryError {
        let fed = match self {
            Self::Empty | Self::Bytes(_) => Ok(()),
            Self::File(blob) => blob.feed(pipe).await,
            // The call goes in circles otherwise, as far as the compiler can tell.
            Self::Remote(session, descriptor) => Box::pin(session.download(descriptor, pipe)).await,
        };
        match fed {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    }

    /// The same once more.
    pub fn again(&self) -> Content<'_> {
        match self {
            Self::Empty => Content::Empty,
            Self::Bytes(bytes) => Content::Bytes(bytes),
            Self::File(blob) => Content::File(blob),
            Self::Remote(session, descriptor) => Content::Remote(session, descriptor),
        }
    }

    /// Bytes of a body that is fed; none for what is in memory.
    pub fn streamed(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Bytes(_) => None,
            Self::File(blob) => Some(blob.descriptor().size),
            Self::Remote(_, descriptor) => Some(descriptor.size),
        }
    }
}

/// How far a body has come.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<(Instant, bool)>>);

impl Progress {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), false))))
    }

    fn made(&self, whole: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), whole);
    }

    /// Returns when nothing has moved for too long: what was waited for, and how long.
    pub async fn stalled(&self, idle: Duration, commit: Duration) -> (&'static str, Duration) {
        loop {
            let (last, whole) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (what, limit) = if whole {
                ("keeping a blob", commit)
            } else {
                ("taking a blob", idle)
            };
            if last.elapsed() >= limit {
                return (what, limit);
            }
            tokio::time::sleep_until(last + limit).await;
        }
    }
}

/// A body of a known length that comes through a pipe.
pub(super) struct Stream {
    pipe: Receiver<Bytes>,
    left: u64,
    progress: Progress,
}

impl Stream {
    pub fn new(pipe: Receiver<Bytes>, length: u64, progress: Progress) -> Self {
        if length == 0 {
            progress.made(true);
        }
        Self {
            pipe,
            left: length,
            progress,
        }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match self.pipe.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(bytes)) if bytes.len() as u64 <= self.left => {
                self.left -= bytes.len() as u64;
                self.progress.made(self.left == 0);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            // Whoever feeds it says why.
            Poll::Ready(_) => Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
