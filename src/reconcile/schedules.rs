//! Schedules: what is built again whatever is new.

use super::handle::{Turn, replace};
use super::judge::is_kept;
use super::rebuilds::{Place, Plan};
use super::timing::rounded;
use crate::config::{Cron, Image, Project};
use crate::model::{CommitId, Heeded, JobId, Node, RefName, Write};
use jiff::Timestamp;
use std::collections::BTreeMap;

impl Turn<'_> {
    /// What is due by its schedule, once, however often it was due meanwhile.
    pub(super) fn heed_schedules(&mut self) {
        let (now, config) = (rounded(self.now), self.config);
        let mut plans: BTreeMap<Place, Plan> = BTreeMap::new();
        let projects: Vec<&Project> = match &self.state.graph.agenda {
            Some(agenda) => agenda
                .scheduled
                .iter()
                .filter_map(|name| config.projects.get(name))
                .collect(),
            None => config.projects.values().collect(),
        };
        for project in projects.into_iter().filter(|project| project.enabled) {
            for image in &project.images {
                let Some(cron) = &image.schedule else { continue };
                for (node, commit, job) in self.scheduled_nodes(project, image) {
                    let heeded = self.state.updates.scheduled.get(&node);
                    let Some(heeded) = heeded.filter(|heeded| heeded.cron == cron.as_str()) else {
                        self.heed(&node, cron, now);
                        continue;
                    };
                    let Some(due) = cron.next_after(heeded.until) else {
                        continue;
                    };
                    if due > now {
                        self.check_at(due);
                    } else if !self.is_busy(&node) {
                        self.heed(&node, cron, now);
                        let Some(commit) = commit else { continue };
                        let plan = plans.entry((node.project, node.reference, commit)).or_default();
                        plan.images.insert(node.image.clone(), job);
                        plan.schedules.insert(format!("{cron}: due at {due:.0}"));
                    }
                }
            }
        }
        let mut wave = None;
        for (place, plan) in plans {
            self.queue_rebuild(&place, plan, false, &mut wave);
        }
    }

    /// Where a schedule builds an image, and what: what is released; of what is never released, the tips of branches.
    fn scheduled_nodes(&self, project: &Project, image: &Image) -> Vec<(Node, Option<CommitId>, Option<JobId>)> {
        let Some(seen) = self.state.projects.get(&project.name) else {
            return Vec::new();
        };
        let refs = seen.refs.iter();
        let kept = refs.filter(|(reference, _)| is_kept(&image.update.tags, reference));
        let node = |reference: &RefName| Node {
            project: project.name.clone(),
            reference: reference.clone(),
            image: image.name.clone(),
        };
        kept.map(|(reference, tip)| {
            let node = node(reference);
            match self.state.updates.standings.get(&node) {
                Some(standing) => (node, Some(standing.commit.clone()), standing.job),
                None => (node, image.release.is_empty().then(|| tip.clone()), None),
            }
        })
        .collect()
    }

    fn heed(&mut self, node: &Node, cron: &Cron, until: Timestamp) {
        let heeded = Heeded {
            cron: cron.as_str().to_owned(),
            until,
        };
        self.put_scheduled(node, Some(heeded));
        if let Some(next) = cron.next_after(until) {
            self.check_at(next);
        }
    }

    pub(super) fn put_scheduled(&mut self, node: &Node, heeded: Option<Heeded>) {
        if replace(&mut self.state.updates.scheduled, node, heeded.as_ref()) {
            let node = node.clone();
            self.decision.writes.push(Write::Scheduled { node, heeded });
        }
    }
}
