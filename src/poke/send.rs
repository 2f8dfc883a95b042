//! One request, within its limits.

use super::answer::{Given, judge};
use super::secret::Secret;
use super::{gitlab, webhook};
use crate::config::{PokeTarget, is_loopback};
use crate::model::{Poke, PokeAnswer, PokeError, error_chain};
use crate::tls::{Trust, client};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use rustls::RootCertStore;
use rustls_native_certs::load_native_certs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// For a request and all of its answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of which the connection may take so long.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const LARGEST: usize = 64 * 1024;

/// Sends pokes. Clones share their connections.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    /// For what is on this machine, which no proxy is asked for, and for all else.
    clients: Arc<[Mutex<Option<Client>>; 2]>,
}

impl Sender {
    /// Tells one release, once.
    pub async fn send(&self, poke: &Poke, target: &PokeTarget) -> Result<PokeAnswer, PokeError> {
        let prepared = self.prepare(poke, target).map_err(|message| PokeError {
            rejected: false,
            message,
            not_before: None,
        });
        let (request, secret) = prepared?;
        let mask = |text: &str| match &secret {
            Some(secret) => secret.mask(text),
            None => text.to_owned(),
        };
        let exchanged = tokio::time::timeout(DEADLINE, exchange(request)).await;
        let failed = |message: String| PokeError {
            rejected: false,
            message,
            not_before: None,
        };
        match exchanged {
            Err(_) => Err(failed(format!("no whole answer in {}s", DEADLINE.as_secs()))),
            Ok(Err(error)) => Err(failed(mask(&plain(&error_chain(&error.without_url()))))),
            Ok(Ok((status, retry_after, body))) => {
                let given = Given {
                    status,
                    body: mask(&String::from_utf8_lossy(&body)),
                    retry_after,
                };
                judge(&given, Timestamp::now())
            }
        }
    }

    fn prepare(&self, poke: &Poke, target: &PokeTarget) -> Result<(RequestBuilder, Option<Secret>), String> {
        match target {
            PokeTarget::Gitlab {
                url,
                project,
                reference,
                token_file,
                variables,
            } => {
                let token = Secret::read(token_file)?;
                let form = gitlab::form(poke, reference, token.expose(), variables);
                let request = self.post(&gitlab::url(url, project))?;
                let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                Ok((request.body(form), Some(token)))
            }
            PokeTarget::Webhook { url, secret_file } => {
                let secret = secret_file.as_ref().map(Secret::read).transpose()?;
                let body = webhook::body(poke).map_err(|error| error.to_string())?;
                let mut request = self
                    .post(url)?
                    .header(CONTENT_TYPE, "application/json")
                    .header("X-Pipelined-Event", webhook::EVENT)
                    .header("X-Pipelined-Delivery", poke.id.to_string());
                if let Some(signed) = secret.as_ref().and_then(|s| webhook::signature(s.expose(), &body)) {
                    request = request.header("X-Hub-Signature-256", signed);
                }
                Ok((request.body(body), secret))
            }
        }
    }

    fn post(&self, url: &str) -> Result<RequestBuilder, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        Ok(self.client(is_loopback(&url))?.post(url))
    }

    /// Made when it is needed first, as the system's certificates are read then.
    fn client(&self, here: bool) -> Result<Client, String> {
        // It is right at any time, so a panic elsewhere is no reason to stop.
        let mut kept = self.clients[usize::from(here)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let mut roots = RootCertStore::empty();
        // There may be none: then the handshake says so.
        roots.add_parsable_certificates(load_native_certs().certs);
        let tls = client(Trust::Roots(Arc::new(roots))).map_err(|error| error.to_string())?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("pipelined/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1);
        if here {
            builder = builder.no_proxy();
        }
        let made = builder.build().map_err(|e| plain(&error_chain(&e.without_url())))?;
        *kept = Some(made.clone());
        Ok(made)
    }
}

async fn exchange(request: RequestBuilder) -> Result<(u16, Option<String>, Vec<u8>), reqwest::Error> {
    let mut response: Response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() < LARGEST => body.extend_from_slice(&chunk),
            // The rest is of no interest.
            Ok(_) => break,
            // It was taken all the same; what is cut off of its words is no reason to tell it twice.
            Err(_) if (200..300).contains(&status) => break,
            Err(error) => return Err(error),
        }
    }
    body.truncate(LARGEST);
    Ok((status, retry_after, body))
}

/// One line for people.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use crate::model::{
        CommitId, Digest, ImageName, ImageRef, JobId, Node, Poke, PokeId, PokeKind, PokePlace, ProjectName, RefName,
    };
    use jiff::Timestamp;

    pub fn poke() -> Poke {
        let image = ImageRef::parse("r.io/ruby:1").unwrap();
        Poke {
            id: PokeId(7),
            node: Node {
                project: ProjectName::new("ruby").unwrap(),
                reference: RefName::new("refs/heads/main").unwrap(),
                image: ImageName::new("ruby").unwrap(),
            },
            job: JobId(2),
            commit: CommitId::new("a".repeat(40)).unwrap(),
            wave: JobId(1),
            references: vec![image.clone()],
            image,
            digest: Digest::new(format!("sha256:{}", "1".repeat(64))).ok(),
            place: PokePlace {
                kind: PokeKind::Webhook,
                url: "https://h/".to_owned(),
                project: None,
                reference: None,
                key: "k".to_owned(),
            },
            since: Timestamp::UNIX_EPOCH,
            attempts: 0,
            next: Timestamp::UNIX_EPOCH,
            error: None,
            end: None,
        }
    }
}
