//! The graph for graphviz and for mermaid. Names come from configs and remotes: each is quoted as its language wants it.

use super::graph_view::{GraphView, NodeView};
use super::style::plain;
use crate::model::ImageRef;
use crate::reconcile::Word;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// For `dot`: <https://graphviz.org/doc/info/lang.html>.
pub(super) fn dot(out: &mut impl Write, view: &GraphView, external: bool) -> io::Result<()> {
    writeln!(out, "digraph pipelined {{")?;
    writeln!(out, "  node [shape=box, style=filled, fillcolor=white];")?;
    for (place, node) in view.nodes.iter().enumerate() {
        let label: Vec<String> = label(node).iter().map(|line| dot_quoted(line)).collect();
        let colour = colour(node.state);
        writeln!(
            out,
            "  n{place} [label=\"{}\", fillcolor=\"{colour}\"];",
            label.join("\\n")
        )?;
    }
    let bases = bases(view, external);
    for (base, number) in &bases {
        let label = dot_quoted(&base.to_string());
        writeln!(out, "  x{number} [label=\"{label}\", shape=ellipse];")?;
    }
    for Line { from, to, kind } in lines(view, &bases) {
        match kind {
            "base" => writeln!(out, "  {from} -> {to};")?,
            kind => writeln!(out, "  {from} -> {to} [style=dashed, label=\"{kind}\"];")?,
        }
    }
    writeln!(out, "}}")
}

/// For mermaid: <https://mermaid.js.org/syntax/flowchart.html>.
pub(super) fn mermaid(out: &mut impl Write, view: &GraphView, external: bool) -> io::Result<()> {
    writeln!(out, "graph TD")?;
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for (place, node) in view.nodes.iter().enumerate() {
        let label: Vec<String> = label(node).iter().map(|line| mermaid_quoted(line)).collect();
        let colour = colour(node.state);
        used.insert(colour);
        writeln!(out, "  n{place}[\"{}\"]:::{}", label.join("<br>"), class(colour))?;
    }
    let bases = bases(view, external);
    for (base, number) in &bases {
        writeln!(out, "  x{number}([\"{}\"])", mermaid_quoted(&base.to_string()))?;
    }
    for Line { from, to, kind } in lines(view, &bases) {
        match kind {
            "base" => writeln!(out, "  {from} --> {to}")?,
            kind => writeln!(out, "  {from} -. {kind} .-> {to}")?,
        }
    }
    for colour in used {
        writeln!(out, "  classDef {} fill:{colour},color:#000000", class(colour))?;
    }
    Ok(())
}

/// From what is stood on to what stands there.
struct Line {
    from: String,
    to: String,
    kind: &'static str,
}

fn lines(view: &GraphView, bases: &BTreeMap<&ImageRef, usize>) -> Vec<Line> {
    let places: BTreeMap<&str, usize> = view
        .nodes
        .iter()
        .enumerate()
        .map(|(at, n)| (n.id.as_str(), at))
        .collect();
    let mut lines = Vec::new();
    for (place, node) in view.nodes.iter().enumerate() {
        for edge in &node.stands_on {
            let ours = edge.image.as_ref().and_then(|id| places.get(id.as_str()));
            let external = edge.reference.as_ref().and_then(|base| bases.get(base));
            let from = match (ours, external) {
                (Some(from), _) => format!("n{from}"),
                (None, Some(from)) => format!("x{from}"),
                (None, None) => continue,
            };
            let to = format!("n{place}");
            let kind = edge.kind;
            lines.push(Line { from, to, kind });
        }
    }
    lines
}

fn bases(view: &GraphView, external: bool) -> BTreeMap<&ImageRef, usize> {
    let edges = view.nodes.iter().flat_map(|node| &node.stands_on);
    let all: BTreeSet<&ImageRef> = edges.filter_map(|edge| edge.reference.as_ref()).collect();
    let wanted = all.into_iter().filter(|_| external);
    wanted.enumerate().map(|(number, base)| (base, number)).collect()
}

fn label(node: &NodeView) -> Vec<String> {
    let mut lines = vec![node.title.clone()];
    lines.extend(node.released.iter().map(ToString::to_string));
    lines.push(match node.why.is_empty() {
        true => node.state.as_str().to_owned(),
        false => format!("{}: {}", node.state.as_str(), node.why),
    });
    lines
}

fn colour(state: Word) -> &'static str {
    match state {
        Word::Fresh => "#c8e6c9",
        Word::Building => "#bbdefb",
        Word::Stale | Word::Waits | Word::Held => "#fff3c4",
        Word::Blocked | Word::Failed | Word::Circle => "#ffcdd2",
        Word::NeverBuilt | Word::NotReleased | Word::NotKept => "#eeeeee",
    }
}

/// A name for a colour.
fn class(colour: &str) -> String {
    format!("c{}", colour.trim_start_matches('#'))
}

/// What stands between quotes in a dot file: backslashes are escapes there.
fn dot_quoted(text: &str) -> String {
    plain(text).replace('\\', "\\\\").replace('"', "\\\"")
}

/// What stands between quotes in a mermaid label, which is HTML.
fn mermaid_quoted(text: &str) -> String {
    let mut quoted = String::new();
    for c in plain(text).chars() {
        match c {
            '"' | '#' | '&' | '<' | '>' | ';' | '\\' | '`' => quoted.push_str(&format!("#{};", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_label_is_quoted() {
        assert_eq!(dot_quoted("a\"b\\n\u{1b}[2J"), "a\\\"b\\\\n\u{fffd}[2J");
        assert_eq!(mermaid_quoted("a\"]<b>#1;"), "a#34;]#60;b#62;#35;1#59;");
    }
}
