//! What the planner knows: the live jobs, and what the last look at each remote saw.

use super::{
    CommitId, Job, JobId, Jobs, Memo, Node, Outcome, Poke, PokeId, ProjectName, RefName, ReleasePlan, ReleaseStage,
    Updates, update::Checking,
};
use std::collections::BTreeMap;

/// Everything that decisions depend on, beside config and time. Loaded from the store, never the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Jobs without an outcome.
    pub jobs: Jobs,
    /// Those of them whose release has begun: a later attempt finishes it, so that nothing may take their place.
    pub releasing: BTreeMap<JobId, ReleasePlan>,
    /// What was seen of each project's remote.
    pub projects: BTreeMap<ProjectName, Seen>,
    /// What is known of released images, and of what they stand on.
    pub updates: Updates,
    /// What follows from all of this and the config: the graph of images, and what was found out along it.
    pub graph: Memo,
    /// Releases that somebody elsewhere is still to be told of.
    pub pokes: BTreeMap<PokeId, Poke>,
    /// The identity of the next poke.
    pub next_poke: i64,
    /// The checks of it as they go: like `mode`, this is not on record.
    pub checking: Checking,
    /// The identity of the next job.
    pub next_id: i64,
    /// Whether jobs may be queued and started.
    pub mode: Mode,
}

impl Default for State {
    fn default() -> Self {
        Self {
            jobs: Jobs::default(),
            releasing: BTreeMap::new(),
            projects: BTreeMap::new(),
            updates: Updates::default(),
            graph: Memo::default(),
            pokes: BTreeMap::new(),
            next_poke: 1,
            checking: Checking::default(),
            next_id: 1,
            mode: Mode::Normal,
        }
    }
}

/// What was seen of a project's remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The selected refs and their tips at the last look.
    pub refs: BTreeMap<RefName, CommitId>,
    /// The patterns by which refs were selected then; none before the first look. Refs that another selection brings in
    /// count as first sight.
    pub selection: Option<String>,
    /// `BUILD_NUMBER` of the last job.
    pub last_number: i64,
}

/// What the daemon is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All.
    Normal,
    /// No new jobs; those that are there finish (INT).
    Draining,
    /// Nothing is started any more (TERM).
    Stopping,
}

impl State {
    /// The tip of an image's ref, if its build failed: the commit, in which job, and how.
    pub fn failed_tip(&self, node: &Node) -> Option<&(CommitId, JobId, Outcome)> {
        let failed = self.updates.links.get(node)?.failed.as_ref()?;
        let tip = self.projects.get(&node.project)?.refs.get(&node.reference)?;
        (*tip == failed.0).then_some(failed)
    }

    /// Whether a job moves the references of an atomic wave: from then on nothing can be taken back.
    pub fn is_moving_with_its_wave(&self, job: &Job) -> bool {
        let plan = self.releasing.get(&job.id);
        job.atomic.is_some() && plan.is_some_and(|plan| plan.stage == ReleaseStage::Moving)
    }

    /// Whether nothing is left to do before the daemon may go.
    pub fn is_finished(&self) -> bool {
        let running = self.jobs.count_running() > 0;
        match self.mode {
            Mode::Normal => false,
            Mode::Stopping => !running,
            // Whatever could run is running by now. A job that waits, be it for its backoff or for an upstream, keeps: it
            // runs after the next start.
            Mode::Draining => !running,
        }
    }

    /// The live jobs of a ref.
    pub fn live(&self, project: &ProjectName, reference: &RefName) -> impl Iterator<Item = &Job> + use<'_> {
        self.jobs.of_ref(project, reference)
    }
}
