//! The live jobs, found by their ref, by their atomic wave, and by what they wait for.
//!
//! A wave has thousands of jobs, and each decision concerns few. Every change goes through here, so that what is found
//! can never be another than what there is. It must never decide anything.

use super::{Job, JobId, JobState, ProjectName, RefName};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

/// A ref of a project.
pub type RefKey = (ProjectName, RefName);

/// Jobs without an outcome, in the order in which they were made. Two are equal if the jobs are.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    all: BTreeMap<JobId, Job>,
    of_ref: BTreeMap<ProjectName, BTreeMap<RefName, BTreeSet<JobId>>>,
    running: BTreeSet<JobId>,
    /// Queued jobs that are not to start before a time.
    later: BTreeMap<JobId, Timestamp>,
    /// By the job that began the atomic wave.
    atomic: BTreeMap<JobId, BTreeSet<JobId>>,
    touched: BTreeSet<RefKey>,
}

impl Deref for Jobs {
    type Target = BTreeMap<JobId, Job>;
    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl PartialEq for Jobs {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Eq for Jobs {}

impl Jobs {
    /// Takes a job in, or puts it in the place of what was known of it.
    pub fn insert(&mut self, id: JobId, job: Job) {
        self.remove(id);
        let of_project = self.of_ref.entry(job.project.clone()).or_default();
        of_project.entry(job.reference.clone()).or_default().insert(id);
        match job.state {
            JobState::Running { .. } => drop(self.running.insert(id)),
            JobState::Queued { not_before: Some(at) } => drop(self.later.insert(id, at)),
            JobState::Queued { not_before: None } | JobState::Done(_) => {}
        }
        if let Some(root) = job.atomic {
            self.atomic.entry(root).or_default().insert(id);
        }
        self.touched.insert((job.project.clone(), job.reference.clone()));
        self.all.insert(id, job);
    }

    /// Forgets a job.
    pub fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.all.remove(&id)?;
        if let Some(of_project) = self.of_ref.get_mut(&job.project) {
            if let Some(of_ref) = of_project.get_mut(&job.reference) {
                of_ref.remove(&id);
                if of_ref.is_empty() {
                    of_project.remove(&job.reference);
                }
            }
            if of_project.is_empty() {
                self.of_ref.remove(&job.project);
            }
        }
        self.running.remove(&id);
        self.later.remove(&id);
        if let Some(root) = job.atomic
            && let Some(members) = self.atomic.get_mut(&root)
        {
            members.remove(&id);
            if members.is_empty() {
                self.atomic.remove(&root);
            }
        }
        self.touched.insert((job.project.clone(), job.reference.clone()));
        Some(job)
    }

    /// Something about a job's release has changed.
    pub fn touch(&mut self, id: JobId) {
        if let Some(job) = self.all.get(&id) {
            self.touched.insert((job.project.clone(), job.reference.clone()));
        }
    }

    /// Something about a ref has changed on which jobs depend.
    pub fn touch_ref(&mut self, project: &ProjectName, reference: &RefName) {
        self.touched.insert((project.clone(), reference.clone()));
    }

    /// The refs whose jobs have changed since this was asked last.
    pub fn take_touched(&mut self) -> BTreeSet<RefKey> {
        std::mem::take(&mut self.touched)
    }

    /// Those of a ref.
    pub fn of_ref(&self, project: &ProjectName, reference: &RefName) -> impl Iterator<Item = &Job> + use<'_> {
        let of_project = self.of_ref.get(project);
        let ids = of_project.and_then(|refs| refs.get(reference)).into_iter().flatten();
        ids.filter_map(|id| self.all.get(id))
    }

    /// Those of a project.
    pub fn of_project(&self, project: &ProjectName) -> impl Iterator<Item = &Job> + use<'_> {
        let refs = self.of_ref.get(project).into_iter().flat_map(BTreeMap::values);
        refs.flatten().filter_map(|id| self.all.get(id))
    }

    /// Refs that have a job.
    pub fn refs(&self) -> impl Iterator<Item = RefKey> + '_ {
        let refs = |(project, refs): (&ProjectName, &BTreeMap<RefName, BTreeSet<JobId>>)| {
            let keys = refs.keys().map(|reference| (project.clone(), reference.clone()));
            keys.collect::<Vec<_>>()
        };
        self.of_ref.iter().flat_map(refs)
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = &Job> {
        self.running.iter().filter_map(|id| self.all.get(id))
    }

    /// How many run.
    pub fn count_running(&self) -> usize {
        self.running.len()
    }

    /// Queued jobs that are not to start before a time.
    pub fn later(&self) -> impl Iterator<Item = (&Job, Timestamp)> {
        let later = self.later.iter();
        later.filter_map(|(id, at)| Some((self.all.get(id)?, *at)))
    }

    /// The jobs that began the atomic waves that there are.
    pub fn roots(&self) -> impl Iterator<Item = JobId> + '_ {
        self.atomic.keys().copied()
    }

    /// The members of an atomic wave.
    pub fn of_atomic(&self, root: JobId) -> impl Iterator<Item = JobId> + '_ {
        self.atomic.get(&root).into_iter().flatten().copied()
    }
}
