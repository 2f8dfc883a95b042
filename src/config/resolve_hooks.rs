//! Where hooks are taken, and by what their senders are known.
//!
//! Pure. It must never open a door that is not asked for.

use super::Diagnostic;
use super::SecretFile;
use super::notes::Notes;
use super::raw_hooks::{Listen, RawHooks};
use super::reader::At;
use super::surroundings::Doubt;
use crate::model::Sender;
use std::collections::BTreeMap;
use std::net::SocketAddr;

pub(super) fn hooks(
    listen: Option<At<Listen>>,
    raw: RawHooks,
    notes: &Notes<'_>,
    doubts: &mut Vec<Doubt>,
) -> (Option<SocketAddr>, BTreeMap<Sender, SecretFile>) {
    if let Some(listen) = &listen {
        if !raw.is_mentioned {
            let warning = Diagnostic::warning(
                listen.span.clone(),
                "nobody is heard there: no sender of hooks has a secret",
            );
            let help = "add [hooks] with a file for each sender, as in gitlab = \"/etc/pipelined/gitlab.token\"";
            notes.push(warning.help(help));
        }
        if !listen.value.ip().to_canonical().is_loopback() {
            let message = "others can reach this address, and what is spoken there is plain http";
            let warning = Diagnostic::warning(listen.span.clone(), message);
            notes.push(warning.help("listen on 127.0.0.1, and let a web server with TLS pass /hooks/ on to it"));
        }
    }
    doubts.extend(raw.secrets.iter().map(|(_, file)| Doubt::Secret(file.clone())));
    let secrets = raw.secrets.into_iter().map(|(sender, file)| (sender, file.value));
    (listen.map(|at| at.value), secrets.collect())
}
