//! What people ask for through the socket.

use super::core::Daemon;
use super::happening::Happening;
use super::polls::{Counts, Noteworthy};
use crate::api::{Cancelled, Command, DaemonStatus, PollStatus, Refused, RegistryStatus, RemoteStatus};
use crate::config::Project;
use crate::git::RefList;
use crate::model::{CommitId, JobId, Mode, ProjectName, RefName, mask_url};
use crate::reconcile::{Effect, Event, is_selected};
use jiff::Timestamp;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

type BuildAnswer = oneshot::Sender<Result<JobId, Refused>>;

impl Daemon {
    /// Answers now, or has a task ask a remote first. Whoever does not wait for the answer any more gets none.
    pub(super) fn request(&mut self, command: Command) {
        match command {
            Command::Status(answer) => {
                let _ = answer.send(Ok(self.status()));
            }
            Command::Build {
                project,
                reference,
                answer,
            } => self.resolve(project, reference, answer),
            Command::Rebuild { asked, answer } => {
                let _ = answer.send(self.rebuild_asked(asked));
            }
            Command::Cancel { jobs, answer } => {
                let _ = answer.send(self.cancel(&jobs));
            }
            Command::Poll { project, answer } => {
                let _ = answer.send(self.poll(project.as_ref()));
            }
            Command::Pokes { asked, answer } => {
                let _ = answer.send(self.pokes_asked(&asked));
            }
            Command::Updates { asked, answer } => {
                let _ = answer.send(self.updates_asked(&asked));
            }
            Command::UpdatesRound { round, answer } => {
                let _ = answer.send(self.updates_round(round));
            }
            Command::Hook { sender, hints, answer } => {
                let _ = answer.send(Ok(self.hooked(sender, &hints)));
            }
            Command::Reload(answer) => {
                let outcome = self.reload().map_err(Refused);
                self.reloaded = Some((answer, outcome));
            }
        }
    }

    fn status(&self) -> DaemonStatus {
        DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started.to_string(),
            mode: match self.state.mode {
                Mode::Normal => "running",
                Mode::Draining => "draining",
                Mode::Stopping => "stopping",
            }
            .to_owned(),
            limit: self.config.limit,
            config: self.options.config.display().to_string(),
            polls: self.poll_status(),
            registries: self.registry_status(),
            hooks: self.listening.hooks().status(self.listening.at()),
        }
    }

    /// Registries that count what is pulled, and those that want to be left alone for a while.
    fn registry_status(&self) -> Vec<RegistryStatus> {
        let mut known: BTreeMap<String, RegistryStatus> = BTreeMap::new();
        let none = |registry: &String| RegistryStatus {
            registry: registry.clone(),
            limit: None,
            remaining: None,
            window: None,
            paused_until: None,
        };
        for reading in self.registries.limits() {
            let status = known.entry(reading.registry.clone()).or_insert_with_key(none);
            (status.limit, status.remaining) = (Some(reading.limit), Some(reading.remaining));
            status.window = reading.window.map(|window| window.as_secs());
        }
        for pause in self.registries.pauses() {
            let status = known.entry(pause.host.clone()).or_insert_with_key(none);
            status.paused_until = Some(pause.until);
        }
        known.into_values().collect()
    }

    fn poll_status(&self) -> PollStatus {
        let now = Timestamp::now();
        let Counts {
            asked,
            unchanged,
            failed,
        } = self.polls.counts();
        let remote = |noteworthy: Noteworthy<'_>| RemoteStatus {
            remote: mask_url(noteworthy.remote),
            projects: noteworthy.projects.to_vec(),
            failing: noteworthy.failing,
            fallback: noteworthy.fallback.map(str::to_owned),
            next: noteworthy.next.and_then(|wait| now.checked_add(wait).ok()),
        };
        PollStatus {
            remotes: self.polls.remotes(),
            asked,
            unchanged,
            failed,
            noteworthy: self.polls.noteworthy().map(remote).collect(),
        }
    }

    fn poll(&mut self, project: Option<&ProjectName>) -> Result<usize, Refused> {
        self.polls
            .poke(project)
            .ok_or_else(|| Refused(project.map_or_else(String::new, |name| unknown(name).0)))
    }

    fn cancel(&mut self, jobs: &[JobId]) -> Result<Cancelled, Refused> {
        let mut cancelled = Cancelled::default();
        for id in jobs {
            let Some(job) = self.state.jobs.get(id) else { continue };
            match self.state.is_moving_with_its_wave(job) {
                true => cancelled.finishing.push(*id),
                false => cancelled.jobs.push(*id),
            }
        }
        for job in cancelled.jobs.iter().chain(&cancelled.finishing) {
            if self.decide(Event::CancelRequested { job: *job }).is_none() {
                return Err(cannot_record());
            }
        }
        Ok(cancelled)
    }

    fn resolve(&self, name: ProjectName, wanted: Option<String>, answer: BuildAnswer) {
        if self.state.mode != Mode::Normal {
            let _ = answer.send(Err(Refused("the daemon is stopping: it takes no new jobs".to_owned())));
            return;
        }
        let Some(project) = self.config.projects.get(&name).filter(|p| p.enabled).cloned() else {
            let _ = answer.send(Err(unknown(&name)));
            return;
        };
        let asked = self.polls.ask_aside(&project);
        let tell = self.tell.clone();
        self.asking.tasks.spawn(async move {
            let found = asked
                .await
                .map_err(|error| Refused(error.to_string()))
                .and_then(|list| find(&project, &list, wanted.as_deref()));
            match found {
                Ok((reference, commit)) => {
                    // The loop outlives its tasks; if it is gone, so is the person's connection.
                    let _ = tell.send(Happening::Resolved {
                        project: name,
                        reference,
                        commit,
                        answer,
                    });
                }
                Err(refused) => {
                    let _ = answer.send(Err(refused));
                }
            }
        });
    }

    pub(super) fn build_requested(
        &mut self,
        project: ProjectName,
        reference: RefName,
        commit: CommitId,
        answer: BuildAnswer,
    ) {
        if answer.is_closed() {
            // Whoever asked was told that there was no answer; nothing may come of it then.
            return;
        }
        let event = Event::BuildRequested {
            project: project.clone(),
            reference,
            commit,
        };
        let result = match self.decide(event) {
            None => Err(cannot_record()),
            Some(decision) => decision
                .effects
                .iter()
                .find_map(|effect| match effect {
                    Effect::Queued(id) => Some(*id),
                    _ => None,
                })
                .ok_or_else(|| unknown(&project)),
        };
        let _ = answer.send(result);
    }
}

fn unknown(name: &ProjectName) -> Refused {
    Refused(format!(
        "there is no enabled project {name} in the config that is in force"
    ))
}

pub(super) fn cannot_record() -> Refused {
    Refused("the database cannot be written to: the daemon's log says why".to_owned())
}

/// The ref that a person means. Pure.
fn find(project: &Project, list: &RefList, wanted: Option<&str>) -> Result<(RefName, CommitId), Refused> {
    let candidates: Vec<&(RefName, CommitId)> = match wanted {
        Some(wanted) => list
            .refs
            .iter()
            .filter(|(name, _)| name.as_bytes() == wanted.as_bytes() || **name.short() == *wanted.as_bytes())
            .collect(),
        None => list
            .refs
            .iter()
            .filter(|(name, _)| name.kind() == crate::model::RefKind::Branch && is_selected(project, name))
            .collect(),
    };
    let exact = candidates
        .iter()
        .find(|(name, _)| wanted.is_some_and(|w| name.as_bytes() == w.as_bytes()));
    if let Some((name, commit)) = exact {
        return Ok((name.clone(), commit.clone()));
    }
    match (candidates.as_slice(), wanted) {
        ([(name, commit)], _) => Ok((name.clone(), commit.clone())),
        ([], Some(wanted)) => Err(Refused(format!("the remote of {} has no ref {wanted}", project.name))),
        ([], None) => Err(Refused(format!(
            "the remote of {} has no branch that is followed",
            project.name
        ))),
        (several, _) => {
            let names: Vec<String> = several.iter().take(10).map(|(name, _)| name.to_string()).collect();
            Err(Refused(format!("say which ref: {}", names.join(", "))))
        }
    }
}
