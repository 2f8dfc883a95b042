//! The graph as a tree: what stands on an image is below it. An image that stands on several is shown in full once.

use super::graph_view::{GraphView, NodeView};
use super::style::{Style, plain};
use super::tree::{self, Row};
use std::io::{self, Write};

/// Writes it; with bases that are none of ours as leaves if that is wanted.
pub(super) fn print(out: &mut impl Write, view: &GraphView, external: bool, style: Style) -> io::Result<()> {
    let rows: Vec<Row> = view.nodes.iter().map(|node| row(node, external, style)).collect();
    let roots = view.nodes.iter().enumerate().filter(|(_, node)| node.is_root);
    tree::print(out, &rows, roots.map(|(place, _)| place))?;
    if !view.circles_told.is_empty() {
        writeln!(out, "\nIn circles, and not built because of each other:")?;
        for circle in &view.circles_told {
            writeln!(out, "  {}", plain(circle))?;
        }
    }
    Ok(())
}

fn row(node: &NodeView, external: bool, style: Style) -> Row {
    let title = style.strong(&plain(&node.title));
    let mut line = title.clone();
    for reference in &node.released {
        line.push_str(&format!("  {reference}"));
    }
    line.push_str(&format!("  {}", style.word(node.state.as_str())));
    if !node.why.is_empty() {
        line.push_str(&format!(": {}", plain(&node.why)));
    }
    let bases = node.stands_on.iter().filter_map(|edge| edge.reference.as_ref());
    Row {
        line,
        again: format!("{title} (above)"),
        leaves: bases.filter(|_| external).map(|base| format!("from {base}")).collect(),
        below: node.below.clone(),
    }
}
