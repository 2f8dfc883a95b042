//! Images that a person wants built again.
//!
//! What is meant is read by the same function that shows it beforehand: nothing else may be built.

use super::core::Daemon;
use crate::api::{RebuildAsked, RebuildJob, RebuildRefused, RebuildStarted, Refused};
use crate::config::Pattern;
use crate::model::{JobId, Mode, Node, full_name};
use crate::reconcile::{Effect, Event, Ours, Wish, wished};
use std::collections::BTreeSet;

impl Daemon {
    pub(super) fn rebuild_asked(&mut self, asked: RebuildAsked) -> Result<RebuildStarted, Refused> {
        if self.state.mode != Mode::Normal {
            return Err(Refused("the daemon is stopping: it takes no new jobs".to_owned()));
        }
        let force = asked.force;
        let wish = wish(asked).map_err(Refused)?;
        let ours = Ours::of(&self.state, &self.config);
        let wished = wished(&wish, &self.state, &self.config, &ours).map_err(|error| Refused(error.to_string()))?;
        let mut refused: Vec<RebuildRefused> = wished
            .left
            .iter()
            .filter(|(_, left)| !left.is_unwanted)
            .map(|(node, it)| left(node, &it.why))
            .collect();
        let nodes: BTreeSet<Node> = wished.nodes.into_keys().collect();
        let Some(decision) = self.decide(Event::RebuildAsked { nodes, force }) else {
            let why = "the database cannot be written to: the daemon's log says why";
            return Err(Refused(why.to_owned()));
        };
        let mut jobs: Vec<RebuildJob> = Vec::new();
        for effect in decision.effects {
            match effect {
                Effect::Rebuilt { node, job } => jobs.push(RebuildJob {
                    job,
                    name: full_name(&node.project, &node.image),
                    project: node.project,
                    image: node.image,
                    reference: node.reference,
                }),
                Effect::NotRebuilt { node, why } => refused.push(left(&node, &why)),
                _ => {}
            }
        }
        let waves = jobs.iter().filter_map(|of| self.state.jobs.get(&of.job));
        let wave: Option<JobId> = waves.map(|job| job.wave).next();
        Ok(RebuildStarted { wave, jobs, refused })
    }
}

fn left(node: &Node, why: &str) -> RebuildRefused {
    RebuildRefused {
        name: full_name(&node.project, &node.image),
        reference: node.reference.clone(),
        why: why.to_owned(),
    }
}

/// What is asked for; why the request cannot be understood.
pub fn wish(asked: RebuildAsked) -> Result<Wish, String> {
    let matching = asked.matching.map(|glob| {
        let compiled = Pattern::new(glob.clone());
        compiled.map_err(|error| format!("{glob:?} is no pattern: {error}"))
    });
    Ok(Wish {
        images: asked.images,
        recurse: asked.recurse,
        matching: matching.transpose()?,
    })
}
