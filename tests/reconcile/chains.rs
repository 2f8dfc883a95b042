//! Whatever stands on whatever: each image is built once for what is new below it, never before what it stands on, and
//! nothing is left over.

use crate::farm::{Farm, File, Luck, Tree, cases, node};
use pipelined::model::{Node, Reason};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};

/// What each image stands on, of those before it.
pub type Shape = Vec<BTreeSet<usize>>;

/// Most are small, a few are large.
fn shape(few: usize) -> impl Strategy<Value = Shape> {
    prop_oneof![28 => 1..=few, 3 => few..=200usize, 1 => 200..=2000usize].prop_flat_map(shape_of)
}

fn shape_of(many: usize) -> impl Strategy<Value = Shape> {
    prop::collection::vec(prop::collection::vec(any::<Index>(), 0..4), many).prop_map(|all| {
        let ups = |(n, ups): (usize, &Vec<Index>)| match n {
            0 => BTreeSet::new(),
            _ => ups.iter().map(|up| up.index(n)).collect(),
        };
        all.iter().enumerate().map(ups).collect()
    })
}

/// Names whose order says nothing.
pub fn name(n: usize) -> String {
    format!("p{:04}", (n * 7 + 3) % 2003)
}

pub fn file(shape: &Shape, n: usize, salt: u32, is_deaf: bool) -> File {
    let mut bases: Vec<String> = shape[n].iter().map(|up| name(*up)).collect();
    if bases.is_empty() {
        bases.push("outside".to_owned());
    }
    File {
        bases,
        salt,
        is_deaf,
        ..File::default()
    }
}

pub fn tree(name: &str, file: File) -> Tree {
    Tree {
        files: BTreeMap::from([(name.to_owned(), file)]),
        ..Tree::default()
    }
}

/// One image a project, all of them pushed and seen in this order.
pub fn farm(shape: &Shape, limit: usize, is_kept: bool, deaf: &dyn Fn(usize) -> bool, order: &[usize]) -> Farm {
    let names: Vec<String> = (0..shape.len()).map(name).collect();
    let images: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let projects: Vec<(&str, &[&str])> = names
        .iter()
        .zip(&images)
        .map(|(name, own)| (name.as_str(), &own[..]))
        .collect();
    let mut farm = Farm::new(limit, is_kept, &projects);
    farm.outside("outside", 1);
    for n in order {
        farm.push(&names[*n], tree(&names[*n], file(shape, *n, 1, deaf(*n))));
    }
    farm
}

/// How often each image was built.
fn counts(farm: &Farm) -> BTreeMap<Node, usize> {
    let mut counts = BTreeMap::new();
    for (_, node) in &farm.built {
        *counts.entry(node.clone()).or_default() += 1;
    }
    counts
}

/// Runs until nothing runs, whoever is chosen to go on.
fn run(farm: &mut Farm, chosen: &[Index]) {
    let mut chosen = chosen.iter().cycle();
    let mut steps = 100 + 50 * farm.tips.len();
    loop {
        let running = farm.running();
        if running.is_empty() {
            return farm.run();
        }
        assert!(steps > 0, "it does not end: {}", farm.told());
        steps -= 1;
        let id = chosen.next().map_or(running[0], |index| *index.get(&running));
        farm.step(id, Luck::Well);
    }
}

/// All that stand on the first image with other content above them.
fn expected(shape: &Shape, deaf: &dyn Fn(usize) -> bool, before: &[u32], after: &[u32]) -> BTreeSet<Node> {
    let contents = |salts: &[u32]| {
        let mut contents: Vec<u64> = Vec::new();
        for n in 0..shape.len() {
            let own = file(shape, n, salts[n], deaf(n));
            let bases: Vec<u64> = match shape[n].is_empty() {
                true => vec![1],
                false => shape[n].iter().map(|up| contents[*up]).collect(),
            };
            contents.push(Farm::content(&name(n), &own, &bases, &[]));
        }
        contents
    };
    let (old, new) = (contents(before), contents(after));
    let is_built = |n: &usize| before[*n] != after[*n] || shape[*n].iter().any(|up| old[*up] != new[*up]);
    (0..shape.len())
        .filter(is_built)
        .map(|n| node(&name(n), &name(n)))
        .collect()
}

fn first_start(
    shape: &Shape,
    limit: usize,
    is_kept: bool,
    deaf: &dyn Fn(usize) -> bool,
    order: &[usize],
    chosen: &[Index],
) -> Farm {
    let mut farm = farm(shape, limit, is_kept, deaf, order);
    for n in order {
        farm.poll(&name(*n));
    }
    run(&mut farm, chosen);
    farm
}

fn one_change(shape: &Shape, limit: usize, is_kept: bool, deaf: &dyn Fn(usize) -> bool, at: usize, chosen: &[Index]) {
    let order: Vec<usize> = (0..shape.len()).collect();
    // Of many it is known already how they are built at first.
    let mut farm = match shape.len() {
        0..100 => first_start(shape, limit, is_kept, deaf, &order, chosen),
        _ => {
            let mut farm = farm(shape, limit, is_kept, deaf, &order);
            farm.seed();
            farm
        }
    };
    farm.built.clear();
    farm.most_running = 0;
    farm.is_strict = true;
    let before = vec![1; shape.len()];
    let mut after = before.clone();
    after[at] = 2;
    farm.push(&name(at), tree(&name(at), file(shape, at, 2, deaf(at))));
    farm.poll(&name(at));
    let root = *farm.state().jobs.keys().next().unwrap();
    run(&mut farm, chosen);
    let once: BTreeMap<Node, usize> = expected(shape, deaf, &before, &after)
        .into_iter()
        .map(|node| (node, 1))
        .collect();
    assert_eq!(counts(&farm), once);
    assert!(farm.most_running <= limit);
    for (id, (job, _)) in farm.done.range(root..) {
        assert_eq!(job.wave, root, "job {id}: {}", job.cause);
        assert!(*id == root || job.reason == Reason::UpstreamRebuilt, "{job:?}");
    }
    farm.check_fresh();
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn one_change_builds_once_what_it_changes(
        shape in shape(14), limit in 1..5usize, at: Index, deaf in prop::collection::vec(prop::bool::weighted(0.15), 14),
        chosen in prop::collection::vec(any::<Index>(), 1..40),
    ) {
        let at = at.index(shape.len());
        one_change(&shape, limit, false, &|n| deaf[n % deaf.len()], at, &chosen);
    }

    #[test]
    fn at_first_each_is_built_once_and_in_order(
        (shape, order) in prop_oneof![19 => 1..=10usize, 1 => 10..=100usize].prop_flat_map(shape_of).prop_flat_map(|shape| {
            let order: Vec<usize> = (0..shape.len()).collect();
            (Just(shape), Just(order).prop_shuffle())
        }),
        limit in 1..5usize, is_kept in prop::bool::weighted(0.2),
        chosen in prop::collection::vec(any::<Index>(), 1..40),
    ) {
        let farm = first_start(&shape, limit, is_kept && shape.len() <= 10, &|_| false, &order, &chosen);
        let once: BTreeMap<Node, usize> = (0..shape.len()).map(|n| (node(&name(n), &name(n)), 1)).collect();
        prop_assert_eq!(counts(&farm), once);
        farm.check_fresh();
    }
}

/// One root, and below it all that there are, in layers, each on a few of the layer above: `CHAIN_IMAGES` of them.
#[test]
fn many_images_below_one_root_are_built_once() {
    let many: usize = std::env::var("CHAIN_IMAGES")
        .ok()
        .and_then(|many| many.parse().ok())
        .unwrap_or(2000);
    let ups = |n: usize| match n {
        0 => BTreeSet::new(),
        1..=40 => BTreeSet::from([0]),
        _ => BTreeSet::from([n - 40, n - 40 + n % 7]),
    };
    let shape: Shape = (0..many).map(ups).collect();
    let order: Vec<usize> = (0..many).collect();
    let limit = 8;
    let mut farm = farm(&shape, limit, false, &|_| false, &order);
    farm.seed();
    farm.push(&name(0), tree(&name(0), file(&shape, 0, 2, false)));
    farm.poll(&name(0));
    farm.run();
    assert!(counts(&farm).into_values().all(|count| count == 1));
    assert_eq!(farm.built.len(), many);
    assert_eq!(farm.most_running, limit);
    let place: BTreeMap<&str, usize> = farm
        .built
        .iter()
        .enumerate()
        .map(|(at, (_, node))| (node.image.as_str(), at))
        .collect();
    for (n, ups) in shape.iter().enumerate() {
        assert!(ups.iter().all(|up| place[name(*up).as_str()] < place[name(n).as_str()]));
    }
    farm.check_fresh();
}
