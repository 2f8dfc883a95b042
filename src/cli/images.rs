//! `pipelined images`: every image, where it is released, what it stands on, and how it is.
//!
//! From the record alone: it must never ask a registry or an engine.

use super::common::{ConfigArgs, Exit};
use super::image_view::{ImageView, state_of};
use super::place::{Place, must_be_known};
use super::style::{Style, plain};
use super::time::ago;
use crate::config::Project;
use crate::model::{ImageName, Job, ProjectName, RefName};
use crate::store::{JobFilter, Store, StoreError};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Show every image: state, digest, release references, bases
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
        print(&mut out, &views, Timestamp::now())?;
    }
    out.flush()?;
    Ok(Exit::Fine.into())
}

fn views(place: &Place, store: Option<&Store>, only: Option<&ProjectName>) -> anyhow::Result<Vec<ImageView>> {
    let mut records = BTreeMap::new();
    let mut releases = BTreeMap::new();
    let mut live: Vec<Job> = Vec::new();
    let mut tips = BTreeMap::new();
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
        let filter = JobFilter {
            project: only.cloned(),
            live: true,
            ..JobFilter::default()
        };
        live.extend(store.jobs(&filter)?.into_iter().map(|record| record.job));
        for project in store.project_names()? {
            let refs = store.refs(&project)?;
            tips.insert(project, refs);
        }
    }
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
        let config = configured.get(&(&project, &image)).copied();
        let known = place.config.is_some();
        let of_image = records.remove(&(project.clone(), image.clone())).unwrap_or_default();
        if of_image.is_empty() {
            views.push(ImageView::never_built(&project, &image, &live));
        }
        for (good, newest) in of_image {
            let job = newest_live(&live, &project, &newest.reference);
            let tip = tips.get(&project).and_then(|refs| refs.get(&newest.reference));
            let state = state_of(config, known, good.as_ref(), &newest, job, tip, &releases);
            views.push(ImageView::new(good, newest, state, &releases));
        }
    }
    Ok(views)
}

/// The job that will change the ref next: the one that runs, else the first that waits.
fn newest_live<'a>(live: &'a [Job], project: &ProjectName, reference: &RefName) -> Option<&'a Job> {
    let of_ref = live
        .iter()
        .filter(|job| job.project == *project && job.reference == *reference);
    of_ref.min_by_key(|job| (!job.is_running(), job.place))
}

fn print(out: &mut impl Write, views: &[ImageView], now: Timestamp) -> std::io::Result<()> {
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
        for base in &view.bases {
            let digest = base.digests.first().or(base.id.as_ref());
            let digest = digest.map_or_else(String::new, |digest| format!(" {digest}"));
            writeln!(out, "  base      {}{digest}", plain(&base.name))?;
        }
    }
    Ok(())
}
