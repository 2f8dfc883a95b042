//! Whether there is something new below a released image, from what is on record of it and of its bases.
//!
//! One rule for all who ask: the daemon, `updates`, `status` and `explain`. Trouble with a check is never "nothing new":
//! what could not be seen is unknown.

use super::ours::Ours;
use super::verdict::{base_verdict, new_needs};
use crate::config::{Config, Image, PackageCheck, Pattern, Project};
use crate::model::{
    BaseKey, BaseUsed, Digest, Evidence, JobId, Node, PackageUpdate, RefKind, RefName, Standing, State, Updates, Used,
};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

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

/// The same of those that stand on a base.
pub(super) fn watched_on<'a>(
    state: &'a State,
    config: &'a Config,
    base: &'a BaseKey,
) -> impl Iterator<Item = Watched<'a>> {
    let standings = &state.updates.standings;
    let known = standings.on(&base.reference);
    let known = known.filter_map(|node| standings.get_key_value(node));
    let on_it = known.filter(move |(node, standing)| standing.bases.iter().any(|used| is_at(node, used, base)));
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
