//! Chains of up to two thousand images, with failures, crashes and releases in between: it ends, nothing is left over,
//! and all is fresh at last.

use crate::chains::{Shape, farm, file, name, tree};
use crate::farm::{Farm, Luck, cases};
use crate::world::{project, reference};
use pipelined::config::Chain;
use pipelined::model::{ImageName, Node};
use pipelined::reconcile::{Freshness, Ours, Sight};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Op {
    /// A commit with this content, and whether it is any good; seen at once.
    Push(Index, u32, bool),
    Step(Index, Luck),
    Steps(usize),
    Outside(u32),
    Cancel(Index),
    Crash,
    Pass(i64),
}

fn op() -> impl Strategy<Value = Op> {
    let i = any::<Index>;
    let luck = select(vec![Luck::Well, Luck::Well, Luck::Errs, Luck::Void]);
    prop_oneof![
        6 => (i(), 2..6u32, prop::bool::weighted(0.25)).prop_map(|(n, salt, fails)| Op::Push(n, salt, fails)),
        8 => (i(), luck).prop_map(|(n, luck)| Op::Step(n, luck)),
        8 => (1..120usize).prop_map(Op::Steps),
        1 => (0..3u32).prop_map(Op::Outside),
        1 => i().prop_map(Op::Cancel),
        1 => Just(Op::Crash),
        2 => select(vec![1i64, 31, 61, 4000, 8000]).prop_map(Op::Pass),
    ]
}

struct Storm {
    farm: Farm,
    shape: Shape,
    deaf: Vec<bool>,
}

impl Storm {
    /// All is released already.
    fn new(shape: Shape, limit: usize, deaf: Vec<bool>, atomic: &[bool]) -> Self {
        let order: Vec<usize> = (0..shape.len()).collect();
        let mut farm = farm(&shape, limit, false, &|n| deaf[n % deaf.len()], &order);
        // Looks at all bases again and again are no part of this.
        farm.configure(|config| {
            let images = config.projects.values_mut().flat_map(|project| &mut project.images);
            for (n, image) in images.enumerate() {
                image.update.every = Duration::from_secs(24 * 3600);
                if atomic.get(n % atomic.len().max(1)) == Some(&true) {
                    image.chain = Chain::Atomic;
                }
            }
        });
        farm.seed();
        // With this it starts.
        farm.crash();
        Self { farm, shape, deaf }
    }

    fn push(&mut self, n: usize, salt: u32, fails: bool) {
        let file = file(&self.shape, n, salt, self.deaf[n % self.deaf.len()]);
        let mut tree = tree(&name(n), file);
        tree.fails = fails;
        self.farm.push(&name(n), tree);
        self.farm.poll(&name(n));
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Push(n, salt, fails) => self.push(n.index(self.shape.len()), salt, fails),
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
            Op::Cancel(index) => {
                let live: Vec<_> = self.farm.state().jobs.keys().copied().collect();
                if !live.is_empty() {
                    self.farm.cancel(*index.get(&live));
                }
            }
            Op::Crash => self.farm.crash(),
            Op::Pass(seconds) => self.farm.pass(seconds),
        }
    }

    /// What is to be mended by hand: tips that are not released, and images that were built again in vain.
    fn mend(&mut self) -> bool {
        let is_tip = |n: &usize| {
            let (state, it) = (self.farm.state(), node(*n));
            let tip = &state.projects[&it.project].refs[&it.reference];
            let standing = state.updates.standings.get(&it);
            standing.is_some_and(|standing| standing.commit == *tip)
        };
        let tips: Vec<usize> = (0..self.shape.len()).filter(|n| !is_tip(n)).collect();
        let ours = Ours::of(self.farm.state(), self.farm.config());
        let sight = Sight::new(self.farm.state(), self.farm.config(), &ours);
        let is_failed = |n: &usize| {
            let place = ours.graph.place(&node(*n)).unwrap();
            matches!(sight.freshness(place), Freshness::Failed(_))
        };
        let failed: Vec<usize> = (0..self.shape.len()).filter(is_failed).collect();
        tips.iter().for_each(|n| self.farm.build(&name(*n)));
        failed.iter().for_each(|n| self.farm.rebuild(&node(*n)));
        self.farm.settle_in(2);
        tips.is_empty() && failed.is_empty()
    }

    fn calm(&mut self) {
        for n in 0..self.shape.len() {
            if self.farm.tree(&project(&name(n))).fails {
                self.push(n, 9, false);
            }
        }
        // Every base is looked at once more.
        self.farm.pass(27 * 3600);
        self.farm.settle_in(2);
        let mut rounds = 8;
        while !self.mend() {
            rounds -= 1;
            assert!(rounds > 0, "it is not mended: {}", self.farm.told());
        }
        assert!(self.farm.state().jobs.is_empty(), "left over: {}", self.farm.told());
        self.farm.check_fresh();
    }
}

fn node(n: usize) -> Node {
    Node {
        project: project(&name(n)),
        reference: reference("main"),
        image: ImageName::new(name(n)).unwrap(),
    }
}

fn storm(shape: Shape, limit: usize, deaf: Vec<bool>, atomic: &[bool], ops: Vec<Op>) {
    let mut storm = Storm::new(shape, limit, deaf, atomic);
    for op in ops {
        storm.apply(op);
    }
    storm.calm();
}

/// Each on up to three of those before it, by a number.
fn shaped(many: usize, seed: u64) -> Shape {
    let mut next = seed;
    let mut below = |limit: usize| {
        next = next
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(next >> 33).unwrap() % limit
    };
    let mut ups = |n: usize| match n {
        0 => BTreeSet::new(),
        _ => (0..below(4)).map(|_| below(n)).collect(),
    };
    (0..many).map(&mut ups).collect()
}

/// Most are small, a few are large.
fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 1..40usize, 3 => 40..300usize, 1 => 300..=2000usize]
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn whatever_happens_all_is_fresh_at_last(
        many in sizes(), seed: u64, limit in 1..9usize,
        deaf in prop::collection::vec(prop::bool::weighted(0.4), 1..40), ops in prop::collection::vec(op(), 1..120),
    ) {
        storm(shaped(many, seed), limit, deaf, &[], ops);
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn whatever_happens_to_atomic_waves_all_is_fresh_at_last(
        many in sizes(), seed: u64, limit in 1..9usize,
        deaf in prop::collection::vec(prop::bool::weighted(0.4), 1..40),
        atomic in prop::collection::vec(prop::bool::weighted(0.1), 1..40), ops in prop::collection::vec(op(), 1..120),
    ) {
        storm(shaped(many, seed), limit, deaf, &atomic, ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20, ..cases(1) })]

    #[test]
    fn two_thousand_images_are_fresh_at_last(
        seed: u64, limit in 2..9usize,
        deaf in prop::collection::vec(prop::bool::weighted(0.4), 20..40), ops in prop::collection::vec(op(), 60..100),
    ) {
        storm(shaped(2000, seed), limit, deaf, &[], ops);
    }

    #[test]
    fn two_thousand_images_of_atomic_waves_are_fresh_at_last(
        seed: u64, limit in 2..9usize,
        deaf in prop::collection::vec(prop::bool::weighted(0.4), 20..40),
        atomic in prop::collection::vec(prop::bool::weighted(0.05), 20..40),
        ops in prop::collection::vec(op(), 60..100),
    ) {
        storm(shaped(2000, seed), limit, deaf, &atomic, ops);
    }
}
