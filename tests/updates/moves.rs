//! A base moves, and what is there is the same or is not: looked at on a real registry, request by request.

use crate::common::{Bench, seen};
use crate::made::{MANIFEST, Made, sha256};
use pipelined::model::Used;
use rstest::rstest;
use serde_json::json;

/// Everything that changes a manifest and not what is in the image.
#[rstest]
#[case::packed_anew(|image: &mut Made| image.level = 9, "packed anew")]
#[case::built_again(|image: &mut Made| image.created = "2027-01-01T00:00:00Z".to_owned(), "made anew")]
#[case::annotated(|image: &mut Made| { image.annotations.insert("a".to_owned(), "b".to_owned()); }, "packed anew")]
#[case::labels_of_the_run(|image: &mut Made| {
    image.config["Labels"] = json!({ "pipelined.job": "7", "org.opencontainers.image.created": "now" });
}, "made anew")]
#[tokio::test]
async fn the_same_content_is_no_update(
    #[case] change: fn(&mut Made),
    #[case] how: &str,
    #[values(false, true)] index: bool,
) {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let old = Made::new(&["a", "b"]);
    let mut new = old.clone();
    change(&mut new);
    assert_ne!(old.digest(), new.digest());
    let push = |image: &Made| match index {
        true => repository.push_index(&[image, &Made::on("linux/s390x", &["a"])]),
        false => repository.push(image),
    };
    let digest = push(&old);
    push(&new);
    let by_podman = old.used(&reference, &[&digest]);
    let by_kaniko = old.used_by_kaniko(&reference, &digest);
    for used in [by_podman, by_kaniko] {
        let compared = bench.look_once(&used).await;
        assert!(compared.same, "{compared:?}");
        assert_eq!(compared.present, Some(new.id()));
        if used.base.id.is_some() {
            assert!(compared.how.contains(how), "{compared:?}");
        }
    }
}

/// Everything that changes what is in the image.
#[rstest]
#[case::another_layer(|image: &mut Made| image.layers[1] = "c".to_owned(), "its layers differ: layer 2 of 2")]
#[case::one_more(|image: &mut Made| image.layers.push("c".to_owned()), "its layers differ: it has 1 more")]
#[case::one_fewer(|image: &mut Made| { image.layers.pop(); }, "its layers differ: it has 1 fewer")]
#[case::other_order(|image: &mut Made| image.layers.reverse(), "its layers differ: layer 1 of 2")]
#[case::env(|image: &mut Made| image.config["Env"] = json!(["A=2"]), "its config differs: Env")]
#[case::label(|image: &mut Made| image.config["Labels"] = json!({ "v": "2" }), "its config differs: Labels")]
#[case::healthcheck(|image: &mut Made| image.config["Healthcheck"] = json!({ "Test": ["NONE"] }), "its config differs: Healthcheck")]
#[tokio::test]
async fn other_content_is_an_update(
    #[case] change: fn(&mut Made),
    #[case] how: &str,
    #[values(false, true)] index: bool,
) {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let old = Made::new(&["a", "b"]);
    let mut new = old.clone();
    change(&mut new);
    let push = |image: &Made| match index {
        true => repository.push_index(&[&Made::on("linux/s390x", &["a"]), image]),
        false => repository.push(image),
    };
    let digest = push(&old);
    push(&new);
    for used in [
        old.used(&reference, &[&digest]),
        old.used_by_kaniko(&reference, &digest),
    ] {
        let compared = bench.look_once(&used).await;
        assert!(!compared.same, "{compared:?}");
        assert!(compared.how.starts_with(how), "{compared:?}");
        assert_eq!(compared.present, Some(new.id()));
    }
}

#[tokio::test]
async fn an_index_is_pushed_one_architecture_at_a_time() {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let (amd, arm) = (Made::on("linux/amd64", &["a"]), Made::on("linux/arm64/v8", &["b"]));
    let before = repository.push_index(&[&amd, &arm]);
    let used = [
        amd.used(&reference, &[&before, &amd.digest()]),
        arm.used(&reference, &[&before, &arm.digest()]),
    ];
    assert_eq!(bench.look(&used, None).await.unwrap(), (before.clone(), Vec::new()));

    // First the one: the other has nothing to build on.
    let new_arm = Made::on("linux/arm64/v8", &["b2"]);
    let half = repository.push_index(&[&new_arm]);
    let (head, compared) = bench.look(&used, None).await.unwrap();
    assert_eq!((head, compared.len()), (half.clone(), 2));
    assert!(compared[0].same && compared[0].absent, "{compared:?}");
    assert!(compared[0].how.contains("nothing for linux/amd64"), "{compared:?}");
    assert!(!compared[1].same, "{compared:?}");

    // Then the other: it is looked at, although it was looked at a moment ago.
    let new_amd = Made::on("linux/amd64", &["a2"]);
    repository.push_index(&[&new_arm, &new_amd]);
    let known = seen((half, compared));
    let (_, compared) = bench.look(&used, Some(&known)).await.unwrap();
    assert!(compared.iter().all(|compared| !compared.same), "{compared:?}");
    assert_eq!(compared[0].present, Some(new_amd.id()));
    assert_eq!(compared[1].present, Some(new_arm.id()));

    // And a third one, which is nobody's here.
    let whole = repository.push_index(&[&new_arm, &new_amd]);
    let now = [
        new_amd.used(&reference, &[&whole, &new_amd.digest()]),
        new_arm.used(&reference, &[&whole, &new_arm.digest()]),
    ];
    repository.push_index(&[&new_arm, &new_amd, &Made::on("linux/s390x", &["c"])]);
    bench.asked();
    let (_, compared) = bench.look(&now, None).await.unwrap();
    assert!(compared.iter().all(|compared| compared.same), "{compared:?}");
    assert_eq!(
        bench.asked(),
        ["HEAD 1", "GET manifest"],
        "the index tells, and no more is fetched"
    );
}

/// A tag may be an index today and one image tomorrow, and the other way round.
#[tokio::test]
async fn an_index_comes_and_goes() {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let (mine, other) = (Made::new(&["a"]), Made::on("linux/s390x", &["a"]));
    let index = repository.push_index(&[&mine, &other]);
    let by_index = mine.used(&reference, &[&index]);
    repository.push(&mine);
    let compared = bench.look_once(&by_index).await;
    assert!(compared.same && compared.present == Some(mine.id()), "{compared:?}");
    // One image, of another platform, is nothing to build on.
    repository.push(&other);
    let compared = bench.look_once(&by_index).await;
    assert!(compared.same && compared.absent, "{compared:?}");
    let by_manifest = mine.used(&reference, &[&mine.digest()]);
    repository.push_index(&[&other, &mine]);
    let compared = bench.look_once(&by_manifest).await;
    assert!(compared.same && compared.present == Some(mine.id()), "{compared:?}");
}

/// What signs an image is no image, and variants of a platform are told apart.
#[tokio::test]
async fn what_else_is_in_an_index() {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let (six, seven) = (Made::on("linux/arm/v6", &["6"]), Made::on("linux/arm/v7", &["7"]));
    let attestation = Made::on("unknown/unknown", &["proof"]);
    repository.push_as(attestation.digest().as_str(), &attestation);
    let entry = |image: &Made| {
        json!({
            "mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest().len(),
            "platform": { "os": "unknown", "architecture": "unknown" },
            "annotations": { "vnd.docker.reference.type": "attestation-manifest" },
        })
    };
    let before = repository.push_index_with(&[&six, &seven], &[entry(&attestation)]);
    let new_seven = Made::on("linux/arm/v7", &["77"]);
    repository.push_index_with(&[&six, &new_seven], &[entry(&attestation)]);
    let by_variant = |image: &Made| image.used(&reference, &[&before]);
    assert!(bench.look_once(&by_variant(&six)).await.same);
    let compared = bench.look_once(&by_variant(&seven)).await;
    assert_eq!((compared.same, compared.present), (false, Some(new_seven.id())));
    // podman does not tell the variant: its digests do.
    let mut unspecific = six.used(&reference, &[&before, &six.digest()]);
    unspecific.base.platform = Some("linux/arm".to_owned());
    assert!(bench.look_once(&unspecific).await.same);
    // Nothing but proofs are left.
    repository.push_index_with(&[], &[entry(&attestation)]);
    let compared = bench.look_once(&by_variant(&six)).await;
    assert!(compared.same && compared.absent, "{compared:?}");
}

/// What was built elsewhere is known by its layers only.
#[tokio::test]
async fn an_image_begins_with_the_layers_of_its_base() {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let (base, image) = (Made::new(&["a", "b"]), Made::new(&["a", "b", "c"]));
    let built = |image: &Made| {
        let mut used = base.used_by_kaniko(&reference, &base.digest());
        used.base.digests.clear();
        Used {
            layers: Some(image.diff_ids()),
            ..used
        }
    };
    repository.push(&base);
    let (_, compared) = bench.look(&[built(&image), built(&base)], None).await.unwrap();
    assert!(compared.iter().all(|compared| compared.same), "{compared:?}");
    let mut again = base.clone();
    again.level = 9;
    again.config = json!({ "Env": ["B=2"] });
    repository.push(&again);
    assert!(
        bench.look_once(&built(&image)).await.same,
        "layers say no more than that"
    );
    for layers in [&["a", "x"][..], &["b"], &["a", "b", "c", "d"]] {
        repository.push(&Made::new(layers));
        let compared = bench.look_once(&built(&image)).await;
        assert!(!compared.same, "{layers:?}: {compared:?}");
    }
}

/// The registry has cleaned up: what cannot be compared any more counts as new, unless what is there tells.
#[tokio::test]
async fn what_was_used_is_gone() {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let old = Made::new(&["a"]);
    let digest = repository.push(&old);
    let mut again = old.clone();
    again.created = "2027-01-01T00:00:00Z".to_owned();
    repository.push(&again);
    assert!(bench.look_once(&old.used(&reference, &[&digest])).await.same);
    repository.delete(&digest);
    let compared = bench.look_once(&old.used(&reference, &[&digest])).await;
    assert!(
        !compared.same && compared.how.contains("cannot be had any more"),
        "{compared:?}"
    );
    let compared = bench.look_once(&old.used_by_kaniko(&reference, &digest)).await;
    assert!(
        !compared.same && compared.how.contains("cannot be had any more"),
        "{compared:?}"
    );
    // Its config is its id: no need for what is gone.
    let mut packed = old.clone();
    packed.level = 9;
    repository.push(&packed);
    assert!(bench.look_once(&old.used(&reference, &[&digest])).await.same);
}

/// What is remembered of the same digest is not asked for again; each use is told for itself.
#[tokio::test]
async fn each_use_is_compared_once() {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let images: Vec<Made> = ["a", "b", "c"].iter().map(|layer| Made::new(&[layer])).collect();
    let digests: Vec<_> = images.iter().map(|image| repository.push(image)).collect();
    let uses: Vec<Used> = images
        .iter()
        .zip(&digests)
        .flat_map(|(image, digest)| vec![image.used(&reference, &[digest]); 3])
        .collect();
    bench.asked();
    let (head, compared) = bench.look(&uses, None).await.unwrap();
    assert_eq!(head, digests[2]);
    let keys: Vec<&str> = compared.iter().map(|compared| compared.used.as_str()).collect();
    assert_eq!(keys, [uses[0].key(), uses[3].key()], "and nothing of what is there now");
    assert!(compared.iter().all(|compared| !compared.same));
    assert_eq!(bench.asked(), ["HEAD 1", "GET manifest", "GET blob"], "layers tell");

    let known = seen((head, compared));
    let again = bench.look(&uses, Some(&known)).await.unwrap();
    assert_eq!(again.1, known.compared);
    assert_eq!(bench.asked(), ["HEAD 1"]);
    // What was seen of another digest is no answer.
    repository.push(&Made::new(&["d"]));
    let (_, compared) = bench.look(&uses, Some(&known)).await.unwrap();
    assert_eq!(compared.len(), 3);
    assert_eq!(bench.asked(), ["HEAD 1", "GET manifest", "GET blob"]);
}

/// The tag moves again between the two requests: what is compared is what was seen.
#[tokio::test]
async fn a_tag_that_moves_under_our_eyes() {
    let bench = Bench::new();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let (old, new) = (Made::new(&["a"]), Made::new(&["b"]));
    let digest = repository.push(&old);
    repository.push(&new);
    let port = bench.registry.port();
    bench.proxy.set(move |request| {
        if request.is("GET", "/manifests/") {
            let repository = crate::made::Repository {
                port,
                name: "base".to_owned(),
            };
            repository.push(&Made::new(&["c"]));
        }
        None
    });
    let (head, compared) = bench.look(&[old.used(&reference, &[&digest])], None).await.unwrap();
    assert_eq!(head, sha256(&new.manifest()));
    assert_eq!(compared[0].present, Some(new.id()));
}
