//! In which order the images of a project are built.
//!
//! Pure. It must give the same order for the same images, whatever order they are written in, and never leave one out.

use crate::model::ImageName;
use std::collections::{BTreeMap, BTreeSet};

/// Which images each image needs.
pub(super) type Needs = BTreeMap<ImageName, BTreeSet<ImageName>>;

/// What comes out of ordering.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Every image after all that it needs; where that leaves a choice, by name.
    pub(super) images: Vec<ImageName>,
    /// Images that need each other in a circle, from the first by name, each one needing the next.
    pub(super) cycles: Vec<Vec<ImageName>>,
}

/// Orders images. What an image needs beside them, or of itself, is left out of account.
pub(super) fn order(needs: &Needs) -> Order {
    // What each one still waits for, and who waits for each one.
    let mut waiting: Needs = BTreeMap::new();
    let mut dependents: BTreeMap<&ImageName, Vec<&ImageName>> = BTreeMap::new();
    for (name, needed) in needs {
        let known = needed.iter().filter(|n| *n != name && needs.contains_key(*n));
        for other in known.clone() {
            dependents.entry(other).or_default().push(name);
        }
        waiting.insert(name.clone(), known.cloned().collect());
    }
    let is_free = |(name, needed): (&ImageName, &BTreeSet<ImageName>)| needed.is_empty().then(|| name.clone());
    let mut free: BTreeSet<ImageName> = waiting.iter().filter_map(is_free).collect();
    let mut order = Order {
        images: Vec::new(),
        cycles: Vec::new(),
    };
    while !waiting.is_empty() {
        let next = match free.pop_first() {
            Some(name) => vec![name],
            None => {
                let cycle = cycle(&waiting);
                order.cycles.push(cycle.clone());
                cycle
            }
        };
        for name in &next {
            waiting.remove(name);
        }
        for name in next {
            for dependent in dependents.get(&name).into_iter().flatten() {
                let Some(needed) = waiting.get_mut(*dependent) else {
                    continue;
                };
                needed.remove(&name);
                if needed.is_empty() {
                    free.insert((*dependent).clone());
                }
            }
            order.images.push(name);
        }
    }
    order
}

/// A circle among images that all need another one of them.
fn cycle(waiting: &Needs) -> Vec<ImageName> {
    let mut path: Vec<&ImageName> = Vec::new();
    let mut places: BTreeMap<&ImageName, usize> = BTreeMap::new();
    let mut at = waiting.keys().next();
    while let Some(name) = at {
        if let Some(start) = places.insert(name, path.len()) {
            path.drain(..start);
            break;
        }
        path.push(name);
        at = waiting.get(name).and_then(|needed| needed.first());
    }
    let first = path
        .iter()
        .enumerate()
        .min_by_key(|(_, name)| **name)
        .map_or(0, |(i, _)| i);
    path.rotate_left(first);
    path.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> ImageName {
        ImageName::new(text).unwrap()
    }

    fn ordered(text: &str) -> (String, String) {
        let needs = text
            .split_whitespace()
            .map(|image| {
                let (own, needed) = image.split_once(':').unwrap();
                (
                    name(own),
                    needed.split(',').filter(|n| !n.is_empty()).map(name).collect(),
                )
            })
            .collect();
        let order = order(&needs);
        let joined = |list: &[ImageName]| list.iter().map(ImageName::as_str).collect::<Vec<_>>().join(" ");
        let cycles: Vec<_> = order.cycles.iter().map(|c| joined(c)).collect();
        (joined(&order.images), cycles.join("; "))
    }

    #[test]
    fn what_is_needed_comes_first_and_names_decide_the_rest() {
        for (images, expected, cycles) in [
            ("", "", ""),
            ("c: b: a:", "a b c", ""),
            ("a:z z: b:", "b z a", ""),
            ("a:c b:a c: d:b,c", "c a b d", ""),
            ("a:a,gone b:", "a b", ""),
            ("b:c c:b", "b c", "b c"),
            ("a:b b:c c:d d:b", "b c d a", "b c d"),
            ("z:y y:x x:z a:b b:a q:", "q a b x z y", "a b; x z y"),
        ] {
            assert_eq!(ordered(images), (expected.to_owned(), cycles.to_owned()), "{images}");
        }
    }

    proptest! {
        #[test]
        fn every_image_is_there_once_and_after_its_needs(edges in prop::collection::vec((0..8u8, 0..8u8), 0..20)) {
            let mut needs: Needs = (0..8).map(|n| (name(&n.to_string()), BTreeSet::new())).collect();
            for (from, to) in edges {
                needs.entry(name(&from.to_string())).or_default().insert(name(&to.to_string()));
            }
            let order = order(&needs);
            let place = |n: &ImageName| order.images.iter().position(|o| o == n).unwrap();
            prop_assert_eq!(order.images.len(), 8);
            for (image, needed) in &needs {
                for other in needed.iter().filter(|n| *n != image) {
                    prop_assert!(place(other) < place(image) || !order.cycles.is_empty());
                }
            }
            for cycle in &order.cycles {
                for (n, image) in cycle.iter().enumerate() {
                    prop_assert!(needs[image].contains(&cycle[(n + 1) % cycle.len()]));
                }
            }
        }
    }
}
