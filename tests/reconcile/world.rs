//! Remotes, a planner and a store, driven as the daemon drives them; every event is checked against the promises.

use jiff::{SignedDuration, Timestamp};
use pipelined::config::{Config, EngineKind, Initial, LogConfig, LogFormat, Pattern, Project, Retry};
use pipelined::model::{
    CommitId, Failure, FailureKind, Job, JobId, JobState, Memo, Mode, Outcome, ProjectName, Reason, RefName,
    ReleasePlan, ReleaseStage, State, Step, Write,
};
use pipelined::reconcile::{Decision, Effect, Event, handle, is_selected};
use pipelined::store::{JobFilter, JobRecord, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const MAX_DELAY: i64 = 60;

pub fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

/// `main` is a branch, `v1` is a tag.
pub fn reference(short: &str) -> RefName {
    let kind = if short.starts_with('v') { "tags" } else { "heads" };
    RefName::new(format!("refs/{kind}/{short}")).unwrap()
}

pub fn commit(n: u32) -> CommitId {
    CommitId::new(format!("{n:08x}").repeat(5)).unwrap()
}

pub fn patterns(list: &[&str]) -> Vec<Pattern> {
    list.iter().map(|p| Pattern::new(*p).unwrap()).collect()
}

/// Follows all branches and tags.
pub fn watched(name: &str) -> Project {
    Project {
        upstreams: std::collections::BTreeSet::new(),
        interval: Duration::from_secs(60),
        name: project(name),
        enabled: true,
        remote: format!("/srv/{name}.git"),
        branches: patterns(&["*"]),
        tags: patterns(&["*"]),
        initial: Initial::Heads,
        shallow: true,
        submodules: false,
        timeout: Duration::from_secs(1),
        callback_timeout: Duration::from_secs(1),
        env: Vec::new(),
        prepare_callback: None,
        success_callback: None,
        error_callback: None,
        images: Vec::new(),
        run: None,
        rsync: None,
    }
}

pub fn config(limit: usize, projects: &[&str]) -> Config {
    Config {
        poll_size_limit: 1 << 20,
        polls_per_host: 4,
        limit,
        interval: Duration::from_secs(60),
        workdir: "/w".into(),
        engine: EngineKind::Podman,
        kaniko: None,
        registries: BTreeMap::new(),
        listen: None,
        hooks: BTreeMap::new(),
        grace: Duration::from_secs(1),
        poll_timeout: Duration::from_secs(1),
        log_limit: 1,
        retry: Retry {
            attempts: 3,
            delay: Duration::from_secs(30),
            max_delay: Duration::from_secs(MAX_DELAY.unsigned_abs()),
        },
        log: LogConfig {
            level: tracing::Level::INFO,
            format: LogFormat::Text,
            dir: None,
            keep: 1,
        },
        watch_config: false,
        projects: projects.iter().map(|p| (project(p), watched(p))).collect(),
    }
}

pub struct World {
    pub store: Store,
    dir: tempfile::TempDir,
    pub state: State,
    pub config: Config,
    pub now: Timestamp,
    pub remotes: BTreeMap<ProjectName, BTreeMap<RefName, CommitId>>,
    done: BTreeMap<JobId, Outcome>,
    numbers: BTreeMap<ProjectName, i64>,
    directories: BTreeSet<(ProjectName, RefName, String)>,
    events: usize,
}

/// Whoever remembers nothing comes to the same decision, and to the same state.
pub fn check_memory(mut before: State, config: &Config, now: Timestamp, event: Event, after: (&Decision, &State)) {
    before.graph = Memo::default();
    let told = format!("{event:?}");
    let decision = handle(&mut before, config, now, event);
    assert_eq!(after.0, &decision, "what is remembered is old, at {told}");
    assert_eq!(after.1, &before, "what is remembered is old, at {told}");
}

impl World {
    pub fn new(config: Config) -> Self {
        // In memory where there is such a place: durability is not what is tested here.
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let store = Store::open(dir.path()).unwrap();
        Self {
            state: store.load_state().unwrap(),
            store,
            dir,
            config,
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            remotes: BTreeMap::new(),
            done: BTreeMap::new(),
            numbers: BTreeMap::new(),
            directories: BTreeSet::new(),
            events: 0,
        }
    }

    pub fn push(&mut self, name: &str, short: &str, n: u32) {
        let refs = self.remotes.entry(project(name)).or_default();
        refs.insert(reference(short), commit(n));
    }

    pub fn delete(&mut self, name: &str, short: &str) {
        let refs = self.remotes.entry(project(name)).or_default();
        refs.remove(&reference(short));
    }

    /// What the daemon makes of a remote's answer.
    fn listed(&self, name: &ProjectName) -> Event {
        let refs = self.remotes.get(name).cloned().unwrap_or_default();
        let known = self.state.projects.get(name).map(|seen| &seen.refs);
        let changed = refs
            .iter()
            .filter(|(reference, commit)| known.and_then(|k| k.get(*reference)) != Some(*commit));
        Event::RefsListed {
            project: name.clone(),
            settled: self.store.settled(name, changed).unwrap(),
            refs: refs.into(),
        }
    }

    pub fn poll(&mut self, name: &str) -> Decision {
        let name = project(name);
        let event = self.listed(&name);
        let decision = self.event(event);
        let again = self.listed(&name);
        let mut copy = self.state.clone();
        let replayed = handle(&mut copy, &self.config, self.now, again);
        assert_eq!(replayed, Decision::default(), "a second look at the same remote");
        if let Some(watched) = self.config.projects.get(&name).filter(|p| p.enabled)
            && self.state.mode == Mode::Normal
        {
            let refs = self.remotes.get(&name).cloned().unwrap_or_default();
            let missed = refs
                .iter()
                .filter(|(reference, _)| is_selected(watched, reference))
                .find(|tip| {
                    !self.state.live(&name, tip.0).any(|job| job.commit == *tip.1) && !self.is_settled(&name, *tip)
                });
            assert_eq!(missed, None, "a tip that a poll saw has neither a job nor an outcome");
        }
        decision
    }

    pub fn is_settled(&self, name: &ProjectName, tip: (&RefName, &CommitId)) -> bool {
        !self.store.settled(name, std::iter::once(tip)).unwrap().is_empty()
    }

    pub fn build(&mut self, name: &str, short: &str) -> Decision {
        let tip = self
            .remotes
            .get(&project(name))
            .and_then(|refs| refs.get(&reference(short)))
            .cloned();
        let Some(commit) = tip else { return Decision::default() };
        self.event(Event::BuildRequested {
            project: project(name),
            reference: reference(short),
            commit,
        })
    }

    pub fn cancel(&mut self, job: JobId) -> Decision {
        self.event(Event::CancelRequested { job })
    }

    /// What the daemon tells an attempt when it begins.
    fn is_last(&self, job: JobId) -> bool {
        let attempts = self.state.jobs.get(&job).map_or(0, |job| job.attempts);
        attempts + 1 >= self.config.retry.attempts
    }

    pub fn end_ok(&mut self, job: JobId) -> Decision {
        let last = self.is_last(job);
        self.event(Event::AttemptEnded {
            job,
            result: Ok(()),
            image_id: Some(format!("sha256:{job}")),
            images: Vec::new(),
            void: false,
            last,
        })
    }

    /// The attempt says that its release begins.
    pub fn release(&mut self, job: JobId) -> Decision {
        let plan = ReleasePlan::default();
        self.event(Event::Releasing { job, plan })
    }

    pub fn end(&mut self, job: JobId, kind: FailureKind) -> Decision {
        let last = self.is_last(job);
        self.event(Event::AttemptEnded {
            job,
            result: Err((Step::Build, Failure::new(kind, "no"))),
            image_id: None,
            images: Vec::new(),
            void: false,
            last,
        })
    }

    pub fn pass(&mut self, seconds: i64) -> Decision {
        self.now += SignedDuration::from_secs(seconds);
        self.event(Event::Tick)
    }

    pub fn reload(&mut self) -> Decision {
        self.event(Event::ConfigChanged)
    }

    /// `kill -9` and a start.
    pub fn crash(&mut self) -> Decision {
        self.store = Store::open(self.dir.path()).unwrap();
        self.state = self.store.load_state().unwrap();
        let mut decision = self.event(Event::Recovered);
        let second = self.event(Event::ConfigChanged);
        decision.writes.extend(second.writes);
        decision.effects.extend(second.effects);
        decision
    }

    pub fn live(&self) -> Vec<JobId> {
        self.state.jobs.keys().copied().collect()
    }

    pub fn running(&self) -> Vec<JobId> {
        let running = self.state.jobs.values().filter(|job| job.is_running());
        running.map(|job| job.id).collect()
    }

    /// All jobs ever, as the store has them.
    pub fn records(&self) -> Vec<JobRecord> {
        self.store.jobs(&JobFilter::default()).unwrap()
    }

    pub fn job(&self, id: i64) -> Job {
        self.store.job(JobId(id)).unwrap().unwrap().job
    }

    /// One short line a job: `1 main 00000001 succeeded`.
    pub fn story(&self) -> Vec<String> {
        self.records()
            .iter()
            .map(|JobRecord { job, .. }| {
                let state = match job.state {
                    JobState::Queued { not_before: None } => "queued",
                    JobState::Queued { .. } => "backoff",
                    JobState::Running { .. } => "running",
                    JobState::Done(outcome) => outcome.as_str(),
                };
                format!(
                    "{} {} {} {state}",
                    job.number,
                    job.reference.short(),
                    job.commit.short().trim_start_matches('0')
                )
            })
            .collect()
    }

    /// Takes an event as the daemon does: decide, commit, and only then believe it.
    pub fn event(&mut self, event: Event) -> Decision {
        let before = self.state.clone();
        let decision = handle(&mut self.state, &self.config, self.now, event.clone());
        self.events += 1;
        // At every second event, which is cheaper; each is met in some case.
        if self.events.is_multiple_of(2) {
            let (before, event) = (before.clone(), event.clone());
            check_memory(before, &self.config, self.now, event, (&decision, &self.state));
        }
        self.check_writes(&before, &event, &decision);
        self.check_starts(&before, &decision);
        let begun = self.store.commit(&decision.writes, self.now, &|_, _, _| true).unwrap();
        for attempt in begun {
            let job = &self.state.jobs[&attempt.job];
            let key = (job.project.clone(), job.reference.clone(), attempt.dir);
            assert!(
                self.directories.insert(key.clone()),
                "a directory for two attempts: {key:?}"
            );
        }
        let mut stored = self.store.load_state().unwrap();
        stored.mode = self.state.mode;
        stored.checking = self.state.checking.clone();
        assert_eq!(stored, self.state, "the record after {event:?}");
        self.check_replay(event);
        decision
    }

    fn check_writes(&mut self, before: &State, event: &Event, decision: &Decision) {
        let mut known: BTreeSet<JobId> = before.jobs.keys().copied().collect();
        for write in &decision.writes {
            let job = match write {
                Write::Job { job, .. } => job,
                Write::Attempt(id)
                | Write::AttemptWaits(id)
                | Write::AttemptEnd { job: id, .. }
                | Write::Releasing { job: id, .. } => {
                    assert!(!self.done.contains_key(id), "{write:?} of a job that has its outcome");
                    continue;
                }
                Write::Ref { .. }
                | Write::Selection { .. }
                | Write::Base { .. }
                | Write::Packages { .. }
                | Write::Elsewhere { .. }
                | Write::Links { .. }
                | Write::Thing { .. }
                | Write::Scheduled { .. }
                | Write::Poke(_)
                | Write::Tried { .. } => continue,
            };
            assert!(!self.done.contains_key(&job.id), "a second word about {job:?}");
            if known.insert(job.id) {
                let last = self.numbers.entry(job.project.clone()).or_default();
                if job.state == JobState::Done(Outcome::Skipped) {
                    assert_eq!(job.number, 0);
                } else {
                    *last += 1;
                    assert_eq!(job.number, *last, "numbers without gaps");
                }
            }
            if let JobState::Done(outcome) = job.state {
                self.done.insert(job.id, outcome);
                // An attempt that finds its commit gone says so itself, and is none that releases.
                let by_itself = matches!(event, Event::AttemptEnded { .. });
                assert!(
                    outcome != Outcome::Superseded || by_itself || !before.releasing.contains_key(&job.id),
                    "a release that has begun was superseded: {job:?}"
                );
                let by_poll = matches!(event, Event::RefsListed { .. });
                let asked_for = before.jobs.get(&job.id).is_some_and(|job| job.reason == Reason::Manual);
                assert!(
                    !(by_poll && asked_for),
                    "a poll ended a job that was asked for: {job:?}"
                );
            }
        }
        for id in known {
            assert_ne!(self.state.jobs.contains_key(&id), self.done.contains_key(&id));
        }
    }

    fn check_starts(&self, before: &State, decision: &Decision) {
        let running: Vec<&Job> = self.state.jobs.values().filter(|job| job.is_running()).collect();
        let refs: BTreeSet<_> = running.iter().map(|job| (&job.project, &job.reference)).collect();
        assert_eq!(refs.len(), running.len(), "two jobs of a ref run at once");
        // The references of a wave all move, whatever the config says by then.
        let is_watched = |job: &Job| {
            let plan = self.state.releasing.get(&job.id);
            let is_moving = job.atomic.is_some() && plan.is_some_and(|plan| plan.stage == ReleaseStage::Moving);
            is_moving || self.config.projects.get(&job.project).is_some_and(|p| p.enabled)
        };
        let mut queued = self.state.jobs.values().filter(|job| job.is_queued());
        let unwatched = queued.find(|job| !is_watched(job));
        assert_eq!(unwatched, None, "waits for a project that is not watched");
        for effect in &decision.effects {
            let Effect::Start(id) = effect else { continue };
            assert!(running.len() <= self.config.limit, "started beyond the limit");
            assert_ne!(before.mode, Mode::Stopping, "started while stopping");
            assert!(is_watched(&self.state.jobs[id]), "started for a project that is off");
            assert!(decision.writes.contains(&Write::Attempt(*id)));
        }
    }

    fn check_replay(&self, event: Event) {
        match &event {
            // Asking twice is two wishes.
            Event::Recovered
            | Event::BuildRequested { .. }
            | Event::RebuildRequested { .. }
            | Event::RebuildAsked { .. } => return,
            // Whoever asks twice is answered twice.
            Event::Learned { .. } => return,
            // Failures are counted.
            Event::BaseSeen { result: Err(_), .. }
            | Event::PackagesSeen { result: Err(_), .. }
            | Event::ElsewhereSeen { result: Err(_), .. } => return,
            // An attempt that was interrupted for no reason of ours starts again at once: there is another to end.
            Event::AttemptEnded { job, .. } if self.state.jobs.get(job).is_some_and(Job::is_running) => return,
            _ => {}
        }
        let mut copy = self.state.clone();
        let mut replayed = handle(&mut copy, &self.config, self.now, event.clone());
        if event == Event::Stop {
            // Said again, in case the first was not heard.
            replayed
                .effects
                .retain(|effect| !matches!(effect, Effect::Interrupt(_)));
        }
        // Who asks again is answered again.
        replayed
            .effects
            .retain(|effect| !matches!(effect, Effect::Go { .. } | Effect::Wait { .. } | Effect::Refuse { .. }));
        assert_eq!(replayed, Decision::default(), "replayed {event:?}");
        assert_eq!(copy, self.state);
    }

    /// Every job on record is either done, as was said once, or live.
    pub fn check_record(&self) {
        for JobRecord { job, .. } in self.records() {
            match job.state {
                JobState::Done(outcome) => assert_eq!(self.done.get(&job.id), Some(&outcome)),
                _ => assert_eq!(self.state.jobs.get(&job.id), Some(&job)),
            }
        }
    }
}
