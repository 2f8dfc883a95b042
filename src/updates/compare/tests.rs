use super::*;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn digest(letter: char) -> Digest {
    Digest::new(format!("sha256:{}", letter.to_string().repeat(64))).unwrap()
}

fn digests(letters: &str) -> Vec<Digest> {
    letters.chars().map(digest).collect()
}

/// `digests`, `id` (`-` for none) and `diff_ids`.
fn used(known: &str, id: char, layers: &str) -> Used {
    Used {
        base: BaseUsed {
            name: "r.io/a".to_owned(),
            reference: None,
            digests: digests(known),
            id: (id != '-').then(|| digest(id)),
            diff_ids: digests(layers),
            platform: None,
            sibling: None,
            needed: None,
        },
        layers: None,
    }
}

fn content(layers: &str, config: Value) -> ImageContent {
    ImageContent::new("linux/amd64".to_owned(), digests(layers), config)
}

fn is_same(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Same(_))
}

/// Manifest and id that are there now.
#[rstest]
#[case(used("a", 'b', ""), "ab", Some(true))]
#[case(used("fa", 'b', ""), "ac", Some(true))]
#[case(used("a", 'b', ""), "cb", Some(true))]
#[case(used("a", 'b', ""), "cd", None)]
#[case(used("a", '-', ""), "ca", Some(true))]
#[case(used("a", '-', ""), "cd", None)]
#[case(used("", 'b', ""), "bc", Some(true))]
#[case(used("", '-', ""), "ab", None)]
// What is known by its layers alone has no digest to go by.
#[case(Used { layers: Some(Vec::new()), ..used("a", 'b', "") }, "ab", None)]
fn digests_tell(#[case] used: Used, #[case] now: &str, #[case] same: Option<bool>) {
    let now = digests(now);
    let present = Present {
        manifest: Some(now[0].clone()),
        id: now[1].clone(),
    };
    assert_eq!(by_digest(&used, &present).as_ref().map(is_same), same);
}

#[rstest]
#[case("12", "12", None)]
#[case("", "12", None)]
#[case("12", "1", Some("its layers differ: it has 1 fewer, from 222222222222 on"))]
#[case("12", "1234", Some("its layers differ: it has 2 more, from 333333333333 on"))]
#[case(
    "12",
    "21",
    Some("its layers differ: layer 1 of 2 was 111111111111, and is 222222222222")
)]
#[case(
    "123",
    "142",
    Some("its layers differ: layer 2 of 3 was 222222222222, and is 444444444444")
)]
fn layers_tell_of_changes_only(#[case] old: &str, #[case] new: &str, #[case] how: Option<&str>) {
    let verdict = by_layers(&used("a", 'b', old), &content(new, Value::Null));
    assert_eq!(verdict, how.map(|how| Verdict::Changed(how.to_owned())));
}

#[rstest]
#[case("123", "12", true)]
#[case("12", "12", true)]
#[case("1", "12", false)]
#[case("123", "13", false)]
#[case("123", "23", false)]
#[case("", "1", false)]
fn the_first_layers_of_an_image(#[case] image: &str, #[case] base: &str, #[case] same: bool) {
    let used = Used {
        layers: Some(digests(image)),
        ..used("", '-', "")
    };
    let verdict = by_layers(&used, &content(base, json!({ "Env": ["A=1"] })));
    assert_eq!(verdict.as_ref().map(is_same), Some(same));
}

#[test]
fn contents_tell_the_rest() {
    let now = content("12", json!({ "Env": ["A=1"], "Labels": { "pipelined.job": "2" } }));
    let with = |old: Option<ImageContent>| by_content(&used("a", 'b', "12"), old.as_ref(), &now);
    let run = json!({ "Env": ["A=1"], "Labels": { "pipelined.job": "1" } });
    assert!(is_same(&with(Some(content("12", run)))));
    let changed = |verdict: Verdict| match verdict {
        Verdict::Changed(how) => how,
        Verdict::Same(how) => panic!("{how}"),
    };
    let other = json!({ "Env": ["A=2"], "Cmd": ["x"] });
    assert_eq!(
        changed(with(Some(content("12", other)))),
        "its config differs: Cmd, Env"
    );
    let other_layers = with(Some(content("13", json!({ "Env": ["A=1"] }))));
    assert!(changed(other_layers).starts_with("its layers differ"));
    assert!(changed(with(None)).contains("the config that was used cannot be had any more"));
    assert!(changed(by_content(&used("a", '-', ""), None, &now)).contains("what was used cannot be had any more"));
    // An engine does not tell the variant of a platform, and that is no difference.
    let engine = ImageContent::new("linux/amd64/v2".to_owned(), digests("12"), json!({ "Env": ["A=1"] }));
    assert!(is_same(&with(Some(engine))));
}

#[test]
fn this_machine_has_a_platform_by_gos_name() {
    assert!(here().starts_with("linux/") && !here().contains("x86_64") && !here().contains("aarch64"));
}

proptest! {
    /// Two lists of layers are told apart exactly if they differ.
    #[test]
    fn no_difference_is_missed(old in "[a-c]{0,5}", new in "[a-c]{0,5}") {
        prop_assert_eq!(difference_of_layers(&digests(&old), &digests(&new)).is_none(), old == new);
    }
}
