//! `pipelined plan`: what would be built, and why.
//!
//! It runs the very function that decides in the daemon, on a copy of the state. It must never write or start anything.

use super::common::{ConfigArgs, Exit, report_warnings};
use super::place::must_be_known;
use super::style::Style;
use super::table::Table;
use crate::config::{Config, Project};
use crate::git::{Asker, Limits};
use crate::model::{CommitId, JobId, JobState, ProjectName, RefName, State, Write as Record, mask_url};
use crate::pipeline::question;
use crate::process::{Cancel, Marker, Masks, Runner, Supervisor};
use crate::reconcile::{Event, handle};
use crate::store::{Store, StoreError};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Remotes that are asked at once.
const AT_ONCE: usize = 8;

/// Ask the remotes now and print what would be built, without building it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs no daemon. What a daemon has recorded in the workdir is taken into account.

Examples:
  pipelined plan -c ./pipelined.toml
  pipelined plan ruby --json")]
pub(super) struct Args {
    /// Only this project
    project: Option<ProjectName>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

type Refs = BTreeMap<RefName, CommitId>;

#[derive(Serialize)]
struct PlanView {
    projects: Vec<Planned>,
}

#[derive(Serialize)]
struct Planned {
    name: ProjectName,
    /// Masked.
    remote: String,
    enabled: bool,
    /// Why the remote cannot be asked.
    error: Option<String>,
    /// What would change.
    jobs: Vec<PlannedJob>,
}

#[derive(Serialize)]
struct PlannedJob {
    /// build, or the outcome that it gets without being built.
    action: &'static str,
    #[serde(rename = "ref")]
    reference: RefName,
    commit: CommitId,
    reason: &'static str,
    /// What was seen, or asked for.
    cause: String,
    /// Why it is not built, or stands where it stands; empty while that goes without saying.
    note: String,
    /// Its number if it is queued already.
    id: Option<JobId>,
}

impl PlannedJob {
    fn why(&self) -> &str {
        if self.note.is_empty() { &self.cause } else { &self.note }
    }
}

/// Asks and prints; ends with 1 if a remote could not be asked.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = args.config.load()?;
    report_warnings(&loaded)?;
    let mut config = loaded.config;
    // Nothing shall be started, not even on paper.
    config.limit = 0;
    if let Some(only) = &args.project {
        must_be_known(only, &config.projects.keys().cloned().collect())?;
        config.projects.retain(|name, _| name == only);
    }
    let store = match Store::open_read(&config.workdir) {
        Ok(store) => Some(store),
        Err(StoreError::Missing { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut listed = runtime.block_on(ask_all(&config));
    let mut view = PlanView { projects: Vec::new() };
    let state = store.as_ref().map(Store::load_state).transpose()?.unwrap_or_default();
    for project in config.projects.values() {
        let answer = listed.remove(&project.name).unwrap_or_else(|| Ok(Refs::new()));
        view.projects
            .push(plan(project, answer, &config, &state, store.as_ref())?);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &view)?;
        writeln!(out)?;
    } else {
        print(&mut out, &view)?;
    }
    out.flush()?;
    let failed = view.projects.iter().any(|p| p.error.is_some());
    Ok(if failed { Exit::Failed } else { Exit::Fine }.into())
}

async fn ask_all(config: &Config) -> BTreeMap<ProjectName, Result<Refs, String>> {
    let runner = Runner {
        supervisor: Supervisor::default(),
        marker: Marker::service("plan"),
        env: Vec::new(),
        cancel: Cancel::new(),
        grace: Duration::from_secs(1),
        log: None,
        masks: Masks::default(),
    };
    let asker = Asker::new(PathBuf::from("/"), runner.clone(), std::env::temp_dir(), None);
    let limits = Limits::new(config.poll_timeout, config.poll_size_limit);
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut questions = JoinSet::new();
    for project in config.projects.values().filter(|p| p.enabled) {
        let (name, question) = (project.name.clone(), question(project));
        let (slots, mut runner, asker) = (slots.clone(), runner.clone(), asker.clone());
        // A question has only secrets of which there are masks.
        runner.masks = question.masks().unwrap_or_default();
        questions.spawn(async move {
            // Never closed, so there is always a slot in the end.
            let _slot = slots.acquire().await;
            let answer = asker.list(&runner, &question, &limits).await;
            let refs = answer.map(|list| list.refs.into_iter().collect::<Refs>());
            (name, refs.map_err(|error| error.to_string()))
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(done) = questions.join_next().await {
        if let Ok((name, answer)) = done {
            answers.insert(name, answer);
        }
    }
    asker.end().await;
    answers
}

fn plan(
    project: &Project,
    answer: Result<Refs, String>,
    config: &Config,
    state: &State,
    store: Option<&Store>,
) -> anyhow::Result<Planned> {
    let mut planned = Planned {
        name: project.name.clone(),
        remote: mask_url(&project.remote),
        enabled: project.enabled,
        error: None,
        jobs: Vec::new(),
    };
    let refs = answer.map_err(|error| planned.error = Some(error)).ok();
    if !project.enabled {
        return Ok(planned);
    }
    let mut after = state.clone();
    let mut writes = Vec::new();
    if let Some(refs) = refs {
        let settled = match store {
            Some(store) => store.settled(&project.name, refs.iter())?,
            None => BTreeSet::new(),
        };
        let event = Event::RefsListed {
            project: project.name.clone(),
            refs: Arc::new(refs),
            settled,
        };
        writes.extend(handle(&mut after, config, Timestamp::now(), event).writes);
    }
    // What is known to be new below released images, and what is due by a schedule, as after a start.
    writes.extend(handle(&mut after, config, Timestamp::now(), Event::ConfigChanged).writes);
    let mut jobs: BTreeMap<JobId, PlannedJob> = BTreeMap::new();
    let live = state.jobs.values().cloned();
    let changed = writes.into_iter().filter_map(|write| match write {
        Record::Job { job, .. } => Some(job),
        _ => None,
    });
    for job in live.chain(changed).filter(|job| job.project == project.name) {
        let action = match job.state {
            JobState::Queued { .. } => "build",
            JobState::Running { .. } => "running",
            JobState::Done(outcome) => outcome.as_str(),
        };
        let id = state.jobs.contains_key(&job.id).then_some(job.id);
        let planned = PlannedJob {
            action,
            reference: job.reference,
            commit: job.commit,
            reason: job.reason.as_str(),
            cause: job.cause,
            note: job.note,
            id,
        };
        jobs.insert(job.id, planned);
    }
    planned.jobs = jobs.into_values().collect();
    Ok(planned)
}

fn print(out: &mut impl Write, view: &PlanView) -> std::io::Result<()> {
    let mut table = Table::new(["ACTION", "PROJECT", "REF", "COMMIT", "REASON", "WHY"]);
    let mut quiet = Vec::new();
    for project in &view.projects {
        for job in &project.jobs {
            let queued = job.id.map(|id| format!("job {id}: ")).unwrap_or_default();
            table.row([
                job.action.to_owned(),
                project.name.to_string(),
                job.reference.short().to_string(),
                job.commit.short().to_owned(),
                job.reason.to_owned(),
                format!("{queued}{}", job.why()),
            ]);
        }
        match &project.error {
            Some(error) => quiet.push(format!("{}: cannot be asked: {error}", project.name)),
            None if !project.enabled => quiet.push(format!("{}: disabled", project.name)),
            None if project.jobs.is_empty() => quiet.push(format!("{}: nothing to build", project.name)),
            None => {}
        }
    }
    if !table.is_empty() {
        table.print(out, Style::stdout())?;
    }
    for line in quiet {
        writeln!(out, "{}", super::style::plain(&line))?;
    }
    Ok(())
}
