//! Decide, commit, act: in this order, so that a crash leaves intent in the record and never a child without one.

use super::core::{Daemon, RECORD_AGAIN, Running};
use super::door::DaemonError;
use super::happening::Happening;
use super::pokes;
use super::polls::Listed;
use crate::config::{Config, Project, Upstream};
use crate::model::{
    Checking, CommitId, ImageName, ImageStatus, Job, JobId, JobState, Learned, Mode, Outcome, ProjectName, RefName,
    ReleaseStage, State, Write, error_chain, mask_url, remote_key,
};
use crate::pipeline::{self, Announced, Denied, Finished, GoOn, LastGood, Permit, Told, Work};
use crate::process::Cancel;
use crate::reconcile::{Decision, Effect, Event, handle, is_selected, overtaken};
use crate::store::{Attempt, ImageRecord, JobRecord};
use crate::workdir;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

impl Daemon {
    /// Takes an event through the planner, records the decision, and acts on it. If it cannot be recorded, nothing is
    /// done, the state is what the record says, and `None` comes back.
    pub(super) fn decide(&mut self, event: Event) -> Option<Decision> {
        let now = Timestamp::now();
        let mode = self.state.mode;
        let kept = waits_for_the_record(&event).then(|| event.clone());
        let seen = matches!(event, Event::RefsListed { .. });
        let decision = handle(&mut self.state, &self.config, now, event);
        let layout = &self.layout;
        let free = |project: &_, reference: &_, dir: &str| {
            !layout.running(project, reference, dir).exists() && !layout.finished(project, reference, dir).exists()
        };
        match self.store.commit(&decision.writes, now, &free) {
            Ok(attempts) => {
                self.tell(&decision);
                if !seen {
                    self.forget_answers(&decision);
                }
                self.act(&decision, attempts);
                Some(decision)
            }
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "cannot record a decision: nothing is started until it can be");
                self.unrecorded(kept, mode);
                None
            }
        }
    }

    /// What the planner has forgotten of a ref, or put back into the queue, must meet the remote's answer again, although
    /// that may be the same as before.
    fn forget_answers(&mut self, decision: &Decision) {
        for write in &decision.writes {
            match write {
                Write::Ref {
                    project, commit: None, ..
                } => self.polls.forget(project),
                Write::Job { job, .. } if job.is_queued() => self.polls.forget(&job.project),
                _ => {}
            }
        }
    }

    /// Goes back to what is on record, and keeps the event for later if it has to be.
    fn unrecorded(&mut self, kept: Option<Event>, mode: Mode) {
        if self.unrecorded.is_empty() {
            self.record_again = Instant::now() + RECORD_AGAIN;
        }
        let later = Timestamp::now().checked_add(RECORD_AGAIN).ok();
        match self.store.load_state() {
            Ok(state) => {
                // The answers of checks that are under way do not count: they are made again.
                let checking = Checking {
                    next: later,
                    poking: self.pokes.on_their_way.clone(),
                    poke_at: later,
                    ..Checking::default()
                };
                self.state = State {
                    mode,
                    checking,
                    ..state
                };
            }
            Err(error) => tracing::error!(error = %error_chain(&error), "cannot read the database"),
        }
        match kept {
            // What the signal says holds also without a record.
            Some(Event::Stop) => self.state.mode = Mode::Stopping,
            Some(Event::Drain) => self.state.mode = Mode::Draining,
            _ => {}
        }
        self.unrecorded.extend(kept);
    }

    fn act(&mut self, decision: &Decision, attempts: Vec<Attempt>) {
        for attempt in attempts {
            self.start(attempt);
        }
        for effect in &decision.effects {
            match effect {
                Effect::Cancel(job) => {
                    if let Some(running) = self.running.get(job) {
                        running.cancel.ask();
                    }
                }
                Effect::Interrupt(job) => {
                    if let Some(running) = self.running.get(job) {
                        running.stop.ask();
                        running.cancel.ask();
                    }
                }
                // Begun above, with its directory; answered where it was asked.
                Effect::Start(_) | Effect::Queued(_) | Effect::Rebuilt { .. } | Effect::NotRebuilt { .. } => {}
                // Answered where it was announced.
                Effect::Wait { .. } | Effect::Go { .. } | Effect::Refuse { .. } => {}
                Effect::Poke(poke) => self.poke(*poke),
                Effect::LookAtBase { .. } | Effect::LookInside(_) | Effect::LookElsewhere { .. } => {
                    self.check(effect.clone(), None);
                }
            }
        }
    }

    fn start(&mut self, attempt: Attempt) {
        let Some(job) = self.state.jobs.get(&attempt.job).cloned() else {
            return;
        };
        let Some(project) = self.project_of(&job, &attempt) else {
            return;
        };
        let running = Running {
            cancel: Cancel::new(),
            stop: Cancel::new(),
            last: job.attempts + 1 >= self.config.retry.attempts,
        };
        if attempt.resume.is_none() && attempt.n > 1 {
            self.tidy_earlier(&attempt);
        }
        let abandoned = attempt
            .resume
            .as_ref()
            .filter(|plan| plan.stage == ReleaseStage::Abandoned);
        let abandoned = abandoned.map(|_| job.note.clone());
        let work = Work {
            attempt: attempt.n,
            dir: attempt.dir,
            resume: attempt.resume,
            goes_on: attempt.goes_on,
            is_needed: is_needed(&self.config, &self.state, &project),
            abandoned,
            last_good: self.last_good(&project),
            desk: self.desk.clone(),
            registries: self.registries.clone(),
            locks: self.locks.clone(),
            kaniko: self.config.kaniko.clone(),
            project,
            engine: self.engine.clone(),
            layout: self.layout.clone(),
            mirrors: self.mirrors.clone(),
            asker: self.polls.asker(),
            supervisor: self.supervisor.clone(),
            instance: self.store.instance().to_owned(),
            cancel: running.cancel.clone(),
            stop: running.stop.clone(),
            grace: self.config.grace,
            log_limit: self.config.log_limit,
            last: running.last,
            job,
        };
        let id = work.job.id;
        self.running.insert(id, running);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let finished = pipeline::run(work).await;
            // The loop is there for as long as an attempt is.
            let _ = tell.send(Happening::AttemptEnded { job: id, finished });
        });
    }

    /// As the config has it; if it has it no more, what finishing the release of a wave needs of it.
    fn project_of(&self, job: &Job, attempt: &Attempt) -> Option<Project> {
        if let Some(project) = self.config.projects.get(&job.project) {
            return Some(project.clone());
        }
        let plan = attempt
            .resume
            .as_ref()
            .filter(|plan| plan.stage == ReleaseStage::Moving)?;
        let project = &job.project;
        tracing::info!(job = job.id.0, %project, "the project was removed from the config: the release of its wave is finished");
        Some(pipeline::leaving(job, plan))
    }

    /// What earlier attempts left for a release is of no use to one that builds again.
    fn tidy_earlier(&self, attempt: &Attempt) {
        let Ok(Some(record)) = self.store.job(attempt.job) else {
            return;
        };
        let (project, reference) = (&record.job.project, &record.job.reference);
        for earlier in record.attempts.iter().filter(|earlier| earlier.dir != attempt.dir) {
            pipeline::tidy(&self.layout.running(project, reference, &earlier.dir), true);
        }
    }

    /// What the project's images were when they were last found good, if a job of it compares with that.
    fn last_good(&self, project: &Project) -> BTreeMap<(RefName, ImageName), LastGood> {
        if project.images.iter().all(|image| image.watch.is_empty()) {
            return BTreeMap::new();
        }
        let records = self.store.last_good(&project.name).unwrap_or_else(|error| {
            // Then all of them are built.
            tracing::error!(error = %error_chain(&error), "cannot read the database");
            BTreeMap::new()
        });
        let good = |record: ImageRecord| LastGood {
            commit: record.commit,
            job: record.job,
            fingerprint: record.result.fingerprint,
            released: record.result.status == ImageStatus::Released,
        };
        records.into_iter().map(|(key, record)| (key, good(record))).collect()
    }

    /// An attempt has something to tell, and waits for the answer.
    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::Announced(announced) => self.announced(announced),
            Told::Learned { job, learned, answer } => {
                let _ = answer.send(self.learned(job, learned));
            }
        }
    }

    fn learned(&mut self, job: JobId, learned: Learned) -> Result<GoOn, String> {
        let decision = self.decide(Event::Learned { job, learned }).ok_or_else(not_recorded)?;
        let answer = decision.effects.into_iter().find_map(|effect| match effect {
            Effect::Wait { job: of, why } if of == job => Some(GoOn::Wait(why)),
            Effect::Go { job: of, ground } if of == job => Some(GoOn::Go(ground)),
            _ => None,
        });
        // Of a job that is not running any more nothing is said: its attempt is being ended.
        answer.ok_or_else(|| "the job is not running any more".to_owned())
    }

    /// An attempt is about to release: it is told what it may move once that is on record.
    fn announced(&mut self, announced: Announced) {
        let Announced { job, plan, answer } = announced;
        let targets = plan.images.iter().flat_map(|image| &image.targets);
        let releases = match self.store.releases(targets) {
            Ok(releases) => releases,
            Err(error) => {
                let _ = answer.send(Err(Denied::Unrecorded(error_chain(&error))));
                return;
            }
        };
        let rebuild = self.state.jobs.get(&job).and_then(|job| job.rebuild.as_ref());
        let overtaken = overtaken(&plan, &releases, &self.state.releasing, job, rebuild);
        let result = match self.decide(Event::Releasing { job, plan }) {
            Some(decision) => {
                let refused = decision.effects.into_iter().find_map(|effect| match effect {
                    Effect::Refuse { job: of, again, why } if of == job => Some((again, why)),
                    _ => None,
                });
                let stage = self
                    .state
                    .releasing
                    .get(&job)
                    .map(|plan| plan.stage)
                    .unwrap_or_default();
                match refused {
                    Some((again, why)) => Err(Denied::Refused { again, why }),
                    None => Ok(Permit { overtaken, stage }),
                }
            }
            None => Err(Denied::Unrecorded(not_recorded())),
        };
        let _ = answer.send(result);
    }

    pub(super) fn attempt_ended(&mut self, id: JobId, finished: Finished) {
        let last = self.running.remove(&id).is_some_and(|running| running.last);
        if let Some(project) = self
            .state
            .jobs
            .get(&id)
            .and_then(|job| self.config.projects.get(&job.project))
        {
            self.tend_mirror(project);
        }
        self.decide(Event::AttemptEnded {
            job: id,
            result: finished.result,
            image_id: finished.image_id,
            images: finished.images,
            void: finished.void,
            last,
        });
    }

    /// Takes what waited for a release, and the `.tmp`, off a job whose success is on record. What a crash leaves undone here, the next start does.
    pub(super) fn publish(&self, record: &JobRecord) {
        let job = &record.job;
        let Some(attempt) = record.attempts.last() else {
            return;
        };
        let published = self
            .store
            .is_newest_success(job)
            .map_err(DaemonError::from)
            .and_then(|newest| {
                let (project, reference) = (&job.project, &job.reference);
                pipeline::tidy(&self.layout.running(project, reference, &attempt.dir), true);
                workdir::settle(&self.layout, project, reference, &attempt.dir, newest).map_err(DaemonError::from)
            });
        if let Err(error) = published {
            tracing::error!(job = job.id.0, error = %error_chain(&error), "cannot take the .tmp off a job that succeeded");
        }
    }

    /// A remote has something to tell to the projects that follow it.
    pub(super) fn listed(&mut self, listed: Listed) {
        let Listed {
            projects,
            remote,
            result,
        } = listed;
        let error = result.as_ref().err().map(ToString::to_string);
        self.tell_trouble(&remote, &projects, error.as_deref());
        for name in &projects {
            self.trouble(name, error.as_deref());
        }
        let Ok(Some(list)) = result else { return };
        for odd in &list.odd {
            let remote = mask_url(&remote);
            tracing::debug!(
                remote,
                reference = odd,
                "the remote has a ref whose name git does not allow: left out"
            );
        }
        let refs: Arc<BTreeMap<_, _>> = Arc::new(list.refs.into_iter().collect());
        for name in projects {
            if self.take_refs(&name, &refs).is_none() {
                // Not taken in: the next answer may be the same, and must be passed on all the same.
                self.polls.forget(&name);
            }
        }
    }

    fn take_refs(&mut self, name: &ProjectName, refs: &Arc<BTreeMap<RefName, CommitId>>) -> Option<()> {
        let project = self.config.projects.get(name).filter(|p| p.enabled)?;
        let known = self.state.projects.get(name).map(|seen| &seen.refs);
        let changed = refs
            .iter()
            .filter(|(reference, commit)| known.and_then(|k| k.get(*reference)) != Some(*commit))
            .filter(|(reference, _)| is_selected(project, reference));
        let settled = match self.store.settled(name, changed) {
            Ok(settled) => settled,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "cannot read the database");
                return None;
            }
        };
        let event = Event::RefsListed {
            project: name.clone(),
            refs: refs.clone(),
            settled,
        };
        self.decide(event).map(|_| ())
    }

    /// Of a project that is not asked any more, or in another way.
    pub(super) fn forget_trouble(&mut self, name: &ProjectName) {
        if self.troubles.remove(name).is_some() {
            self.record_trouble(name, None);
        }
    }

    fn record_trouble(&mut self, name: &ProjectName, error: Option<&str>) {
        if let Err(error) = self.store.note_poll(name, error, Timestamp::now()) {
            tracing::error!(error = %error_chain(&error), "cannot record a remote's trouble");
        }
    }

    /// Says a remote's trouble once when it begins or changes, and once when it is over.
    fn tell_trouble(&self, remote: &str, projects: &[ProjectName], error: Option<&str>) {
        let told = |name: &&ProjectName| self.troubles.get(*name).map(String::as_str) == error;
        let Some(project) = projects.iter().find(|name| !told(name)) else {
            return;
        };
        let (remote, others) = (mask_url(remote), projects.len() - 1);
        match error {
            Some(error) => {
                tracing::warn!(%project, others, error, "cannot ask the remote; asking again, less and less often");
            }
            None => tracing::info!(%project, others, remote, "the remote answers again"),
        }
    }

    fn trouble(&mut self, name: &ProjectName, error: Option<&str>) {
        if self.troubles.get(name).map(String::as_str) == error {
            return;
        }
        self.record_trouble(name, error);
        match error {
            Some(error) => self.troubles.insert(name.clone(), error.to_owned()),
            None => self.troubles.remove(name),
        };
    }

    /// Says in the log what was recorded, and shows on disk what succeeded.
    fn tell(&self, decision: &Decision) {
        for write in &decision.writes {
            if let Write::Poke(poke) = write {
                pokes::tell(poke);
            }
            let Write::Job { job, .. } = write else { continue };
            let (project, reference, commit) = (&job.project, &job.reference, job.commit.short());
            match &job.state {
                JobState::Done(Outcome::Succeeded) => {
                    tracing::info!(job = job.id.0, %project, %reference, commit, "succeeded");
                    match self.store.job(job.id) {
                        Ok(record) => record.iter().for_each(|record| self.publish(record)),
                        Err(error) => tracing::error!(error = %error_chain(&error), "cannot read the database"),
                    }
                }
                JobState::Done(Outcome::Skipped) => {
                    self.tidy_last(job);
                    tracing::debug!(job = job.id.0, %project, %reference, commit, why = job.cause, "skipped");
                }
                JobState::Done(outcome) => {
                    self.tidy_last(job);
                    tracing::info!(job = job.id.0, %project, %reference, commit, why = job.note, "{outcome}");
                }
                JobState::Queued { .. } => {
                    let cause = format!("{}: {}", job.reason.as_str(), job.cause);
                    let why = if job.note.is_empty() { &cause } else { &job.note };
                    tracing::info!(job = job.id.0, %project, %reference, commit, why, "queued");
                }
                JobState::Running { cancelling: false } => {
                    tracing::info!(job = job.id.0, %project, %reference, commit, "running");
                }
                JobState::Running { cancelling: true } => {
                    tracing::info!(job = job.id.0, %project, %reference, commit, "being cancelled");
                }
            }
        }
    }
}

/// Why nothing can be recorded.
fn not_recorded() -> String {
    "the database cannot be written to".to_owned()
}

/// Whether another project relies on this one, which has no images.
fn is_needed(config: &Config, state: &State, project: &Project) -> bool {
    let names = |upstream: &Upstream| upstream.project == project.name;
    let is_named = || {
        let others = config.projects.values().filter(|other| other.name != project.name);
        others.into_iter().any(|other| {
            let of_images = other.images.iter().flat_map(|image| &image.upstreams);
            other.upstreams.iter().chain(of_images).any(names)
        })
    };
    let key = remote_key(&project.remote);
    let is_linked = || state.updates.links.values().any(|links| links.remotes.contains(&key));
    project.images.is_empty() && (is_named() || is_linked())
}

/// What is a fact and would not come again is kept until it can be recorded; a look at a remote comes again by itself,
/// and a person is told.
fn waits_for_the_record(event: &Event) -> bool {
    match event {
        Event::Stop
        | Event::Drain
        | Event::Recovered
        | Event::ConfigChanged
        | Event::AttemptEnded { .. }
        | Event::Poked { .. } => true,
        // The attempt is told, and errors.
        Event::Learned { .. }
        | Event::Releasing { .. }
        | Event::RefsListed { .. }
        | Event::BuildRequested { .. }
        | Event::CancelRequested { .. }
        | Event::RebuildRequested { .. }
        | Event::RebuildAsked { .. }
        | Event::BaseSeen { .. }
        | Event::PackagesSeen { .. }
        | Event::ElsewhereSeen { .. }
        | Event::PokeAgain { .. }
        | Event::LookNow { .. }
        | Event::Tick => false,
    }
}
