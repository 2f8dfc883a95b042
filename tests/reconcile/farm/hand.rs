//! What people ask for.

use super::*;

impl Farm {
    /// By hand: the tip.
    pub fn build(&mut self, name: &str) {
        if let Some(n) = self.tips.get(&project(name)) {
            self.event(Event::BuildRequested {
                project: project(name),
                reference: reference("main"),
                commit: commit(*n),
            });
        }
    }

    /// By hand: what is released.
    pub fn rebuild(&mut self, node: &Node) {
        let ours = Ours::of(self.state(), self.config());
        let news = all(self.state(), self.config())
            .find(|watched| watched.node == node)
            .map(|watched| judge(watched, &self.state().updates, &ours).news(pipelined::reconcile::Counting::All));
        if let Some(news) = news {
            self.event(Event::RebuildRequested {
                wanted: vec![(node.clone(), news)],
            });
        }
    }

    pub fn cancel(&mut self, job: JobId) {
        self.event(Event::CancelRequested { job });
    }
}
