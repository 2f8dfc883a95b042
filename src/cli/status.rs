//! `pipelined status`: how everything stands, from the record, with or without a daemon.

use super::common::{ConfigArgs, Exit};
use super::place::{Place, must_be_known};
use super::poke_view::{PokedView, poked};
use super::style::{Style, plain};
use super::table::Table;
use super::time::{age, ago, length, until};
use super::update_summary::UpdatesView;
use super::view::{JobView, ProjectView, RefView, StatusView, TroubleView, shown_remote};
use super::waiting::waits_of;
use crate::api::{DaemonStatus, HookStatus, RegistryStatus};
use crate::model::{ProjectName, RefName};
use crate::store::{JobFilter, JobRecord, Store, StoreError};
use crate::workdir::Layout;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Show the daemon, its projects, and the queue
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
    if let Some(store) = store {
        let state = store.load_state()?;
        pokes = poked(store, &state, place.config.as_ref(), only)?;
        pokes.retain(PokedView::is_trouble);
        let mut waits = BTreeMap::new();
        if let Some(config) = &place.config {
            updates = UpdatesView::new(&state, config, only, runs(place), Timestamp::now());
            waits = waits_of(&state, config);
        }
        let job_view = |record: JobRecord| {
            let waits = waits.get(&record.job.id).cloned();
            JobView {
                waits,
                ..JobView::new(record, &layout)
            }
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
    let mut projects = Vec::new();
    for name in names {
        let tips = store.map(|s| s.refs(&name)).transpose()?.unwrap_or_default();
        let mut of_refs = newest.remove(&name).unwrap_or_default();
        let mut refs: Vec<RefView> = tips
            .into_iter()
            .map(|(reference, commit)| RefView {
                job: of_refs.remove(&reference),
                commit: Some(commit),
                reference,
            })
            .collect();
        refs.extend(
            of_refs
                .into_iter()
                .filter(|(_, job)| all || job.outcome.is_none())
                .map(|(reference, job)| RefView {
                    reference,
                    commit: None,
                    job: Some(job),
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
        pokes,
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
    let mut table = Table::new(["PROJECT", "REF", "COMMIT", "STATE", "WHEN", "TOOK", "NOTE"]);
    let mut hidden = 0;
    for project in &view.projects {
        for reference in &project.refs {
            let skipped = reference.job.as_ref().is_some_and(|job| job.outcome == Some("skipped"));
            if skipped && !all {
                hidden += 1;
            } else {
                table.row(ref_row(project, reference, now));
            }
        }
        if project.refs.is_empty() {
            let note = match project.enabled {
                Some(false) => "disabled, or not in the config",
                _ if project.trouble.is_some() => "its remote could not be asked, see below",
                _ => "not looked at yet, or no ref of its remote is selected",
            };
            let mut row = vec![project.name.to_string()];
            row.resize(6, "-".to_owned());
            row.push(note.to_owned());
            table.row(row);
        }
    }
    if !table.is_empty() {
        writeln!(out)?;
        table.print(out, style)?;
    }
    if hidden > 0 {
        writeln!(out, "({hidden} skipped refs are not shown: --all shows them)")?;
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
    if !view.pokes.is_empty() {
        writeln!(out, "\n{}:", style.strong("Pokes that were not taken"))?;
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
    let job = reference.job.as_ref();
    let commit = job.map(|j| &j.commit).or(reference.commit.as_ref());
    let when = job.map(|j| j.finished.or(j.started).unwrap_or(j.created));
    let took = job.and_then(|j| {
        let end = j.finished.or(j.is_running().then_some(now))?;
        Some(length(j.started?, end))
    });
    vec![
        project.name.to_string(),
        reference.reference.short().to_string(),
        commit.map_or_else(none, |c| c.short().to_owned()),
        job.map_or_else(none, |j| j.word().to_owned()),
        when.map_or_else(none, |at| ago(at, now)),
        took.unwrap_or_else(none),
        job.map(JobView::stands).unwrap_or_default(),
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
