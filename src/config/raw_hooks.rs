//! What is written in `listen` and `[hooks]`.
//!
//! It must never take a secret: only the names of files that hold one.

use super::SecretFile;
use super::keys::HOOKS;
use super::notes::Notes;
use super::reader::{At, Node, Table};
use super::text::{self, Mistake};
use super::values::parsed;
use crate::model::Sender;
use std::net::SocketAddr;
use std::path::Path;

/// `listen`
pub(super) type Listen = SocketAddr;

/// `[hooks]`
#[derive(Debug, Default)]
pub(super) struct RawHooks {
    pub(super) secrets: Vec<(Sender, At<SecretFile>)>,
    /// Whether a sender is there, right or wrong.
    pub(super) is_mentioned: bool,
}

pub(super) fn listen(node: &Node<'_>, notes: &Notes<'_>) -> Option<Listen> {
    parsed(node, notes, address)
}

fn address(text: &str) -> Result<SocketAddr, Mistake> {
    let help = "write it as in \"127.0.0.1:8075\" or \"[::1]:8075\"";
    text.parse().map_err(|_| match text.parse::<std::net::IpAddr>() {
        Ok(_) => Mistake::new("the address has no port").help(help),
        Err(_) => Mistake::new("this is not an IP address with a port").help(help),
    })
}

impl RawHooks {
    pub(super) fn read<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<Self> {
        let table = Table::open(node, HOOKS, notes)?;
        let secret = |sender: Sender| {
            let file = table.read_at(sender.as_str(), |n, notes| {
                parsed(n, notes, |t| text::secret_file(t, base))
            });
            file.map(|file| (sender, file))
        };
        Some(Self {
            secrets: Sender::ALL.into_iter().filter_map(secret).collect(),
            is_mentioned: HOOKS.iter().any(|key| table.mentions(key)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_a_port() {
        for good in ["127.0.0.1:8075", "0.0.0.0:80", "[::1]:8075", "[::]:1"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "8075",
            ":8075",
            "127.0.0.1",
            "::1",
            "localhost:8075",
            "127.0.0.1:65536",
            "http://127.0.0.1:1",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_sender_has_a_key() {
        assert_eq!(Sender::ALL.map(Sender::as_str), *HOOKS);
        assert!(
            Sender::ALL
                .into_iter()
                .all(|sender| Sender::named(sender.as_str()) == Some(sender))
        );
    }
}
