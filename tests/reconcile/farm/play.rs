//! Attempts as the daemon plays them, one step at a time.

use super::*;

impl Farm {
    pub(super) fn end(
        &mut self,
        job: JobId,
        result: Result<(), (FailureKind, String)>,
        images: Vec<ImageResult>,
        void: bool,
    ) {
        self.attempts.remove(&job);
        self.cancels.remove(&job);
        let attempts = self.state().jobs.get(&job).map_or(0, |job| job.attempts);
        let last = attempts + 1 >= self.config().retry.attempts;
        let result = result.map_err(|(kind, why)| (Step::Build, Failure::new(kind, why)));
        self.event(Event::AttemptEnded {
            job,
            result,
            image_id: None,
            images,
            void,
            last,
        });
    }

    pub(super) fn fail(&mut self, job: JobId, kind: FailureKind, why: &str) {
        self.end(job, Err((kind, why.to_owned())), Vec::new(), false);
    }

    /// One step of a running attempt.
    pub fn step(&mut self, id: JobId, luck: Luck) {
        let Some(phase) = self.attempts.get(&id).cloned() else {
            return;
        };
        let is_releasing = self.state().releasing.contains_key(&id);
        if self.cancels.contains(&id) && !is_releasing {
            return self.fail(id, FailureKind::Cancelled, "cancelled");
        }
        match phase {
            Phase::Begun if is_releasing => self.release(id, &BTreeSet::new(), luck, true),
            Phase::Begun => {
                let learned = self.learned(id);
                self.event(Event::Learned { job: id, learned });
            }
            Phase::Waits(why) => self.fail(id, FailureKind::Waiting, &why),
            Phase::Refused(why) => self.fail(id, FailureKind::Failed, &why),
            Phase::Builds(_) if luck != Luck::Well => self.fail(id, FailureKind::Errored, "no network"),
            Phase::Builds(ground) => self.make(id, &ground),
            Phase::Releases(lost) => self.release(id, &lost, luck, false),
        }
    }

    pub(super) fn learned(&self, id: JobId) -> Learned {
        let job = &self.state().jobs[&id];
        let tree = &self.trees[&(job.project.clone(), job.commit.clone())];
        let images = self.ever[&job.project].images.clone();
        let own: BTreeSet<String> = images.iter().map(|image| image.name.to_string()).collect();
        let of = |name: &str, file: &File| {
            let siblings = file.bases.iter().filter(|base| own.contains(*base));
            Links {
                commit: job.commit.clone(),
                bases: file.bases.iter().map(|base| at(base)).collect(),
                siblings: siblings.map(|base| ImageName::new(base).unwrap()).collect(),
                targets: own.contains(name).then(|| at(name)).into_iter().collect(),
                remotes: tree.deps.iter().map(|name| format!("/srv/{name}")).collect(),
                default: Some(true),
                needs: Vec::new(),
                failed: None,
                failed_waves: Vec::new(),
            }
        };
        let itself = ImageName::new(job.project.as_str()).unwrap();
        let names: Vec<ImageName> = match images.is_empty() {
            true => vec![itself],
            false => images.iter().map(|image| image.name.clone()).collect(),
        };
        let none = File::default();
        let links = names.iter().map(|name| {
            let file = tree.files.get(name.as_str()).unwrap_or(&none);
            (name.clone(), of(name.as_str(), file))
        });
        let builds = names.iter().filter(|name| {
            job.rebuild
                .as_ref()
                .is_none_or(|rebuild| rebuild.images.contains_key(*name))
        });
        Learned {
            links: links.collect(),
            builds: builds.cloned().collect(),
        }
    }

    /// What comes of a file on these contents.
    pub fn content(name: &str, file: &File, bases: &[u64], needs: &[u64]) -> u64 {
        match file.is_deaf {
            true => hash(&(name, file.salt)),
            false => hash(&(name, file.salt, bases, needs)),
        }
    }

    pub fn content_of_need(&self, needed: &Needed) -> u64 {
        match (&needed.digest, &needed.commit) {
            (Some(digest), _) => self.contents[digest],
            (None, Some(commit)) => hash(commit),
            (None, None) => 0,
        }
    }

    pub(super) fn make(&mut self, id: JobId, ground: &Ground) {
        let job = self.state().jobs[&id].clone();
        let tree = self.trees[&(job.project.clone(), job.commit.clone())].clone();
        if tree.fails {
            return self.fail(id, FailureKind::Failed, "exit code 1");
        }
        let order = self.ever[&job.project].images.clone();
        let mut made: BTreeMap<String, ImageResult> = BTreeMap::new();
        let mut failed = None;
        for image in order {
            let name = image.name.to_string();
            if job
                .rebuild
                .as_ref()
                .is_some_and(|rebuild| !rebuild.images.contains_key(&image.name))
            {
                continue;
            }
            self.built.push((id, node(job.project.as_str(), &name)));
            let file = tree.files.get(&name).cloned().unwrap_or_default();
            let result = self.make_one(&job, &name, &file, ground, &made);
            if let Err(why) = &result {
                failed = Some(why.clone());
            }
            let result = result.unwrap_or_else(|why| empty(&name, ImageStatus::Failed, &why));
            made.insert(name, result);
        }
        let failure = failed.map(|why| (Step::Build, Failure::new(FailureKind::Failed, why)));
        let is_new = |result: &&ImageResult| result.status == ImageStatus::Built;
        let images: Vec<PlannedRelease> = made
            .values()
            .filter(is_new)
            .map(|result| PlannedRelease {
                result: result.clone(),
                content: Content::Archive("a".to_owned()),
                targets: vec![at(result.image.as_str())],
            })
            .collect();
        let others: Vec<ImageResult> = made.values().filter(|result| !is_new(result)).cloned().collect();
        if images.is_empty() {
            let result = failure.map_or(Ok(()), |(_, failure)| Err((failure.kind, failure.message)));
            return self.end(id, result, others, false);
        }
        let plan = ReleasePlan {
            images,
            others,
            failure,
            stage: ReleaseStage::Moving,
            env: BTreeMap::new(),
        };
        let lost = overtaken(&plan, &self.releases, &self.state().releasing, id, job.rebuild.as_ref());
        self.attempts.insert(id, Phase::Releases(lost));
        self.event(Event::Releasing { job: id, plan });
    }

    pub(super) fn make_one(
        &mut self,
        job: &Job,
        name: &str,
        file: &File,
        ground: &Ground,
        made: &BTreeMap<String, ImageResult>,
    ) -> Result<ImageResult, String> {
        if file.fails {
            return Err("exit code 1".to_owned());
        }
        let mut used = Vec::new();
        for base in &file.bases {
            let sibling = made.get(base);
            let digest = match (sibling, ground.parents.get(&at(base)), self.registry.get(&at(base))) {
                (Some(result), _, _) => result.digest.clone(),
                (None, Some(parent), _) => Some(parent.digest.clone()),
                (None, None, head) => head.cloned(),
            };
            let digest = digest.ok_or_else(|| format!("{base}: manifest unknown"))?;
            let is_released = sibling.is_some() || self.registry.get(&at(base)) == Some(&digest);
            if file.is_shy && !is_released || file.is_bold && is_released {
                return Err(format!("{base}: not on this one"));
            }
            used.push(BaseUsed {
                name: base.clone(),
                reference: Some(at(base)),
                digests: vec![digest.clone()],
                id: Some(digest),
                diff_ids: Vec::new(),
                platform: None,
                sibling: sibling.map(|result| result.image.clone()),
                needed: None,
            });
        }
        let image = ImageName::new(name).unwrap();
        let bases: Vec<u64> = used.iter().map(|base| self.contents[&base.digests[0]]).collect();
        let needed: Vec<BaseUsed> = ground.needs.get(&image).cloned().unwrap_or_default();
        let needs: Vec<u64> = needed
            .iter()
            .flat_map(|base| &base.needed)
            .map(|n| self.content_of_need(n))
            .collect();
        let content = Self::content(name, file, &bases, &needs);
        used.extend(needed);
        let released = ground.released.get(&image).cloned().unwrap_or_default();
        let is_same = released.iter().any(|digest| self.contents[digest] == content);
        let digest = self.digest(content);
        let status = match (is_same, &job.rebuild) {
            (true, Some(rebuild)) if !rebuild.force => ImageStatus::Unchanged,
            _ => ImageStatus::Built,
        };
        Ok(ImageResult {
            id: Some(digest.clone()),
            digest: Some(digest),
            bases: used,
            alike: if is_same { released } else { BTreeSet::new() },
            ..empty(name, status, "")
        })
    }

    pub(super) fn release(&mut self, id: JobId, lost: &BTreeSet<ImageRef>, luck: Luck, is_resumed: bool) {
        let plan = self.state().releasing[&id].clone();
        let job = self.state().jobs[&id].clone();
        let lost = match is_resumed {
            true => overtaken(&plan, &self.releases, &self.state().releasing, id, job.rebuild.as_ref()),
            false => lost.clone(),
        };
        match plan.stage {
            ReleaseStage::Held => panic!("job {id} runs while it is held back"),
            ReleaseStage::Abandoned => return self.fail(id, FailureKind::Failed, &job.note),
            _ if luck == Luck::Void && is_resumed => {
                return self.end(
                    id,
                    Err((FailureKind::Errored, "it is gone".to_owned())),
                    Vec::new(),
                    true,
                );
            }
            ReleaseStage::Gathering if luck == Luck::Errs => return self.fail(id, FailureKind::Errored, "no network"),
            ReleaseStage::Gathering => return self.fail(id, FailureKind::Waiting, "the rest of its wave"),
            ReleaseStage::Moving => {}
        }
        self.check_atomic(&job);
        let mut results = plan.others.clone();
        let mut is_half = false;
        for image in &plan.images {
            let mut result = image.result.clone();
            if is_half {
                result.status = ImageStatus::Failed;
                results.push(result);
                continue;
            }
            for target in image.targets.iter().filter(|target| !lost.contains(*target)) {
                let digest = result.digest.clone().unwrap();
                self.registry.insert(target.clone(), digest.clone());
                let release = Release {
                    reference: target.clone(),
                    digest,
                    job: id,
                    at: self.now(),
                };
                self.releases.insert(target.clone(), release);
                result.released.push(target.clone());
                if let Some(root) = job.atomic {
                    self.moved.insert(id, root);
                }
            }
            result.status = ImageStatus::Released;
            if luck == Luck::Errs {
                is_half = true;
                result.status = ImageStatus::Failed;
            }
            results.push(result);
        }
        let result = match (is_half, plan.failure) {
            (true, _) => Err((FailureKind::Errored, "no network".to_owned())),
            (false, Some((_, failure))) => Err((failure.kind, failure.message)),
            (false, None) if self.cancels.contains(&id) => Err((FailureKind::Cancelled, "cancelled".to_owned())),
            (false, None) => Ok(()),
        };
        self.end(id, result, results, false);
    }
}

fn empty(name: &str, status: ImageStatus, note: &str) -> ImageResult {
    ImageResult {
        image: ImageName::new(name).unwrap(),
        status,
        note: note.to_owned(),
        fingerprint: String::new(),
        id: None,
        digest: None,
        bases: Vec::new(),
        released: Vec::new(),
        alike: BTreeSet::new(),
    }
}
