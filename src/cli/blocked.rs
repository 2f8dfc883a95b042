//! What waits for a failure above it to be mended: by which failure, and what a person can do about that.
//!
//! There may be hundreds of images below one failure: it must never take more than a few lines for each failure.

use super::rebuild_plan::Titles;
use super::style::{Style, plain};
use crate::model::{Graph, ImageName, JobId, Node, Outcome, ProjectName, RefName, State, full_name};
use crate::reconcile::{Chains, Word};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};

/// How many images are named below each failure.
const IMAGES: usize = 5;
/// How many failures are told.
const FAILURES: usize = 10;

/// An image that is blocked.
#[derive(Debug, Serialize)]
pub(super) struct BlockedView {
    /// `project`, or `project/image`.
    pub name: String,
    /// Whose.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// By what, in words.
    pub why: String,
    /// The same for scripts.
    pub by: Option<FailedView>,
}

/// What failed above an image.
#[derive(Debug, Clone, Serialize)]
pub(super) struct FailedView {
    /// Whose.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// In this job.
    pub job: JobId,
    /// Whether it has a release from before.
    #[serde(skip)]
    is_released: bool,
}

/// All that is blocked: of one project, or of all.
pub(super) fn blocked(state: &State, chains: &Chains<'_>, only: Option<&ProjectName>) -> Vec<BlockedView> {
    let graph = &chains.ours().graph;
    let mut views = Vec::new();
    // What blocks one image blocks all that are blocked in the same words.
    let mut failed: BTreeMap<String, Option<FailedView>> = BTreeMap::new();
    for place in below_failures(state, graph) {
        let node = &graph.nodes()[place];
        if only.is_some_and(|only| node.project != *only) {
            continue;
        }
        let stands = chains.stands(place);
        if stands.state != Word::Blocked {
            continue;
        }
        let by = failed.entry(stands.why.clone());
        let by = by
            .or_insert_with(|| what_failed(place, &stands.why, state, chains))
            .clone();
        views.push(BlockedView {
            name: full_name(&node.project, &node.image),
            project: node.project.clone(),
            image: node.image.clone(),
            reference: node.reference.clone(),
            why: stands.why,
            by,
        });
    }
    views
}

/// What may be blocked: to ask each of thousands of images would take its time, and mostly nothing has failed.
fn below_failures(state: &State, graph: &Graph) -> BTreeSet<usize> {
    let updates = &state.updates;
    let tried = updates.tried.iter().filter(|(_, tried)| {
        let ended = tried.ended.as_ref();
        ended.is_some_and(|(outcome, _)| *outcome != Outcome::Succeeded)
    });
    let failed = updates.links.iter().filter(|(_, links)| links.failed.is_some());
    let failed = tried.map(|(node, _)| node).chain(failed.map(|(node, _)| node));
    let mut next: Vec<usize> = failed.filter_map(|node| graph.place(node)).collect();
    let mut below = BTreeSet::new();
    while let Some(at) = next.pop() {
        next.extend(graph.downs(at).filter(|down| below.insert(*down)));
    }
    below
}

/// The image above that is meant by the reason.
fn what_failed(place: usize, why: &str, state: &State, chains: &Chains<'_>) -> Option<FailedView> {
    let graph = &chains.ours().graph;
    let mut seen = BTreeSet::from([place]);
    let mut next = VecDeque::from([place]);
    while let Some(at) = next.pop_front() {
        for up in graph.edges(at).map(|edge| edge.to) {
            if !seen.insert(up) {
                continue;
            }
            let node = &graph.nodes()[up];
            let stands = chains.stands(up);
            if let Some(job) = stands.job.filter(|_| stands.state == Word::Failed)
                && why.starts_with(&format!("{} failed (job {job})", full_name(&node.project, &node.image)))
            {
                let updates = &state.updates;
                return Some(FailedView {
                    project: node.project.clone(),
                    image: node.image.clone(),
                    reference: node.reference.clone(),
                    job,
                    is_released: updates.standings.contains_key(node) || updates.things.contains_key(node),
                });
            }
            next.push_back(up);
        }
    }
    None
}

/// Writes it for people.
pub(super) fn print(out: &mut impl Write, blocked: &[BlockedView], style: Style) -> io::Result<()> {
    if blocked.is_empty() {
        return Ok(());
    }
    let heading = style.strong("Blocked");
    let wait = if blocked.len() == 1 {
        "1 image waits"
    } else {
        &format!("{} images wait", blocked.len())
    };
    writeln!(
        out,
        "\n{heading}: {wait} until what failed above is mended (all of them: pipelined graph)"
    )?;
    let nodes: Vec<Node> = blocked.iter().map(BlockedView::node).collect();
    let titles = Titles::new(nodes.iter());
    let mut failures: Vec<(&str, Vec<usize>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, view) in blocked.iter().enumerate() {
        let place = *places.entry(&view.why).or_insert_with(|| {
            failures.push((&view.why, Vec::new()));
            failures.len() - 1
        });
        failures[place].1.push(at);
    }
    // Those that block most come first.
    failures.sort_by_key(|(_, images)| std::cmp::Reverse(images.len()));
    for (why, images) in failures.iter().take(FAILURES) {
        let mut names: Vec<String> = images.iter().take(IMAGES).map(|at| titles.of(&nodes[*at])).collect();
        if images.len() > IMAGES {
            names.push(format!("and {} more", images.len() - IMAGES));
        }
        writeln!(out, "  {}", plain(&format!("{why}: {}", names.join(", "))))?;
        if let Some(by) = &blocked[images[0]].by {
            writeln!(out, "    {}", plain(&by.what_next()))?;
        }
    }
    match failures.len().saturating_sub(FAILURES) {
        0 => Ok(()),
        1 => writeln!(out, "  and by 1 more failure"),
        more => writeln!(out, "  and by {more} more failures"),
    }
}

impl BlockedView {
    fn node(&self) -> Node {
        Node {
            project: self.project.clone(),
            reference: self.reference.clone(),
            image: self.image.clone(),
        }
    }
}

impl FailedView {
    /// How to see why, and how to go on.
    fn what_next(&self) -> String {
        let (project, job) = (&self.project, self.job);
        let again = match self.is_released {
            true => format!("rebuild {}", full_name(project, &self.image)),
            // There is no release that could be built again.
            false => format!("build {project} {}", self.reference.short()),
        };
        format!("why: pipelined log {project} --job {job}; mend it by a commit, or try again: pipelined {again}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundreds_of_images_take_a_few_lines() {
        let view = |n: usize, why: &str| {
            let project = ProjectName::new(format!("p{n:03}")).unwrap();
            BlockedView {
                name: project.to_string(),
                image: ImageName::new(project.as_str()).unwrap(),
                project,
                reference: RefName::new("refs/heads/main").unwrap(),
                why: why.to_owned(),
                by: None,
            }
        };
        let few = (0..12).map(|n| view(n, &format!("few{n} failed (job {n})")));
        let many = (12..400).map(|n| view(n, "base failed (job 99)"));
        let all: Vec<BlockedView> = few.chain(many).collect();
        let mut out = Vec::new();
        print(&mut out, &all, Style::plain()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("\nBlocked: 400 images wait until what failed above"),
            "{text}"
        );
        let most = "  base failed (job 99): p012, p013, p014, p015, p016, and 383 more\n";
        assert!(text.lines().nth(2).is_some_and(|line| most.starts_with(line)), "{text}");
        assert!(text.ends_with("  and by 3 more failures\n"), "{text}");
        assert_eq!(text.lines().count(), 1 + 1 + FAILURES + 1, "{text}");
    }
}
