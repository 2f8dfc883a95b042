//! How the jobs of a rebuild go, or the job of a build, image by image, read from the record.
//!
//! A rebuild is over when none of its jobs is live and none will come of it: what has become stale by it and waits still is a
//! part of it. What is blocked is told, and not waited for.

use crate::config::Config;
use crate::model::{Graph, ImageName, ImageResult, ImageStatus, JobId, JobState, Node, Outcome};
use crate::reconcile::{Chains, Ours, Word};
use crate::store::{JobRecord, Store, StoreError};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Which jobs belong to a rebuild.
#[derive(Debug, Clone)]
pub(super) struct Wave {
    /// The number that they all have.
    pub number: JobId,
    /// Those that were queued for it: it may have found a wave that was there.
    pub jobs: BTreeSet<JobId>,
}

/// How one image of it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ImageStands {
    /// Its newest job in the wave; none if it is blocked before it has one.
    pub job: Option<JobId>,
    /// queued, running, blocked, or an outcome.
    pub state: &'static str,
    /// What came of it, or why it stands there.
    pub note: String,
    /// Whether it has ended.
    pub is_over: bool,
    /// Whether that is what was wanted.
    pub is_good: bool,
}

/// All of it at one moment.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Each image of it.
    pub images: BTreeMap<Node, ImageStands>,
    /// Nothing more is to come.
    pub is_over: bool,
}

impl Look {
    /// Whether all of it went well.
    pub fn is_good(&self) -> bool {
        self.images.values().all(|image| image.is_good)
    }

    /// Its jobs that have not ended.
    pub fn live(&self) -> BTreeSet<JobId> {
        let live = self.images.values().filter(|image| !image.is_over);
        live.filter_map(|image| image.job).collect()
    }
}

impl ImageStands {
    /// `job 8 succeeded, released sha256:…`
    pub fn line(&self) -> String {
        let job = self.job.map(|job| format!("job {job} ")).unwrap_or_default();
        let state = self.state;
        match (state, self.note.is_empty()) {
            ("blocked", _) => format!("blocked: {}", self.note),
            ("succeeded", false) => format!("{job}{state}, {}", self.note),
            ("running", _) | (_, true) => format!("{job}{state}"),
            (_, false) => format!("{job}{state}: {}", self.note),
        }
    }
}

impl Look {
    /// How one job goes.
    pub fn at(store: &Store, id: JobId) -> Result<Self, StoreError> {
        let mut look = Self {
            is_over: true,
            ..Self::default()
        };
        if let Some(record) = store.job(id)? {
            look.is_over = !record.job.is_live();
            look.add(store, &record)?;
        }
        Ok(look)
    }

    fn add(&mut self, store: &Store, record: &JobRecord) -> Result<(), StoreError> {
        let results: BTreeMap<ImageName, ImageResult> = match record.job.is_live() {
            true => BTreeMap::new(),
            false => {
                let known = store.images_of_job(record.job.id)?.into_iter();
                known.map(|known| (known.result.image.clone(), known.result)).collect()
            }
        };
        for node in nodes(record, &results) {
            let stands = stands(record, results.get(&node.image));
            self.images.insert(node, stands);
        }
        Ok(())
    }
}

impl Wave {
    /// Reads how it goes. Without a config it is not known what is still to come.
    pub fn look(&self, store: &Store, config: Option<&Config>) -> Result<Look, StoreError> {
        let mut look = Look::default();
        let first = self.jobs.first().copied().unwrap_or(self.number);
        let mut any_live = false;
        let numbers = self.numbers(store)?;
        let mut records = Vec::new();
        for number in &numbers {
            records.extend(store.wave(*number)?);
        }
        records.sort_by_key(|record| record.job.id);
        // A wave that was there before may have ended jobs, which are none of this one.
        for record in records.iter().filter(|r| r.job.id >= first || r.job.is_live()) {
            any_live |= record.job.is_live();
            look.add(store, record)?;
        }
        if !any_live {
            look.is_over = match config {
                Some(config) => rest(&numbers, store, config, &mut look)?,
                None => true,
            };
        }
        Ok(look)
    }

    /// Its own number, and that of the atomic wave with which some of its jobs are released.
    fn numbers(&self, store: &Store) -> Result<BTreeSet<JobId>, StoreError> {
        let mut numbers = BTreeSet::from([self.number]);
        for id in &self.jobs {
            numbers.extend(store.job(*id)?.map(|record| record.job.wave));
        }
        Ok(numbers)
    }
}

/// Whether nothing will be queued any more because of it. What is blocked by it is added.
fn rest(waves: &BTreeSet<JobId>, store: &Store, config: &Config, look: &mut Look) -> Result<bool, StoreError> {
    let state = store.load_state()?;
    let ours = Ours::of(&state, config);
    let chains = Chains::new(&state, config, &ours);
    let mut is_over = !state.jobs.values().any(|job| waves.contains(&job.wave));
    for place in below(look.images.keys(), &ours.graph) {
        if waves.iter().any(|wave| chains.is_to_come(place, *wave)) {
            is_over = false;
            continue;
        }
        let node = &ours.graph.nodes()[place];
        let stands = chains.stands(place);
        // What has its own end in this wave tells more.
        if stands.state == Word::Blocked && !look.images.contains_key(node) {
            let blocked = ImageStands {
                job: None,
                state: "blocked",
                note: stands.why,
                is_over: true,
                is_good: false,
            };
            look.images.insert(node.clone(), blocked);
        }
    }
    Ok(is_over)
}

/// Images of a job; those of a whole commit are known by what became of them, and before that stands the project for them.
fn nodes(record: &JobRecord, results: &BTreeMap<ImageName, ImageResult>) -> Vec<Node> {
    let job = &record.job;
    let node = |image: ImageName| Node {
        project: job.project.clone(),
        reference: job.reference.clone(),
        image,
    };
    match &job.rebuild {
        Some(rebuild) => rebuild.images.keys().cloned().map(node).collect(),
        None if !results.is_empty() => results.keys().cloned().map(node).collect(),
        None => ImageName::new(job.project.as_str())
            .ok()
            .into_iter()
            .map(node)
            .collect(),
    }
}

fn stands(record: &JobRecord, result: Option<&ImageResult>) -> ImageStands {
    let job = &record.job;
    let (state, note) = match &job.state {
        JobState::Queued { .. } => ("queued", job.note.clone()),
        JobState::Running { cancelling: false } => ("running", job.note.clone()),
        JobState::Running { cancelling: true } => ("cancelling", job.note.clone()),
        JobState::Done(Outcome::Succeeded) => ("succeeded", result.map(came_of).unwrap_or_default()),
        JobState::Done(Outcome::Skipped) => match job.note.strip_prefix("blocked: ") {
            Some(why) => ("blocked", why.to_owned()),
            None => ("skipped", job.note.clone()),
        },
        JobState::Done(outcome) => match result {
            Some(result) if result.status == ImageStatus::Blocked => ("blocked", result.note.clone()),
            _ => (outcome.as_str(), job.note.clone()),
        },
    };
    ImageStands {
        job: Some(job.id),
        state,
        note,
        is_over: !job.is_live(),
        is_good: job.is_live() || state == "succeeded",
    }
}

fn came_of(result: &ImageResult) -> String {
    let digest = result.digest.as_ref().or(result.id.as_ref());
    let digest = digest.map(|digest| format!(" {digest}")).unwrap_or_default();
    match (result.status, result.note.is_empty()) {
        (status @ (ImageStatus::Released | ImageStatus::Built), _) => format!("{}{digest}", status.as_str()),
        (status, true) => status.as_str().to_owned(),
        (status, false) => format!("{}: {}", status.as_str(), result.note),
    }
}

/// What stands on these, and they themselves.
fn below<'a>(nodes: impl Iterator<Item = &'a Node>, graph: &Graph) -> BTreeSet<usize> {
    let mut next: Vec<usize> = nodes.filter_map(|node| graph.place(node)).collect();
    let mut seen: BTreeSet<usize> = next.iter().copied().collect();
    while let Some(at) = next.pop() {
        next.extend(graph.downs(at).filter(|down| seen.insert(*down)));
    }
    seen
}
