//! Which remotes there are, and asking them when the schedule says so.
//!
//! It decides nothing about what a remote has: it passes on what it said, and keeps to itself that it said the same as
//! before. Projects that share a remote share the question. A remote that hangs holds up nobody.

use super::asking::Asking;
use crate::api;
use crate::config::{Config, Project};
use crate::git::{self, Asker, Digest, Limits, ListError, Memory, Question, RefList, Reply};
use crate::model::ProjectName;
use crate::pipeline::question;
use crate::process::{Cancel, Masks};
use crate::reconcile::{RemoteId, Schedule, Terms, Verdict};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;

/// A remote has said something new, or nothing.
#[derive(Debug)]
pub(super) struct Listed {
    /// Those that follow it.
    pub projects: Vec<ProjectName>,
    /// As it was asked: an answer of a remote that the config has changed since is not these projects' any more.
    pub remote: String,
    /// None: the same as before.
    pub result: Result<Option<RefList>, ListError>,
}

/// All remotes that are watched.
pub(super) struct Polls {
    asking: Asking,
    asker: Asker,
    limits: Limits,
    schedule: Schedule,
    /// When the schedule's time began.
    begin: Instant,
    remotes: HashMap<RemoteId, Remote>,
    ids: BTreeMap<Arc<Question>, RemoteId>,
    of_projects: BTreeMap<ProjectName, RemoteId>,
    next_id: RemoteId,
    /// Remotes on this machine whose refs have changed.
    changed: mpsc::UnboundedReceiver<String>,
    under_way: JoinSet<Ended>,
    tasks: HashMap<task::Id, RemoteId>,
    counts: Counts,
}

/// What was asked since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub asked: u64,
    pub unchanged: u64,
    pub failed: u64,
}

struct Remote {
    question: Arc<Question>,
    /// Of the question's secrets.
    masks: Masks,
    /// Sorted.
    projects: Vec<ProjectName>,
    /// Away while it is being asked.
    memory: Memory,
    /// Why git asks it, also while it does.
    fallback: Option<Box<str>>,
    /// The answer that was passed on.
    known: Option<Digest>,
    failing: bool,
    /// Of the question that is under way.
    cancel: Option<Cancel>,
}

struct Ended {
    id: RemoteId,
    memory: Memory,
    known: Option<Digest>,
    result: Result<Reply, ListError>,
}

/// What there is to tell of a remote.
#[derive(Debug)]
pub(super) struct Noteworthy<'a> {
    pub remote: &'a str,
    pub projects: &'a [ProjectName],
    pub failing: bool,
    /// Why git asks it.
    pub fallback: Option<&'a str>,
    /// Until it is asked again; none while it is asked, or waits for its turn.
    pub next: Option<Duration>,
}

impl Polls {
    pub fn new(asking: Asking, config: &Config) -> Self {
        let (tell, changed) = mpsc::unbounded_channel();
        let tell = move |remote: &str| {
            // Nobody wants to know any more when the daemon ends.
            let _ = tell.send(remote.to_owned());
        };
        let runner = asking.runner(asking.stop());
        Self {
            asker: Asker::new(config.workdir.clone(), runner, sockets(config), Some(Box::new(tell))),
            changed,
            asking,
            limits: limits(config),
            schedule: Schedule::new(config.polls_per_host),
            begin: Instant::now(),
            remotes: HashMap::new(),
            ids: BTreeMap::new(),
            of_projects: BTreeMap::new(),
            next_id: 0,
            under_way: JoinSet::new(),
            tasks: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// Watches what the config says and nothing else. Every remote's next answer is passed on whole, as patterns may
    /// have changed.
    pub fn watch(&mut self, config: &Config) {
        self.asker.refresh();
        self.limits = limits(config);
        self.schedule.set_per_host(config.polls_per_host);
        let now = self.begin.elapsed();
        let mut wanted: BTreeMap<Arc<Question>, (Duration, Vec<ProjectName>)> = BTreeMap::new();
        for project in config.projects.values().filter(|p| p.enabled) {
            let (interval, projects) = wanted
                .entry(Arc::new(question(project)))
                .or_insert_with(|| (project.interval, Vec::with_capacity(1)));
            *interval = project.interval.min(*interval);
            projects.push(project.name.clone());
        }
        let gone: Vec<Arc<Question>> = self.ids.keys().filter(|q| !wanted.contains_key(*q)).cloned().collect();
        for question in gone {
            self.drop_remote(&question);
        }
        self.of_projects.clear();
        let mut new = Vec::new();
        for (question, (interval, projects)) in wanted {
            let id = match self.ids.get(&question) {
                Some(id) => {
                    self.schedule.set_interval(*id, interval, now);
                    *id
                }
                None => {
                    let id = self.next_id;
                    self.next_id += 1;
                    new.push((id, terms(&question, interval, self.asking.instance())));
                    self.ids.insert(question.clone(), id);
                    id
                }
            };
            self.of_projects
                .extend(projects.iter().map(|project| (project.clone(), id)));
            let remote = self.remotes.entry(id).or_insert_with(|| Remote {
                masks: masks(&question),
                question,
                projects: Vec::new(),
                memory: Memory::default(),
                fallback: None,
                known: None,
                failing: false,
                cancel: None,
            });
            remote.projects = projects;
            remote.known = None;
            remote.memory.try_again();
        }
        // In an order of their own, so that those of one host are not all asked at the same time.
        new.sort_by_key(|(_, terms)| terms.seed);
        self.schedule.add(new, now);
    }

    fn drop_remote(&mut self, question: &Arc<Question>) {
        let Some(id) = self.ids.remove(question) else { return };
        self.schedule.remove(id);
        if let Some(remote) = self.remotes.remove(&id) {
            if let Some(cancel) = &remote.cancel {
                cancel.insist();
            }
            self.asker.drop_remote(&question.remote);
        }
    }

    /// Asks nobody any more.
    pub fn clear(&mut self) {
        let all: Vec<Arc<Question>> = self.ids.keys().cloned().collect();
        all.iter().for_each(|question| self.drop_remote(question));
        self.of_projects.clear();
    }

    /// Ends all questions at once, for they have nothing to lose, and waits until no process of theirs is left.
    pub async fn end(&mut self) {
        self.clear();
        while self.under_way.join_next().await.is_some() {}
        self.asker.end().await;
        self.asking.end().await;
    }

    /// Asks now: one project's remote, or all. Answers how many; none if the project is not watched.
    pub fn poke(&mut self, project: Option<&ProjectName>) -> Option<usize> {
        let ids: Vec<RemoteId> = match project {
            None => self.remotes.keys().copied().collect(),
            Some(name) => vec![*self.of_projects.get(name)?],
        };
        for id in &ids {
            self.schedule.poke(*id);
        }
        Some(ids.len())
    }

    fn poke_remote(&mut self, remote: &str) {
        let first = Question {
            remote: remote.to_owned(),
            env: Vec::new(),
            secrets: BTreeSet::new(),
        };
        let all = self
            .ids
            .range(first..)
            .take_while(|(question, _)| question.remote == remote);
        let ids: Vec<RemoteId> = all.map(|(_, id)| *id).collect();
        ids.into_iter().for_each(|id| self.schedule.poke(id));
    }

    /// The project's next answer is passed on whole, also if it is the same as before.
    pub fn forget(&mut self, project: &ProjectName) {
        if let Some(remote) = self.of_projects.get(project).and_then(|id| self.remotes.get_mut(id)) {
            remote.known = None;
        }
    }

    /// The connections, for whoever else needs them.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Watched projects.
    pub fn projects(&self) -> usize {
        self.of_projects.len()
    }

    /// Watched remotes.
    pub fn remotes(&self) -> usize {
        self.remotes.len()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Remotes that fail, or that only git can ask.
    pub fn noteworthy(&self) -> impl Iterator<Item = Noteworthy<'_>> {
        let now = self.begin.elapsed();
        self.remotes.iter().filter_map(move |(id, remote)| {
            let fallback = remote.fallback.as_deref();
            (remote.failing || fallback.is_some()).then(|| Noteworthy {
                remote: &remote.question.remote,
                projects: &remote.projects,
                failing: remote.failing,
                fallback,
                next: self.schedule.next_look(*id).map(|next| next.saturating_sub(now)),
            })
        })
    }

    /// Asks one remote aside from the schedule.
    pub fn ask_aside(&self, project: &Project) -> impl Future<Output = Result<RefList, ListError>> + Send + use<> {
        let (asker, limits) = (self.asker.clone(), self.limits);
        let question = question(project);
        let mut runner = self.asking.runner(self.asking.stop());
        runner.masks = masks(&question);
        async move {
            match asker
                .ask(&runner, &question, &limits, &mut Memory::default(), None)
                .await?
            {
                Reply::Refs { list, .. } => Ok(list),
                // Nothing is known, so nothing is the same.
                Reply::Unchanged => Ok(RefList::default()),
            }
        }
    }

    /// Asks what is due, again and again, until a remote has something to tell. May be dropped and called again.
    pub async fn turn(&mut self) -> Listed {
        loop {
            for id in self.schedule.due(self.begin.elapsed()) {
                self.ask(id);
            }
            let wake = self.schedule.next_wake().map(|at| self.begin + at);
            tokio::select! {
                Some(ended) = self.under_way.join_next_with_id() => {
                    if let Some(listed) = self.joined(ended) {
                        return listed;
                    }
                }
                Some(remote) = self.changed.recv() => self.poke_remote(&remote),
                () = until(wake) => {}
            }
        }
    }

    fn ask(&mut self, id: RemoteId) {
        let Some(remote) = self.remotes.get_mut(&id) else {
            return;
        };
        let cancel = Cancel::new();
        remote.cancel = Some(cancel.clone());
        let (asker, limits, mut runner) = (self.asker.clone(), self.limits, self.asking.runner(cancel));
        runner.masks = remote.masks.clone();
        let (question, known) = (remote.question.clone(), remote.known);
        let mut memory = std::mem::take(&mut remote.memory);
        let task = self.under_way.spawn(async move {
            let result = asker.ask(&runner, &question, &limits, &mut memory, known).await;
            Ended {
                id,
                memory,
                known,
                result,
            }
        });
        self.tasks.insert(task.id(), id);
    }

    fn joined(&mut self, ended: Result<(task::Id, Ended), JoinError>) -> Option<Listed> {
        let ended = match ended {
            Ok((task, ended)) => {
                self.tasks.remove(&task);
                ended
            }
            // Only a panic ends a task without an answer. It must not be the end of all looks at that remote.
            Err(error) => Ended {
                id: self.tasks.remove(&error.id())?,
                memory: Memory::default(),
                known: None,
                result: Err(ListError::Command(format!("a mistake in pipelined itself: {error}"))),
            },
        };
        self.ended(ended)
    }

    fn ended(&mut self, ended: Ended) -> Option<Listed> {
        let Ended {
            id,
            memory,
            known,
            result,
        } = ended;
        let remote = self.remotes.get_mut(&id)?;
        if remote.fallback.as_deref() != memory.fallback() {
            remote.fallback = memory.fallback().map(Into::into);
        }
        remote.memory = memory;
        remote.cancel = None;
        self.counts.asked += 1;
        let was_failing = std::mem::replace(&mut remote.failing, result.is_err());
        let now = self.begin.elapsed();
        self.schedule.answered(id, verdict(&result), now);
        let result = match result {
            Ok(Reply::Unchanged) => {
                self.counts.unchanged += 1;
                if remote.known != known {
                    // It was forgotten meanwhile, and nobody has read this answer.
                    self.schedule.poke(id);
                    return None;
                }
                if !was_failing {
                    return None;
                }
                Ok(None)
            }
            Ok(Reply::Refs { list, digest }) => {
                remote.known = Some(digest);
                Ok(Some(list))
            }
            Err(error) => {
                self.counts.failed += 1;
                Err(error)
            }
        };
        Some(Listed {
            projects: remote.projects.clone(),
            remote: remote.question.remote.clone(),
            result,
        })
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn verdict(result: &Result<Reply, ListError>) -> Verdict {
    match result {
        Ok(_) => Verdict::Fine,
        Err(error) => Verdict::Failed {
            silent: matches!(error, ListError::TimedOut { .. }),
            pause: match error {
                ListError::Busy { wait, .. } => *wait,
                _ => None,
            },
        },
    }
}

/// Where a socket is nobody else's.
fn sockets(config: &Config) -> PathBuf {
    api::runtime_directory().unwrap_or_else(|| config.workdir.clone())
}

fn limits(config: &Config) -> Limits {
    Limits::new(config.poll_timeout, config.poll_size_limit)
}

/// A question has only secrets of which there are masks.
fn masks(question: &Question) -> Masks {
    question.masks().unwrap_or_default()
}

fn terms(question: &Question, interval: Duration, instance: &str) -> Terms {
    // Two daemons shall not ask one server in the same moment.
    let mut hasher = DefaultHasher::new();
    (question, instance).hash(&mut hasher);
    Terms {
        interval,
        host: git::host_of(&question.remote),
        seed: hasher.finish(),
    }
}
