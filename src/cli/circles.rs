//! Images that stand on themselves: in `status`, since nothing is built again for another's sake there, and nobody would
//! hear of that otherwise.

use super::style::{Style, plain};
use crate::model::ProjectName;
use crate::reconcile::{Chains, around};
use serde::Serialize;
use std::io::{self, Write};

/// How many are told.
const CIRCLES: usize = 10;

/// One circle.
#[derive(Debug, Serialize)]
pub(super) struct CircleView {
    /// `a → b → a`
    pub way: String,
}

/// All of them: with an image of one project, or all.
pub(super) fn circles(chains: &Chains<'_>, only: Option<&ProjectName>) -> Vec<CircleView> {
    let graph = &chains.ours().graph;
    let is_wanted = |place: &usize| only.is_none_or(|only| graph.nodes()[*place].project == *only);
    let wanted = graph.circles().iter().filter(|circle| circle.iter().any(is_wanted));
    wanted
        .map(|circle| CircleView {
            way: around(graph, circle),
        })
        .collect()
}

pub(super) fn print(out: &mut impl Write, circles: &[CircleView], style: Style) -> io::Result<()> {
    if circles.is_empty() {
        return Ok(());
    }
    let heading = style.strong("Circles");
    writeln!(
        out,
        "\n{heading}: these are not built again for each other's sake, until one of them stands on another no more"
    )?;
    for circle in circles.iter().take(CIRCLES) {
        writeln!(out, "  {}", plain(&circle.way))?;
    }
    match circles.len().saturating_sub(CIRCLES) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more: pipelined status --json"),
    }
}
