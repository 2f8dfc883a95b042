//! One request and its answer, each within its deadline.

use super::super::reply::{Digest, Missed, Reply};
use super::clients::{Client, IDLE_PER_HOST};
use super::memory::Place;
use super::stream::Kept;
use super::trouble::{Trouble, was_stale};
use super::vault::{Vault, basic};
use super::{Asking, words};
use crate::git::refs::RefList;
use crate::git::wire::{ObjectFormat, ls_refs, parse_refs};
use crate::git::world::Proxy;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, PRAGMA, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::{self, connect::capture_connection};
use std::pin::pin;
use tokio::time::{sleep, timeout};
use xxhash_rust::xxh3::Xxh3;

/// Of an answer that is of no use: read, so that its connection can be kept, if it is no longer than that.
const LEFTOVERS: usize = 16 << 10;

/// What is asked of a repository.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask {
    /// The handshake.
    Greeting,
    /// The refs, in protocol v2.
    Refs(ObjectFormat),
}

/// A whole body.
pub(super) struct Answer {
    bytes: Vec<u8>,
    digest: Digest,
}

impl Answer {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is the one that is known.
    pub fn is(&self, known: Option<Digest>) -> bool {
        known == Some(self.digest)
    }

    /// With what was read in it.
    pub fn reply(&self, list: RefList) -> Reply {
        let digest = self.digest;
        Reply::Refs { list, digest }
    }
}

impl<V: Vault> Asking<'_, V> {
    /// The refs, by one POST. Only a whole answer of the right kind counts.
    pub async fn list(&self, place: &Place, format: ObjectFormat, known: Option<Digest>) -> Result<Reply, Trouble> {
        let answer = self.send(place, Ask::Refs(format)).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.dismiss(answer).await);
        }
        let media = words::media_type(answer.headers());
        if media != "application/x-git-upload-pack-result" {
            return Err(self.not_git(format!("it sent {media:?}")));
        }
        let answer = self.read(answer).await?;
        if answer.is(known) {
            return Ok(Reply::Unchanged);
        }
        let list = parse_refs(answer.bytes(), format).map_err(|e| self.bad_answer(e))?;
        Ok(answer.reply(list))
    }

    /// Sends a request; gives back the answer's head. A server may close a kept connection at any time, also while
    /// the request is on its way; asking for refs changes nothing, so it is sent again (RFC 9110, 9.2.2).
    pub async fn send(&self, place: &Place, ask: Ask) -> Result<Response<Incoming>, Trouble> {
        let client = self
            .clients
            .of(place.base.is_https(), self.question.settings)
            .map_err(|unusable| self.unusable(unusable))?;
        let mut kept = IDLE_PER_HOST;
        loop {
            match self.send_once(&client, place, ask).await? {
                Ok(answer) => {
                    Kept::has_answered(answer.extensions());
                    return Ok(answer);
                }
                Err(error) if kept > 0 && was_stale(&error) => kept -= 1,
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }

    async fn send_once(
        &self,
        client: &Client,
        place: &Place,
        ask: Ask,
    ) -> Result<Result<Response<Incoming>, legacy::Error>, Trouble> {
        let limits = self.question.limits;
        let mut request = self.request(place, ask).map_err(|_| {
            Trouble::Last(Missed::Unable(
                "the URL or a header for it cannot be sent as it is".to_owned(),
            ))
        })?;
        let mut connection = capture_connection(&mut request);
        let mut answer = pin!(client.request(request));
        let connected = async {
            let _ = connection.wait_for_connection_metadata().await;
        };
        tokio::select! {
            biased;
            answer = &mut answer => Ok(answer),
            () = connected => timeout(limits.first_byte, &mut answer)
                .await
                .map_err(|_| Trouble::Last(self.timed_out(limits.first_byte))),
            () = sleep(limits.connect) => Err(Trouble::Last(self.timed_out(limits.connect))),
        }
    }

    /// As git and curl would make it. What the user set stands in place of what is usual.
    fn request(&self, place: &Place, ask: Ask) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let settings = self.question.settings;
        let mut headers = HeaderMap::new();
        let own = settings.headers.iter().filter(|h| place.is_home && !h.value.is_empty());
        for header in own {
            let mut value = HeaderValue::try_from(&header.value)?;
            value.set_sensitive(true);
            headers.append(HeaderName::try_from(&header.name)?, value);
        }
        let mut usual = |name: HeaderName, value: HeaderValue| {
            headers.entry(name).or_insert(value);
        };
        usual(USER_AGENT, HeaderValue::try_from(&settings.user_agent)?);
        usual(
            HeaderName::from_static("git-protocol"),
            HeaderValue::from_static("version=2"),
        );
        if let Some(login) = &place.login {
            usual(AUTHORIZATION, basic(login)?);
        }
        if let Proxy::Http { login: Some(login), .. } = &settings.proxy
            && !place.base.is_https()
        {
            usual(PROXY_AUTHORIZATION, basic(login)?);
        }
        let url = place.base.as_str();
        let (method, url, body) = match ask {
            Ask::Greeting => {
                usual(ACCEPT, HeaderValue::from_static("*/*"));
                usual(PRAGMA, HeaderValue::from_static("no-cache"));
                let url = format!("{url}{}", super::place::GREETING);
                (Method::GET, url, Bytes::new())
            }
            Ask::Refs(format) => {
                let result = HeaderValue::from_static("application/x-git-upload-pack-result");
                let request = HeaderValue::from_static("application/x-git-upload-pack-request");
                usual(ACCEPT, result);
                usual(CONTENT_TYPE, request);
                (
                    Method::POST,
                    format!("{url}/git-upload-pack"),
                    Bytes::from(ls_refs(format)),
                )
            }
        };
        let mut request = Request::builder().method(method).uri(url).body(Full::new(body))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Reads the body to its end, within the size limit.
    pub async fn read(&self, answer: Response<Incoming>) -> Result<Answer, Trouble> {
        if words::is_encoded(answer.headers()) {
            let why = "the server compresses its answer unasked".to_owned();
            return Err(Trouble::Odd(Missed::Unable(why)));
        }
        let limit = self.question.limits.size;
        let mut body = answer.into_body();
        if body.size_hint().lower() > limit {
            return Err(self.too_long());
        }
        let mut hasher = Xxh3::new();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| self.broken(&e))?;
            // Others are trailers.
            if let Ok(data) = frame.into_data() {
                if (bytes.len() + data.len()) as u64 > limit {
                    return Err(self.too_long());
                }
                hasher.update(&data);
                bytes.extend_from_slice(&data);
            }
        }
        let digest = Digest(hasher.digest128());
        Ok(Answer { bytes, digest })
    }

    /// The trouble that a status means. Its body is read if it is short, and so the connection kept.
    pub async fn dismiss(&self, answer: Response<Incoming>) -> Trouble {
        let trouble = self.bad_status(answer.status(), answer.headers());
        self.drain(answer).await;
        trouble
    }

    /// Reads what is not looked at, or gives the connection up.
    pub async fn drain(&self, answer: Response<Incoming>) {
        let mut body = answer.into_body();
        let rest = async {
            let mut left = LEFTOVERS;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(less) = left.checked_sub(length) else { break };
                left = less;
            }
        };
        // A body that does not come is dropped, and with it the connection.
        let _ = timeout(self.question.limits.first_byte, rest).await;
    }
}
