//! `pipelined images`: every image, where it is released, what it stands on, and how it is.
//!
//! From the record alone: it must never ask a registry or an engine.

use super::common::{ConfigArgs, Exit};
use super::image_view::{ImageView, RefStands, state_of};
use super::place::{Place, must_be_known};
use super::poke_view::{PokedView, poked};
use super::style::{Style, plain};
use super::time::ago;
use super::update_story;
use crate::api::{BaseKind, BaseUpdates, ImageUpdates};
use crate::config::{Config, Project};
use crate::daemon::image_updates;
use crate::model::{Digest, ImageName, Job, Node, ProjectName, RefName, State};
use crate::reconcile::{Chains, Ours, Stands, Word, watched};
use crate::store::{Store, StoreError};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Show every image: state, digest, release references, bases, and what is new below it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined images
  pipelined images ruby
  pipelined images --json | jq -r '.[] | select(.state != \"current\") | .name'")]
pub(super) struct Args {
    /// Only this project's
    project: Option<ProjectName>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Prints.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = Place::look(&args.config)?;
    let views = match Store::open_read(&place.workdir) {
        Ok(store) => {
            if let Some(project) = &args.project {
                must_be_known(project, &place.projects(&store)?)?;
            }
            views(&place, Some(&store), args.project.as_ref())?
        }
        // A config that no daemon has run with yet.
        Err(StoreError::Missing { .. }) if let Some(config) = &place.config => {
            if let Some(project) = &args.project {
                must_be_known(project, &config.projects.keys().cloned().collect())?;
            }
            views(&place, None, args.project.as_ref())?
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &views)?;
        writeln!(out)?;
    } else {
        let runs = place.daemon.is_some() || place.silent.is_some();
        print(&mut out, &views, runs, Timestamp::now())?;
    }
    out.flush()?;
    Ok(Exit::Fine.into())
}

fn views(place: &Place, store: Option<&Store>, only: Option<&ProjectName>) -> anyhow::Result<Vec<ImageView>> {
    let mut records = BTreeMap::new();
    let mut releases = BTreeMap::new();
    let state = store.map(Store::load_state).transpose()?.unwrap_or_default();
    let live: Vec<Job> = state.jobs.values().cloned().collect();
    let now = Timestamp::now();
    if let Some(store) = store {
        let mut references = BTreeSet::new();
        for (good, newest) in store.images(only)? {
            if let Some(known) = &good {
                references.extend(known.result.released.iter().cloned());
                references.extend(known.result.bases.iter().filter_map(|base| base.reference.clone()));
            }
            let key = (newest.project.clone(), newest.result.image.clone());
            records.entry(key).or_insert_with(Vec::new).push((good, newest));
        }
        releases = store.releases(&references)?;
    }
    let (mut below, mut chain) = place
        .config
        .as_ref()
        .map(|config| what_is_below(&state, config))
        .unwrap_or_default();
    let configured = place.config.iter().flat_map(|config| config.projects.values());
    let configured: BTreeMap<(&ProjectName, &ImageName), &Project> = configured
        .filter(|project| only.is_none_or(|only| project.name == *only))
        .flat_map(|project| {
            project
                .images
                .iter()
                .map(move |image| ((&project.name, &image.name), project))
        })
        .collect();
    let mut keys: BTreeSet<(ProjectName, ImageName)> = records.keys().cloned().collect();
    keys.extend(
        configured
            .keys()
            .map(|(project, image)| ((*project).clone(), (*image).clone())),
    );
    let mut views = Vec::new();
    for (project, image) in keys {
        let begun = views.len();
        let config = configured.get(&(&project, &image)).copied();
        let known = place.config.is_some();
        let of_image = records.remove(&(project.clone(), image.clone())).unwrap_or_default();
        for (good, newest) in of_image {
            let tip = state
                .projects
                .get(&project)
                .and_then(|seen| seen.refs.get(&newest.reference));
            let node = Node {
                project: project.clone(),
                reference: newest.reference.clone(),
                image: image.clone(),
            };
            let on = RefStands {
                is_judged: below.contains_key(&node),
                job: newest_live(&live, &project, &newest.reference),
                tip,
                tip_failed: match (store, tip) {
                    (Some(store), Some(tip)) if *tip != newest.commit => {
                        store.has_failed(&project, &newest.reference, tip)?
                    }
                    _ => false,
                },
            };
            let stands = state_of(config, known, good.as_ref(), &newest, on, &releases);
            let view = ImageView::new(good, newest, stands, &releases);
            views.push(with_updates(view, below.remove(&node), chain.remove(&node), now));
        }
        let elsewhere = below.extract_if(.., |node, _| node.project == project && node.image == image);
        for (node, updates) in elsewhere {
            let Some(standing) = state.updates.standings.get(&node) else {
                continue;
            };
            let view = ImageView::elsewhere(&node, standing, newest_live(&live, &project, &node.reference));
            views.push(with_updates(view, Some(updates), chain.remove(&node), now));
        }
        if views.len() == begun {
            let mut view = ImageView::never_built(&project, &image, &live);
            view.why = elsewhere_trouble(&state, &project, &image).unwrap_or(view.why);
            let of_image = chain
                .iter()
                .filter(|(node, _)| node.project == project && node.image == image);
            // Of several refs the one that tells most.
            view.chain = of_image
                .map(|(_, stands)| stands)
                .max_by_key(|stands| stands.job)
                .cloned();
            with_chain(&mut view);
            views.push(view);
        }
    }
    if let Some(store) = store {
        let mut pokes = poked(store, &state, place.config.as_ref(), only)?;
        for view in &mut views {
            let is_of = |poked: &mut PokedView| {
                (&poked.project, &poked.image) == (&view.project, &view.image)
                    && view.reference.as_ref() == Some(&poked.reference)
            };
            view.pokes = pokes.extract_if(.., is_of).collect();
        }
    }
    Ok(views)
}

/// How what is kept up to date stands to what is below it, and how every image stands in its chain.
fn what_is_below(state: &State, config: &Config) -> (BTreeMap<Node, ImageUpdates>, BTreeMap<Node, Stands>) {
    let (images, ours) = (watched(state, config), Ours::of(state, config));
    let chains = Chains::new(state, config, &ours);
    let below = images.map(|image| {
        (
            image.node.clone(),
            image_updates(image, state, config, &state.updates, &ours),
        )
    });
    let nodes = ours.graph.nodes().iter().enumerate();
    let chain = nodes.map(|(place, node)| (node.clone(), chains.stands(place)));
    (below.collect(), chain.collect())
}

/// With what is new below it: that counts if nothing else is said of the image, or only that its build failed.
fn with_updates(
    mut view: ImageView,
    updates: Option<ImageUpdates>,
    chain: Option<Stands>,
    now: Timestamp,
) -> ImageView {
    if let Some(updates) = &updates
        && let Some((state, why)) = update_story::stands(updates, chain.as_ref(), now)
    {
        match view.state {
            "current" => (view.state, view.why) = (state, why),
            // It may be the rebuild that has failed: then this tells what it was for, and when it is tried again.
            "failed" => view.why = format!("{}; {why}", view.why),
            _ => {}
        }
    }
    view.updates = updates;
    view.chain = chain;
    with_chain(&mut view);
    view
}

/// A job that waits says for what; and what is as good as it can be, what keeps it from being better.
fn with_chain(view: &mut ImageView) {
    let Some(chain) = &view.chain else { return };
    let is_told = view.state == "waiting" || view.state == "current" && chain.state == Word::Blocked;
    let way = update_story::in_the_way(chain).filter(|way| is_told && !way.ends_with(" is queued"));
    match way.filter(|way| !view.why.contains(way)) {
        Some(way) if view.why.is_empty() => view.why = way,
        Some(way) => view.why = format!("{}; {way}", view.why),
        None => {}
    }
}

/// Why it is not known whether an image was built elsewhere.
fn elsewhere_trouble(state: &State, project: &ProjectName, image: &ImageName) -> Option<String> {
    let mut checks = state.updates.elsewhere.iter();
    checks.find_map(|(node, check)| {
        let trouble = check.trouble.as_ref()?;
        let is_meant = node.project == *project && node.image == *image;
        is_meant.then(|| format!("cannot tell whether it was built elsewhere: {}", trouble.error))
    })
}

/// The job that will change the ref next: the one that runs, else the first that waits.
fn newest_live<'a>(live: &'a [Job], project: &ProjectName, reference: &RefName) -> Option<&'a Job> {
    let of_ref = live
        .iter()
        .filter(|job| job.project == *project && job.reference == *reference);
    of_ref.min_by_key(|job| (!job.is_running(), job.place))
}

fn print(out: &mut impl Write, views: &[ImageView], runs: bool, now: Timestamp) -> std::io::Result<()> {
    if views.is_empty() {
        return writeln!(out, "No project of the config builds an image.");
    }
    let style = Style::stdout();
    for (index, view) in views.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let reference = view.reference.as_ref().map(|r| plain(&r.short().to_string()));
        let why = match view.why.is_empty() {
            true => String::new(),
            false => format!(": {}", plain(&view.why)),
        };
        writeln!(
            out,
            "{} {}  {}{why}",
            style.strong(&view.name),
            reference.unwrap_or_default(),
            style.word(view.state),
        )?;
        if let Some(digest) = &view.digest {
            writeln!(out, "  digest    {digest}")?;
        }
        for release in &view.released {
            let moved = match &release.now {
                Some(now) => format!("  (moved to {now} since)"),
                None => String::new(),
            };
            writeln!(out, "  released  {}{moved}", release.reference)?;
        }
        if let (Some(at), Some(job), Some(commit)) = (view.at, view.job, &view.commit) {
            writeln!(out, "  built     {} by job {job} at {}", ago(at, now), commit.short())?;
        }
        if let Some(unchanged) = &view.unchanged {
            let (at, job) = (ago(unchanged.at, now), unchanged.job);
            writeln!(out, "  verified  {at} by job {job}: built again, with the same content")?;
        }
        if let Some(origin) = view.updates.as_ref().and_then(update_story::origin) {
            writeln!(out, "  built     {}", plain(&origin))?;
        }
        print_below(out, view, runs, now)?;
    }
    Ok(())
}

fn print_below(out: &mut impl Write, view: &ImageView, runs: bool, now: Timestamp) -> std::io::Result<()> {
    let name = |name: &str, digest: Option<&Digest>| {
        let digest = digest.map_or_else(String::new, |digest| format!(" {digest}"));
        plain(&format!("{name}{digest}"))
    };
    let bases: &[BaseUpdates] = view.updates.as_ref().map_or(&[], |updates| &updates.bases);
    for base in bases {
        let kind = match base.kind {
            BaseKind::DependsOn => "needs     ",
            BaseKind::Base | BaseKind::Sibling => "base      ",
        };
        writeln!(out, "  {kind}{}", name(&base.name, base.from.as_ref()))?;
        writeln!(out, "            {}", plain(&update_story::base(base, now)))?;
    }
    // Those that are not looked at.
    for base in view.bases.iter().filter(|_| bases.is_empty()) {
        let digest = base.digests.first().or(base.id.as_ref());
        let kind = if base.needed.is_some() {
            "needs     "
        } else {
            "base      "
        };
        writeln!(out, "  {kind}{}", name(&base.name, digest))?;
    }
    for poked in &view.pokes {
        writeln!(out, "  pokes     {}", plain(&poked.story(runs, now)))?;
    }
    let Some(updates) = &view.updates else { return Ok(()) };
    if let Some(inside) = &updates.packages {
        writeln!(out, "  packages  {}", plain(&update_story::inside(inside, now)))?;
    }
    if let Some(at) = updates.scheduled {
        writeln!(out, "  schedule  {}", update_story::scheduled(at, now))?;
    }
    Ok(())
}
