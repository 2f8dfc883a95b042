//! http and https: one POST over a kept connection, once a server has shown that it takes it.
//!
//! A poll is worth nothing if it costs more than the build that it finds now and then. So the capability round of
//! gitprotocol-http(5) is made once for a remote, and again whenever an answer is not exactly what was expected. A
//! login never goes to another origin than the one it belongs to, and nothing but a whole answer of the right kind may
//! ever be taken for a list of refs.

mod clients;
mod connect;
mod exchange;
mod handshake;
mod memory;
mod place;
mod resolver;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;
mod vault;
mod words;

pub(in crate::git) use memory::Memory;
pub(in crate::git) use vault::Vault;

use super::reply::{Digest, Limits, Missed, Reply};
use crate::git::world::HttpSettings;
use clients::Clients;
use memory::{Place, Speaks};
use place::Base;
use std::sync::Arc;
use tokio::time::timeout;
use trouble::Trouble;

/// Connections, shared by all remotes; cheap to clone.
#[derive(Clone)]
pub(in crate::git) struct Http {
    clients: Arc<Clients>,
}

/// What is asked of whom, and within which limits.
pub(in crate::git) struct Question<'a, V> {
    /// http or https, as rewritten by `url.*.insteadOf`, without userinfo.
    pub url: &'a str,
    /// How the remote is called in errors.
    pub masked: &'a str,
    /// For this URL.
    pub settings: &'a HttpSettings,
    /// Where logins come from.
    pub vault: &'a V,
    /// What it may cost.
    pub limits: &'a Limits,
}

impl Http {
    /// No connection yet.
    pub fn new() -> Self {
        Self {
            clients: Arc::new(Clients::new()),
        }
    }

    /// Asks for all branches and tags, within the limits. `memory` is of this remote alone, and is to be thrown away
    /// when its URL or its settings change; `known` is the digest of its last answer. After an error the memory is
    /// still good for the next question.
    pub async fn ask<V: Vault>(
        &self,
        question: &Question<'_, V>,
        memory: &mut Memory,
        known: Option<Digest>,
    ) -> Result<Reply, Missed> {
        if let Some(why) = &question.settings.unable {
            return Err(Missed::Unable(why.clone()));
        }
        let clients = &self.clients;
        let asking = Asking { question, clients };
        let whole = question.limits.whole;
        match timeout(whole, asking.ask(memory, known)).await {
            Ok(answer) => answer,
            Err(_) => Err(asking.timed_out(whole)),
        }
    }
}

/// One question under way.
struct Asking<'a, V> {
    question: &'a Question<'a, V>,
    clients: &'a Clients,
}

impl<V: Vault> Asking<'_, V> {
    async fn ask(&self, memory: &mut Memory, known: Option<Digest>) -> Result<Reply, Missed> {
        let home = Base::new(self.question.url)
            .ok_or_else(|| Missed::Unable("the URL is not plain http or https".to_owned()))?;
        if let Some((place, speaks)) = memory.recall(&home) {
            let answer = match speaks {
                Speaks::V2(format) => self.list(&place, format, known).await,
                Speaks::Refs => self.begin(place, memory, known).await,
            };
            match answer {
                Ok(reply) => return Ok(reply),
                Err(Trouble::Last(missed)) => return Err(missed),
                Err(Trouble::Odd(missed)) => {
                    tracing::debug!(remote = self.question.masked, ?missed, "asking again from the start");
                }
            }
            *memory = Memory::Unknown;
        }
        let place = Place::home(home, self.question.vault.known(self.question.url));
        self.begin(place, memory, known).await.map_err(Trouble::into_missed)
    }

    /// Handshake, question, and what to remember of it.
    async fn begin(&self, place: Place, memory: &mut Memory, known: Option<Digest>) -> Result<Reply, Trouble> {
        let (place, greeting) = self.greet(place, known).await?;
        let (speaks, reply) = match greeting {
            handshake::Greeting::V2(format) => (Speaks::V2(format), self.list(&place, format, known).await?),
            handshake::Greeting::Refs(reply) => (Speaks::Refs, reply),
        };
        *memory = place.remember(speaks);
        Ok(reply)
    }
}
