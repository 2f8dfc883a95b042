//! Who outside is told of an image's releases, and how that went, from the record.

use super::time::{ago, until};
use crate::config::Config;
use crate::model::{
    Digest, ImageName, ImageRef, JobId, Node, Poke, PokeId, PokeOutcome, PokePlace, ProjectName, RefName, State,
    full_name,
};
use crate::store::{Store, StoreError};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// A place that is told of the releases of an image from a ref.
#[derive(Debug, Serialize)]
pub(super) struct PokedView {
    /// Whose image.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// Released from where.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Who is told.
    pub place: PokePlace,
    /// The last poke; none: there was nothing to tell yet.
    pub last: Option<PokeView>,
    /// The last one that was delivered, if that is another.
    pub delivered: Option<PokeView>,
}

/// A poke.
#[derive(Debug, Serialize)]
pub(super) struct PokeView {
    /// As whoever is poked sees it.
    pub id: PokeId,
    /// waiting, delivered, rejected, given up, superseded or dropped.
    pub state: &'static str,
    /// The job that released the image.
    pub job: JobId,
    /// The first reference that was released.
    pub released: ImageRef,
    /// What that points at.
    pub digest: Option<Digest>,
    /// When it was released.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; none if it has ended.
    pub next: Option<Timestamp>,
    /// Why the last attempt came to nothing.
    pub error: Option<String>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The status of the answer to what was delivered.
    pub status: Option<u16>,
    /// The begin of that answer.
    pub answer: Option<String>,
    /// The pipeline's page, if the answer named one.
    pub web_url: Option<String>,
    /// Whether people should look after it.
    #[serde(skip)]
    is_trouble: bool,
}

impl PokeView {
    fn new(poke: Poke) -> Self {
        let (state, is_trouble) = (poke.word(), poke.is_trouble());
        let next = poke.end.is_none().then_some(poke.next);
        let ended = poke.end.as_ref().map(|end| end.at);
        let answer = match poke.end.map(|end| end.how) {
            Some(PokeOutcome::Delivered(answer)) => Some(answer),
            _ => None,
        };
        Self {
            id: poke.id,
            state,
            job: poke.job,
            released: poke.image,
            digest: poke.digest,
            since: poke.since,
            attempts: poke.attempts,
            next,
            error: poke.error,
            ended,
            status: answer.as_ref().map(|answer| answer.status),
            answer: answer.as_ref().map(|answer| answer.text.clone()),
            web_url: answer.and_then(|answer| answer.web_url),
            is_trouble,
        }
    }

    fn story(&self, runs: bool, now: Timestamp) -> String {
        let (job, tried) = (self.job, times(self.attempts));
        let when = self.ended.map(|at| ago(at, now)).unwrap_or_default();
        let error = self
            .error
            .as_ref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default();
        let again = match self.next {
            Some(at) if at > now => format!("tried again {}", until(at, now)),
            _ if runs => "tried now".to_owned(),
            _ => "tried when a daemon runs".to_owned(),
        };
        match self.state {
            "waiting" if self.attempts == 0 => format!("is to be told of job {job}, {again}"),
            "waiting" => format!("not told of job {job} yet, tried {tried}{error}; {again}"),
            "delivered" => {
                let status = self.status.unwrap_or_default();
                let page = self.web_url.as_ref().map(|url| format!(": {url}")).unwrap_or_default();
                format!("told of job {job} {when}, and answered {status}{page}")
            }
            "rejected" => format!("rejected job {job} {when}{error}"),
            "given up" => format!("not told of job {job}, given up {when} after it was tried {tried}{error}"),
            other => format!("not told of job {job}, {other} {when}"),
        }
    }
}

fn times(attempts: u32) -> String {
    match attempts {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    }
}

impl PokedView {
    /// Whether people should look after it.
    pub fn is_trouble(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.is_trouble)
    }

    /// `ruby main`
    pub fn title(&self) -> String {
        format!("{} {}", full_name(&self.project, &self.image), self.reference.short())
    }

    /// `gitlab group/app main at https://gitlab.example.org: told of job 3 5m ago, and answered 201`
    pub fn story(&self, runs: bool, now: Timestamp) -> String {
        let last = match &self.last {
            None => "nothing to be told yet".to_owned(),
            Some(last) => last.story(runs, now),
        };
        let before = self.delivered.as_ref();
        let before = before.map(|told| format!("; before that {}", told.story(runs, now)));
        format!("{}: {last}{}", self.place, before.unwrap_or_default())
    }
}

/// Every place that is told of what was released here: of all projects, or of one. Without a config, those on record.
pub(super) fn poked(
    store: &Store,
    state: &State,
    config: Option<&Config>,
    only: Option<&ProjectName>,
) -> Result<Vec<PokedView>, StoreError> {
    let mut views: BTreeMap<(Node, String), PokedView> = BTreeMap::new();
    let view = |node: &Node, place: &PokePlace| PokedView {
        project: node.project.clone(),
        image: node.image.clone(),
        reference: node.reference.clone(),
        place: place.clone(),
        last: None,
        delivered: None,
    };
    let mut order = Vec::new();
    let standing = state
        .updates
        .standings
        .iter()
        .filter(|(_, standing)| standing.job.is_some());
    for node in standing.map(|(node, _)| node) {
        let projects = config.filter(|_| only.is_none_or(|only| node.project == *only));
        let project = projects.and_then(|config| config.projects.get(&node.project));
        let image = project.and_then(|project| project.images.iter().find(|image| image.name == node.image));
        for (place, _) in image.into_iter().flat_map(|image| image.poke_places()) {
            let key = (node.clone(), place.key.clone());
            views.insert(key.clone(), view(node, &place));
            order.push(key);
        }
    }
    // The newest come first.
    for poke in store.pokes(only)? {
        let key = (poke.node.clone(), poke.place.key.clone());
        let is_known = views.contains_key(&key);
        if !is_known {
            // What the config does not name any more is of interest only while it is not over.
            if config.is_some() && poke.end.is_some() {
                continue;
            }
            views.insert(key.clone(), view(&poke.node, &poke.place));
            order.push(key.clone());
        }
        let Some(view) = views.get_mut(&key) else { continue };
        let poke = PokeView::new(poke);
        match &view.last {
            None => view.last = Some(poke),
            Some(last) => {
                if poke.state == "delivered" && last.state != "delivered" && view.delivered.is_none() {
                    view.delivered = Some(poke);
                }
            }
        }
    }
    Ok(order.into_iter().filter_map(|key| views.remove(&key)).collect())
}
