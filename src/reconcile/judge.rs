//! Whether there is something new below a released image, from what is on record of it and of its bases.
//!
//! One rule for all who ask: the daemon, `updates`, `status` and `explain`. Trouble with a check is never "nothing new":
//! what could not be seen is unknown.

use super::ours::{At, Ours};
use crate::config::{Config, Image, PackageCheck, Pattern, Project};
use crate::model::{
    BaseKey, BaseUsed, Digest, EdgeKind, Evidence, ImageName, JobId, Look, Needed, Node, PackageUpdate, RefKind,
    RefName, Standing, State, Updates, Used, full_name,
};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::time::Duration;

/// How a base stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseVerdict {
    /// It cannot move: it is named by its digest, or by the id of an image.
    Fixed,
    /// It was not seen since the image was built on it.
    Unknown,
    /// There is nothing for its platform any more, or not yet: which is no update. How that was found out.
    Absent(String),
    /// The content is what was used. If the digest is another one: how that was found out.
    Same(Option<String>),
    /// There is other content.
    Moved {
        /// What it is at now; none of a project without images.
        to: Option<Digest>,
        /// What differs, for people.
        how: String,
        /// Since when.
        since: Timestamp,
        /// Whether it has stayed there for long enough to count.
        counts: bool,
        /// The release of ours that it is, if it is one.
        own: Option<Own>,
    },
}

/// A release of ours that is new below an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// The job that has built it.
    pub job: JobId,
    /// Its wave.
    pub wave: JobId,
    /// The job that began the atomic wave with which it will be released.
    pub held: Option<JobId>,
}

/// A base of a released image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseState<'a> {
    /// What was used.
    pub used: Cow<'a, BaseUsed>,
    /// How it stands.
    pub verdict: BaseVerdict,
}

/// What there is to say of a released image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// Of what it stands on, if that is to be looked at.
    pub bases: Vec<BaseState<'a>>,
    /// Packages that have newer versions; none if there are none, or nothing is known.
    pub packages: Option<&'a [PackageUpdate]>,
    /// What it would be built on now, as a whole: the same for the same inputs.
    pub key: String,
}

/// A released image that is to be kept up to date.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// Which.
    pub node: &'a Node,
    /// As it is released.
    pub standing: &'a Standing,
    /// Its project.
    pub project: &'a Project,
    /// Its config.
    pub image: &'a Image,
}

/// Every released image that is to be kept up to date: of an enabled project, still in the config, and on a ref that is
/// followed still, a branch or one of the tags that the config names.
pub fn watched<'a>(state: &'a State, config: &'a Config) -> impl Iterator<Item = Watched<'a>> {
    let standings = state.updates.standings.iter();
    standings.filter_map(|(node, standing)| watch(state, config, node, standing))
}

/// The same of those that stand on a base. That is the smaller question, and comes first: each answer about a base asks it
/// of all images.
pub(super) fn watched_on<'a>(
    state: &'a State,
    config: &'a Config,
    base: &'a BaseKey,
) -> impl Iterator<Item = Watched<'a>> {
    let standings = state.updates.standings.iter();
    let on_it = standings.filter(move |(node, standing)| standing.bases.iter().any(|used| is_at(node, used, base)));
    on_it.filter_map(|(node, standing)| watch(state, config, node, standing))
}

/// The same of one.
pub(super) fn watch<'a>(
    state: &'a State,
    config: &'a Config,
    node: &'a Node,
    standing: &'a Standing,
) -> Option<Watched<'a>> {
    let project = config.projects.get(&node.project).filter(|project| project.enabled)?;
    let image = project.images.iter().find(|image| image.name == node.image)?;
    let seen = state.projects.get(&node.project)?;
    let followed = seen.refs.contains_key(&node.reference);
    (followed && !image.release.is_empty() && is_kept(&image.update.tags, &node.reference)).then_some(Watched {
        node,
        standing,
        project,
        image,
    })
}

/// Whether what a ref releases is kept up to date.
pub(super) fn is_kept(tags: &[Pattern], reference: &RefName) -> bool {
    match reference.kind() {
        RefKind::Branch => true,
        RefKind::Tag => tags.iter().any(|pattern| pattern.matches(reference.short())),
    }
}

/// Where a base is to be looked for; none if it cannot move, or is built together with the image.
pub fn base_key(node: &Node, base: &BaseUsed) -> Option<BaseKey> {
    let reference = base
        .reference
        .as_ref()
        .filter(|reference| reference.digest().is_none())?;
    if base.sibling.is_some() {
        return None;
    }
    Some(BaseKey {
        reference: reference.clone(),
        project: reference.is_local().then(|| node.project.clone()),
    })
}

/// Whether a base is that one which is looked at.
pub(super) fn is_at(node: &Node, base: &BaseUsed, key: &BaseKey) -> bool {
    base.reference.as_ref() == Some(&key.reference) && base_key(node, base).as_ref() == Some(key)
}

/// A base as the image of a standing has used it.
pub(super) fn used(standing: &Standing, base: &BaseUsed) -> Used {
    Used {
        base: base.clone(),
        layers: (standing.evidence == Evidence::Layers).then(|| standing.layers.clone()),
    }
}

/// Judges one image.
pub fn judge<'a>(watched: Watched<'a>, updates: &'a Updates, ours: &Ours) -> Judgement<'a> {
    let Watched {
        node, standing, image, ..
    } = watched;
    let mut inputs = Inputs::default();
    let mut bases = Vec::new();
    for base in standing
        .bases
        .iter()
        .filter(|base| image.update.base || base.needed.is_some())
    {
        let (verdict, now) = base_verdict(watched, base, updates, ours);
        inputs.add(&base.name, now.as_deref());
        let used = Cow::Borrowed(base);
        bases.push(BaseState { used, verdict });
    }
    for (used, verdict, now) in new_needs(watched, updates, ours) {
        inputs.add(&used.name, now.as_deref());
        let used = Cow::Owned(used);
        bases.push(BaseState { used, verdict });
    }
    let packages = packages(image, node, standing, updates);
    for package in packages.into_iter().flatten() {
        inputs.add(&package.to_string(), None);
    }
    Judgement {
        key: inputs.key(packages.is_some()),
        bases,
        packages,
    }
}

fn packages<'a>(image: &Image, node: &Node, standing: &Standing, updates: &'a Updates) -> Option<&'a [PackageUpdate]> {
    if image.update.packages == PackageCheck::Off {
        return None;
    }
    let found = updates.packages.get(node)?.last.as_ref()?;
    let current = standing.known_by() == Some(&found.image);
    (current && found.needed).then_some(found.updates.as_slice())
}

/// How a base stands, and what a build would use of it now.
fn base_verdict(
    watched: Watched<'_>,
    base: &BaseUsed,
    updates: &Updates,
    ours: &Ours,
) -> (BaseVerdict, Option<String>) {
    let Watched {
        node, standing, image, ..
    } = watched;
    let was = base.id.as_ref().or(base.digests.first()).map(ToString::to_string);
    if let Some(sibling) = &base.sibling {
        return (sibling_verdict(node, standing, base, sibling, updates), was);
    }
    if let Some(needed) = &base.needed {
        return needed_verdict(node, needed, updates, ours);
    }
    let Some(key) = base_key(node, base) else {
        return (BaseVerdict::Fixed, was);
    };
    if ours.stands_on_it(node, &key.reference) {
        return (BaseVerdict::Fixed, was);
    }
    if standing.evidence != Evidence::Layers
        && let Some(at) = own_base(node, &key, updates, ours)
    {
        return own_verdict(&at, at.is(&base.digests, base.id.as_ref()), was);
    }
    // What was used since the last look is none of those that it was compared with.
    let Some(look) = updates.bases.get(&key).and_then(|check| check.last.as_ref()) else {
        return (BaseVerdict::Unknown, was);
    };
    let used = used(standing, base);
    if used.is_at(&look.head) {
        return (BaseVerdict::Same(None), was);
    }
    let name = used.key();
    match look.compared.iter().find(|compared| compared.used == name) {
        None => (BaseVerdict::Unknown, was),
        Some(compared) if compared.absent => (BaseVerdict::Absent(compared.how.clone()), was),
        Some(compared) if compared.same => (BaseVerdict::Same(Some(compared.how.clone())), was),
        Some(compared) => {
            let verdict = BaseVerdict::Moved {
                to: Some(look.head.clone()),
                how: compared.how.clone(),
                since: look.since,
                counts: has_settled(look, image.update.quiet),
                own: None,
            };
            (
                verdict,
                Some(compared.present.as_ref().unwrap_or(&look.head).to_string()),
            )
        }
    }
}

/// Whether a base was seen where it is at two looks with the quiet period between them.
fn has_settled(look: &Look, quiet: Duration) -> bool {
    SignedDuration::try_from(quiet).is_ok_and(|quiet| look.checked.duration_since(look.since) >= quiet)
}

/// A base that was built by the same job moves when it is released by a later one.
fn sibling_verdict(
    node: &Node,
    standing: &Standing,
    base: &BaseUsed,
    sibling: &ImageName,
    updates: &Updates,
) -> BaseVerdict {
    let of_sibling = Node {
        image: sibling.clone(),
        ..node.clone()
    };
    let Some(there) = updates.standings.get(&of_sibling) else {
        // It is not released by itself, and is only built with this one.
        return BaseVerdict::Fixed;
    };
    let newer: Option<JobId> = there.job.filter(|_| there.job > standing.job);
    match (newer, &there.id) {
        // Also one that was only verified since: what it was verified against is what it was.
        (Some(job), Some(id))
            if there.verified > standing.verified
                && base.id.as_ref() != Some(id)
                && !base
                    .digests
                    .iter()
                    .chain(&base.id)
                    .any(|used| there.alike.contains(used)) =>
        {
            BaseVerdict::Moved {
                to: Some(there.known_by().unwrap_or(id).clone()),
                how: format!("job {job} has released it"),
                since: there.verified,
                counts: true,
                own: Some(Own {
                    job,
                    wave: there.wave.unwrap_or(job),
                    held: None,
                }),
            }
        }
        _ => BaseVerdict::Same(None),
    }
}

/// What a base is at by our own release, unless somebody has moved it since.
pub(super) fn own_base(node: &Node, key: &BaseKey, updates: &Updates, ours: &Ours) -> Option<At> {
    let at = ours.base(node, &key.reference, updates)?;
    let look = updates.bases.get(key).and_then(|check| check.last.as_ref());
    let is_overruled =
        look.is_some_and(|look| at.held.is_none() && look.checked > at.since && at.digest.as_ref() != Some(&look.head));
    (!is_overruled).then_some(at)
}

fn own_verdict(at: &At, is_same: bool, was: Option<String>) -> (BaseVerdict, Option<String>) {
    let job = at.job;
    if is_same {
        let how = format!("job {job} has released the same content");
        return (BaseVerdict::Same((!at.alike.is_empty()).then_some(how)), was);
    }
    let Some(to) = at.digest.clone() else {
        return (BaseVerdict::Unknown, was);
    };
    let verdict = BaseVerdict::Moved {
        to: Some(to.clone()),
        how: match at.held {
            Some(_) => format!("job {job} has built it, and it is released with all of its wave"),
            None => format!("job {job} has released it"),
        },
        since: at.since,
        counts: true,
        own: Some(own(at)),
    };
    (verdict, Some(to.to_string()))
}

fn own(at: &At) -> Own {
    Own {
        job: at.job,
        wave: at.wave,
        held: at.held,
    }
}

/// What is relied on without being a base.
fn needed_verdict(node: &Node, needed: &Needed, updates: &Updates, ours: &Ours) -> (BaseVerdict, Option<String>) {
    let was = needed
        .digest
        .as_ref()
        .map(ToString::to_string)
        .or_else(|| needed.commit.as_ref().map(ToString::to_string));
    let Some(Some(at)) = ours.needed(node, &needed.node, updates) else {
        return (BaseVerdict::Fixed, was);
    };
    let is_same = match (&at.digest, &needed.digest) {
        (Some(_), Some(digest)) => at.is(std::slice::from_ref(digest), None),
        (None, None) => needed.commit.as_ref() == Some(&at.commit),
        _ => false,
    };
    moved_need(&at, is_same, was)
}

fn moved_need(at: &At, is_same: bool, was: Option<String>) -> (BaseVerdict, Option<String>) {
    if is_same {
        return (BaseVerdict::Same(None), was);
    }
    let verdict = BaseVerdict::Moved {
        to: at.digest.clone(),
        how: match &at.digest {
            Some(_) => format!("job {} has released it", at.job),
            None => format!("job {} has built {}", at.job, at.commit.short()),
        },
        since: at.since,
        counts: true,
        own: Some(own(at)),
    };
    let to = at
        .digest
        .as_ref()
        .map_or_else(|| at.commit.to_string(), ToString::to_string);
    (verdict, Some(to))
}

/// What is relied on since the image was built last: it was not recorded then, so only what was built since counts.
fn new_needs(watched: Watched<'_>, updates: &Updates, ours: &Ours) -> Vec<(BaseUsed, BaseVerdict, Option<String>)> {
    let Watched { node, standing, .. } = watched;
    let Some(place) = ours.graph.place(node) else {
        return Vec::new();
    };
    let needs = ours.graph.ups(place).filter(|edge| edge.kind == EdgeKind::Needs);
    let nodes = needs.map(|edge| &ours.graph.nodes()[edge.to]);
    let is_recorded = |up: &Node| {
        standing
            .bases
            .iter()
            .any(|base| base.needed.as_ref().is_some_and(|n| n.node == *up))
    };
    nodes
        .filter(|up| !is_recorded(up))
        .filter_map(|up| {
            let at = ours.any(up, updates)?;
            let used = need(up, None);
            let (verdict, now) = moved_need(&at, at.since <= standing.verified, None);
            Some((used, verdict, now))
        })
        .collect()
}

/// An input that is no base, as it is recorded among the bases.
pub(super) fn need(upstream: &Node, at: Option<&At>) -> BaseUsed {
    BaseUsed {
        name: full_name(&upstream.project, &upstream.image),
        reference: None,
        digests: Vec::new(),
        id: None,
        diff_ids: Vec::new(),
        platform: None,
        sibling: None,
        needed: Some(Needed {
            node: upstream.clone(),
            digest: at.and_then(|at| at.digest.clone()),
            commit: at.map(|at| at.commit.clone()),
        }),
    }
}

/// Counts what an image would be built on.
#[derive(Default)]
struct Inputs(Sha256);

impl Inputs {
    fn add(&mut self, name: &str, at: Option<&str>) {
        for word in [name, at.unwrap_or_default()] {
            self.0.update((word.len() as u64).to_le_bytes());
            self.0.update(word);
        }
    }

    fn key(mut self, packages: bool) -> String {
        self.0.update([u8::from(packages)]);
        self.0
            .finalize()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Judgement<'_> {
    /// Whether there is something new that counts.
    pub fn is_stale(&self) -> bool {
        self.packages.is_some() || self.moved(Counting::Settled).next().is_some()
    }

    /// Bases with other content.
    pub fn moved(&self, counting: Counting) -> impl Iterator<Item = &BaseState<'_>> {
        self.bases.iter().filter(move |base| match &base.verdict {
            BaseVerdict::Moved { counts, .. } => *counts || counting == Counting::All,
            BaseVerdict::Fixed | BaseVerdict::Unknown | BaseVerdict::Absent(_) | BaseVerdict::Same(_) => false,
        })
    }

    /// What is new, for people.
    pub fn news(&self, counting: Counting) -> News {
        let (mut bases, mut upstreams, mut owns) = (Vec::new(), Vec::new(), Vec::new());
        for base in self.moved(counting) {
            let BaseVerdict::Moved { to, how, own, .. } = &base.verdict else {
                continue;
            };
            let from = base.used.digests.first().or(base.used.id.as_ref());
            let text = match (from, to) {
                (Some(from), Some(to)) => format!("{} {} → {} ({how})", base.used.name, from.short(), to.short()),
                (None, Some(to)) if base.used.needed.is_none() => {
                    format!("{} ? → {} ({how})", base.used.name, to.short())
                }
                _ => format!("{} ({how})", base.used.name),
            };
            match own {
                Some(_) => upstreams.push(text),
                None => bases.push(text),
            }
            owns.extend(own);
        }
        let packages = match self.packages {
            None => Vec::new(),
            Some([]) => vec!["the check says that there are updates".to_owned()],
            Some(packages) => packages.iter().map(ToString::to_string).collect(),
        };
        News {
            bases,
            upstreams,
            own: owns,
            packages,
            key: self.key.clone(),
        }
    }
}

/// Which of the bases that moved count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Those that have stayed where they are for long enough.
    Settled,
    /// All: a person wants to know now.
    All,
}

/// What is new below an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Bases, each with what moved.
    pub bases: Vec<String>,
    /// The same of those that are releases of ours, and of what is relied on.
    pub upstreams: Vec<String>,
    /// These releases.
    pub own: Vec<Own>,
    /// Packages, each with its versions.
    pub packages: Vec<String>,
    /// [`Judgement::key`].
    pub key: String,
}

impl News {
    /// Whether there is nothing new.
    pub fn is_empty(&self) -> bool {
        self.bases.is_empty() && self.upstreams.is_empty() && self.packages.is_empty()
    }
}
