//! `pipelined graph`: which image stands on which, and how each of them is.
//!
//! From the record alone: it must never ask a registry, an engine or a remote.

use super::common::{ConfigArgs, Exit};
use super::graph_view::GraphView;
use super::place::Place;
use super::style::Style;
use super::{graph_drawn, graph_tree};
use crate::model::State;
use crate::reconcile::{Chains, Ours, meant};
use crate::store::{Store, StoreError};
use anyhow::Context;
use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Show which image stands on which, and how each of them is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What an image stands on is known from its last checkout: its bases that are images of ours,
`depends_on`, images of the same project, and .gitlab-deps. What stands on an image is below it.

Examples:
  pipelined graph
  pipelined graph ruby                     with all above and all below it
  pipelined graph debian:12                all that stands on a base of others
  pipelined graph --format dot | dot -Tsvg > graph.svg
  pipelined graph --json | jq -r '.nodes[] | select(.state == \"blocked\") | .id'")]
pub(super) struct Args {
    /// Only these with all that they stand on and all that stands on them: project, project/image, or a reference
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Tree)]
    format: Format,
    /// Print it as JSON: the same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Show also bases that are none of ours
    #[arg(long)]
    external: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Tree,
    /// For graphviz
    Dot,
    /// For mermaid, as in Markdown on GitLab and GitHub
    Mermaid,
    /// For scripts
    Json,
}

/// Prints.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = Place::look(&args.config)?;
    let config = place
        .config
        .as_ref()
        .context("the graph follows from the config: name it with --config")?;
    let state = match Store::open_read(&place.workdir) {
        Ok(store) => store.load_state()?,
        // A config that no daemon has run with yet.
        Err(StoreError::Missing { .. }) => State::default(),
        Err(error) => return Err(error.into()),
    };
    let ours = Ours::of(&state, config);
    let mut only = BTreeSet::new();
    for name in &args.images {
        let (places, _) = meant(name, &state, config, &ours.graph)?;
        only.extend(places);
    }
    let only = (!args.images.is_empty()).then_some(&only);
    let chains = Chains::new(&state, config, &ours);
    let view = GraphView::new(&state, &chains, only);
    let mut out = BufWriter::new(std::io::stdout().lock());
    match args.format {
        _ if args.json => json(&mut out, &view)?,
        Format::Json => json(&mut out, &view)?,
        Format::Dot => graph_drawn::dot(&mut out, &view, args.external)?,
        Format::Mermaid => graph_drawn::mermaid(&mut out, &view, args.external)?,
        Format::Tree if view.nodes.is_empty() => writeln!(out, "No ref of any project was seen yet.")?,
        Format::Tree => graph_tree::print(&mut out, &view, args.external, Style::stdout())?,
    }
    out.flush()?;
    Ok(Exit::Fine.into())
}

fn json(out: &mut impl Write, view: &GraphView) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, view)?;
    writeln!(out)?;
    Ok(())
}
