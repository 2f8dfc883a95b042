//! Whom to believe over TLS, and what a failed connection means.

use super::{RegistryError, words};
use crate::config::RegistrySettings;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use std::sync::Arc;

/// For the connections to one registry.
pub(super) fn config(settings: &RegistrySettings) -> Result<ClientConfig, RegistryError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| RegistryError::Settings(e.to_string()))?;
    let mut config = if settings.insecure {
        let anyone = Arc::new(Anyone(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(anyone)
            .with_no_client_auth()
    } else {
        builder.with_root_certificates(roots(settings)?).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
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

/// For `insecure`: any certificate will do, but whoever shows it must have its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
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
    use CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } => "it has expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "it is not valid yet",
        C::Revoked => "it was revoked",
        C::BadSignature => "its signature is wrong",
        C::UnknownIssuer => "no CA that is trusted here has signed it",
        C::NotValidForName | C::NotValidForNameContext { .. } => "it is for another host",
        other => return words::plain(&other.to_string()),
    }
    .to_owned()
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
