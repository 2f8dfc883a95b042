//! Webhooks, which anybody may send.
//!
//! Nothing may panic or take long, nobody who does not know the secret is taken for genuine, and a hook names each thing
//! once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipelined::hooks::{Headers, hints, is_genuine};
use pipelined::model::Sender;

fuzz_target!(|input: (u8, bool, &[u8], &[u8])| {
    let (sender, form, value, body) = input;
    let sender = Sender::ALL[usize::from(sender) % Sender::ALL.len()];
    let kind: &[u8] = if form { b"application/x-www-form-urlencoded" } else { b"application/json" };
    let headers = [
        ("content-type", kind),
        ("x-github-event", b"push"),
        ("x-hub-signature-256", value),
        ("x-gitea-signature", value),
        ("x-gitlab-token", value),
        ("authorization", value),
    ];
    let headers = Headers(&headers);
    assert!(!is_genuine(sender, b"", headers, body), "without a secret");
    assert!(!is_genuine(sender, b"what nobody guesses: 8c1f2a", headers, body));
    if let Ok(hints) = hints(sender, headers, body) {
        assert!(hints.is_sorted_by(|a, b| a < b), "a thing twice");
        assert!(hints.len() <= body.len(), "more than was said");
    }
});
