//! What is on a registry.

use super::body::Content;
use super::manifest::{ACCEPT, Descriptor, Hash, Manifest, sha256, verify};
use super::session::{Ask, Session, To};
use super::{Credentials, Registries, RegistryError, limits, words};
use crate::model::{Digest, ImageRef};
use crate::process::Runner;
use backon::{ExponentialBuilder, Retryable};
use hyper::body::Bytes;
use reqwest::header::{ACCEPT as ACCEPT_HEADER, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use reqwest::{Method, Response};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

/// Tries in one call, after the first.
const RETRIES: usize = 4;

/// What a reference points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Of the manifest.
    pub digest: Digest,
    /// Its kind.
    pub media_type: String,
    /// Its bytes, if the registry says.
    pub size: Option<u64>,
}

/// What the path of a manifest ends with.
pub(super) fn name_of(image: &ImageRef) -> &str {
    match (image.digest(), image.tag()) {
        (Some(digest), _) => digest.as_str(),
        (None, tag) => tag.unwrap_or("latest"),
    }
}

impl Registries {
    /// What a reference points at; none if it is not there. Registries do not count this as a pull.
    pub async fn head(&self, runner: &Runner, image: &ImageRef) -> Result<Option<Head>, RegistryError> {
        let session = Session::new(&self.0, runner, image, "pull");
        self.small(&session, async { session.head().await }).await
    }

    /// The manifest that a reference points at. Its bytes are what the digest says that was asked for or announced.
    pub async fn manifest(&self, runner: &Runner, image: &ImageRef) -> Result<Manifest, RegistryError> {
        let session = Session::new(&self.0, runner, image, "pull");
        self.small(&session, async { session.manifest(image).await }).await
    }

    /// An image's config, as JSON.
    pub async fn config_blob(
        &self,
        runner: &Runner,
        image: &ImageRef,
        config: &Descriptor,
    ) -> Result<Vec<u8>, RegistryError> {
        self.blob(runner, image, config, limits::CONFIG).await
    }

    /// A small blob of the repository.
    pub async fn blob(
        &self,
        runner: &Runner,
        image: &ImageRef,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let session = Session::new(&self.0, runner, image, "pull");
        self.small(&session, async { session.blob(descriptor, limit).await })
            .await
    }

    /// The login that an engine needs for this repository, from wherever we would take it ourselves.
    pub async fn credentials(&self, runner: &Runner, image: &ImageRef) -> Result<Option<Credentials>, RegistryError> {
        let session = Session::new(&self.0, runner, image, "pull");
        self.until_cancelled(runner, async { Ok(session.found().await?.login.clone()) })
            .await
    }

    /// A call that moves no layers: within its deadline, until it is cancelled.
    async fn small<T>(
        &self,
        session: &Session<'_>,
        call: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        self.until_cancelled(session.runner, session.in_time(call)).await
    }

    pub(super) async fn until_cancelled<T>(
        &self,
        runner: &Runner,
        call: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        tokio::select! {
            biased;
            () = runner.cancel.asked() => Err(RegistryError::Cancelled),
            result = call => result,
        }
    }
}

impl Session<'_> {
    /// Ends a call after the deadline of small calls.
    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let after = self.state.deadlines.call;
        timeout(after, call).await.unwrap_or_else(|_| {
            Err(RegistryError::TimedOut {
                registry: self.registry().to_owned(),
                what: "a whole call",
                after,
            })
        })
    }

    /// Tries again what may go well in a moment.
    pub(super) async fn retrying<T, F>(&self, call: impl FnMut() -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let delays = ExponentialBuilder::default()
            .with_min_delay(self.state.deadlines.retry)
            .with_max_delay(Duration::from_secs(10))
            .with_max_times(RETRIES)
            .with_jitter();
        let registry = self.registry();
        call.retry(delays)
            .when(|error: &RegistryError| error.is_passing(self.state.deadlines.pause))
            .notify(|error, wait| tracing::debug!(registry, %error, ?wait, "asking again"))
            .await
    }

    pub(super) async fn head(&self) -> Result<Option<Head>, RegistryError> {
        self.head_of(self.image).await
    }

    pub(super) async fn head_of(&self, image: &ImageRef) -> Result<Option<Head>, RegistryError> {
        match self.retrying(|| self.manifest_answer(Method::HEAD, image)).await {
            Err(RegistryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(answer) => {
                let Some(digest) = self.announced(&answer)? else {
                    return self.head_by_body(image).await;
                };
                if let Some(asked) = image.digest().filter(|asked| **asked != digest) {
                    return Err(RegistryError::lied(image.to_string(), asked, digest));
                }
                let text = |name: HeaderName| words::text(answer.headers(), name);
                Ok(Some(Head {
                    digest,
                    media_type: media_type(&answer),
                    size: text(CONTENT_LENGTH).and_then(|size| size.parse().ok()),
                }))
            }
        }
    }

    /// For registries that do not announce digests.
    async fn head_by_body(&self, image: &ImageRef) -> Result<Option<Head>, RegistryError> {
        match self.manifest(image).await {
            Ok(manifest) => Ok(Some(Head {
                size: Some(manifest.bytes.len() as u64),
                digest: manifest.digest,
                media_type: manifest.media_type,
            })),
            Err(RegistryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn manifest(&self, image: &ImageRef) -> Result<Manifest, RegistryError> {
        self.retrying(|| self.manifest_once(image)).await
    }

    async fn manifest_once(&self, image: &ImageRef) -> Result<Manifest, RegistryError> {
        let answer = self.manifest_answer(Method::GET, image).await?;
        let announced = self.announced(&answer)?;
        let kind = media_type(&answer);
        let what = image.to_string();
        let bytes = self.body(answer, limits::MANIFEST, &what).await?;
        for expected in image.digest().into_iter().chain(&announced) {
            verify(&what, expected, &bytes)?;
        }
        let mut manifest = Manifest::read(bytes, &kind).map_err(|said| self.protocol(format!("{what} is {said}")))?;
        if let Some(digest) = image.digest().or(announced.as_ref()) {
            manifest.digest = digest.clone();
        }
        Ok(manifest)
    }

    async fn manifest_answer(&self, method: Method, image: &ImageRef) -> Result<Response, RegistryError> {
        let ask = Ask {
            method,
            to: To::Path(&format!("manifests/{}", name_of(image))),
            headers: vec![(ACCEPT_HEADER, ACCEPT.to_owned())],
            content: Content::Empty,
            what: &image.to_string(),
        };
        self.ask(&ask).await
    }

    /// `Docker-Content-Digest`, if there is one.
    pub(super) fn announced(&self, answer: &Response) -> Result<Option<Digest>, RegistryError> {
        words::text(answer.headers(), "docker-content-digest")
            .map(|text| Digest::new(text).map_err(|_| self.protocol("it announces what is no digest")))
            .transpose()
    }

    pub(super) async fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let what = format!("{}@{}", self.image.name(), descriptor.digest);
        if descriptor.size > limit {
            return Err(RegistryError::TooBig { what, limit });
        }
        let once = || async {
            let answer = self.blob_answer(descriptor).await?;
            let bytes = self.body(answer, descriptor.size, &what).await?;
            verify(&what, &descriptor.digest, &bytes)?;
            Ok(bytes)
        };
        self.retrying(once).await
    }

    async fn blob_answer(&self, descriptor: &Descriptor) -> Result<Response, RegistryError> {
        let ask = Ask {
            method: Method::GET,
            to: To::Path(&format!("blobs/{}", descriptor.digest)),
            headers: Vec::new(),
            content: Content::Empty,
            what: &format!("{}@{}", self.image.name(), descriptor.digest),
        };
        self.ask(&ask).await
    }

    /// Brings a blob into a pipe. The last part comes only once all of it was found to be what it should be.
    pub(super) async fn download(&self, descriptor: &Descriptor, pipe: Sender<Bytes>) -> Result<(), RegistryError> {
        let what = format!("{}@{}", self.image.name(), descriptor.digest);
        let mut answer = self.blob_answer(descriptor).await?;
        let mut hash = Hash::like(&descriptor.digest);
        let (mut length, mut held) = (0, Bytes::new());
        while let Some(chunk) = self.chunk(&mut answer).await? {
            length += chunk.len() as u64;
            if length > descriptor.size {
                break;
            }
            hash.update(&chunk);
            let ready = std::mem::replace(&mut held, chunk);
            if !ready.is_empty() && pipe.send(ready).await.is_err() {
                // The request that wanted it is over, and says why itself.
                return Ok(());
            }
        }
        if length != descriptor.size {
            return Err(RegistryError::Lied {
                what,
                expected: format!("{} bytes", descriptor.size),
                got: format!("{length} or more"),
            });
        }
        let got = hash.finish();
        if got != descriptor.digest {
            return Err(RegistryError::lied(what, &descriptor.digest, got));
        }
        // As above.
        let _ = pipe.send(held).await;
        Ok(())
    }
}

/// Of an answer, without its parameters.
fn media_type(answer: &Response) -> String {
    let value = words::text(answer.headers(), CONTENT_TYPE).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

/// That what was sent arrived as it was: the digest that a registry gives a manifest.
pub(super) fn same(what: &str, manifest: &Manifest, got: Option<&Digest>) -> Result<(), RegistryError> {
    match got {
        // A registry may know it by another algorithm.
        Some(got) if *got == manifest.digest || *got == sha256(&manifest.bytes) => Ok(()),
        Some(got) => Err(RegistryError::lied(what, &manifest.digest, got)),
        None => Err(RegistryError::lied(what, &manifest.digest, "nothing")),
    }
}
