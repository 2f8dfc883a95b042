//! Progress of what a person waits for, for people: bars on a terminal, else one line for each change.

use super::rebuild_plan::Titles;
use super::style::plain;
use super::wave::{ImageStands, Look};
use crate::model::Node;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);

/// Tells what has changed since the last look.
pub(super) struct Shown {
    told: BTreeMap<Node, ImageStands>,
    bars: Option<Bars>,
}

struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    running: BTreeMap<Node, ProgressBar>,
}

impl Shown {
    /// Nothing was told yet.
    ///
    /// Bars are for those who see both: lines that go into a file or a pipe must not be lost to them.
    pub fn new() -> Self {
        let is_seen = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        Self {
            told: BTreeMap::new(),
            bars: is_seen.then(Bars::new),
        }
    }

    /// Tells.
    pub fn show(&mut self, look: &Look) -> std::io::Result<()> {
        let titles = Titles::new(look.images.keys());
        // In the order of their jobs: what is above comes first.
        let mut images: Vec<(&Node, &ImageStands)> = look.images.iter().collect();
        images.sort_by_key(|(_, stands)| (stands.job.is_none(), stands.job));
        for (node, stands) in images {
            if self.told.get(node) == Some(stands) {
                continue;
            }
            let line = plain(&format!("{}: {}", titles.of(node), stands.line()));
            match &mut self.bars {
                Some(bars) => bars.change(node, stands, &line)?,
                // A closed pipe ends it: nobody reads on.
                None => writeln!(std::io::stdout().lock(), "{line}")?,
            }
            self.told.insert(node.clone(), stands.clone());
        }
        if let Some(bars) = &mut self.bars {
            bars.forget_others(look);
            let over = look.images.values().filter(|image| image.is_over).count();
            let bad = look.images.values().filter(|image| !image.is_good).count();
            bars.total.set_length(look.images.len() as u64);
            bars.total.set_position(over as u64);
            bars.total.set_message(match bad {
                0 => String::new(),
                bad => format!("{bad} not good"),
            });
        }
        Ok(())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.running.values().for_each(ProgressBar::finish_and_clear);
            bars.total.finish_and_clear();
        }
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::new(0));
        // A template that cannot be read leaves the default one.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} images {msg}") {
            total.set_style(style);
        }
        let running = BTreeMap::new();
        Self { all, total, running }
    }

    /// What stood for others, until these were known by name.
    fn forget_others(&mut self, look: &Look) {
        let all = &self.all;
        self.running.retain(|node, bar| {
            let stays = look.images.contains_key(node);
            if !stays {
                bar.finish_and_clear();
                all.remove(bar);
            }
            stays
        });
    }

    fn change(&mut self, node: &Node, stands: &ImageStands, line: &str) -> std::io::Result<()> {
        if stands.is_over {
            if let Some(bar) = self.running.remove(node) {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
            self.all.println(line)?;
        } else if stands.state == "queued" {
            // It may have run before.
            if let Some(bar) = self.running.remove(node) {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
        } else {
            let (all, total) = (&self.all, &self.total);
            let bar = self.running.entry(node.clone()).or_insert_with(|| {
                let bar = all.insert_before(total, ProgressBar::new_spinner());
                bar.enable_steady_tick(TURN);
                bar
            });
            bar.set_message(line.to_owned());
        }
        Ok(())
    }
}
