//! What a rebuild would build, as a tree with the reason of each. Pure.

use super::style::{Style, plain};
use super::tree::{self, Row};
use crate::model::{ImageName, Node, ProjectName, RefName, full_name};
use crate::reconcile::{Because, Wished};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// `rebuild --dry-run --json`.
#[derive(Debug, Serialize)]
pub(super) struct PlanView {
    /// What would be built again.
    pub images: Vec<PlannedView>,
    /// What was named or stands on it, and would not.
    pub left: Vec<LeftView>,
}

/// An image that would be built again.
#[derive(Debug, Serialize)]
pub(super) struct PlannedView {
    /// `project`, or `project/image`.
    pub name: String,
    /// Whose.
    pub project: ProjectName,
    /// Which.
    pub image: ImageName,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// `asked for`, `stands on` or `built from`.
    pub because: &'static str,
    /// Of what, by names or by reference.
    pub of: Vec<String>,
}

/// An image that would not be built again.
#[derive(Debug, Serialize)]
pub(super) struct LeftView {
    /// `project`, or `project/image`.
    pub name: String,
    /// On which ref.
    #[serde(rename = "ref")]
    pub reference: RefName,
    /// Why not.
    pub why: String,
}

impl PlanView {
    /// Of a wish that was read.
    pub fn new(wished: &Wished) -> Self {
        let images = wished.nodes.iter().map(|(node, because)| {
            let (because, of) = match because {
                Because::Asked => ("asked for", Vec::new()),
                Because::StandsOn(above) => ("stands on", above.iter().map(name).collect()),
                Because::BuiltFrom(base) => ("built from", vec![base.to_string()]),
            };
            PlannedView {
                name: name(node),
                project: node.project.clone(),
                image: node.image.clone(),
                reference: node.reference.clone(),
                because,
                of,
            }
        });
        let left = wished.left.iter().map(|(node, left)| LeftView {
            name: name(node),
            reference: node.reference.clone(),
            why: left.why.clone(),
        });
        Self {
            images: images.collect(),
            left: left.collect(),
        }
    }
}

/// Writes the tree.
pub(super) fn print(out: &mut impl Write, wished: &Wished, style: Style) -> io::Result<()> {
    let shown = shown(wished);
    let places: BTreeMap<&Node, usize> = shown.iter().enumerate().map(|(place, node)| (*node, place)).collect();
    let titles = Titles::new(shown.iter().copied());
    let mut rows: Vec<Row> = shown.iter().map(|node| row(node, wished, &titles, style)).collect();
    let mut roots = Vec::new();
    for (place, node) in shown.iter().enumerate() {
        match because(node, wished) {
            Some(Because::StandsOn(above)) => {
                let above: Vec<usize> = above.iter().filter_map(|up| places.get(up).copied()).collect();
                for up in &above {
                    rows[*up].below.push(place);
                }
            }
            _ => roots.push(place),
        }
    }
    tree::print(out, &rows, roots)?;
    let not: Vec<_> = wished.left.iter().filter(|(_, left)| !left.is_unwanted).collect();
    if !not.is_empty() {
        writeln!(out, "\nNot built again:")?;
    }
    for (node, left) in not {
        let (name, reference) = (name(node), node.reference.short());
        writeln!(out, "  {}", plain(&format!("{name} {reference}: {}", left.why)))?;
    }
    Ok(())
}

/// What is built, and what is left out on the way there.
fn shown(wished: &Wished) -> Vec<&Node> {
    let mut shown: BTreeSet<&Node> = wished.nodes.keys().collect();
    let mut next: Vec<&Node> = shown.iter().copied().collect();
    while let Some(node) = next.pop() {
        if let Some(Because::StandsOn(above)) = because(node, wished) {
            next.extend(above.iter().filter(|up| shown.insert(up)));
        }
    }
    shown.into_iter().collect()
}

fn because<'a>(node: &Node, wished: &'a Wished) -> Option<&'a Because> {
    let left = || wished.left.get(node).map(|left| &left.because);
    wished.nodes.get(node).or_else(left)
}

fn row(node: &Node, wished: &Wished, titles: &Titles<'_>, style: Style) -> Row {
    let title = style.strong(&plain(&titles.of(node)));
    let why = match wished.nodes.get(node) {
        Some(Because::Asked) => "asked for".to_owned(),
        Some(Because::StandsOn(above)) => {
            let names: Vec<String> = above.iter().map(|up| titles.of(up)).collect();
            format!("stands on {}", names.join(", "))
        }
        Some(Because::BuiltFrom(base)) => format!("built from {}", base),
        None => {
            let left = wished.left.get(node).map_or("", |left| &left.why);
            format!("left out: {left}")
        }
    };
    Row {
        line: format!("{title}  {}", plain(&why)),
        again: format!("{title} (above)"),
        ..Row::default()
    }
}

/// What people call images: with their ref where there are several.
pub(super) struct Titles<'a> {
    refs: BTreeMap<(&'a ProjectName, &'a ImageName), BTreeSet<&'a RefName>>,
}

impl<'a> Titles<'a> {
    /// Among these.
    pub fn new(nodes: impl Iterator<Item = &'a Node>) -> Self {
        let mut refs: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for node in nodes {
            let of_image = refs.entry((&node.project, &node.image)).or_default();
            of_image.insert(&node.reference);
        }
        Self { refs }
    }

    /// Of one of them.
    pub fn of(&self, node: &Node) -> String {
        let several = self
            .refs
            .get(&(&node.project, &node.image))
            .is_some_and(|refs| refs.len() > 1);
        match several {
            true => format!("{} {}", name(node), node.reference.short()),
            false => name(node),
        }
    }
}

fn name(node: &Node) -> String {
    full_name(&node.project, &node.image)
}
