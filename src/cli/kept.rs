//! Which of the images that a ref has released are kept up to date, and how they stand.

use super::update_summary::NewsView;
use crate::config::Config;
use crate::daemon::image_updates;
use crate::model::{ImageName, Node, ProjectName, RefKind, RefName, State};
use crate::reconcile::{Chains, Stands, watched};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How what is released from a ref stands to what is below it; and what is not looked at, and why.
pub(super) fn kept(
    project: &ProjectName,
    reference: &RefName,
    known: Option<(&Config, &Chains<'_>)>,
    state: &State,
    runs: bool,
) -> (Vec<NewsView>, BTreeMap<ImageName, String>) {
    let now = Timestamp::now();
    let is_meant = |node: &Node| node.project == *project && node.reference == *reference;
    let mut updates = Vec::new();
    let mut left = BTreeMap::new();
    let Some((config, chains)) = known else {
        return (updates, left);
    };
    for node in state.updates.standings.keys().filter(|node| is_meant(node)) {
        match watched(state, config).find(|image| image.node == node) {
            Some(image) => {
                let below = image_updates(image, state, config, &state.updates, chains.ours());
                updates.push(NewsView::new(below, chains.of(node), state, runs, now));
            }
            None => {
                left.insert(node.image.clone(), why_not_kept(config, node));
            }
        }
    }
    (updates, left)
}

/// How each image of a ref stands in its chain, also those that were never released.
pub(super) fn chain(
    project: &ProjectName,
    reference: &RefName,
    chains: Option<&Chains<'_>>,
) -> BTreeMap<ImageName, Stands> {
    let Some(chains) = chains else {
        return BTreeMap::new();
    };
    let nodes = chains.ours().graph.nodes().iter().enumerate();
    let own = nodes.filter(|(_, node)| node.project == *project && node.reference == *reference);
    own.map(|(place, node)| (node.image.clone(), chains.stands(place)))
        .collect()
}

fn why_not_kept(config: &Config, node: &Node) -> String {
    let project = config.projects.get(&node.project);
    let image = project.and_then(|project| project.images.iter().find(|image| image.name == node.image));
    let why = match (project, image) {
        (None, _) => "its project is not in the config",
        (Some(project), _) if !project.enabled => "its project is disabled",
        (_, None) => "it is not in the config any more",
        (_, Some(image)) if image.release.is_empty() => "the config does not release it any more",
        (_, Some(image)) => {
            let patterns = &image.update.tags;
            let is_named = patterns.iter().any(|pattern| pattern.matches(node.reference.short()));
            match node.reference.kind() {
                RefKind::Tag if !is_named => "it is of a tag that update.tags does not name",
                _ => "its ref is gone, or not followed any more",
            }
        }
    };
    why.to_owned()
}
