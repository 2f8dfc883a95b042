//! What a round costs in which nothing has moved.

use crate::common::Bench;
use crate::made::Made;

/// 500 images on 20 bases: 20 HEADs, and nothing else.
#[tokio::test]
async fn one_head_for_each_base() {
    let bench = Bench::new();
    let mut bases = Vec::new();
    for base in 0..20 {
        let reference = bench.reference(&format!("base{base}:1"));
        let repository = bench.repository(&format!("base{base}"));
        let image = Made::on("linux/amd64", &[&format!("layer {base}")]);
        let index = repository.push_index(&[&image, &Made::on("linux/arm64/v8", &["x"])]);
        // Some were built by podman, some by kaniko, which know a base by other things.
        let podman = image.used(&reference, &[&image.digest(), &index]);
        let uses = (0..25).map(|n| match n % 2 {
            0 => podman.clone(),
            _ => image.used_by_kaniko(&reference, &index),
        });
        let uses: Vec<_> = uses.collect();
        bases.push((reference, uses, index));
    }
    for _round in 0..2 {
        for (reference, uses, index) in &bases {
            let looked = bench.look_at(reference.clone(), uses, None).await.unwrap();
            assert_eq!(looked, (index.clone(), Vec::new()));
        }
        assert_eq!(bench.asked(), vec!["HEAD 1"; 20]);
    }
}
