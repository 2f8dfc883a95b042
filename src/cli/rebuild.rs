//! `pipelined rebuild`: a person wants released images built again, and what stands on them.
//!
//! With `--dry-run` it must never ask the daemon for anything. Whoever stops waiting stops nothing else.

use super::common::{ConfigArgs, Exit};
use super::place::{call, workdir};
use super::rebuild_plan::{self, PlanView};
use super::style::{Style, plain};
use super::wave::{ImageStands, Look, Wave};
use super::wave_wait::wait;
use crate::api::{RebuildAsked, RebuildJob, RebuildRefused, RebuildStarted};
use crate::config::Config;
use crate::daemon::wish;
use crate::model::{ImageName, JobId, Node, ProjectName, RefName, State, full_name};
use crate::reconcile::{Ours, Wish, Wished, wished};
use crate::store::{Store, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Build released images again, also if nothing is new
///
/// Builds the commits that are released. If the content of an image changes by that, what stands on it is stale and
/// follows by itself; with --recurse all of it is built again in any case, each image once and after what it stands on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An IMAGE is a name (ruby for all images of a project, ruby/slim), a release reference, or a base
that is none of ours: debian:12 stands for what is built FROM it, with --recurse for all below.
What --match leaves out is not asked for, and cuts nothing else off; what stands on an image that changes
follows all the same.

Exit codes:
  0    queued; with --wait: all of it succeeded
  1    there is no such image, or it cannot be built again;
       with --wait: something failed, or was blocked by a failure
  2    wrong usage: what --match names is no pattern
  4    no daemon there
  130  interrupted while waiting: the rebuild goes on

Examples:
  pipelined rebuild ruby --recurse --dry-run
  pipelined rebuild ruby/slim --wait && echo released
  pipelined rebuild debian:12 --recurse --match 'registry.example.org/tools/*'
  pipelined rebuild base --force           without the layer cache, released in any case")]
pub(super) struct Args {
    /// Which: project, project/image, a release reference, or a base
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Build also all that stands on them
    #[arg(long)]
    recurse: bool,
    /// Of what is not named itself, only images whose name or release reference matches
    #[arg(long = "match", value_name = "GLOB")]
    matching: Option<String>,
    /// Wait for all of it, and show how it goes; ends with 0 only if all of it succeeded
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Print what would be built and why, and ask nobody for it
    #[arg(long)]
    dry_run: bool,
    /// Without the layer cache, and released also if they have come out the same
    #[arg(long)]
    force: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// `rebuild --json`.
#[derive(Serialize)]
struct RebuildView {
    /// By which all of its jobs are known.
    wave: Option<JobId>,
    jobs: Vec<JobLine>,
    refused: Vec<RebuildRefused>,
}

#[derive(Serialize)]
struct JobLine {
    name: String,
    project: ProjectName,
    image: ImageName,
    #[serde(rename = "ref")]
    reference: RefName,
    /// How it stands, or has ended.
    #[serde(flatten)]
    stands: ImageStands,
}

/// Asks the daemon.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let workdir = workdir(&args.config)?;
    let config = match args.config.load() {
        Ok(loaded) => Some(loaded.config),
        // Whoever names a workdir needs no config, but for a plan.
        Err(_) if args.config.workdir.is_some() && !args.dry_run => None,
        Err(error) => return Err(error.into()),
    };
    let asked = RebuildAsked {
        images: args.images.clone(),
        recurse: args.recurse,
        matching: args.matching.clone(),
        force: args.force,
    };
    let meant = match wish(asked.clone()) {
        Ok(meant) => meant,
        Err(why) => {
            writeln!(std::io::stderr().lock(), "pipelined: {}", plain(&why))?;
            return Ok(Exit::Usage.into());
        }
    };
    let mut out = std::io::stdout().lock();
    if let Some(config) = &config {
        let wished = plan(&meant, &workdir, config)?;
        if args.json && args.dry_run {
            serde_json::to_writer_pretty(&mut out, &PlanView::new(&wished))?;
            writeln!(out)?;
        } else if !args.json {
            rebuild_plan::print(&mut out, &wished, Style::stdout())?;
        }
    }
    if args.dry_run {
        return Ok(Exit::Fine.into());
    }
    drop(out);
    let started: RebuildStarted = call(&workdir, "/rebuild", &asked)?;
    if !args.json {
        print(&started, args.wait)?;
    }
    let (end, exit) = match started.wave.filter(|_| args.wait) {
        Some(number) => {
            let jobs = started.jobs.iter().map(|of| of.job).collect();
            let wave = Wave { number, jobs };
            wait("rebuild", &workdir, args.json, |store| {
                wave.look(store, config.as_ref())
            })?
        }
        None => (None, Exit::Fine),
    };
    if args.json && exit != Exit::Interrupted {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &view(started, end))?;
        writeln!(out)?;
    }
    Ok(exit.into())
}

/// What it would build.
fn plan(wish: &Wish, workdir: &Path, config: &Config) -> anyhow::Result<Wished> {
    let state = match Store::open_read(workdir) {
        Ok(store) => store.load_state()?,
        // Nothing was built yet.
        Err(StoreError::Missing { .. }) => State::default(),
        Err(error) => return Err(error.into()),
    };
    let ours = Ours::of(&state, config);
    wished(wish, &state, config, &ours).map_err(|error| anyhow::anyhow!("{}", plain(&error.to_string())))
}

fn print(started: &RebuildStarted, waits: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut jobs: BTreeMap<JobId, Vec<&RebuildJob>> = BTreeMap::new();
    for of in &started.jobs {
        jobs.entry(of.job).or_default().push(of);
    }
    writeln!(out)?;
    for (job, images) in &jobs {
        let names: Vec<&str> = images.iter().map(|of| of.name.as_str()).collect();
        let reference = images[0].reference.short();
        let line = format!("job {job} builds {} {reference}", names.join(", "));
        writeln!(out, "{}", plain(&line))?;
    }
    for RebuildRefused { name, reference, why } in &started.refused {
        let line = format!("{name} {}: not queued: {why}", reference.short());
        writeln!(out, "{}", plain(&line))?;
    }
    if jobs.is_empty() {
        writeln!(out, "nothing was queued")?;
    } else if !waits {
        writeln!(out, "follow it with: {}", follow(started.jobs.first()))?;
    }
    Ok(())
}

fn follow(first: Option<&RebuildJob>) -> String {
    let log = first.map(|of| format!(", pipelined log {} --job {} -f", of.project, of.job));
    format!("pipelined status, pipelined graph{}", log.unwrap_or_default())
}

fn view(started: RebuildStarted, end: Option<Look>) -> RebuildView {
    let line = |node: Node, stands: ImageStands| JobLine {
        name: full_name(&node.project, &node.image),
        project: node.project,
        image: node.image,
        reference: node.reference,
        stands,
    };
    let queued = |of: RebuildJob| {
        let node = Node {
            project: of.project,
            reference: of.reference,
            image: of.image,
        };
        let stands = ImageStands {
            job: Some(of.job),
            state: "queued",
            note: String::new(),
            is_over: false,
            is_good: true,
        };
        line(node, stands)
    };
    let jobs = match end {
        Some(look) => look
            .images
            .into_iter()
            .map(|(node, stands)| line(node, stands))
            .collect(),
        None => started.jobs.into_iter().map(queued).collect(),
    };
    RebuildView {
        wave: started.wave,
        jobs,
        refused: started.refused,
    }
}
