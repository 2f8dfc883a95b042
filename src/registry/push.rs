//! Bringing an image out of a file to a registry.

use super::archive::Archive;
use super::body::Content;
use super::challenge::scope;
use super::manifest::{Descriptor, Manifest};
use super::read::same;
use super::session::{Ask, Session, To};
use super::{Notes, Registries, RegistryError, words};
use crate::model::ImageRef;
use crate::process::Runner;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Method, StatusCode, Url};

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Uploaded,
    Mounted,
    Already,
}

impl Came {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uploaded => "uploaded",
            Self::Mounted => "mounted from the other repository",
            Self::Already => "already there",
        }
    }
}

impl Registries {
    /// Brings an image to a repository, blobs first, then its manifest by digest. No tag moves. What is there already is
    /// not sent again, and what `lender` has, of another repository of the same registry, is not sent at all if the
    /// registry can do that and lets us.
    pub async fn push(
        &self,
        runner: &Runner,
        archive: &Archive,
        repository: &ImageRef,
        lender: Option<&ImageRef>,
        notes: Notes<'_>,
    ) -> Result<Manifest, RegistryError> {
        let session = Session::new(&self.0, runner, repository, "pull,push");
        let is_other = |lender: &&ImageRef| {
            lender.registry() == repository.registry() && lender.repository() != repository.repository()
        };
        // A session of its own: a login that may not read there would get nothing done in it.
        let mut lending = lender.filter(is_other).map(|lender| {
            let mut session = Session::new(&self.0, runner, repository, "pull,push");
            session.scopes.push(scope(lender.repository(), "pull"));
            (session, lender)
        });
        // Boxed, as what awaits it is deep enough for the compiler.
        let call = Box::pin(async {
            for blob in archive.blobs() {
                let (descriptor, content) = (blob.descriptor(), Content::File(blob));
                let lent = match &lending {
                    Some((session, lender)) => session.lent(descriptor, &content, lender).await?,
                    None => None,
                };
                let came = match lent {
                    Some(came) => came,
                    None => {
                        lending = None;
                        session.upload(descriptor, &content, None).await?
                    }
                };
                notes(&line(repository, blob.descriptor(), came));
            }
            for manifest in archive.manifests() {
                session.put_manifest(manifest, manifest.digest.as_str()).await?;
                notes(&format!("{}@{}: manifest written", repository.name(), manifest.digest));
            }
            Ok(archive.manifest().clone())
        });
        self.until_cancelled(runner, call).await
    }
}

/// For the log.
pub(super) fn line(repository: &ImageRef, blob: &Descriptor, came: Came) -> String {
    let Descriptor { digest, size, .. } = blob;
    format!(
        "{} blob {} ({size} bytes): {}",
        repository.name(),
        digest.short(),
        came.as_str()
    )
}

impl Session<'_> {
    /// Sees to it that the repository has a blob.
    pub(super) async fn upload(
        &self,
        blob: &Descriptor,
        content: &Content<'_>,
        from: Option<&ImageRef>,
    ) -> Result<Came, RegistryError> {
        self.retrying(|| async move {
            if self.in_time(self.has_blob(blob)).await? {
                return Ok(Came::Already);
            }
            match self.in_time(self.begin_upload(blob, from)).await? {
                None => Ok(Came::Mounted),
                Some(place) => self.finish_upload(&place, blob, content).await,
            }
        })
        .await
    }

    /// The same, if the registry may take the blob from another repository; none if it has something against that.
    async fn lent(
        &self,
        blob: &Descriptor,
        content: &Content<'_>,
        from: &ImageRef,
    ) -> Result<Option<Came>, RegistryError> {
        match self.upload(blob, content, Some(from)).await {
            Ok(came) => Ok(Some(came)),
            Err(
                error @ (RegistryError::Unauthorized { .. }
                | RegistryError::Denied { .. }
                | RegistryError::Missing { .. }
                | RegistryError::Protocol { .. }),
            ) => {
                tracing::debug!(to = %self.image.name(), from = %from.name(), %error, "nothing is lent");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn has_blob(&self, blob: &Descriptor) -> Result<bool, RegistryError> {
        let ask = Ask {
            method: Method::HEAD,
            to: To::Path(&format!("blobs/{}", blob.digest)),
            headers: Vec::new(),
            content: Content::Empty,
            what: &format!("{}@{}", self.image.name(), blob.digest),
        };
        match self.ask(&ask).await {
            Ok(answer) => {
                let length = words::text(answer.headers(), CONTENT_LENGTH).and_then(|size| size.parse::<u64>().ok());
                Ok(length.is_none_or(|length| length == blob.size))
            }
            Err(RegistryError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where the blob is to be sent; none if the registry took it from the other repository.
    async fn begin_upload(&self, blob: &Descriptor, from: Option<&ImageRef>) -> Result<Option<Url>, RegistryError> {
        let path = match from {
            Some(from) => format!("blobs/uploads/?mount={}&from={}", blob.digest, from.repository()),
            None => "blobs/uploads/".to_owned(),
        };
        let ask = Ask {
            method: Method::POST,
            to: To::Path(&path),
            headers: vec![(CONTENT_LENGTH, "0".to_owned())],
            content: Content::Empty,
            what: &self.image.name(),
        };
        let answer = self.ask(&ask).await?;
        if answer.status() == StatusCode::CREATED && from.is_some() {
            return Ok(None);
        }
        let place = words::text(answer.headers(), LOCATION).filter(|_| answer.status() == StatusCode::ACCEPTED);
        let place = place.ok_or_else(|| self.protocol("it does not say where a blob is to be sent"))?;
        let mut place = self.next(answer.url(), place)?;
        place.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        Ok(Some(place))
    }

    async fn finish_upload(
        &self,
        place: &Url,
        blob: &Descriptor,
        content: &Content<'_>,
    ) -> Result<Came, RegistryError> {
        let ask = Ask {
            method: Method::PUT,
            to: To::Url(place),
            headers: vec![
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_LENGTH, blob.size.to_string()),
            ],
            content: content.again(),
            what: &format!("{}@{}", self.image.name(), blob.digest),
        };
        match self.ask(&ask).await {
            Ok(answer) if answer.status() == StatusCode::CREATED || answer.status() == StatusCode::NO_CONTENT => {}
            Ok(answer) => {
                return Err(self.protocol(format!("{} for a blob that was sent", answer.status())));
            }
            // The registry forgot the upload, or took less of it than we sent: from the start again.
            Err(RegistryError::Missing { what, said }) if what == ask.what => return Err(self.unfinished(said)),
            Err(error) => return Err(error),
        }
        Ok(Came::Uploaded)
    }

    fn unfinished(&self, said: String) -> RegistryError {
        RegistryError::Unreachable {
            registry: self.registry().to_owned(),
            said: format!("it lost an upload ({said})"),
        }
    }

    /// Writes a manifest under a name: its digest, or a tag.
    pub(super) async fn put_manifest(&self, manifest: &Manifest, name: &str) -> Result<(), RegistryError> {
        let what = match name.contains(':') {
            true => format!("{}@{name}", self.image.name()),
            false => format!("{}:{name}", self.image.name()),
        };
        let once = || async {
            let ask = Ask {
                method: Method::PUT,
                to: To::Path(&format!("manifests/{name}")),
                headers: vec![(CONTENT_TYPE, manifest.media_type.clone())],
                content: Content::Bytes(&manifest.bytes),
                what: &what,
            };
            let answer = self.ask(&ask).await?;
            match self.announced(&answer)? {
                Some(got) => same(&what, manifest, Some(&got)),
                None => Ok(()),
            }
        };
        self.in_time(self.retrying(once)).await
    }
}
