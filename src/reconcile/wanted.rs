//! Which checks there are to be made: of bases, each once for all that stand on it, inside of images, and for images that
//! may have been built elsewhere.

use super::judge::{Watched, base_key, is_kept, used, watched};
use super::retry::later;
use super::timing::{self, spread};
use crate::config::{Config, Image, PackageCheck, Project, Update};
use crate::model::{BaseKey, BaseUsed, Check, CommitId, Look, Node, Question, RefName, Standing, State, Used};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two looks at a base, whatever is asked of it meanwhile.
pub(super) const SHORTEST_GAP: Duration = Duration::from_secs(5);

/// What images want of a base.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The shortest interval of theirs.
    every: Option<Duration>,
    /// The longest quiet period.
    pub(super) quiet: Duration,
    /// When the first of them was verified.
    verified: Option<Timestamp>,
    /// What they have used.
    pub(super) used: BTreeMap<String, Used>,
}

/// Every base that is to be looked at.
pub(super) fn wanted(state: &State, config: &Config) -> BTreeMap<BaseKey, Wanted> {
    let mut wanted: BTreeMap<BaseKey, Wanted> = BTreeMap::new();
    for image in watched(state, config).filter(|watched| watched.image.update.base) {
        for base in &image.standing.bases {
            if let Some(key) = base_key(image.node, base) {
                wanted.entry(key).or_default().add(&image, base);
            }
        }
    }
    wanted
}

impl Wanted {
    /// By the shortest interval, the longest quiet period, when the first was verified, and what they have used.
    pub(super) fn new(
        (every, quiet, verified): (Duration, Duration, Timestamp),
        used: BTreeMap<String, Used>,
    ) -> Option<Self> {
        Some(Self {
            every: Some(every),
            quiet,
            verified: Some(verified),
            used,
        })
    }

    fn add(&mut self, image: &Watched<'_>, base: &BaseUsed) {
        let update = &image.image.update;
        self.every = Some(self.every.map_or(update.every, |every| every.min(update.every)));
        self.quiet = self.quiet.max(update.quiet);
        let verified = image.standing.verified;
        self.verified = Some(self.verified.map_or(verified, |first| first.min(verified)));
        let used = used(image.standing, base);
        self.used.insert(used.key(), used);
    }

    pub(super) fn every(&self) -> Duration {
        self.every.unwrap_or(Duration::MAX)
    }

    /// When to look at the base.
    pub(super) fn due(&self, key: &BaseKey, check: Option<&Check<Look>>) -> Timestamp {
        let verified = self.verified.unwrap_or(Timestamp::MIN);
        let Some(check) = check else {
            return spread(verified, self.every(), key);
        };
        let due = timing::due(check, self.every(), key);
        match &check.last {
            // Seen, but not compared with what somebody has used since.
            Some(look) if check.trouble.is_none() && self.used.values().any(|used| !is_told(look, used)) => {
                due.min(later(look.checked, SHORTEST_GAP))
            }
            _ => due,
        }
    }
}

/// Whether a look tells how a base stands to what was used.
fn is_told(look: &Look, used: &Used) -> bool {
    let key = used.key();
    used.is_at(&look.head) || look.compared.iter().any(|compared| compared.used == key)
}

/// Bases that are to be looked at, each with what images have used of it.
pub fn bases_of(state: &State, config: &Config) -> Vec<(BaseKey, Vec<Used>)> {
    let wanted = wanted(state, config).into_iter();
    wanted
        .map(|(base, wanted)| (base, wanted.used.into_values().collect()))
        .collect()
}

/// Released images that are to be looked into.
pub fn inside_of(state: &State, config: &Config) -> Vec<Node> {
    let wanted = watched(state, config).filter(is_looked_into);
    wanted.map(|watched| watched.node.clone()).collect()
}

/// When each check is due that is to be made.
pub fn due(state: &State, config: &Config, now: Timestamp) -> BTreeMap<Question, Timestamp> {
    super::agenda::fresh(state, config, now)
}

pub(super) fn is_looked_into(watched: &Watched<'_>) -> bool {
    watched.image.update.packages != PackageCheck::Off && watched.standing.known_by().is_some()
}

/// Images that may have been built elsewhere, each with the tip of its ref.
pub fn strangers_of(state: &State, config: &Config) -> Vec<(Node, CommitId)> {
    let strangers = strangers(state, config);
    strangers
        .map(|stranger| (stranger.node, stranger.commit.clone()))
        .collect()
}

/// An image that may have been built elsewhere.
pub(super) struct Stranger<'a> {
    pub node: Node,
    pub commit: &'a CommitId,
    pub every: Duration,
}

/// Images of the config of which no release is on record, on refs where one could be. Only while nothing is being built
/// there.
fn strangers<'a>(state: &'a State, config: &'a Config) -> impl Iterator<Item = Stranger<'a>> {
    let projects = config.projects.values().filter(|project| project.enabled);
    // In the order of their projects' names, as those are.
    let mut ours = state.updates.standings.iter().filter(is_ours).peekable();
    projects.flat_map(move |project| {
        let mut released = BTreeSet::new();
        while let Some((node, _)) = ours.next_if(|(node, _)| node.project <= project.name) {
            if node.project == project.name {
                released.insert(&node.image);
            }
        }
        let images = project.images.iter().filter(|image| wants_checks(image));
        images.flat_map(move |image| strangers_in(state, project, image, released.contains(&image.name)))
    })
}

/// The same of one.
pub(super) fn stranger<'a>(state: &'a State, config: &'a Config, node: &Node) -> Option<Stranger<'a>> {
    let project = config.projects.get(&node.project).filter(|project| project.enabled)?;
    let image = project.images.iter().find(|image| image.name == node.image)?;
    let mut ours = Node::of_project(&state.updates.standings, &node.project).filter(is_ours);
    let released = ours.any(|(other, _)| other.image == node.image);
    let strangers = strangers_in(state, project, image, released).into_iter();
    strangers
        .filter(|_| wants_checks(image))
        .find(|stranger| stranger.node == *node)
}

fn is_ours((_, standing): &(&Node, &Standing)) -> bool {
    standing.job.is_some()
}

fn wants_checks(image: &Image) -> bool {
    let Update { base, packages, .. } = &image.update;
    !image.release.is_empty() && (*base || *packages != PackageCheck::Off)
}

/// `released`: some ref has released the image.
fn strangers_in<'a>(state: &'a State, project: &'a Project, image: &'a Image, released: bool) -> Vec<Stranger<'a>> {
    let ours = |node: &Node| state.updates.standings.get(node).is_some_and(|s| s.job.is_some());
    // Where the remote's HEAD decides, what was released once tells where that is.
    if image.release_refs.is_none() && released {
        return Vec::new();
    }
    let Some(seen) = state.projects.get(&project.name) else {
        return Vec::new();
    };
    let may_release = |reference: &RefName| match &image.release_refs {
        Some(patterns) => patterns.iter().any(|pattern| pattern.matches(reference.short())),
        None => true,
    };
    let refs = seen.refs.iter().filter(|(reference, _)| {
        is_kept(&image.update.tags, reference)
            && may_release(reference)
            && state.live(&project.name, reference).next().is_none()
    });
    refs.map(|(reference, commit)| Stranger {
        node: Node {
            project: project.name.clone(),
            reference: reference.clone(),
            image: image.name.clone(),
        },
        commit,
        every: image.update.every,
    })
    .filter(|stranger| !ours(&stranger.node))
    .collect()
}
