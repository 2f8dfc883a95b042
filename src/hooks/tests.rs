//! Each sender's payloads as they are documented, and bytes that nobody would send.

use super::*;
use proptest::prelude::*;
use rstest::rstest;

/// What is read belongs to the test, so that nothing here reads a file.
macro_rules! fixtures {
    ($($name:literal)*) => {
        fn fixture(name: &str) -> Vec<u8> {
            match name {
                $($name => include_bytes!(concat!("../../fixtures/hooks/", $name)).to_vec(),)*
                other => panic!("{other}"),
            }
        }
    };
}

fixtures! {
    "gitea-create.json"
    "gitea-package.json"
    "gitea-push.json"
    "github-create.json"
    "github-delete.json"
    "github-ping.json"
    "github-push.json"
    "github-registry-package.json"
    "gitlab-issue.json"
    "gitlab-pipeline.json"
    "gitlab-push.json"
    "gitlab-repository-update.json"
    "gitlab-tag-push.json"
    "registry-delete.json"
    "registry-pull.json"
    "registry-push.json"
}

fn heard(sender: Sender, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<Hint>, HookError> {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    hints(sender, Headers(&headers), body)
}

fn remotes(keys: &[&str]) -> Vec<Hint> {
    keys.iter().map(|key| Hint::Remote((*key).to_owned())).collect()
}

fn image(reference: &str) -> Hint {
    Hint::Image(ImageRef::parse(reference).unwrap())
}

#[rstest]
#[case("gitlab-push.json", true)]
#[case("gitlab-tag-push.json", true)]
#[case("gitlab-pipeline.json", true)]
#[case("gitlab-repository-update.json", true)]
#[case("gitlab-issue.json", false)]
fn gitlab_says(#[case] file: &str, #[case] names: bool) {
    let said = heard(Sender::Gitlab, &[], &fixture(file)).unwrap();
    let ruby = remotes(&["git.example.org/images/ruby"]);
    assert_eq!(said, if names { ruby } else { Vec::new() });
}

#[rstest]
#[case("push", "github-push.json", true)]
#[case("create", "github-create.json", true)]
#[case("delete", "github-delete.json", true)]
#[case("ping", "github-ping.json", false)]
fn github_says(#[case] event: &str, #[case] file: &str, #[case] names: bool) {
    let body = fixture(file);
    let ruby = remotes(&["github.example.org/images/ruby"]);
    let expected = if names { ruby } else { Vec::new() };
    let headers = [("x-github-event", event), ("content-type", "application/json")];
    assert_eq!(heard(Sender::Github, &headers, &body), Ok(expected.clone()));
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", std::str::from_utf8(&body).unwrap())
        .finish();
    for kind in [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-Urlencoded; charset=utf-8",
    ] {
        let headers = [("x-github-event", event), ("content-type", kind)];
        assert_eq!(heard(Sender::Github, &headers, form.as_bytes()), Ok(expected.clone()));
    }
    assert_eq!(heard(Sender::Github, &[], &body), Ok(Vec::new()), "without an event");
}

#[rstest]
#[case("x-forgejo-event")]
#[case("x-gitea-event")]
#[case("x-gogs-event")]
#[case("x-github-event")]
fn gitea_says(#[case] header: &str) {
    // A server with ports has two names.
    let both = remotes(&[
        "forge.example.org:2222/images/ruby",
        "forge.example.org:3000/images/ruby",
    ]);
    for (event, file) in [("push", "gitea-push.json"), ("create", "gitea-create.json")] {
        assert_eq!(
            heard(Sender::Gitea, &[(header, event)], &fixture(file)),
            Ok(both.clone())
        );
    }
    assert_eq!(
        heard(Sender::Gitea, &[(header, "issues")], &fixture("gitea-push.json")),
        Ok(Vec::new())
    );
}

#[test]
fn github_says_what_was_published() {
    let body = fixture("github-registry-package.json");
    let said = |event: &str, body: &[u8]| heard(Sender::Github, &[("x-github-event", event)], body);
    let expected = Ok(vec![image("ghcr.io/images/ruby:3.3")]);
    assert_eq!(said("registry_package", &body), expected);
    let text = String::from_utf8(body).unwrap();
    let package = text.replace("\"registry_package\"", "\"package\"");
    assert_eq!(said("package", package.as_bytes()), expected);
    for url in [
        "ghcr.io/images/ruby",
        "ghcr.io/images/ruby:",
        "ghcr.io",
        "",
        "https://npm.pkg.github.com/download/@images/ruby/1.0.0",
        "images/ruby:3.3",
    ] {
        let other = text.replace("ghcr.io/images/ruby:3.3", url);
        assert_eq!(said("registry_package", other.as_bytes()), Ok(Vec::new()), "{url}");
    }
    assert_eq!(said("push", br#"{"registry_package": {}}"#), Ok(Vec::new()));
}

#[test]
fn gitea_says_what_was_published() {
    let text = String::from_utf8(fixture("gitea-package.json")).unwrap();
    let said = |body: &str| heard(Sender::Gitea, &[("x-gitea-event", "package")], body.as_bytes());
    assert_eq!(said(&text), Ok(vec![image("forge.example.org:3000/images/ruby:3.3")]));
    for (from, to) in [
        ("\"container\"", "\"npm\""),
        ("\"version\": \"3.3\"", "\"version\": \"sha256:aa\""),
        ("https://forge.example.org:3000/", "/"),
        ("\"name\": \"ruby\"", "\"name\": \"\""),
    ] {
        assert!(text.contains(from));
        assert_eq!(said(&text.replace(from, to)), Ok(Vec::new()), "{to}");
    }
}

#[test]
fn a_registry_says() {
    let said = |file| heard(Sender::Registry, &[], &fixture(file)).unwrap();
    assert_eq!(
        said("registry-push.json"),
        [image("registry.example.org:5000/base/debian:13")]
    );
    assert_eq!(said("registry-pull.json"), []);
    let digest = format!("sha256:{}", "3b".repeat(32));
    assert_eq!(
        said("registry-delete.json"),
        [
            image(&format!("registry.example.org:5000/base/debian@{digest}")),
            image("registry.example.org:5000/base/debian:12"),
        ]
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[rstest]
// A name that would become a path on Docker Hub, one that is nobody's, and what is no name.
#[case("registry", "http://registry/v2/x", &[])]
#[case("localhost", "", &[])]
#[case("a b", "", &[])]
#[case("", "", &[])]
#[case("r.io/evil", "", &[])]
#[case("r.io", "https://r.io/v2/base/manifests/13", &["r.io/base:13"])]
#[case("10.0.0.1:5000", "https://r.io/v2/base/manifests/13", &["10.0.0.1:5000/base:13", "r.io/base:13"])]
fn a_registry_by_its_names(#[case] host: &str, #[case] url: &str, #[case] images: &[&str]) {
    let target = serde_json::json!({ "repository": "base", "tag": "13", "url": url });
    let event = serde_json::json!({ "action": "push", "target": target, "request": { "host": host } });
    let body = serde_json::json!({ "events": [event, event] }).to_string();
    let images: Vec<Hint> = images.iter().map(|reference| image(reference)).collect();
    assert_eq!(heard(Sender::Registry, &[], body.as_bytes()), Ok(images));
}

#[test]
fn a_form_says() {
    let project = Hint::Project(ProjectName::new("ruby").unwrap());
    let remote = Hint::Remote("git.example.org/images/ruby".to_owned());
    for (body, expected) in [
        ("project=ruby", vec![project.clone()]),
        ("token=x&project=ruby&project=ruby", vec![project.clone()]),
        ("remote=git%40git.example.org%3Aimages%2Fruby.git", vec![remote.clone()]),
        (
            "image=r.io%2Fbase&remote=https://git.example.org/images/ruby&project=ruby",
            vec![remote, project, image("r.io/base:latest")],
        ),
    ] {
        assert_eq!(heard(Sender::Form, &[], body.as_bytes()), Ok(expected), "{body}");
    }
    for body in [
        "",
        "token=x",
        "project",
        "project=..",
        "image=A/B",
        "remote=",
        "remote=+",
        "\u{0}",
    ] {
        assert!(heard(Sender::Form, &[], body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn what_is_no_json_is_told_without_a_word_of_it() {
    for sender in [Sender::Gitlab, Sender::Github, Sender::Gitea, Sender::Registry] {
        let headers = [("x-github-event", "push")];
        for body in [
            "",
            "hunter2",
            "{\"object_kind\": hunter2}",
            "{\"repository\": 5, \"events\": 5, \"project\": 5}",
        ] {
            let error = heard(sender, &headers, body.as_bytes()).unwrap_err();
            assert!(matches!(error, HookError::Json(_)), "{error:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let deep = "[".repeat(1 << 20);
        assert!(heard(sender, &headers, deep.as_bytes()).is_err());
    }
}

#[rstest]
#[case(Sender::Gitlab, "x-gitlab-token", "word", true)]
#[case(Sender::Gitlab, "x-gitlab-token", "Word", false)]
#[case(Sender::Gitlab, "authorization", "Bearer word", false)]
#[case(Sender::Registry, "authorization", "Bearer word", true)]
#[case(Sender::Registry, "authorization", "word", false)]
#[case(Sender::Form, "authorization", "Bearer word", true)]
#[case(Sender::Form, "x-gitlab-token", "word", false)]
fn tokens(#[case] sender: Sender, #[case] header: &str, #[case] value: &str, #[case] good: bool) {
    let headers = [(header, value.as_bytes())];
    assert_eq!(is_genuine(sender, b"word", Headers(&headers), b"project=a"), good);
    assert!(!is_genuine(sender, b"word", Headers(&[]), b"project=a"));
    // Nobody knows what is not there.
    let nothing = [(header, &b""[..])];
    assert!(!is_genuine(sender, b"", Headers(&nothing), b"project=a&token="));
}

#[test]
fn a_token_in_a_form() {
    for (body, good) in [
        ("project=a&token=w%6Frd", true),
        ("token=wrong&token=word", false),
        ("token=", false),
        ("project=a", false),
        ("payload=token%3Dword", false),
    ] {
        assert_eq!(
            is_genuine(Sender::Form, b"word", Headers(&[]), body.as_bytes()),
            good,
            "{body}"
        );
    }
}

/// Made by `printf %s 'payload=%7B%7D' | openssl dgst -sha256 -hmac word`, and of `{}`.
#[test]
fn signatures_of_a_form_are_of_the_body_or_of_its_payload() {
    let (of_body, of_payload) = (signed("payload=%7B%7D"), signed("{}"));
    let form = ("content-type", &b"application/x-www-form-urlencoded"[..]);
    for (sender, header, hex, good) in [
        (Sender::Github, "x-hub-signature-256", format!("sha256={of_body}"), true),
        (
            Sender::Github,
            "x-hub-signature-256",
            format!("sha256={of_payload}"),
            false,
        ),
        (Sender::Github, "x-hub-signature-256", of_body.clone(), false),
        (Sender::Gitea, "x-gitea-signature", of_payload.clone(), true),
        (Sender::Gitea, "x-forgejo-signature", of_payload.clone(), true),
        (
            Sender::Gitea,
            "x-hub-signature-256",
            format!("sha256={of_payload}"),
            true,
        ),
        (Sender::Gitea, "x-gitea-signature", of_body.clone(), true),
        (Sender::Gitea, "x-gitea-signature", "0".repeat(64), false),
    ] {
        let headers = [form, (header, hex.as_bytes())];
        assert_eq!(
            is_genuine(sender, b"word", Headers(&headers), b"payload=%7B%7D"),
            good,
            "{sender:?} {header}"
        );
    }
    // A good signature in another header makes up for nothing.
    let headers = [
        ("x-forgejo-signature", &b"00"[..]),
        ("x-gitea-signature", of_payload.as_bytes()),
    ];
    assert!(!is_genuine(Sender::Gitea, b"word", Headers(&headers), b"{}"));
}

fn signed(text: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"word").unwrap();
    mac.update(text.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn any_sender() -> impl Strategy<Value = Sender> {
    proptest::sample::select(&Sender::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(
        sender in any_sender(),
        body in proptest::collection::vec(any::<u8>(), 0..2000),
        value in proptest::collection::vec(any::<u8>(), 0..200),
        form in any::<bool>(),
    ) {
        let kind: &[u8] = if form { b"application/x-www-form-urlencoded" } else { b"application/json" };
        let headers = [
            ("content-type", kind),
            ("x-github-event", b"push"),
            ("x-hub-signature-256", &value),
            ("x-gitea-signature", &value),
            ("x-gitlab-token", &value),
            ("authorization", &value),
        ];
        let _ = hints(sender, Headers(&headers), &body);
        prop_assert!(!is_genuine(sender, b"a secret that nobody guesses", Headers(&headers), &body));
    }

    /// A fixture with some bytes changed is still only a hint, and names no more than before.
    #[test]
    fn damaged_payloads_do_no_harm(at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<proptest::sample::Index>()) {
        for (sender, file) in [
            (Sender::Gitlab, "gitlab-push.json"),
            (Sender::Github, "github-push.json"),
            (Sender::Gitea, "gitea-push.json"),
            (Sender::Registry, "registry-push.json"),
        ] {
            let mut body = fixture(file);
            let at = at.index(body.len());
            body[at] = byte;
            if let Ok(hints) = heard(sender, &[("x-github-event", "push")], &body) {
                prop_assert!(hints.len() <= 7);
            }
            // Without the line's end it is whole still.
            body.truncate(cut.index(body.trim_ascii_end().len()));
            prop_assert!(heard(sender, &[("x-github-event", "push")], &body).is_err());
        }
    }
}
