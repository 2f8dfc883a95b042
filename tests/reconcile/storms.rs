//! Chains in a storm: whatever happens in whatever order, it ends, nothing is left over, and all is fresh at last.

use crate::farm::{Farm, File, Luck, Tree, cases, node};
use crate::world::{project, reference};
use pipelined::config::{Chain, Project};
use pipelined::model::{JobId, Node, Outcome};
use pipelined::reconcile::{Above, Freshness};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::{BTreeMap, BTreeSet};

/// What there is at first.
#[derive(Debug, Clone)]
struct Start {
    limit: usize,
    /// Of each project how many images it has.
    sizes: Vec<usize>,
    atomic: Vec<bool>,
    /// What stands on what, by image; by project what relies on what.
    bases: Vec<Vec<Index>>,
    needs: Vec<Option<Index>>,
    deps: Vec<Option<Index>>,
    circles: bool,
    is_kept: bool,
}

#[derive(Debug, Clone)]
enum Op {
    /// A commit: of which project, with other bases, another content, and whether it is any good.
    Push(Index, Option<(Index, Vec<Index>)>, u32, Good),
    Poll(Index),
    Step(Index, Luck),
    Steps(usize),
    Outside(u32),
    Look(Index),
    Prompt(bool),
    Cancel(Index),
    Build(Index),
    Rebuild(Index),
    Crash,
    Pass(i64),
    Enable(Index, bool),
    /// Takes a project out of the config, or all that are out into it again.
    Remove(Index, bool),
    Needs(Index, Index, bool),
    Chain(Index, bool),
    Limit(usize),
}

/// What is to be said of all files of a commit.
#[derive(Debug, Clone, Copy)]
struct Good {
    fails: bool,
    is_deaf: bool,
    is_shy: bool,
}

fn op() -> impl Strategy<Value = Op> {
    let i = any::<Index>;
    let luck = select(vec![
        Luck::Well,
        Luck::Well,
        Luck::Well,
        Luck::Well,
        Luck::Errs,
        Luck::Void,
    ]);
    let bases = prop::option::weighted(0.3, (i(), prop::collection::vec(i(), 0..3)));
    prop_oneof![
        6 => (i(), bases, 0..4u32, prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::weighted(0.15))
            .prop_map(|(p, b, s, fails, is_deaf, is_shy)| Op::Push(p, b, s, Good { fails, is_deaf, is_shy })),
        8 => i().prop_map(Op::Poll),
        24 => (i(), luck).prop_map(|(n, luck)| Op::Step(n, luck)),
        4 => (1..30usize).prop_map(Op::Steps),
        2 => (0..3u32).prop_map(Op::Outside),
        3 => i().prop_map(Op::Look),
        1 => any::<bool>().prop_map(Op::Prompt),
        1 => i().prop_map(Op::Cancel),
        1 => i().prop_map(Op::Build),
        1 => i().prop_map(Op::Rebuild),
        1 => Just(Op::Crash),
        3 => select(vec![1i64, 31, 61, 4000, 8000]).prop_map(Op::Pass),
        1 => (i(), prop::bool::weighted(0.7)).prop_map(|(p, on)| Op::Enable(p, on)),
        1 => (i(), any::<bool>()).prop_map(|(p, out)| Op::Remove(p, out)),
        1 => (i(), i(), any::<bool>()).prop_map(|(p, on, is)| Op::Needs(p, on, is)),
        1 => (i(), any::<bool>()).prop_map(|(p, is)| Op::Chain(p, is)),
        1 => (1..4usize).prop_map(Op::Limit),
    ]
}

fn start(sizes: std::ops::Range<usize>, projects: usize, atomic: f64, circles: bool) -> impl Strategy<Value = Start> {
    let many = projects * sizes.end;
    let i = any::<Index>;
    (
        1..4usize,
        prop::collection::vec(sizes, 2..=projects),
        prop::collection::vec(prop::bool::weighted(atomic), many),
        prop::collection::vec(prop::collection::vec(i(), 0..3), many),
        prop::collection::vec(prop::option::weighted(0.15, i()), projects),
        prop::collection::vec(prop::option::weighted(0.1, i()), projects),
        prop::bool::weighted(0.2),
    )
        .prop_map(move |(limit, sizes, atomic, bases, needs, deps, is_kept)| Start {
            limit,
            sizes,
            atomic,
            bases,
            needs,
            deps,
            circles,
            is_kept,
        })
}

struct Storm {
    farm: Farm,
    projects: Vec<(String, Vec<String>)>,
    /// All images, in an order in which they may stand on those before them.
    images: Vec<(usize, String)>,
    circles: bool,
    /// What is out of the config.
    removed: Vec<Project>,
}

impl Storm {
    fn new(start: &Start) -> Self {
        let projects: Vec<(String, Vec<String>)> = start
            .sizes
            .iter()
            .enumerate()
            .map(|(n, size)| {
                let name = format!("p{}", (n * 3 + 1) % 11);
                let images = match size {
                    0 => Vec::new(),
                    1 => vec![name.clone()],
                    _ => (0..*size).map(|image| format!("{name}-{image}")).collect(),
                };
                (name, images)
            })
            .collect();
        // Those of several projects take turns: jobs may stand on each other although no images do.
        let mut images: Vec<(usize, String)> = Vec::new();
        for round in 0..start.sizes.iter().copied().max().unwrap_or(0) {
            for (n, (_, own)) in projects.iter().enumerate() {
                images.extend(own.get(round).map(|image| (n, image.clone())));
            }
        }
        let names: Vec<Vec<&str>> = projects
            .iter()
            .map(|(_, own)| own.iter().map(String::as_str).collect())
            .collect();
        let list: Vec<(&str, &[&str])> = projects
            .iter()
            .zip(&names)
            .map(|((name, _), own)| (name.as_str(), &own[..]))
            .collect();
        let farm = Farm::new(start.limit, start.is_kept, &list);
        let mut storm = Self {
            farm,
            projects,
            images,
            circles: start.circles,
            removed: Vec::new(),
        };
        storm.farm.outside("outside", 0);
        for (n, (name, own)) in storm.projects.clone().iter().enumerate() {
            for (image, is_atomic) in own
                .iter()
                .zip(&start.atomic[n..])
                .filter(|(_, is)| **is)
                .map(|(image, is)| (image, *is))
            {
                storm.chain(name, image, is_atomic);
            }
            if let Some(on) = start.needs[n] {
                storm.needs(n, on.index(storm.projects.len()), true);
            }
            let mut tree = Tree::default();
            for image in own {
                let at = storm.images.iter().position(|(_, name)| name == image).unwrap();
                let bases = storm.bases(at, &start.bases[at]);
                let file = File {
                    bases,
                    ..File::default()
                };
                tree.files.insert(image.clone(), file);
            }
            if let Some(on) = start.deps[n] {
                let on = on.index(storm.projects.len());
                if on != n && storm.may_follow(n, on) {
                    tree.deps.insert(storm.projects[on].0.clone());
                }
            }
            storm.farm.push(name, tree);
        }
        storm
    }

    /// What an image is built FROM: of those before it, or of all, if there may be circles; within its own project only
    /// of those before it.
    fn bases(&self, at: usize, wanted: &[Index]) -> Vec<String> {
        let (own, _) = &self.images[at];
        let mut bases = BTreeSet::new();
        for index in wanted {
            let among = if self.circles { self.images.len() } else { at };
            if among == 0 {
                continue;
            }
            let other = index.index(among);
            let (of, name) = &self.images[other];
            if other < at || of != own {
                bases.insert(name.clone());
            }
        }
        if bases.len() < 2 {
            bases.insert("outside".to_owned());
        }
        bases.into_iter().collect()
    }

    fn chain(&mut self, name: &str, image: &str, is_atomic: bool) {
        self.farm.configure(|config| {
            let Some(of) = config.projects.get_mut(&project(name)) else {
                return;
            };
            let image = of.images.iter_mut().find(|it| it.name.as_str() == image).unwrap();
            image.chain = if is_atomic { Chain::Atomic } else { Chain::Rolling };
        });
    }

    /// Whether a project may rely on all of another one without a circle.
    fn may_follow(&self, n: usize, on: usize) -> bool {
        if self.circles {
            return true;
        }
        let first = self.images.iter().position(|(of, _)| *of == n);
        let last = self.images.iter().rposition(|(of, _)| *of == on);
        match (first, last) {
            (Some(first), Some(last)) => last < first,
            // Those without images follow others, or are followed: never both.
            (None, Some(_)) => !n.is_multiple_of(2),
            (Some(_), None) => on.is_multiple_of(2),
            (None, None) => false,
        }
    }

    fn needs(&mut self, n: usize, on: usize, is: bool) {
        if on == n || !self.may_follow(n, on) {
            return;
        }
        let upstream = pipelined::config::Upstream {
            project: project(&self.projects[on].0),
            image: None,
        };
        let name = project(&self.projects[n].0);
        self.farm.configure(|config| {
            let Some(of) = config.projects.get_mut(&name) else {
                return;
            };
            match is {
                true => drop(of.upstreams.insert(upstream)),
                false => drop(of.upstreams.remove(&upstream)),
            }
        });
    }

    fn put_back(&mut self) {
        let removed = std::mem::take(&mut self.removed);
        self.farm.configure(|config| {
            let removed = removed.into_iter().map(|project| (project.name.clone(), project));
            config.projects.extend(removed);
        });
    }

    fn apply(&mut self, op: Op) {
        let count = self.projects.len();
        match op {
            Op::Push(p, bases, salt, good) => {
                let n = p.index(count);
                let name = self.projects[n].0.clone();
                let mut tree = self.farm.tree(&project(&name));
                tree.fails = good.fails;
                let own = self.projects[n].1.clone();
                if let Some((image, bases)) = bases
                    && !own.is_empty()
                {
                    let image = image.get(&own);
                    let at = self.images.iter().position(|(_, name)| name == image).unwrap();
                    let bases = self.bases(at, &bases);
                    tree.files.get_mut(image).unwrap().bases = bases;
                }
                for file in tree.files.values_mut() {
                    (file.salt, file.is_deaf, file.is_shy) = (salt, good.is_deaf, good.is_shy);
                }
                self.farm.push(&name, tree);
            }
            Op::Poll(p) => self.farm.poll(&self.projects[p.index(count)].0.clone()),
            Op::Step(index, luck) => {
                let running = self.farm.running();
                if !running.is_empty() {
                    self.farm.step(*index.get(&running), luck);
                }
            }
            Op::Steps(steps) => {
                for _ in 0..steps {
                    let Some(id) = self.farm.running().first().copied() else {
                        return;
                    };
                    self.farm.step(id, Luck::Well);
                }
            }
            Op::Outside(content) => self.farm.outside("outside", u64::from(content)),
            Op::Look(index) => {
                if self.farm.looks() > 0 {
                    self.farm.look(index.index(self.farm.looks()));
                }
            }
            Op::Prompt(is) => self.farm.is_prompt = is,
            Op::Cancel(index) => {
                let live: Vec<_> = self.farm.state().jobs.keys().copied().collect();
                if !live.is_empty() {
                    self.farm.cancel(*index.get(&live));
                }
            }
            Op::Build(p) => self.farm.build(&self.projects[p.index(count)].0.clone()),
            Op::Rebuild(index) => {
                let released: Vec<Node> = self.farm.state().updates.standings.keys().cloned().collect();
                if !released.is_empty() {
                    self.farm.rebuild(index.get(&released));
                }
            }
            Op::Crash => self.farm.crash(),
            Op::Pass(seconds) => self.farm.pass(seconds),
            Op::Enable(p, on) => {
                let name = project(&self.projects[p.index(count)].0);
                self.farm.configure(|config| {
                    let project = config.projects.get_mut(&name);
                    project.into_iter().for_each(|project| project.enabled = on);
                });
            }
            Op::Remove(_, false) => self.put_back(),
            Op::Remove(p, true) => {
                let (name, removed) = (project(&self.projects[p.index(count)].0), &mut self.removed);
                self.farm
                    .configure(|config| removed.extend(config.projects.remove(&name)));
            }
            Op::Needs(p, on, is) => self.needs(p.index(count), on.index(count), is),
            Op::Chain(index, is) => {
                if self.images.is_empty() {
                    return;
                }
                let (n, image) = index.get(&self.images).clone();
                let name = self.projects[n].0.clone();
                self.chain(&name, &image, is);
            }
            Op::Limit(limit) => self.farm.configure(|config| config.limit = limit),
        }
    }

    /// The last failures are mended, and what people have stopped is asked for again.
    fn calm(&mut self) {
        let names: Vec<String> = self.projects.iter().map(|(name, _)| name.clone()).collect();
        self.put_back();
        self.farm
            .configure(|config| config.projects.values_mut().for_each(|project| project.enabled = true));
        for name in &names {
            let mut tree = self.farm.tree(&project(name));
            if tree.fails || tree.files.values().any(|file| file.is_shy) {
                tree.fails = false;
                tree.files.values_mut().for_each(|file| file.is_shy = false);
                self.farm.push(name, tree);
            }
        }
        self.farm.settle();
        self.check_failed_waves();
        // Tips that did not come to an end of their own, or had no base yet.
        for _ in 0..names.len() + 1 {
            for name in names.clone() {
                let tip = (project(&name), reference("main"));
                let seen = &self.farm.state().projects[&tip.0];
                let commit = seen.refs[&tip.1].clone();
                let mut jobs = self
                    .farm
                    .done
                    .values()
                    .filter(|(job, _)| job.project == tip.0 && job.commit == commit);
                let last = jobs.rfind(|(job, _)| job.rebuild.is_none());
                let is_live = self.farm.state().live(&tip.0, &tip.1).next().is_some();
                // Of a release that was cut in half and whose content is gone nothing is on record.
                let own = &self.projects.iter().find(|(of, _)| *of == name).unwrap().1;
                let standings = &self.farm.state().updates.standings;
                let is_lost = own.iter().any(|image| !standings.contains_key(&node(&name, image)));
                let is_bad = last.is_none_or(|(_, outcome)| *outcome != Outcome::Succeeded);
                if (is_bad || is_lost) && !is_live && !self.circles {
                    self.farm.build(&name);
                }
            }
            self.farm.settle();
        }
        for _ in 0..self.images.len() + 1 {
            let stands = self.farm.stand();
            let mut is_any = false;
            for (node, (freshness, above)) in stands {
                let is_taken = self.farm.state().live(&node.project, &node.reference).next().is_some();
                if self.circles && is_taken || matches!(above, Above::Blocked(_)) {
                    continue;
                }
                assert_ne!(
                    freshness,
                    Freshness::Stale,
                    "{node:?} is left stale: {above:?} {}",
                    self.farm.told()
                );
                if matches!(freshness, Freshness::Failed(_)) {
                    is_any = true;
                    self.farm.rebuild(&node);
                    if self.farm.state().updates.things.contains_key(&node) {
                        self.farm.build(node.project.as_str());
                    }
                }
            }
            if !is_any {
                break;
            }
            self.farm.settle();
        }
    }

    /// Projects that stand on each other, although no images do, can only be released one image after the other at first:
    /// no atomic wave can do that, and a person has to let it roll.
    fn roll_what_cannot_be_whole(&mut self) {
        let graph = self.farm.graph();
        let standings = &self.farm.state().updates.standings;
        let is_new = |node: &Node| !standings.contains_key(node) && !self.farm.tree(&node.project).files.is_empty();
        let mut entangled = (0..graph.nodes().len()).filter(|place| graph.is_entangled(*place));
        if self.circles || !entangled.any(|place| is_new(&graph.nodes()[place])) {
            return;
        }
        for (n, image) in self.images.clone() {
            let name = self.projects[n].0.clone();
            self.chain(&name, &image, false);
        }
        for _ in 0..self.projects.len() + 1 {
            for (name, own) in self.projects.clone() {
                let standings = &self.farm.state().updates.standings;
                if own.iter().any(|image| !standings.contains_key(&node(&name, image))) {
                    self.farm.build(&name);
                }
            }
            self.farm.settle();
        }
    }

    /// No wave is left unreleased that failed by a commit which is mended by now. Who was to blame is read from the notes.
    fn check_failed_waves(&self) {
        let stands = self.farm.stand();
        let state = self.farm.state();
        for (project, seen) in &state.projects {
            let Some(tip) = seen.refs.get(&reference("main")) else {
                continue;
            };
            let mut jobs = self.farm.done.values().filter(|(job, _)| job.project == *project);
            let last = jobs.rfind(|(job, _)| job.rebuild.is_none() && job.commit == *tip);
            let Some((root, Outcome::Failed)) = last else { continue };
            let by = root.note.strip_prefix("its wave is not released: job ");
            let by = by.and_then(|note| note.split_once(' ')?.0.parse().ok());
            let Some((member, _)) = by.and_then(|id| self.farm.done.get(&JobId(id))) else {
                continue;
            };
            let is_above = |at: &Node| at.project == *project && stands[at].1 != Above::Settled;
            let is_taken = state.live(project, &reference("main")).next().is_some();
            if is_taken || stands.keys().any(is_above) || self.circles {
                continue;
            }
            for image in member.rebuild.iter().flat_map(|rebuild| rebuild.images.keys()) {
                let standing = state
                    .updates
                    .standings
                    .get(&node(member.project.as_str(), image.as_str()));
                let is_mended = standing.is_some_and(|it| it.job > Some(root.id) && it.commit != member.commit);
                assert!(
                    !is_mended,
                    "{project} failed by {image}, which is mended: {} {root:?} {member:?} {:#?}",
                    self.farm.told(),
                    state.updates.links
                );
            }
        }
    }

    /// Nothing is left, and all is fresh.
    fn check(&self) {
        assert!(
            self.circles || self.farm.state().jobs.is_empty(),
            "left over: {}",
            self.farm.told()
        );
        for (node, (freshness, _)) in self.farm.stand() {
            if !self.circles {
                assert_eq!(freshness, Freshness::Fresh, "{node:?} {:#?}", self.farm.state().updates);
            }
        }
        self.farm.check_fresh();
        if !self.circles {
            let released: BTreeMap<&Node, ()> = self
                .farm
                .state()
                .updates
                .standings
                .keys()
                .map(|node| (node, ()))
                .collect();
            for (n, image) in &self.images {
                let node = node(&self.projects[*n].0, image);
                assert!(
                    released.contains_key(&node),
                    "{node:?} was never released: {} {:#?}",
                    self.farm.told(),
                    self.farm
                        .done
                        .values()
                        .map(|(job, outcome)| format!(
                            "{} {} {} {outcome} {} {:?}",
                            job.id,
                            job.project,
                            job.commit.short(),
                            job.note,
                            job.reason
                        ))
                        .collect::<Vec<_>>()
                );
                let commit = &self.farm.state().updates.standings[&node].commit;
                let tip = &self.farm.state().projects[&node.project].refs[&node.reference];
                assert_eq!(commit, tip, "{node:?}");
            }
        }
    }
}

fn storm(start: &Start, ops: Vec<Op>) {
    let mut storm = Storm::new(start);
    for op in ops {
        storm.apply(op);
    }
    storm.calm();
    storm.roll_what_cannot_be_whole();
    storm.check();
}

proptest! {
    #![proptest_config(cases(25))]

    #[test]
    fn single_images(start in start(1..2, 5, 0.0, false), ops in prop::collection::vec(op(), 1..80)) {
        let ops = ops.into_iter().filter(|op| !matches!(op, Op::Chain(..))).collect();
        storm(&start, ops);
    }

    #[test]
    fn many_images_and_none(start in start(0..4, 4, 0.0, false), ops in prop::collection::vec(op(), 1..80)) {
        let ops = ops.into_iter().filter(|op| !matches!(op, Op::Chain(..))).collect();
        storm(&start, ops);
    }

    #[test]
    fn atomic_waves(start in start(1..3, 4, 0.5, false), ops in prop::collection::vec(op(), 1..80)) {
        storm(&start, ops);
    }

    #[test]
    fn circles(start in start(0..3, 4, 0.2, true), ops in prop::collection::vec(op(), 1..80)) {
        storm(&start, ops);
    }
}
