//! What of an image's table makes it worth another build.

use super::images::{image, project};
use crate::config::EnvLayer;

#[test]
fn a_fingerprint_is_of_what_decides_what_becomes_of_an_image() {
    let of = |lines: &str| image(lines).fingerprint(&[]);
    let bare = of("");
    for same in [
        "context = \".\"",
        "pull = \"never\"",
        "cache = false",
        "watch = \"x\"",
        // Of a test that is not there.
        "test_network = \"host\"",
        "update = { base = false, packages = \"auto\", every = \"1h\", quiet = \"0s\", timeout = \"1h\", network = \"host\", tags = \"v*\" }",
        "schedule = \"0 4 * * 1 UTC\"",
        "chain = \"atomic\"",
        "poke = [{ webhook = { url = \"https://h/\" } }]",
    ] {
        assert_eq!(of(same), bare, "{same}");
    }
    let mut all = vec![bare];
    for other in [
        "file = \"a\"",
        "target = \"a\"",
        "context = \"a\"",
        "build_args.a = \"b\"",
        "build_args.ab = \"\"",
        "labels.a = \"b\"",
        "labels = { a = \"b\", c = \"d\" }",
        "labels = { a = \"bcd\" }",
        "secrets.a.file = \"x\"",
        "secrets.b.file = \"x\"",
        "source_date_epoch = \"commit\"",
        "tags = \"r.io/x\"",
        "test = \"t u\"",
        "test = \"t\"",
        "test = \"t\"\ntest_network = \"host\"",
        "staging = \"r.io/x\"",
        "release = \"r.io/x\"",
        "release = [\"r.io/x\", \"r.io/y\"]",
        "release_refs = \"main\"",
    ] {
        all.push(of(other));
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
    assert_eq!(of("secrets.a.file = \"x\""), of("secrets.a.file = \"y\""));
}

/// What an image relies on is a part of what it is, whether this project has it or another.
#[test]
fn a_fingerprint_tells_what_is_depended_on_apart() {
    let of = |own: &str, needs: &str| {
        let text = format!(
            "[projects.a]\nremote = \"h:x\"\nimages = {{ one = {{ depends_on = [{needs}] }}, two = {{}}{own} }}\n\
             [projects.b]\nremote = \"h:x\"\nimages = {{ c = {{}}, d = {{}} }}"
        );
        let images = project(&text).images;
        let one = images.iter().find(|image| image.name.as_str() == "one").unwrap();
        one.fingerprint(&[])
    };
    let others = ["", "\"two\"", "\"b\"", "\"b/c\"", "\"b/d\"", "\"b/c\", \"b/d\""];
    let mut all: Vec<String> = others.iter().map(|needs| of("", needs)).collect();
    // The same word, and another thing.
    all.push(of(", b = {}", "\"b\""));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
    assert_eq!(of("", "\"b/c\", \"two\", \"b/c\""), of("", "\"a/two\", \"b/c\""));
}

#[test]
fn a_fingerprint_counts_variables_as_they_will_be() {
    let table = |pairs: &[(&str, &str)]| {
        EnvLayer::Table(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    };
    let image = image("");
    let with = |layers: &[EnvLayer]| image.fingerprint(layers);
    let merged = with(&[table(&[("A", "2"), ("B", "1")])]);
    assert_eq!(with(&[table(&[("A", "1"), ("B", "1")]), table(&[("A", "2")])]), merged);
    assert_ne!(with(&[table(&[("A", "2")]), table(&[("A", "1"), ("B", "1")])]), merged);
    assert_eq!(with(&[EnvLayer::File("/secret".into())]), with(&[]));
}

/// What a change of these words would do: build every image of every user again.
#[test]
fn a_fingerprint_stays_what_it_was() {
    let project = project(
        "[projects.a]\nremote = \"h:x\"\nenv = { RUBY = \"3.3\" }\n[projects.a.images.base]\n[projects.a.images.app]\n\
         file = \"docker/Containerfile\"\ncontext = \"docker\"\ntarget = \"final\"\nbuild_args = { A = \"${RUBY}\" }\n\
         labels = { l = \"1\" }\nsecrets = { S = { file = \"/s\" } }\nsource_date_epoch = \"commit\"\ndepends_on = \"base\"\n",
    );
    let [base, app] = project.images.as_slice() else {
        panic!("{project:?}")
    };
    assert_eq!(base.fingerprint(&[]), "2afaa3d052eb21d62724bf4829ff2212");
    assert_eq!(app.fingerprint(&project.env), "d1abf46ed6d30134cf6dbfe379eb9062");
}
