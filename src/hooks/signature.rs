//! Proofs that a sender knows the secret, compared in constant time.
//!
//! It must never compare a secret, or what is made of one, with `==`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Whether this is the HMAC-SHA256 of the body in hex.
pub(super) fn is_hmac(secret: &[u8], body: &[u8], hex: &str) -> bool {
    let Some(given) = from_hex(hex) else { return false };
    mac(secret, body).is_some_and(|mac| mac.verify_slice(&given).is_ok())
}

/// Whether this is the secret itself. Compared are MACs of both, so that not even the length shows in the time.
pub(super) fn is_secret(secret: &[u8], given: &[u8]) -> bool {
    const KEY: &[u8] = b"pipelined: two secrets are the same";
    let Some(given) = mac(KEY, given) else { return false };
    let given = given.finalize().into_bytes();
    mac(KEY, secret).is_some_and(|mac| mac.verify_slice(&given).is_ok())
}

/// Whether a header `Authorization: Bearer …` has it.
pub(super) fn is_bearer(secret: &[u8], authorization: Option<&str>) -> bool {
    let Some((scheme, token)) = authorization.and_then(|text| text.trim().split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer") && is_secret(secret, token.trim().as_bytes())
}

fn mac(key: &[u8], text: &[u8]) -> Option<Hmac<Sha256>> {
    // A key of any length is one.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text);
    Some(mac)
}

/// The 32 bytes of a SHA-256.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.trim().as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, case 2.
    const OF_JEFE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    const SAID: &[u8] = b"what do ya want for nothing?";

    #[test]
    fn a_known_hmac() {
        assert!(is_hmac(b"Jefe", SAID, OF_JEFE));
        assert!(is_hmac(b"Jefe", SAID, &OF_JEFE.to_uppercase()));
        for wrong in [
            "",
            "5bdc",
            &OF_JEFE.replace("5b", "5c"),
            &OF_JEFE.replace("5b", "5+"),
            &OF_JEFE.replace("5b", "é"),
        ] {
            assert!(!is_hmac(b"Jefe", SAID, wrong), "{wrong}");
        }
        assert!(!is_hmac(b"jefe", SAID, OF_JEFE) && !is_hmac(b"Jefe", b"what", OF_JEFE));
    }

    #[test]
    fn secrets_by_themselves() {
        assert!(is_secret(b"word", b"word"));
        for wrong in [&b""[..], b"wor", b"word ", b"Word", b"wordword"] {
            assert!(!is_secret(b"word", wrong));
        }
        for (header, is) in [
            (Some("Bearer word"), true),
            (Some("bearer  word "), true),
            (Some("Basic word"), false),
            (Some("word"), false),
            (Some("Bearer"), false),
            (Some("Bearer "), false),
            (None, false),
        ] {
            assert_eq!(is_bearer(b"word", header), is, "{header:?}");
        }
    }
}
