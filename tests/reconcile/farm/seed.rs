//! Many images that are released already, without the builds.

use super::*;

impl Farm {
    /// All of it is built and released already, in the order in which names were pushed.
    pub fn seed(&mut self) {
        let mut left: Vec<(ProjectName, CommitId)> = self.trees.keys().cloned().collect();
        while !left.is_empty() {
            let (ready, later) = left.into_iter().partition(|key| {
                let mut bases = self.trees[key].files.values().flat_map(|file| &file.bases);
                bases.all(|base| self.registry.contains_key(&at(base)))
            });
            left = later;
            for (name, commit) in <Vec<_> as IntoIterator>::into_iter(ready) {
                self.seed_one(&name, &commit);
            }
        }
    }

    pub(super) fn seed_one(&mut self, name: &ProjectName, commit: &CommitId) {
        let image = name.to_string();
        let file = self.trees[&(name.clone(), commit.clone())].files[&image].clone();
        let (ground, none) = (Ground::default(), BTreeMap::new());
        let Mind::Bare { state, .. } = &mut self.mind else {
            unreachable!()
        };
        let id = JobId(state.next_id);
        state.next_id += 1;
        let job = Job {
            id,
            project: name.clone(),
            reference: reference("main"),
            commit: commit.clone(),
            number: 1,
            reason: pipelined::model::Reason::NewCommit,
            cause: String::new(),
            place: id.0,
            created: Timestamp::UNIX_EPOCH,
            state: JobState::Running { cancelling: false },
            attempts: 0,
            note: String::new(),
            failure: None,
            rebuild: None,
            wave: id,
            atomic: None,
        };
        let result = self.make_one(&job, &image, &file, &ground, &none).unwrap();
        self.registry.insert(at(&image), result.digest.clone().unwrap());
        let standing = pipelined::model::Standing {
            job: Some(id),
            commit: commit.clone(),
            id: result.id,
            digest: result.digest,
            released: vec![at(&image)],
            bases: result.bases,
            verified: self.now(),
            evidence: pipelined::model::Evidence::Record,
            layers: Vec::new(),
            since: self.now(),
            wave: None,
            alike: BTreeSet::new(),
        };
        let links = Links {
            commit: commit.clone(),
            bases: file.bases.iter().map(|base| at(base)).collect(),
            siblings: BTreeSet::new(),
            targets: [at(&image)].into(),
            remotes: BTreeSet::new(),
            default: Some(true),
            needs: Vec::new(),
            failed: None,
            failed_waves: Vec::new(),
        };
        let Mind::Bare {
            state, settled, config, ..
        } = &mut self.mind
        else {
            unreachable!()
        };
        settled.insert((name.clone(), commit.clone()));
        let seen = state.projects.entry(name.clone()).or_default();
        seen.refs.insert(reference("main"), commit.clone());
        seen.last_number = 1;
        seen.selection = Some(pipelined::reconcile::selection(&config.projects[name]));
        state.updates.standings.insert(node(&image, &image), standing);
        state.updates.links.insert(node(&image, &image), links);
        state.graph.forget();
    }
}
