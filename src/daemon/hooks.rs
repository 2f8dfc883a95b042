//! What webhooks lead to: looks that would have come anyway, only now.
//!
//! It must never do what a poll or a check would not, nor more often than once a second for one project, however many
//! hooks there are.

use super::core::Daemon;
use super::happening::Happening;
use crate::api::Looks;
use crate::config::Config;
use crate::hooks::Hint;
use crate::model::{ImageRef, ProjectName, Sender, remote_key};
use crate::reconcile::{Event, bases_at};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

/// Between two questions to one project's remote because of hooks.
const GAP: Duration = Duration::from_secs(1);
/// So much of what a hook names is said in the log.
const TOLD: usize = 5;

/// Who follows which remote.
#[derive(Debug, Default)]
pub(super) struct Followers(HashMap<String, Vec<ProjectName>>);

impl Followers {
    /// Of a config; made once for each, as a hook must cost little.
    pub fn of(config: &Config) -> Self {
        let mut followers: HashMap<String, Vec<ProjectName>> = HashMap::new();
        for project in config.projects.values().filter(|project| project.enabled) {
            let key = remote_key(&project.remote);
            followers.entry(key).or_default().push(project.name.clone());
        }
        Self(followers)
    }
}

/// Many hooks within a moment are one question, and it is asked after the last of them.
#[derive(Debug, Default)]
pub(super) struct Gate {
    passed: HashMap<ProjectName, Instant>,
    waiting: HashSet<ProjectName>,
}

/// When a project that was named is asked.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    Now,
    /// After this.
    After(Duration),
    /// It waits already.
    Waits,
}

impl Gate {
    fn knock(&mut self, project: &ProjectName, now: Instant) -> Pass {
        if self.waiting.contains(project) {
            return Pass::Waits;
        }
        self.passed
            .retain(|_, passed| now.saturating_duration_since(*passed) < GAP);
        match self.passed.get(project) {
            Some(passed) => {
                self.waiting.insert(project.clone());
                Pass::After(GAP - now.saturating_duration_since(*passed))
            }
            None => {
                self.passed.insert(project.clone(), now);
                Pass::Now
            }
        }
    }

    fn open(&mut self, project: &ProjectName, now: Instant) {
        self.waiting.remove(project);
        self.passed.insert(project.clone(), now);
    }
}

impl Daemon {
    /// Somebody says that these have changed.
    pub(super) fn hooked(&mut self, sender: Sender, hints: &[Hint]) -> Looks {
        let mut projects: BTreeSet<ProjectName> = BTreeSet::new();
        let mut images: BTreeSet<ImageRef> = BTreeSet::new();
        for hint in hints {
            match hint {
                Hint::Remote(key) => projects.extend(self.followers.0.get(key).into_iter().flatten().cloned()),
                Hint::Project(name) => {
                    let project = self.config.projects.get(name).filter(|project| project.enabled);
                    projects.extend(project.map(|project| project.name.clone()));
                }
                Hint::Image(image) => {
                    images.insert(image.clone());
                }
            }
        }
        let looks = Looks {
            projects: projects.len(),
            bases: match images.is_empty() {
                true => 0,
                false => bases_at(&self.state, &self.config, &images).len(),
            },
        };
        let (sender, named) = (sender.as_str(), &hints[..hints.len().min(TOLD)]);
        match looks == Looks::default() {
            true => tracing::debug!(sender, ?named, "a webhook names nothing that is known here"),
            false => tracing::debug!(sender, ?named, looks.projects, looks.bases, "a webhook: looking now"),
        }
        for project in projects {
            self.poke_soon(project);
        }
        if looks.bases > 0 {
            self.decide(Event::LookNow { bases: images });
        }
        looks
    }

    fn poke_soon(&mut self, project: ProjectName) {
        match self.gate.knock(&project, Instant::now()) {
            Pass::Now => {
                // A daemon that drains asks nobody.
                let _ = self.polls.poke(Some(&project));
            }
            Pass::After(wait) => {
                let tell = self.tell.clone();
                self.asking.tasks.spawn(async move {
                    tokio::time::sleep(wait).await;
                    // The loop outlives its tasks.
                    let _ = tell.send(Happening::Poke(project));
                });
            }
            Pass::Waits => {}
        }
    }

    /// A project was named again shortly after it had been asked.
    pub(super) fn poke_now(&mut self, project: &ProjectName) {
        self.gate.open(project, Instant::now());
        let _ = self.polls.poke(Some(project));
    }

    /// Another config is in force.
    pub(super) fn heed_hooks(&mut self) {
        self.followers = Followers::of(&self.config);
        self.listening.set_secrets(&self.config);
        self.listen_anew = true;
    }

    /// After another config: hooks are taken where that says, and who asked for the reload hears how that went.
    pub(super) async fn tend_door(&mut self) {
        let trouble = self.move_door().await;
        let Some((answer, outcome)) = self.reloaded.take() else {
            return;
        };
        let _ = answer.send(outcome.map(|summary| match trouble {
            Some(trouble) => format!("{}\n{trouble}", summary.trim_end()),
            None => summary,
        }));
    }

    /// What is wrong with the new place, if there is one.
    async fn move_door(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.listen_anew) {
            return None;
        }
        let before = self.listening.at();
        if let Err(error) = self.listening.listen(self.config.listen).await {
            let error = crate::model::error_chain(&error);
            let taken = match self.listening.at() {
                Some(at) => format!("webhooks are taken on {at} as before"),
                None => "no webhooks are taken by TCP; reload to try again".to_owned(),
            };
            tracing::error!(error, "{taken}");
            return Some(format!("error: {error}: {taken}"));
        }
        if let (Some(before), None) = (before, self.listening.at()) {
            tracing::info!("no webhooks are taken on {before} any more");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_knocks_pass_twice() {
        let project = ProjectName::new("a").unwrap();
        let other = ProjectName::new("b").unwrap();
        let start = Instant::now();
        let later = |millis| start + Duration::from_millis(millis);
        let mut gate = Gate::default();
        assert_eq!(gate.knock(&project, start), Pass::Now);
        // What is said while the first one is asked may be newer than the answer.
        assert_eq!(
            gate.knock(&project, later(100)),
            Pass::After(Duration::from_millis(900))
        );
        for millis in 101..1000 {
            assert_eq!(gate.knock(&project, later(millis)), Pass::Waits);
        }
        assert_eq!(gate.knock(&other, later(200)), Pass::Now);
        gate.open(&project, later(1000));
        assert_eq!(
            gate.knock(&project, later(1500)),
            Pass::After(Duration::from_millis(500))
        );
        gate.open(&project, later(2000));
        assert_eq!(gate.knock(&project, later(3000)), Pass::Now);
        assert!(
            gate.waiting.is_empty() && gate.passed.len() == 1,
            "what is over is forgotten"
        );
    }
}
