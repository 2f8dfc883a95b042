//! What a webhook is told, and how it knows that it was us.

use crate::model::{Poke, PokeId};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

/// The event, in a header and in the body.
pub(super) const EVENT: &str = "released";

/// These names are a promise: one may be added, none may go or change its meaning.
#[derive(Serialize)]
struct Told<'a> {
    event: &'static str,
    delivery: PokeId,
    project: &'a str,
    #[serde(rename = "ref")]
    reference: String,
    commit: &'a str,
    image_name: &'a str,
    image: String,
    references: Vec<String>,
    digest: Option<&'a str>,
    job: i64,
    wave: i64,
}

/// The body.
pub(super) fn body(poke: &Poke) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Told {
        event: EVENT,
        delivery: poke.id,
        project: poke.node.project.as_str(),
        reference: poke.node.reference.to_string(),
        commit: poke.commit.as_str(),
        image_name: poke.node.image.as_str(),
        image: poke.image.to_string(),
        references: poke.references.iter().map(ToString::to_string).collect(),
        digest: poke.digest.as_ref().map(crate::model::Digest::as_str),
        job: poke.job.0,
        wave: poke.wave.0,
    })
}

/// `X-Hub-Signature-256`, as GitHub writes it. None never happens: any key will do.
pub(super) fn signature(secret: &str, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(body);
    let code: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Some(format!("sha256={code}"))
}

#[cfg(test)]
mod tests {
    use super::signature;

    /// RFC 4231, cases 2 and 6.
    #[test]
    fn signs_as_the_standard_has_it() {
        let what = b"what do ya want for nothing?";
        let signed = signature("Jefe", what).unwrap();
        assert_eq!(
            signed,
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
