//! Atomic waves that failed: whose commit reaches nobody because of that, by what, and what a person can do about it.
//!
//! What began such a wave stands there as fresh, since what is released is good: it must never be left at that. It must
//! not say of any wave what the planner does not hold of it.

use super::style::{Style, plain};
use crate::model::{CommitId, Culprit, ImageName, JobId, Node, ProjectName, RefName, State, full_name};
use crate::reconcile::{Chains, covers, failed_waves};
use serde::Serialize;
use std::io::{self, Write};

/// How many culprits are named of each wave.
const CULPRITS: usize = 5;
/// How many waves are told.
const WAVES: usize = 10;

/// A wave that was not released since.
#[derive(Debug, Serialize)]
pub(super) struct FailedWaveView {
    /// What began it: `project`, or `project/image`.
    pub name: String,
    /// Whose.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// What reaches nobody.
    pub commit: CommitId,
    /// The job that began it.
    pub job: JobId,
    /// What it failed by.
    pub by: Vec<CulpritView>,
    /// The job that tries it again by now.
    pub again: Option<JobId>,
    /// Whether the commit is released, and was to be built again.
    #[serde(skip)]
    is_released: bool,
}

/// What a wave failed by.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CulpritView {
    /// Whose.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Which did not end well.
    pub commit: CommitId,
    /// In this job.
    pub job: JobId,
}

/// All of them: of one project, which began it or by which it failed, or of all.
pub(super) fn failed(state: &State, chains: &Chains<'_>, only: Option<&ProjectName>) -> Vec<FailedWaveView> {
    let mut views: Vec<FailedWaveView> = Vec::new();
    for (node, root, culprit) in failed_waves(state) {
        let culprit = CulpritView::new(culprit);
        if let Some(last) = views.last_mut().filter(|last| last.job == root && last.is_of(node)) {
            last.by.push(culprit);
        } else if chains.ours().graph.place(node).is_some()
            && let Some((commit, is_released)) = unreleased(node, root, state)
        {
            views.push(FailedWaveView {
                name: full_name(&node.project, &node.image),
                project: node.project.clone(),
                image: node.image.clone(),
                reference: node.reference.clone(),
                commit: commit.clone(),
                job: root,
                by: vec![culprit],
                again: again(node, root, state),
                is_released,
            });
        }
    }
    views.retain(|view| {
        let mut projects = view.by.iter().map(|by| &by.project).chain([&view.project]);
        only.is_none_or(|only| projects.any(|project| project == only))
    });
    views
}

/// What the wave was to release, and whether that commit is released already; none if nobody waits for it any more.
fn unreleased<'a>(node: &Node, root: JobId, state: &'a State) -> Option<(&'a CommitId, bool)> {
    let updates = &state.updates;
    let tip = state.projects.get(&node.project)?.refs.get(&node.reference)?;
    match &updates.links.get(node)?.failed {
        Some((commit, job, _)) if *job == root => (commit == tip).then_some((commit, false)),
        _ => {
            let standing = updates.standings.get(node)?;
            (standing.job < Some(root)).then_some((&standing.commit, true))
        }
    }
}

fn again(node: &Node, root: JobId, state: &State) -> Option<JobId> {
    let mut live = state.live(&node.project, &node.reference).filter(|job| job.id > root);
    live.find(|job| covers(job, node)).map(|job| job.id)
}

impl FailedWaveView {
    /// Whether this image began it.
    pub fn is_of(&self, node: &Node) -> bool {
        (&self.project, &self.image, &self.reference) == (&node.project, &node.image, &node.reference)
    }

    /// Whether it failed by this image.
    pub fn is_by(&self, node: &Node) -> bool {
        let is_it =
            |by: &CulpritView| (&by.project, &by.image, &by.reference) == (&node.project, &node.image, &node.reference);
        self.by.iter().any(is_it)
    }

    fn line(&self) -> String {
        let (name, reference, commit, job) = (&self.name, self.reference.short(), self.commit.short(), self.job);
        let what = match self.is_released {
            true => format!("{commit}, built again,"),
            false => commit.to_owned(),
        };
        let by = names(self.by.iter().map(|by| {
            let name = full_name(&by.project, &by.image);
            format!("{name} at {} (job {})", by.commit.short(), by.job)
        }));
        format!("{name} {reference}: {what} reaches nobody: its wave (job {job}) failed by {by}")
    }

    /// How to see why, and how to go on.
    fn what_next(&self) -> String {
        let (name, project) = (&self.name, &self.project);
        if let Some(job) = self.again {
            return format!("why: pipelined explain {name}; job {job} tries it again");
        }
        let mut culprits: Vec<String> = Vec::new();
        for by in &self.by {
            let name = full_name(&by.project, &by.image);
            if !culprits.contains(&name) {
                culprits.push(name);
            }
        }
        let again = match self.is_released {
            true => format!("rebuild {name}"),
            false => format!("build {project} {}", self.reference.short()),
        };
        let culprits = names(culprits.into_iter());
        format!("why: pipelined explain {name}; mend {culprits} by a commit, or try again: pipelined {again}")
    }
}

impl CulpritView {
    fn new(culprit: &Culprit) -> Self {
        let Culprit { node, job, commit, .. } = culprit;
        Self {
            project: node.project.clone(),
            image: node.image.clone(),
            reference: node.reference.clone(),
            commit: commit.clone(),
            job: *job,
        }
    }
}

fn names(mut all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(CULPRITS);
    let mut named: Vec<String> = all.by_ref().take(CULPRITS).collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named.join(", ")
}

/// Writes it for people.
pub(super) fn print(out: &mut impl Write, waves: &[FailedWaveView], style: Style) -> io::Result<()> {
    if waves.is_empty() {
        return Ok(());
    }
    let heading = style.strong("Failed waves");
    let are = match waves.len() {
        1 => "1 atomic wave is not released until what it failed by is mended".to_owned(),
        many => format!("{many} atomic waves are not released until what they failed by is mended"),
    };
    writeln!(out, "\n{heading}: {are}")?;
    for wave in waves.iter().take(WAVES) {
        writeln!(out, "  {}", plain(&wave.line()))?;
        writeln!(out, "    {}", plain(&wave.what_next()))?;
    }
    match waves.len().saturating_sub(WAVES) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more: pipelined status --json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundreds_of_waves_and_culprits_take_a_few_lines() {
        let commit = CommitId::new("a".repeat(40)).unwrap();
        let reference = RefName::new("refs/heads/main").unwrap();
        let by = |n: i64| CulpritView {
            project: ProjectName::new(format!("p{n:03}")).unwrap(),
            image: ImageName::new(format!("p{n:03}")).unwrap(),
            reference: reference.clone(),
            commit: commit.clone(),
            job: JobId(n),
        };
        let wave = |n: i64| FailedWaveView {
            name: "base".to_owned(),
            project: ProjectName::new("base").unwrap(),
            image: ImageName::new("base").unwrap(),
            reference: reference.clone(),
            commit: commit.clone(),
            job: JobId(n),
            by: (0..100).map(by).collect(),
            again: None,
            is_released: false,
        };
        let waves: Vec<FailedWaveView> = (0..300).map(wave).collect();
        let mut out = Vec::new();
        print(&mut out, &waves, Style::plain()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1 + 1 + 2 * WAVES + 1, "{text}");
        assert!(text.contains("p004 at aaaaaaaa (job 4), and 95 more\n"), "{text}");
        assert!(
            text.contains("; mend p000, p001, p002, p003, p004, and 95 more by a commit"),
            "{text}"
        );
        assert!(text.ends_with("  and 290 more: pipelined status --json\n"), "{text}");
    }
}
