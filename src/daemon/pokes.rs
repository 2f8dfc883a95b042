//! Pokes as they go out, each a task of its own, and what is said of them in the log.

use super::core::Daemon;
use super::happening::Happening;
use super::request::cannot_record;
use super::updates::wants;
use crate::api::{PokeSent, PokesAsked, PokesSent, Refused};
use crate::model::{Mode, Poke, PokeAnswer, PokeError, PokeId, PokeOutcome, full_name};
use crate::poke::Sender;
use crate::reconcile::{Event, poked_target};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What is on its way.
#[derive(Debug, Default)]
pub(super) struct Pokes {
    sender: Sender,
    /// What a planner that has lost its decision must not send a second time.
    pub on_their_way: BTreeSet<PokeId>,
}

impl Daemon {
    /// Sends a poke that the planner wants sent.
    pub(super) fn poke(&mut self, id: PokeId) {
        let poke = self.state.pokes.get(&id).cloned();
        let target = poke.as_ref().and_then(|poke| poked_target(&self.config, poke));
        let (Some(poke), Some(target)) = (poke, target.cloned()) else {
            self.state.checking.poking.remove(&id);
            return;
        };
        self.pokes.on_their_way.insert(id);
        let (sender, stop, tell) = (self.pokes.sender.clone(), self.asking.stop(), self.tell.clone());
        self.asking.tasks.spawn(async move {
            let result = tokio::select! {
                result = sender.send(&poke, &target) => result,
                // It is on record, and is sent again after the start.
                () = stop.asked() => return,
            };
            // The loop outlives its tasks.
            let _ = tell.send(Happening::Poked { poke: id, result });
        });
    }

    /// A person wants those told again who have not taken the last release that they were told of.
    pub(super) fn pokes_asked(&mut self, asked: &PokesAsked) -> Result<PokesSent, Refused> {
        if self.state.mode != Mode::Normal {
            return Err(Refused("the daemon is stopping: nobody is told of anything".to_owned()));
        }
        let standings = &self.state.updates.standings;
        for name in &asked.images {
            let name = std::slice::from_ref(name);
            if !standings.iter().any(|(node, of)| wants(name, node, &of.released)) {
                let why = format!("{} is no released image: `pipelined images` lists them", name[0]);
                return Err(Refused(why));
            }
        }
        let pokes = self
            .store
            .pokes(None)
            .map_err(|error| Refused(format!("cannot read what was told: {error}")))?;
        let mut seen = BTreeSet::new();
        let again: Vec<Poke> = pokes
            .into_iter()
            // The newest come first: what was told before does not matter any more.
            .filter(|poke| seen.insert((poke.node.clone(), poke.place.key.clone())))
            .filter(|poke| poke.is_trouble() && wants(&asked.images, &poke.node, &poke.references))
            .filter(|poke| poked_target(&self.config, poke).is_some())
            .collect();
        let sent = again.iter().map(|poke| PokeSent {
            id: poke.id,
            name: full_name(&poke.node.project, &poke.node.image),
            project: poke.node.project.clone(),
            image: poke.node.image.clone(),
            reference: poke.node.reference.clone(),
            job: poke.job,
            place: poke.place.clone(),
        });
        let sent = PokesSent { pokes: sent.collect() };
        if !again.is_empty() && self.decide(Event::PokeAgain { pokes: again }).is_none() {
            return Err(cannot_record());
        }
        Ok(sent)
    }

    /// A poke has its answer.
    pub(super) fn poked(&mut self, poke: PokeId, result: Result<PokeAnswer, PokeError>) {
        self.pokes.on_their_way.remove(&poke);
        self.decide(Event::Poked { poke, result });
    }
}

/// Says in the log how a poke goes.
pub(super) fn tell(poke: &Poke) {
    let (id, job, place) = (poke.id.0, poke.job.0, &poke.place);
    let of = full_name(&poke.node.project, &poke.node.image);
    let error = poke.error.as_deref().unwrap_or_default();
    match poke.end.as_ref().map(|end| &end.how) {
        None if poke.attempts == 0 && poke.error.is_some() => {
            tracing::info!(poke = id, job, %of, %place, "a person wants it sent again: a poke is due");
        }
        None if poke.attempts == 0 => tracing::info!(poke = id, job, %of, %place, "released: a poke is due"),
        None => {
            let wait = poke.next.duration_since(Timestamp::now()).as_secs().max(0);
            let attempts = poke.attempts;
            tracing::warn!(poke = id, job, %of, %place, attempts, error, again_in_seconds = wait, "not poked yet");
        }
        Some(PokeOutcome::Delivered(answer)) => {
            let (status, pipeline) = (answer.status, answer.web_url.as_deref().unwrap_or("-"));
            tracing::info!(poke = id, job, %of, %place, status, pipeline, "poked");
        }
        Some(PokeOutcome::Rejected) => {
            tracing::error!(poke = id, job, %of, %place, error, "a poke was rejected, and is not sent again");
        }
        Some(PokeOutcome::GivenUp) => {
            let attempts = poke.attempts;
            tracing::error!(poke = id, job, %of, %place, attempts, error, "a poke was given up");
        }
        Some(PokeOutcome::Superseded(by)) => {
            tracing::info!(poke = id, job, %of, %place, by = by.0, "a later release is told in the place of this one");
        }
        Some(PokeOutcome::Dropped) => {
            tracing::warn!(poke = id, job, %of, %place, "not poked: the config does not name the place any more");
        }
    }
}
