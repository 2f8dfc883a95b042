//! The graph as a tree: what stands on an image is below it. An image that stands on several is shown in full once.
//!
//! A chain may be very long: nothing here may call itself.

use super::graph_view::{GraphView, NodeView};
use super::style::{Style, plain};
use std::io::{self, Write};

/// What is to be written next: a node or a leaf, with what stands in front of its line and of those below it.
struct Next {
    what: What,
    before: String,
    after: String,
}

enum What {
    Node(usize),
    Leaf(String),
}

/// Writes it; with bases that are none of ours as leaves if that is wanted.
pub(super) fn print(out: &mut impl Write, view: &GraphView, external: bool, style: Style) -> io::Result<()> {
    let mut told = vec![false; view.nodes.len()];
    let roots = view.nodes.iter().enumerate().filter(|(_, node)| node.is_root);
    let mut next: Vec<Next> = roots
        .map(|(place, _)| Next {
            what: What::Node(place),
            before: String::new(),
            after: String::new(),
        })
        .collect();
    next.reverse();
    while let Some(Next { what, before, after }) = next.pop() {
        let place = match what {
            What::Node(place) => place,
            What::Leaf(text) => {
                writeln!(out, "{before}{}", plain(&text))?;
                continue;
            }
        };
        let node = &view.nodes[place];
        if std::mem::replace(&mut told[place], true) {
            writeln!(out, "{before}{} (above)", style.strong(&plain(&node.title)))?;
            continue;
        }
        writeln!(out, "{before}{}", line(node, style))?;
        let mut below: Vec<What> = Vec::new();
        if external {
            let bases = node.stands_on.iter().filter_map(|edge| edge.reference.as_ref());
            below.extend(bases.map(|base| What::Leaf(format!("from {base}"))));
        }
        below.extend(node.below.iter().map(|place| What::Node(*place)));
        let last = below.len().saturating_sub(1);
        let below = below.into_iter().enumerate().map(|(at, what)| Next {
            what,
            before: format!("{after}{}", if at == last { "└─ " } else { "├─ " }),
            after: format!("{after}{}", if at == last { "   " } else { "│  " }),
        });
        let begin = next.len();
        next.extend(below);
        next[begin..].reverse();
    }
    if !view.circles_told.is_empty() {
        writeln!(out, "\nIn circles, and not built because of each other:")?;
        for circle in &view.circles_told {
            writeln!(out, "  {}", plain(circle))?;
        }
    }
    Ok(())
}

fn line(node: &NodeView, style: Style) -> String {
    let mut line = style.strong(&plain(&node.title));
    for reference in &node.released {
        line.push_str(&format!("  {reference}"));
    }
    line.push_str(&format!("  {}", style.word(node.state.as_str())));
    if !node.why.is_empty() {
        line.push_str(&format!(": {}", plain(&node.why)));
    }
    line
}
