//! Checks of released images as they run: those that the planner wants, and those that a person wants now.
//!
//! A person's checks are a round. Its answers are the person's: the planner hears of them only if the images are to be
//! built again, so that looking starts nothing.

use super::core::Daemon;
use super::happening::Happening;
use super::update_view::image_updates;
use crate::api::{FailedLook, ImageUpdates, Refused, UpdatesAsked, UpdatesRound, UpdatesStarted};
use crate::config::Config;
use crate::engine::deciding;
use crate::model::{
    BaseKey, CheckError, CommitId, Compared, Digest, Elsewhere, ImageRef, Mode, Node, Packages, ProjectName, RefName,
    Standing, State, Used, error_chain, full_name,
};
use crate::pipeline::project_variables;
use crate::reconcile::{
    Counting, Effect, Event, News, Ours, Watched, answered, bases_of, inside_of, judge, look, strangers_of, watched,
};
use crate::updates::{Tools, look_at_base, look_elsewhere, look_inside};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Questions to one registry at once.
const PER_REGISTRY: usize = 4;
/// Images that are pulled and looked into at once.
const INSIDE_AT_ONCE: usize = 2;
/// Rounds whose answers are kept, for whoever asks late.
const ROUNDS_KEPT: usize = 16;

/// What a check has found.
#[derive(Debug)]
pub(super) enum Answer {
    Base(BaseKey, Result<(Digest, Vec<Compared>), CheckError>),
    Inside(Node, Result<Packages, CheckError>),
    Elsewhere(Node, Result<Option<Standing>, CheckError>),
}

/// Checks that run.
pub(super) struct Checks {
    registries: HashMap<String, Arc<Semaphore>>,
    inside: Arc<Semaphore>,
    insides: HashMap<Node, Arc<Semaphore>>,
    rounds: BTreeMap<u64, Round>,
    next_round: u64,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            registries: HashMap::new(),
            inside: Arc::new(Semaphore::new(INSIDE_AT_ONCE)),
            insides: HashMap::new(),
            rounds: BTreeMap::new(),
            next_round: 1,
        }
    }
}

impl Checks {
    fn turn_at(&mut self, registry: &str) -> Arc<Semaphore> {
        let new = || Arc::new(Semaphore::new(PER_REGISTRY));
        self.registries.entry(registry.to_owned()).or_insert_with(new).clone()
    }

    /// Two looks into one image would write into one log.
    fn turn_inside(&mut self, node: &Node) -> Arc<Semaphore> {
        let new = || Arc::new(Semaphore::new(1));
        self.insides.retain(|_, turn| Arc::strong_count(turn) > 1);
        self.insides.entry(node.clone()).or_insert_with(new).clone()
    }
}

/// What a person wants to know.
struct Round {
    /// The state as it was when it was asked for, with the answers since; only what is asked for is released in it.
    state: State,
    done: usize,
    of: usize,
    /// Images that may have been built elsewhere come first: what they stand on is not known before.
    strangers: bool,
    rebuild: bool,
    images: Vec<ImageUpdates>,
    failed: Vec<FailedLook>,
}

impl Daemon {
    fn tools(&self) -> Tools {
        let mut runner = self.asking.runner(self.asking.stop());
        runner.grace = self.config.grace;
        Tools {
            registries: self.registries.clone(),
            engine: self.engine.clone(),
            layout: self.layout.clone(),
            mirrors: self.mirrors.clone(),
            asker: self.polls.asker(),
            runner,
            log_limit: self.config.log_limit,
        }
    }

    /// Makes a check that the planner wants, or one of a round.
    pub(super) fn check(&mut self, effect: Effect, round: Option<u64>) {
        match effect {
            Effect::LookAtBase { base, used } => self.look_at_base(base, used, round),
            Effect::LookInside(node) => self.look_inside(node, round),
            Effect::LookElsewhere { node, commit } => self.look_elsewhere(node, commit, round),
            _ => {}
        }
    }

    fn look_at_base(&mut self, base: BaseKey, used: Vec<Used>, round: Option<u64>) {
        let known = self.state.updates.bases.get(&base).and_then(|check| check.last.clone());
        // What no registry has may be in a storage that the env of a project names.
        let reference = Some(&base.reference);
        let stands_on = |user: &Watched<'_>| user.standing.bases.iter().any(|b| b.reference.as_ref() == reference);
        let mut users = watched(&self.state, &self.config).filter(stands_on);
        let user = base.project.as_ref().or_else(|| Some(&users.next()?.node.project));
        let project = user.and_then(|name| self.config.projects.get(name));
        let env = project
            .map(|project| deciding(project_variables(project)))
            .unwrap_or_default();
        let (tools, tell) = (self.tools(), self.tell.clone());
        let turn = self.checks.turn_at(base.reference.registry());
        self.asking.tasks.spawn(async move {
            // Never closed.
            let _turn = turn.acquire_owned().await;
            let result = look_at_base(&tools, &base, &used, known.as_ref(), env).await;
            // The loop outlives its tasks.
            let _ = tell.send(Happening::Checked {
                answer: Answer::Base(base, result),
                round,
            });
        });
    }

    fn look_inside(&mut self, node: Node, round: Option<u64>) {
        let standing = match round.and_then(|round| self.checks.rounds.get(&round)) {
            Some(round) => round.state.updates.standings.get(&node),
            None => self.state.updates.standings.get(&node),
        };
        let project = self.config.projects.get(&node.project).cloned();
        let job = standing.and_then(|standing| standing.job);
        let record = job.and_then(|job| match self.store.job(job) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "cannot read the database");
                None
            }
        });
        let dir = record.as_ref().and_then(|record| {
            let attempt = record.attempts.last()?;
            let dir = self.layout.existing(&node.project, &node.reference, &attempt.dir);
            dir.is_dir().then_some(dir)
        });
        let (standing, tools, tell) = (standing.cloned(), self.tools(), self.tell.clone());
        let (own, turn) = (self.checks.turn_inside(&node), self.checks.inside.clone());
        self.asking.tasks.spawn(async move {
            let _own = own.acquire().await;
            let _turn = turn.acquire_owned().await;
            let image = project
                .as_ref()
                .and_then(|p| p.images.iter().find(|i| i.name == node.image));
            let result = match (&project, image, &standing) {
                (Some(project), Some(image), Some(standing)) => {
                    let job = record.as_ref().map(|record| &record.job);
                    look_inside(&tools, project, image, &node, standing, dir, job).await
                }
                _ => Err(gone()),
            };
            let _ = tell.send(Happening::Checked {
                answer: Answer::Inside(node, result),
                round,
            });
        });
    }

    fn look_elsewhere(&mut self, node: Node, commit: CommitId, round: Option<u64>) {
        let project = self.config.projects.get(&node.project).cloned();
        let (tools, tell) = (self.tools(), self.tell.clone());
        let turn = self.checks.turn_at("");
        self.asking.tasks.spawn(async move {
            let _turn = turn.acquire_owned().await;
            let image = project
                .as_ref()
                .and_then(|p| p.images.iter().find(|i| i.name == node.image));
            let result = match (&project, image) {
                (Some(project), Some(image)) => look_elsewhere(&tools, project, image, &node, &commit).await,
                _ => Err(gone()),
            };
            let _ = tell.send(Happening::Checked {
                answer: Answer::Elsewhere(node, result),
                round,
            });
        });
    }

    /// A check has its answer.
    pub(super) fn checked(&mut self, answer: Answer, round: Option<u64>) {
        if self.state.mode == Mode::Stopping {
            // What the stop has cut off says nothing.
            return;
        }
        if let Some(round) = round {
            return self.answered(round, answer);
        }
        let event = match answer {
            Answer::Base(base, result) => {
                tell(&base.reference, &result);
                let failed_tips = match &result {
                    Ok((_, compared)) if compared.iter().any(|compared| !compared.same) => self.failed_tips(),
                    _ => BTreeSet::new(),
                };
                Event::BaseSeen {
                    base,
                    result,
                    failed_tips,
                }
            }
            Answer::Inside(node, result) => {
                tell(&format_args!("{} on {}", node.image, node.reference), &result);
                Event::PackagesSeen { node, result }
            }
            Answer::Elsewhere(node, result) => {
                if let Some(project) = self.config.projects.get(&node.project) {
                    self.tend_mirror(project);
                }
                tell(&format_args!("{} on {}", node.image, node.reference), &result);
                Event::ElsewhereSeen { node, result }
            }
        };
        self.decide(event);
    }

    /// Refs of released images whose tip is another commit, and failed.
    fn failed_tips(&self) -> BTreeSet<(ProjectName, RefName)> {
        let mut failed = BTreeSet::new();
        for image in watched(&self.state, &self.config) {
            let (project, reference) = (&image.node.project, &image.node.reference);
            let tip = self
                .state
                .projects
                .get(project)
                .and_then(|seen| seen.refs.get(reference));
            let Some(tip) = tip.filter(|tip| **tip != image.standing.commit) else {
                continue;
            };
            match self.store.has_failed(project, reference, tip) {
                Ok(true) => {
                    failed.insert((project.clone(), reference.clone()));
                }
                Ok(false) => {}
                Err(error) => tracing::error!(error = %error_chain(&error), "cannot read the database"),
            }
        }
        failed
    }

    /// A person wants to know what is new.
    pub(super) fn updates_asked(&mut self, asked: &UpdatesAsked) -> Result<UpdatesStarted, Refused> {
        let state = selected(&self.state, &self.config, &asked.images)?;
        let strangers = strangers_of(&state, &self.config);
        let strangers: Vec<_> = strangers
            .into_iter()
            .filter(|(node, _)| wants(&asked.images, node, &[]))
            .collect();
        let number = self.checks.next_round;
        self.checks.next_round += 1;
        let round = Round {
            state,
            done: 0,
            of: strangers.len(),
            strangers: !strangers.is_empty(),
            rebuild: asked.rebuild,
            images: Vec::new(),
            failed: Vec::new(),
        };
        self.checks.rounds.insert(number, round);
        while self.checks.rounds.len() > ROUNDS_KEPT {
            self.checks.rounds.pop_first();
        }
        if strangers.is_empty() {
            self.second_half(number);
        }
        for (node, commit) in strangers {
            self.check(Effect::LookElsewhere { node, commit }, Some(number));
        }
        Ok(UpdatesStarted { round: number })
    }

    /// How a round goes.
    pub(super) fn updates_round(&self, number: u64) -> Result<UpdatesRound, Refused> {
        let unknown = || Refused(format!("there is no round {number} of checks (any more)"));
        let round = self.checks.rounds.get(&number).ok_or_else(unknown)?;
        Ok(UpdatesRound {
            done: round.done,
            // Not all is known yet.
            of: round.of + usize::from(round.strangers),
            images: round.images.clone(),
            failed: round.failed.clone(),
        })
    }

    /// What the images of a round stand on, and what is inside of them.
    fn second_half(&mut self, number: u64) {
        let Some(round) = self.checks.rounds.get_mut(&number) else {
            return;
        };
        round.strangers = false;
        let bases = bases_of(&round.state, &self.config);
        let inside = inside_of(&round.state, &self.config);
        round.of += bases.len() + inside.len();
        let is_over = round.done == round.of;
        for (base, used) in bases {
            self.check(Effect::LookAtBase { base, used }, Some(number));
        }
        for node in inside {
            self.check(Effect::LookInside(node), Some(number));
        }
        if is_over {
            self.round_over(number);
        }
    }

    fn answered(&mut self, number: u64, answer: Answer) {
        let Some(round) = self.checks.rounds.get_mut(&number) else {
            return;
        };
        let now = Timestamp::now();
        let updates = &mut round.state.updates;
        match answer {
            Answer::Base(base, result) => {
                let before = updates.bases.get(&base);
                let last = before.and_then(|check| check.last.as_ref());
                let result = result.map(|(head, compared)| look(last, head, compared, now));
                let check = answered(before, result, now);
                updates.bases.insert(base, check);
            }
            Answer::Inside(node, result) => {
                let check = answered(updates.packages.get(&node), result, now);
                updates.packages.insert(node, check);
            }
            Answer::Elsewhere(node, result) => {
                round.failed.extend(result.as_ref().err().map(|error| FailedLook {
                    name: full_name(&node.project, &node.image),
                    project: node.project.clone(),
                    image: node.image.clone(),
                    reference: node.reference.clone(),
                    error: error.message.clone(),
                }));
                let result = result.map(|found| Elsewhere { checked: now, found });
                let check = answered(updates.elsewhere.get(&node), result, now);
                match check.last.as_ref().and_then(|last| last.found.clone()) {
                    Some(found) => updates.standings.insert(node.clone(), found),
                    None => updates.standings.remove(&node),
                };
                updates.elsewhere.insert(node, check);
            }
        }
        round.done += 1;
        if round.done < round.of {
            return;
        }
        match round.strangers {
            true => self.second_half(number),
            false => self.round_over(number),
        }
    }

    fn round_over(&mut self, number: u64) {
        let Some(mut round) = self.checks.rounds.remove(&number) else {
            return;
        };
        let mut wanted: Vec<(Node, News)> = Vec::new();
        let mut images: BTreeMap<Node, ImageUpdates> = BTreeMap::new();
        let ours = Ours::of(&self.state, &self.config);
        for image in watched(&round.state, &self.config) {
            let news = judge(image, &round.state.updates, &ours).news(Counting::All);
            if !news.is_empty() {
                wanted.push((image.node.clone(), news));
            }
            let view = image_updates(image, &self.state, &self.config, &round.state.updates, &ours);
            images.insert(image.node.clone(), view);
        }
        if round.rebuild && !wanted.is_empty() {
            match self.decide(Event::RebuildRequested { wanted }) {
                Some(decision) => {
                    for effect in decision.effects {
                        match effect {
                            Effect::Rebuilt { node, job } => {
                                images.entry(node).and_modify(|image| image.rebuild = Some(job));
                            }
                            Effect::NotRebuilt { node, why } => {
                                images.entry(node).and_modify(|image| image.refused = Some(why));
                            }
                            _ => {}
                        }
                    }
                }
                None => {
                    let why = "the database cannot be written to: the daemon's log says why";
                    for image in images.values_mut() {
                        image.refused = Some(why.to_owned());
                    }
                }
            }
        }
        round.images = images.into_values().collect();
        // Only the answer is kept.
        round.state = State::default();
        self.checks.rounds.insert(number, round);
    }
}

fn gone() -> CheckError {
    CheckError {
        message: "it is not in the config any more".to_owned(),
        not_before: None,
    }
}

fn tell<T>(of: &impl std::fmt::Display, result: &Result<T, CheckError>) {
    match result {
        Ok(_) => tracing::debug!(%of, "checked for updates"),
        Err(error) => {
            let error = &error.message;
            tracing::warn!(%of, error, "cannot check for updates; asking again, less and less often");
        }
    }
}

/// The state with only what is asked for as released; with what a person calls it.
fn selected(state: &State, config: &Config, wanted: &[String]) -> Result<State, Refused> {
    let mut state = state.clone();
    if wanted.is_empty() {
        return Ok(state);
    }
    let known: Vec<(Node, Vec<ImageRef>)> = watched(&state, config)
        .map(|image| (image.node.clone(), image.standing.released.clone()))
        .chain(
            strangers_of(&state, config)
                .into_iter()
                .map(|(node, _)| (node, Vec::new())),
        )
        .collect();
    for name in wanted {
        let name = std::slice::from_ref(name);
        if !known.iter().any(|(node, released)| wants(name, node, released)) {
            return Err(Refused(format!(
                "{} is no released image that is kept up to date: `pipelined images` lists them",
                name[0]
            )));
        }
    }
    let standings = &mut state.updates.standings;
    standings.retain(|node, standing| wants(wanted, node, &standing.released));
    Ok(state)
}

/// Whether an image is meant by one of these names; all are if there are none.
pub(super) fn wants(wanted: &[String], node: &Node, released: &[ImageRef]) -> bool {
    let (project, image) = (node.project.as_str(), node.image.as_str());
    wanted.is_empty()
        || wanted.iter().any(|name| {
            let reference = ImageRef::parse(name).ok();
            name == project
                || name.split_once('/') == Some((project, image))
                || reference.is_some_and(|reference| released.contains(&reference))
        })
}
