use super::*;
use proptest::prelude::*;
use rstest::rstest;

fn image(name: &str, watch: &[&str], depends_on: &[&str]) -> Image {
    Image {
        name: ImageName::new(name).unwrap(),
        file: None,
        context: ".".into(),
        target: None,
        pull: crate::config::Pull::Missing,
        cache: true,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        tags: Vec::new(),
        watch: watch.iter().map(|w| Pattern::new(*w).unwrap()).collect(),
        depends_on: depends_on.iter().map(|d| ImageName::new(*d).unwrap()).collect(),
        upstreams: BTreeSet::new(),
        chain: crate::config::Chain::Rolling,
        secrets: BTreeMap::new(),
        source_date_epoch: false,
        test: None,
        test_network: "none".to_owned(),
        staging: None,
        release: Vec::new(),
        release_refs: None,
        update: crate::config::Update::default(),
        schedule: None,
        poke: Vec::new(),
    }
}

fn candidate<'a>(image: &'a Image, bases: &[&str], names: &[&str]) -> Candidate<'a> {
    let set = |list: &[&str]| list.iter().map(|r| ImageRef::parse(r).unwrap()).collect();
    Candidate {
        image,
        bases: set(bases),
        names: set(names),
    }
}

fn compared(difference: Difference) -> Compared {
    Compared {
        good: LastGood {
            commit: CommitId::new("a".repeat(40)).unwrap(),
            job: JobId(7),
            fingerprint: "f".to_owned(),
            released: true,
        },
        with: "aaaaaaaa (job 7)".to_owned(),
        difference,
    }
}

fn paths(paths: &[&str]) -> Difference {
    Difference::Paths(paths.iter().map(|p| BString::from(*p)).collect())
}

#[rstest]
#[case::nothing_changed(paths(&[]), false)]
#[case::other_paths(paths(&["docs/a", "app/x/y", "Containerfile.bak"]), false)]
#[case::a_watched_one(paths(&["docs/a", "app/x"]), true)]
#[case::deep_below(paths(&["lib/a/b/c"]), true)]
#[case::unrelated(Difference::Unrelated, true)]
#[case::unknown(Difference::Unknown("gone".to_owned()), true)]
fn skips_only_what_nothing_touches(#[case] difference: Difference, #[case] built: bool) {
    let image = image("a", &["app/*", "lib/**", "Containerfile"], &[]);
    let choice = choose(&image, false, true, "f", Some(&compared(difference)));
    assert_eq!(matches!(choice, Choice::Build(_)), built, "{choice:?}");
}

#[test]
fn builds_whenever_it_could_matter() {
    let watching = image("a", &["x"], &[]);
    let same = compared(paths(&[]));
    let skipped = |choice| matches!(choice, Choice::Skip(_));
    assert!(skipped(choose(&watching, false, true, "f", Some(&same))));
    assert!(!skipped(choose(&watching, true, true, "f", Some(&same))));
    assert!(!skipped(choose(&watching, false, true, "g", Some(&same))));
    assert!(!skipped(choose(&watching, false, true, "f", None)));
    assert!(!skipped(choose(&image("a", &[], &[]), false, true, "f", Some(&same))));
    let mut unreleased = same;
    unreleased.good.released = false;
    assert!(!skipped(choose(&watching, false, true, "f", Some(&unreleased))));
    assert!(skipped(choose(&watching, false, false, "f", Some(&unreleased))));
}

#[test]
fn what_stands_on_a_built_image_is_built() {
    let images = [
        image("app", &["x"], &[]),
        image("base", &["x"], &[]),
        image("tool", &["x"], &["app"]),
    ];
    let candidates = [
        candidate(&images[0], &["r.io/base:1"], &[]),
        candidate(&images[1], &["debian"], &["r.io/base:1", "localhost/b"]),
        candidate(&images[2], &[], &[]),
    ];
    let edges = edges(&candidates);
    let order = order(&candidates, &edges).unwrap();
    assert_eq!(order, [1, 0, 2]);
    let skip = || Choice::Skip("no".to_owned());
    let mut choices = [skip(), Choice::Build("x".to_owned()), skip()];
    let good = [Some(JobId(3)); 3];
    follow_upstreams(&order, &edges, &candidates, &good, &mut choices);
    assert!(choices.iter().all(|c| matches!(c, Choice::Build(_))), "{choices:?}");
    let mut choices = [Choice::Build("x".to_owned()), skip(), skip()];
    follow_upstreams(&order, &edges, &candidates, &good, &mut choices);
    assert_eq!(choices[1], skip());
    // The first one was built by a job in which what stands on it failed, or never was built on this ref.
    for others in [Some(JobId(2)), None] {
        let mut choices = [skip(), skip(), skip()];
        follow_upstreams(
            &order,
            &edges,
            &candidates,
            &[others, Some(JobId(3)), others],
            &mut choices,
        );
        assert_eq!(choices[1], skip());
        assert!(
            matches!(&choices[0], Choice::Build(why) if why.contains("built since")),
            "{choices:?}"
        );
    }
    // It was built by itself, on the other hand, which is nothing to what it stands on.
    let mut choices = [skip(), skip(), skip()];
    let later = [Some(JobId(4)), Some(JobId(3)), Some(JobId(5))];
    follow_upstreams(&order, &edges, &candidates, &later, &mut choices);
    assert!(choices.iter().all(|c| *c == skip()), "{choices:?}");
}

#[test]
fn a_rebuild_has_been_chosen_already() {
    let name = |name: &str| ImageName::new(name).unwrap();
    let rebuild = |names: &[&str]| Rebuild {
        images: names.iter().map(|n| (name(n), Some(JobId(1)))).collect(),
        key: String::new(),
        force: false,
    };
    let choice = |image: &str, names: &[&str]| chosen(&name(image), &rebuild(names), Reason::BaseUpdated);
    let skip = |why: &str| Choice::Skip(why.to_owned());
    assert_eq!(choice("a", &["b", "a"]), Choice::Build("base updated".to_owned()));
    assert_eq!(choice("c", &["b", "a"]), skip("not rebuilt: this job rebuilds a, b"));
    assert_eq!(choice("c", &["a"]), skip("not rebuilt: this job rebuilds a"));
    // Names are whole.
    assert_eq!(choice("a", &["ab"]), skip("not rebuilt: this job rebuilds ab"));
}

#[test]
fn a_cycle_is_named_in_full() {
    let images = [
        image("free", &[], &["a"]),
        image("a", &[], &["b"]),
        image("b", &[], &[]),
        image("c", &[], &["a"]),
    ];
    let candidates = [
        candidate(&images[0], &[], &[]),
        candidate(&images[1], &[], &["r.io/a"]),
        candidate(&images[2], &["r.io/c"], &[]),
        candidate(&images[3], &[], &["r.io/c"]),
    ];
    let error = order(&candidates, &edges(&candidates)).unwrap_err();
    assert_eq!(error.to_string(), "these images stand on each other: a -> b -> c -> a");
}

#[test]
fn an_image_may_build_on_what_it_was() {
    let image = image("a", &[], &[]);
    let candidates = [candidate(&image, &["r.io/a"], &["r.io/a"])];
    assert_eq!(order(&candidates, &edges(&candidates)), Ok(vec![0]));
}

proptest! {
    #[test]
    fn each_comes_after_what_it_stands_on(links in prop::collection::vec((0usize..12, 0usize..12), 0..30)) {
        let names: Vec<String> = (0..12).map(|n| format!("i{n}")).collect();
        let images: Vec<Image> = (0..12)
            .map(|n| {
                let on: Vec<&str> = links.iter().filter(|(from, _)| *from == n).map(|(_, to)| names[*to].as_str()).collect();
                image(&names[n], &[], &on)
            })
            .collect();
        let candidates: Vec<_> = images.iter().map(|image| candidate(image, &[], &[])).collect();
        let edges = edges(&candidates);
        match order(&candidates, &edges) {
            Ok(order) => {
                prop_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 12);
                for (place, at) in order.iter().enumerate() {
                    prop_assert!(edges[*at].iter().all(|up| order[..place].contains(up)));
                }
            }
            Err(Cycle(path)) => {
                prop_assert!(path.len() > 2 && path.first() == path.last());
                for pair in path.windows(2) {
                    let place = |name: &ImageName| candidates.iter().position(|c| c.image.name == *name).unwrap();
                    prop_assert!(edges[place(&pair[0])].contains(&place(&pair[1])));
                }
            }
        }
    }
}
