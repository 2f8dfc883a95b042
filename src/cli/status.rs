//! `pipelined status`: how everything stands, from the record, with or without a daemon.

use super::blocked::{self, blocked};
use super::circles::{self, circles};
use super::common::{ConfigArgs, Exit};
use super::failed_waves::{self, failed};
use super::place::{Place, must_be_known};
use super::poke_view::{PokedView, poked};
use super::style::{Style, plain};
use super::table::Table;
use super::time::{age, ago, span, until};
use super::update_summary::UpdatesView;
use super::view::{JobView, ProjectView, RefView, ReleasedView, StatusView, TroubleView, shown_remote};
use crate::api::{DaemonStatus, HookStatus, RegistryStatus};
use crate::model::{CommitId, JobId, ProjectName, RefName, Standing, State};
use crate::reconcile::{Chains, Ours};
use crate::store::{JobFilter, JobRecord, Store, StoreError};
use crate::workdir::Layout;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// The place of the column that is left out where nothing has waited.
const WAITED: usize = 6;

/// Show the daemon, its projects, what is blocked, and the queue
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined status
  pipelined status ruby --all
  pipelined status --json | jq -r '.jobs[] | select(.state == \"running\") | .dir'")]
pub(super) struct Args {
    /// Only this project
    project: Option<ProjectName>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Show also refs that were skipped, or are gone
    #[arg(long)]
    all: bool,
}

/// Prints.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = Place::look(&args.config)?;
    let view = match Store::open_read(&place.workdir) {
        Ok(store) => view(&place, Some(&store), args.project.as_ref(), args.all)?,
        // A config that no daemon has run with yet.
        Err(StoreError::Missing { .. }) if place.config.is_some() => {
            view(&place, None, args.project.as_ref(), args.all)?
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &view)?;
        writeln!(out)?;
    } else {
        print(&mut out, &place, &view, args.all)?;
    }
    out.flush()?;
    Ok(Exit::Fine.into())
}

fn view(place: &Place, store: Option<&Store>, only: Option<&ProjectName>, all: bool) -> anyhow::Result<StatusView> {
    let layout = Layout::new(&place.workdir);
    let mut names: BTreeSet<ProjectName> = match store {
        Some(store) => place.projects(store)?,
        None => place.config.iter().flat_map(|c| c.projects.keys().cloned()).collect(),
    };
    if let Some(only) = only {
        must_be_known(only, &names)?;
        names.retain(|name| name == only);
    }
    let mut newest: BTreeMap<ProjectName, BTreeMap<RefName, JobView>> = BTreeMap::new();
    let mut troubles = BTreeMap::new();
    let mut jobs = Vec::new();
    let mut updates = None;
    let mut pokes = Vec::new();
    let mut blocked_images = Vec::new();
    let mut failed_waves = Vec::new();
    let mut all_circles = Vec::new();
    let state = store.map(Store::load_state).transpose()?.unwrap_or_default();
    if let Some(store) = store {
        pokes = poked(store, &state, place.config.as_ref(), only)?;
        pokes.retain(PokedView::is_trouble);
        let ours = place.config.as_ref().map(|config| (config, Ours::of(&state, config)));
        let chains = ours.as_ref().map(|(config, ours)| Chains::new(&state, config, ours));
        if let (Some(config), Some(chains)) = (&place.config, &chains) {
            updates = UpdatesView::new(&state, config, chains, only, runs(place), Timestamp::now());
            blocked_images = blocked(&state, chains, only);
            failed_waves = failed(&state, chains, only);
            all_circles = circles(chains, only);
        }
        let wait_of = |job: JobId| Some(chains.as_ref()?.wait_of(job)?.to_owned());
        let job_view = |record: JobRecord| JobView {
            waits: wait_of(record.job.id),
            ..JobView::new(record, &layout)
        };
        for record in store.newest_jobs(only)? {
            let job = job_view(record);
            newest
                .entry(job.project.clone())
                .or_default()
                .insert(job.reference.clone(), job);
        }
        troubles = store.remote_troubles()?;
        let mut live = store.jobs(&JobFilter {
            project: only.cloned(),
            live: true,
            ..JobFilter::default()
        })?;
        live.sort_by_key(|record| (!record.job.is_running(), record.job.place, record.job.id));
        jobs.extend(live.into_iter().map(job_view));
    }
    let releases = releases(&state);
    let mut projects = Vec::new();
    for name in names {
        let tips = store.map(|s| s.refs(&name)).transpose()?.unwrap_or_default();
        let mut of_refs = newest.remove(&name).unwrap_or_default();
        let mut refs = Vec::new();
        for (reference, commit) in tips {
            let job = of_refs.remove(&reference);
            let is_elsewhere = job.as_ref().is_some_and(|job| job.commit != commit);
            let tip_job = match store.filter(|_| is_elsewhere) {
                Some(store) => store.failed_job(&name, &reference, &commit)?,
                None => None,
            };
            refs.push(RefView {
                tip_job: tip_job.map(|record| JobView::new(record, &layout)),
                released: released(&releases, &name, &reference, &commit),
                job,
                commit: Some(commit),
                reference,
            });
        }
        refs.extend(
            of_refs
                .into_iter()
                .filter(|(_, job)| all || job.outcome.is_none())
                .map(|(reference, job)| RefView {
                    reference,
                    commit: None,
                    job: Some(job),
                    tip_job: None,
                    released: None,
                }),
        );
        let configured = place.config.as_ref().map(|c| c.projects.get(&name));
        let remote = place.remote_of(&name);
        projects.push(ProjectView {
            remote: configured.flatten().map(|p| shown_remote(&p.remote)),
            enabled: configured.map(|p| p.is_some_and(|p| p.enabled)),
            trouble: troubles.remove(&name).map(|trouble| TroubleView::new(trouble, remote)),
            fallback: remote.and_then(|remote| remote.fallback.clone()),
            refs,
            name,
        });
    }
    Ok(StatusView {
        daemon: place.daemon.clone(),
        projects,
        jobs,
        updates,
        blocked: blocked_images,
        failed_waves,
        circles: all_circles,
        pokes,
    })
}

/// What each ref has released last.
type Releases<'a> = BTreeMap<(&'a ProjectName, &'a RefName), &'a Standing>;

fn releases(state: &State) -> Releases<'_> {
    let mut releases = Releases::new();
    for (node, standing) in state.updates.standings.iter() {
        let newest = releases.entry((&node.project, &node.reference)).or_insert(standing);
        if standing.job > newest.job {
            *newest = standing;
        }
    }
    releases
}

/// What a ref has released last, if that is not its tip.
fn released(
    releases: &Releases<'_>,
    project: &ProjectName,
    reference: &RefName,
    tip: &CommitId,
) -> Option<ReleasedView> {
    let newest = releases.get(&(project, reference))?;
    (newest.commit != *tip).then(|| ReleasedView {
        commit: newest.commit.clone(),
        job: newest.job,
    })
}

/// Whether a daemon is there, as far as is known.
fn runs(place: &Place) -> bool {
    place.daemon.is_some() || place.silent.is_some()
}

fn print(out: &mut impl Write, place: &Place, view: &StatusView, all: bool) -> std::io::Result<()> {
    let now = Timestamp::now();
    let style = Style::stdout();
    writeln!(out, "{}", daemon_line(place, view.daemon.as_ref(), style, now))?;
    let mut header = vec!["PROJECT", "REF", "COMMIT", "STATE", "WHEN", "TOOK", "WAITED", "NOTE"];
    let refs = || view.projects.iter().flat_map(|project| &project.refs);
    let any_waited = refs().any(|of| of.telling().is_some_and(|job| !job.waited().is_zero()));
    if !any_waited {
        header.remove(WAITED);
    }
    let columns = header.len();
    let mut table = Table::new(header);
    let mut hidden = 0;
    for project in &view.projects {
        for reference in &project.refs {
            let skipped = reference.telling().is_some_and(JobView::is_left_out);
            if skipped && !all {
                hidden += 1;
            } else {
                let mut row = ref_row(project, reference, now);
                if !any_waited {
                    row.remove(WAITED);
                }
                table.row(row);
            }
        }
        if project.refs.is_empty() {
            let note = match project.enabled {
                Some(false) => "disabled, or not in the config",
                _ if project.trouble.is_some() => "its remote could not be asked, see below",
                _ => "not looked at yet, or no ref of its remote is selected",
            };
            let mut row = vec![project.name.to_string()];
            row.resize(columns - 1, "-".to_owned());
            row.push(note.to_owned());
            table.row(row);
        }
    }
    if !table.is_empty() {
        writeln!(out)?;
        table.print(out, style)?;
    }
    if hidden > 0 {
        let refs = if hidden == 1 { "ref is" } else { "refs are" };
        writeln!(out, "({hidden} skipped {refs} not shown: --all shows them)")?;
    }
    for project in &view.projects {
        if let Some(trouble) = &project.trouble {
            let name = style.strong(project.name.as_str());
            writeln!(out, "\n{name}: cannot be asked {}", trouble.story(now))?;
        }
        if let Some(why) = &project.fallback {
            let name = style.strong(project.name.as_str());
            writeln!(out, "\n{name}: asked by git ls-remote, as {}", plain(why))?;
        }
    }
    if let Some(updates) = &view.updates {
        updates.print(out, runs(place), style, now)?;
    }
    blocked::print(out, &view.blocked, style)?;
    failed_waves::print(out, &view.failed_waves, style)?;
    circles::print(out, &view.circles, style)?;
    if !view.pokes.is_empty() {
        let heading = style.strong("Pokes that were not taken");
        writeln!(out, "\n{heading} (send them again: pipelined poke):")?;
    }
    for poked in &view.pokes {
        let line = format!("{}: {}", poked.title(), poked.story(runs(place), now));
        writeln!(out, "  {}", plain(&line))?;
    }
    if let Some(said) = view.daemon.as_ref().and_then(|daemon| hooks(&daemon.hooks)) {
        writeln!(out, "\n{}: {said}", style.strong("webhooks"))?;
    }
    for registry in view.daemon.iter().flat_map(|daemon| &daemon.registries) {
        writeln!(
            out,
            "\n{}: {}",
            style.strong(&plain(&registry.registry)),
            limits(registry, now)
        )?;
    }
    print_queue(out, view, style, now)
}

/// Nothing where none are taken by TCP and none came by the socket.
fn hooks(hooks: &HookStatus) -> Option<String> {
    let HookStatus {
        listen,
        accepted,
        refused,
        limited,
    } = hooks;
    if listen.is_none() && accepted + refused + limited == 0 {
        return None;
    }
    let listen = listen.as_ref().map(|at| format!("taken on {}; ", plain(at)));
    let listen = listen.unwrap_or_default();
    Some(format!(
        "{listen}since the start {accepted} accepted, {refused} refused, {limited} too many"
    ))
}

fn limits(registry: &RegistryStatus, now: Timestamp) -> String {
    let mut said = Vec::new();
    if let Some(at) = registry.paused_until {
        said.push(format!("has asked not to be asked; asked again {}", until(at, now)));
    }
    if let Some(remaining) = registry.remaining {
        let of = registry.limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        let window = registry.window.map(std::time::Duration::from_secs);
        let window = window.map(|w| format!(" in {}", humantime::format_duration(w)));
        said.push(format!("{remaining}{of} pulls left{}", window.unwrap_or_default()));
    }
    said.join("; ")
}

fn daemon_line(place: &Place, daemon: Option<&DaemonStatus>, style: Style, now: Timestamp) -> String {
    let workdir = place.workdir.display();
    match daemon {
        Some(d) => {
            let since = d.started.parse().map_or_else(|_| d.started.clone(), |at| ago(at, now));
            let (mode, pid, limit, version) = (style.word(&d.mode), d.pid, d.limit, &d.version);
            format!("daemon: {mode}, pid {pid}, started {since}, limit {limit}, version {version}, workdir {workdir}")
        }
        None => format!("daemon: {}", place.no_daemon()),
    }
}

fn ref_row(project: &ProjectView, reference: &RefView, now: Timestamp) -> Vec<String> {
    let none = || "-".to_owned();
    let job = reference.telling();
    let commit = job.map(|j| &j.commit).or(reference.commit.as_ref());
    let when = job.map(|j| j.finished.or(j.started).unwrap_or(j.created));
    let took = job.and_then(|j| j.took(now));
    let waited = took.and(job).map(JobView::waited).filter(|waited| !waited.is_zero());
    vec![
        project.name.to_string(),
        reference.reference.short().to_string(),
        commit.map_or_else(none, |c| c.short().to_owned()),
        job.map_or_else(none, |j| j.word().to_owned()),
        when.map_or_else(none, |at| ago(at, now)),
        took.map_or_else(none, span),
        waited.map_or_else(none, span),
        job.map(|job| format!("{}{}", job.stands(), reference.beside()))
            .unwrap_or_default(),
    ]
}

fn print_queue(out: &mut impl Write, view: &StatusView, style: Style, now: Timestamp) -> std::io::Result<()> {
    if view.jobs.is_empty() {
        return writeln!(out, "\nNothing is queued or running.");
    }
    let mut table = Table::new(["JOB", "STATE", "PROJECT", "REF", "COMMIT", "AGE", "REASON", "NOTE"]);
    for job in &view.jobs {
        let since = if job.is_running() { job.started } else { None };
        table.row([
            job.id.to_string(),
            job.state.to_owned(),
            job.project.to_string(),
            job.reference.short().to_string(),
            job.commit.short().to_owned(),
            age(since.unwrap_or(job.created), now),
            job.reason.to_owned(),
            job.stands(),
        ]);
    }
    writeln!(out)?;
    table.print(out, style)
}
