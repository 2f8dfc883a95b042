//! The hooks of Gitea and Forgejo, signed in one of three ways.

use super::payload::json;
use super::{Headers, Hint, HookError, github, signature};
use std::collections::BTreeSet;

/// Headers that name the event; old releases have only the later ones.
const EVENTS: [&str; 4] = ["x-forgejo-event", "x-gitea-event", "x-gogs-event", "x-github-event"];
/// Headers with nothing but the HMAC in hex.
const SIGNATURES: [&str; 3] = ["x-forgejo-signature", "x-gitea-signature", "x-gogs-signature"];

pub(super) fn is_genuine(secret: &[u8], headers: Headers<'_>, body: &[u8]) -> bool {
    // The first that is there counts: a good one does not make up for a bad one.
    let of = |text: &[u8]| match SIGNATURES.iter().find_map(|name| headers.get(name)) {
        Some(hex) => signature::is_hmac(secret, text, hex),
        None => github::is_signed(secret, headers.get("x-hub-signature-256"), text),
    };
    // In a form it is the payload that is signed, and not the body.
    of(body) || headers.is_form() && of(&json(headers, body))
}

pub(super) fn hints(headers: Headers<'_>, body: &[u8]) -> Result<BTreeSet<Hint>, HookError> {
    let event = EVENTS.iter().find_map(|name| headers.get(name));
    github::of_event(event, headers, body)
}
