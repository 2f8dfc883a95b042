//! Containerfiles, which come from anybody's repository.
//!
//! Nothing may panic or take long, an empty set of pins changes nothing, and a pinned file builds from the pins.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipelined::containerfile::{Base, bases, declared_args, pin};
use std::collections::BTreeMap;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    // Some arguments have a value, and some files a target.
    let build_args = |name: &str| (name.len() % 2 == 1).then(|| name.to_lowercase());
    let target = text.lines().next().filter(|line| line.len() < 3);
    declared_args(&text);
    let before = bases(&text, &build_args, target);
    let untouched = pin(&text, &build_args, target, &BTreeMap::new());
    assert!(untouched.text == text && untouched.left.is_empty(), "changed without a pin");

    let pins: BTreeMap<String, String> = before
        .iter()
        .enumerate()
        .filter_map(|(n, base)| match base {
            Base::Image(name) => Some((name.clone(), format!("sha256:{n:064}"))),
            Base::Unresolved(_) => None,
        })
        .collect();
    let pinned = pin(&text, &build_args, target, &pins);
    let after = bases(&pinned.text, &build_args, target);
    let expected = |base: &Base| match base {
        Base::Image(name) => Base::Image(pins[name].clone()),
        unresolved => unresolved.clone(),
    };
    if pinned.left.is_empty() {
        assert_eq!(after, before.iter().map(expected).collect::<Vec<_>>(), "not FROM its pins: {:?}", pinned.text);
    } else {
        let is_left = |base: &Base| matches!(base, Base::Image(name) if pinned.left.contains(name));
        for base in &before {
            assert!(is_left(base) || after.contains(&expected(base)), "neither pinned nor left: {base:?}");
        }
    }
});
