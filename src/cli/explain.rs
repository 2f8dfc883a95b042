//! `pipelined explain`: why everything is as it is, from the record of the decisions.
//!
//! It repeats the reasons that were stored when they were true. It must never make up one afterwards.

use super::common::{ConfigArgs, Exit};
use super::kept::{chain, kept};
use super::place::{Place, must_be_known};
use super::poke_view::{PokedView, poked};
use super::refs;
use super::style::{Style, plain};
use super::time::{ago, between, span};
use super::update_story;
use super::update_summary::NewsView;
use super::view::{JobView, TroubleView};
use super::waiting::waits_for;
use crate::config::Project;
use crate::model::{CommitId, ImageName, JobId, ProjectName, RefKind, RefName, full_name};
use crate::reconcile::{Chains, Ours, Stands, Word, is_selected};
use crate::store::{JobFilter, JobRecord, Store};
use crate::workdir::Layout;
use anyhow::bail;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::str::FromStr;

/// How many jobs of a ref are told of.
const JOBS: usize = 5;

/// Tell why refs and images are as they are: built, skipped, stale, waiting, blocked
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pipelined explain ruby
  pipelined explain ruby/slim       why is this image stale, or not?
  pipelined explain ruby v1.0       why was this tag not built?")]
pub(super) struct Args {
    /// The project, or one image of it: ruby/slim
    #[arg(value_name = "PROJECT[/IMAGE]")]
    project: Whose,
    /// Only this ref: main, v1.0, refs/heads/main
    #[arg(value_name = "REF")]
    reference: Option<OsString>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// A project, or one of its images.
#[derive(Debug, Clone)]
struct Whose {
    project: ProjectName,
    image: Option<ImageName>,
}

impl FromStr for Whose {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (project, image) = text.split_once('/').map_or((text, None), |(p, i)| (p, Some(i)));
        let project = ProjectName::new(project).map_err(|error| error.to_string())?;
        let image = image.map(ImageName::new).transpose();
        let image = image.map_err(|error| error.to_string())?;
        Ok(Self { project, image })
    }
}

#[derive(Serialize)]
struct ExplainView {
    project: ProjectName,
    /// None if the config is not known.
    enabled: Option<bool>,
    daemon: bool,
    trouble: Option<TroubleView>,
    /// It has no images, and others may rely on it.
    #[serde(skip)]
    is_thing: bool,
    refs: Vec<RefStory>,
}

#[derive(Serialize)]
struct RefStory {
    #[serde(rename = "ref")]
    reference: RefName,
    /// None if the config is not known.
    selected: Option<bool>,
    commit: Option<CommitId>,
    /// One line each, for people.
    why: Vec<String>,
    waits_for: Vec<String>,
    /// The newest first.
    jobs: Vec<JobView>,
    /// What became of the images in those jobs.
    images: Vec<ImageStory>,
    /// How what is released from it stands to what is below that.
    updates: Vec<NewsView>,
    /// Images that are released from it and not kept up to date, and why.
    not_kept: BTreeMap<ImageName, String>,
    /// Who outside is told of what is released from it.
    pokes: Vec<PokedView>,
    /// How each image stands in its chain; nothing if the config is not known.
    chain: BTreeMap<ImageName, Stands>,
}

#[derive(Serialize)]
struct ImageStory {
    job: JobId,
    image: ImageName,
    status: &'static str,
    /// Why: of a skip or a failure.
    note: String,
}

/// Prints.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = Place::look(&args.config)?;
    let store = Store::open_read(&place.workdir)?;
    must_be_known(&args.project.project, &place.projects(&store)?)?;
    must_have(&args.project, &place)?;
    let view = explain(args, &place, &store)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &view)?;
        writeln!(out)?;
    } else {
        print(&mut out, &view, Timestamp::now())?;
    }
    out.flush()?;
    Ok(Exit::Fine.into())
}

fn explain(args: &Args, place: &Place, store: &Store) -> anyhow::Result<ExplainView> {
    let Whose { project, image } = &args.project;
    let known = refs::known(store, project)?;
    let configured = place.config.as_ref().map(|config| config.projects.get(project));
    let wanted: BTreeSet<RefName> = match &args.reference {
        Some(text) => {
            let found = refs::find(text, &known)?.map_or_else(|| guess(text), Ok)?;
            let is_left_out = configured
                .flatten()
                .is_some_and(|project| !is_selected(project, &found));
            // Why a ref is left out can be told of any; without any ref, why the remote has none.
            if !known.contains(&found) && !known.is_empty() && !is_left_out {
                return Err(refs::unknown(text, project, &known));
            }
            [found].into()
        }
        None => known,
    };
    let mut stories = Vec::new();
    let state = store.load_state()?;
    let runs = place.daemon.is_some() || place.silent.is_some();
    let mut pokes = poked(store, &state, place.config.as_ref(), Some(project))?;
    let config = place.config.as_ref();
    let ours = config.map(|config| Ours::of(&state, config));
    let chains = config
        .zip(ours.as_ref())
        .map(|(config, ours)| Chains::new(&state, config, ours));
    let chains = chains.as_ref();
    for reference in wanted {
        let mut of_ref: Vec<PokedView> = pokes.extract_if(.., |poked| poked.reference == reference).collect();
        let (mut updates, mut not_kept) = kept(project, &reference, config.zip(chains), &state, runs);
        let mut chain = chain(project, &reference, chains);
        let mut told = story(project, reference, configured, place, store, chains)?;
        if let Some(image) = image {
            updates.retain(|of| of.image.image == *image);
            not_kept.retain(|of, _| of == image);
            chain.retain(|of, _| of == image);
            told.images.retain(|of| of.image == *image);
            of_ref.retain(|of| of.image == *image);
        }
        stories.push(RefStory {
            updates,
            not_kept,
            chain,
            pokes: of_ref,
            ..told
        });
    }
    Ok(ExplainView {
        enabled: configured.map(|p| p.is_some_and(|p| p.enabled)),
        daemon: place.daemon.is_some() || place.silent.is_some(),
        is_thing: configured.flatten().is_some_and(|project| project.images.is_empty()),
        trouble: store
            .remote_troubles()?
            .remove(project)
            .map(|trouble| TroubleView::new(trouble, place.remote_of(project))),
        refs: stories,
        project: project.clone(),
    })
}

/// Fails if the config has the project, and not this image of it.
fn must_have(whose: &Whose, place: &Place) -> anyhow::Result<()> {
    let (Some(image), Some(config)) = (&whose.image, &place.config) else {
        return Ok(());
    };
    let Some(project) = config.projects.get(&whose.project) else {
        return Ok(());
    };
    if project.images.iter().any(|own| own.name == *image) {
        return Ok(());
    }
    let names: Vec<&str> = project.images.iter().map(|own| own.name.as_str()).collect();
    match names.is_empty() {
        true => bail!("{} has no images", whose.project),
        false => bail!("{} has no image {image}; it has: {}", whose.project, names.join(", ")),
    }
}

/// A name that nobody has seen is taken for a branch.
fn guess(text: &OsStr) -> anyhow::Result<RefName> {
    Ok(RefName::new([b"refs/heads/", text.as_bytes()].concat())?)
}

fn story(
    project: &ProjectName,
    reference: RefName,
    configured: Option<Option<&Project>>,
    place: &Place,
    store: &Store,
    chains: Option<&Chains<'_>>,
) -> anyhow::Result<RefStory> {
    let layout = Layout::new(&place.workdir);
    let views = |filter: &JobFilter| -> anyhow::Result<Vec<JobView>> {
        let records = store.jobs(filter)?;
        let view = |record: JobRecord| JobView {
            waits: chains
                .and_then(|chains| chains.wait_of(record.job.id))
                .map(str::to_owned),
            ..JobView::new(record, &layout)
        };
        Ok(records.into_iter().map(view).collect())
    };
    let mut jobs = views(&JobFilter {
        project: Some(project.clone()),
        reference: Some(reference.clone()),
        live: false,
        newest: Some(JOBS),
    })?;
    jobs.reverse();
    let live = views(&JobFilter {
        live: true,
        ..JobFilter::default()
    })?;
    let tip = store.refs(project)?.remove(&reference);
    let selected = configured.flatten().map(|p| is_selected(p, &reference));
    let mut why = Vec::new();
    match (&tip, selected) {
        (_, Some(false)) => {
            let (key, patterns) = match (reference.kind(), configured.flatten()) {
                (RefKind::Branch, Some(p)) => ("branches", p.branches.as_slice()),
                (RefKind::Tag, Some(p)) => ("tags", p.tags.as_slice()),
                (_, None) => ("branches", [].as_slice()),
            };
            let patterns: Vec<&str> = patterns.iter().map(crate::config::Pattern::as_str).collect();
            why.push(format!(
                "it is not selected by {key} = {patterns:?}: nothing is built for it"
            ));
        }
        (Some(tip), _) => why.push(format!("at the last look its tip was {tip}")),
        (None, _) if jobs.is_empty() => why.push("no look at the remote has seen it".to_owned()),
        (None, _) => {
            why.push("it was not there, or not selected, at the last look; what it was at is forgotten".to_owned())
        }
    }
    if let (Some(tip), Some(job)) = (&tip, jobs.first())
        && job.commit != *tip
    {
        why.push(match store.failed_job(project, &reference, tip)? {
            Some(failed) => {
                let (word, id) = (JobView::new(failed.clone(), &layout).word(), failed.job.id);
                format!("its tip {word} in job {id}: what was built since then is an older commit again")
            }
            None => "its tip has no job newer than these: the commit has an outcome from before".to_owned(),
        });
    }
    let mut images = Vec::new();
    for job in &jobs {
        images.extend(store.images_of_job(job.id)?.into_iter().map(|record| ImageStory {
            job: record.job,
            image: record.result.image,
            status: record.result.status.as_str(),
            note: record.result.note,
        }));
    }
    let now = Timestamp::now();
    let waits_for = jobs.iter().flat_map(|job| waits_for(job, &live, place, now)).collect();
    Ok(RefStory {
        reference,
        selected,
        commit: tip,
        why,
        waits_for,
        jobs,
        images,
        updates: Vec::new(),
        not_kept: BTreeMap::new(),
        pokes: Vec::new(),
        chain: BTreeMap::new(),
    })
}

fn print(out: &mut impl Write, view: &ExplainView, now: Timestamp) -> std::io::Result<()> {
    let style = Style::stdout();
    let project = style.strong(view.project.as_str());
    match view.enabled {
        Some(false) => writeln!(out, "{project}: disabled, or not in the config: it is not watched")?,
        _ if !view.daemon => writeln!(out, "{project}: not watched now, as no daemon runs")?,
        _ => writeln!(out, "{project}: watched")?,
    }
    if let Some(trouble) = &view.trouble {
        writeln!(out, "  its remote cannot be asked {}", trouble.story(now))?;
    }
    if view.refs.is_empty() {
        writeln!(out, "  no ref was seen yet")?;
    }
    for story in &view.refs {
        writeln!(out, "\n{}", style.strong(&plain(&story.reference.to_string())))?;
        for line in &story.why {
            writeln!(out, "  {line}")?;
        }
        for wait in &story.waits_for {
            writeln!(out, "  waits: {}", plain(wait))?;
        }
        for NewsView { image, then, chain } in &story.updates {
            writeln!(out, "  image {}:", image.name)?;
            for line in update_story::lines(image, now) {
                writeln!(out, "    {}", plain(&line))?;
            }
            if !then.is_empty() {
                writeln!(out, "    {}", plain(then))?;
            }
            let told = chain
                .iter()
                .filter(|chain| then.is_empty() || !then.contains(&chain.why));
            for line in told.filter_map(chain_line) {
                writeln!(out, "    {}", plain(&line))?;
            }
        }
        for (image, why) in &story.not_kept {
            writeln!(out, "  image {image}: released, and not kept up to date: {why}")?;
        }
        for poked in &story.pokes {
            let told = plain(&poked.story(view.daemon, now));
            writeln!(out, "  image {} pokes {told}", full_name(&poked.project, &poked.image))?;
        }
        let is_told = |image: &ImageName| story.updates.iter().any(|of| of.image.image == *image);
        for (image, chain) in story.chain.iter().filter(|(image, _)| !is_told(image)) {
            // What is not kept up to date is told above.
            let line = plain(&chain.line());
            match chain.state {
                Word::NotKept => {}
                Word::NotReleased if view.is_thing => {}
                _ if view.is_thing => writeln!(out, "  for what relies on it: {line}")?,
                _ => writeln!(out, "  image {image}: {line}")?,
            }
        }
        for job in &story.jobs {
            print_job(out, job, style, now)?;
            // The only image of a project says no more than its job.
            let images = story.images.iter().filter(|image| image.job == job.id);
            let says_more = |image: &&ImageStory| {
                let only = image.image.as_str() == view.project.as_str();
                let released_all_the_same = image.status == "released" && job.outcome != Some("succeeded");
                !only || image.status == "skipped" || released_all_the_same
            };
            for image in images.filter(says_more) {
                let note = match image.note.is_empty() {
                    true => String::new(),
                    false => format!(": {}", plain(&image.note)),
                };
                writeln!(out, "    image {}: {}{note}", image.image, style.word(image.status))?;
            }
        }
    }
    Ok(())
}

/// How an image stands in its chain, if what is new below it does not say so.
fn chain_line(chain: &Stands) -> Option<String> {
    match chain.state {
        Word::Fresh if chain.why.is_empty() => Some("fresh: nothing that counts is new below it".to_owned()),
        Word::Stale => None,
        _ => Some(chain.line()),
    }
}

fn print_job(out: &mut impl Write, job: &JobView, style: Style, now: Timestamp) -> std::io::Result<()> {
    let (id, commit, reason) = (job.id, job.commit.short(), job.reason);
    let when = ago(job.finished.or(job.started).unwrap_or(job.created), now);
    let word = style.word(job.word());
    let wave = match job.wave == job.id {
        true => String::new(),
        false => format!(", in the wave of job {}", job.wave),
    };
    writeln!(
        out,
        "  job {id}, {commit}, {reason} ({}): {word} {when}{wave}",
        plain(&job.cause)
    )?;
    if !job.note.is_empty() {
        writeln!(out, "    {}", plain(&job.note))?;
    }
    // One attempt that ended as the job did needs no line of its own.
    if job.attempts.len() > 1 || job.outcome.is_none() || !job.waited().is_zero() {
        for attempt in &job.attempts {
            let took = attempt
                .ended
                .map(|end| between(attempt.started, end).saturating_sub(attempt.waited));
            let how = match (&attempt.failure, &attempt.ended) {
                (Some(f), _) => {
                    let step = format!("{}: ", f.step);
                    let message = plain(&f.failure.message);
                    format!("{step}{}", message.strip_prefix(&step).unwrap_or(&message))
                }
                (None, Some(_)) => "ended well".to_owned(),
                (None, None) if job.is_running() => "running".to_owned(),
                (None, None) if attempt.waits => "waits, and goes on".to_owned(),
                (None, None) => "interrupted: the daemon was gone".to_owned(),
            };
            let (n, started) = (attempt.n, ago(attempt.started, now));
            let mut took = took.map(|t| format!(", took {}", span(t))).unwrap_or_default();
            if !attempt.waited.is_zero() {
                took.push_str(&format!(", waited {}", span(attempt.waited)));
            }
            writeln!(out, "    attempt {n}, {started}{took}: {how}")?;
        }
    }
    match &job.dir {
        Some(dir) if dir.is_dir() => writeln!(out, "    {}", dir.display()),
        Some(_) => writeln!(out, "    its directory was removed"),
        None => Ok(()),
    }
}
