//! Whom to believe over TLS, and what to say when nobody is believed.

use crate::git::world::Tls;
use crate::tls::{Trust, client, distrust};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// When the CA file (or directory) of these settings was last changed, if they have one.
pub(super) fn stamp(tls: &Tls) -> Option<SystemTime> {
    let file = tls.ca_file.as_ref().or(tls.ca_path.as_ref())?;
    file.metadata().ok()?.modified().ok()
}

/// For a pool of connections; with none, for one that will not speak TLS. An error is for people.
pub(super) fn config(tls: Option<&Tls>) -> Result<Arc<ClientConfig>, String> {
    let trust = match tls {
        Some(tls) if !tls.verify => Trust::Anyone,
        Some(tls) => Trust::Roots(roots(tls)?),
        None => Trust::Roots(Arc::new(RootCertStore::empty())),
    };
    client(trust).map(Arc::new).map_err(|e| e.to_string())
}

fn roots(tls: &Tls) -> Result<Arc<RootCertStore>, String> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let named = [&tls.ca_file, &tls.ca_path].into_iter().flatten();
    let named: Vec<String> = named.map(|path| path.display().to_string()).collect();
    if !named.is_empty() {
        let found = load_certs_from_paths(tls.ca_file.as_deref(), tls.ca_path.as_deref());
        return store(found, &named.join(" and "));
    }
    if let Some(store) = SYSTEM.get() {
        return Ok(Arc::clone(store));
    }
    // Not kept when there are none: they may be installed while we run.
    let found = store(load_native_certs(), "the system's CA bundle")?;
    Ok(Arc::clone(SYSTEM.get_or_init(|| found)))
}

fn store(found: CertificateResult, from: &str) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    let (taken, skipped) = store.add_parsable_certificates(found.certs);
    if taken == 0 {
        let why = found.errors.first().map(|e| format!(" ({e})")).unwrap_or_default();
        return Err(format!("no certificate can be read from {from}{why}"));
    }
    if skipped > 0 || !found.errors.is_empty() {
        tracing::debug!(from, skipped, errors = ?found.errors, "some CA certificates cannot be read");
    }
    Ok(Arc::new(store))
}

/// What a failed TLS handshake means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nobody should trust this certificate; why.
    Untrusted(&'static str),
    /// Git's own TLS library is less strict and has more ciphers: it may get through.
    Unable(&'static str),
    /// What answers does not speak TLS.
    NotTls,
}

/// Without the times and names of rustls' texts, which differ from look to look.
pub(super) fn judge(error: &Error) -> Judgement {
    use CertificateError as C;
    use Judgement::{NotTls, Unable, Untrusted};
    match error {
        Error::InvalidCertificate(certificate) => match (certificate, distrust(certificate)) {
            // A certificate without alternative names: others look at its common name too.
            (C::NotValidForNameContext { presented, .. }, _) if presented.is_empty() => {
                Unable("the TLS certificate names its host the old way")
            }
            (_, Some(why)) => Untrusted(why),
            // For instance a CA's own certificate in the place of a server's.
            (_, None) => Unable("the TLS certificate is one that git may accept"),
        },
        Error::InvalidMessage(_) => NotTls,
        _ => Unable("the server's TLS is one that git may speak"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{AlertDescription, InvalidMessage, OtherError};

    #[test]
    fn a_judgement_has_nothing_in_it_that_changes() {
        use CertificateError as C;
        use Judgement::{NotTls, Unable, Untrusted};
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(9));
        let name = |presented: &[&str]| C::NotValidForNameContext {
            expected: ServerName::try_from("h").unwrap(),
            presented: presented.iter().map(|n| (*n).to_owned()).collect(),
        };
        let not_after = time;
        for certificate in [
            C::Expired,
            C::ExpiredContext { time, not_after },
            C::UnknownIssuer,
            C::Revoked,
            C::BadSignature,
            name(&["other"]),
        ] {
            let error = Error::InvalidCertificate(certificate);
            assert!(matches!(judge(&error), Untrusted(_)), "{error}");
        }
        let ca_as_server = C::Other(OtherError(Arc::new(std::io::Error::other("CaUsedAsEndEntity"))));
        for error in [
            Error::InvalidCertificate(name(&[])),
            Error::InvalidCertificate(ca_as_server),
            Error::AlertReceived(AlertDescription::ProtocolVersion),
        ] {
            assert!(matches!(judge(&error), Unable(_)), "{error}");
        }
        assert_eq!(
            judge(&Error::InvalidMessage(InvalidMessage::InvalidContentType)),
            NotTls
        );
    }
}
