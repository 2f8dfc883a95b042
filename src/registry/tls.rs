//! Whom to believe over TLS, and what a failed connection means.

use super::{RegistryError, words};
use crate::config::RegistrySettings;
use crate::tls::{Trust, client, distrust};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use std::sync::Arc;

/// For the connections to one registry.
pub(super) fn config(settings: &RegistrySettings) -> Result<ClientConfig, RegistryError> {
    let trust = match settings.insecure {
        true => Trust::Anyone,
        false => Trust::Roots(Arc::new(roots(settings)?)),
    };
    client(trust).map_err(|e| RegistryError::Settings(e.to_string()))
}

fn roots(settings: &RegistrySettings) -> Result<RootCertStore, RegistryError> {
    let mut store = RootCertStore::empty();
    // There may be none: then the handshake says so.
    store.add_parsable_certificates(load_native_certs().certs);
    if let Some(path) = &settings.ca_file {
        let found = load_certs_from_paths(Some(path), None);
        let why = found.errors.first().map(|e| format!(" ({e})")).unwrap_or_default();
        if store.add_parsable_certificates(found.certs).0 == 0 {
            let text = format!(
                "no certificate can be read from {}{}",
                path.display(),
                words::plain(&why)
            );
            return Err(RegistryError::Settings(text));
        }
    }
    Ok(store)
}

/// Why a request brought no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// What answers does not speak TLS.
    NotTls,
    /// Nothing listens.
    Refused,
    /// Nobody should trust this certificate; why.
    Untrusted(String),
    /// It took too long to connect.
    Slow,
    /// Anything else; why.
    Other(String),
}

/// Reads the causes of an error. Its own text may name URLs that nobody should see, and is left out.
pub(super) fn judge(error: &(dyn std::error::Error + 'static)) -> Broken {
    let mut last = "the connection broke".to_owned();
    for cause in causes(error) {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return match error {
                Error::InvalidMessage(_) => Broken::NotTls,
                Error::InvalidCertificate(certificate) => Broken::Untrusted(untrusted(certificate)),
                other => Broken::Untrusted(words::plain(&other.to_string())),
            };
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => return Broken::Refused,
                std::io::ErrorKind::TimedOut => return Broken::Slow,
                _ => {}
            }
        }
        if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
            if error.is_timeout() && error.is_connect() {
                return Broken::Slow;
            }
            continue;
        }
        last = words::plain(&cause.to_string());
    }
    Broken::Other(last)
}

fn untrusted(error: &CertificateError) -> String {
    let text = error.to_string();
    if text.contains("CaUsedAsEndEntity") {
        return "it is a CA's own certificate in the place of a server's: sign one for the server with it".to_owned();
    }
    distrust(error).map_or_else(|| words::plain(&text), str::to_owned)
}

/// An error and what caused it, also within [`std::io::Error`], whose `source` leaves out what it was made of.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let next = |error: &&'a (dyn std::error::Error + 'static)| -> Option<&'a (dyn std::error::Error + 'static)> {
        let error: &'a (dyn std::error::Error + 'static) = *error;
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), next)
}
