//! Who outside is told of releases: what is written, what is meant.

use super::images::{image, project, said};
use super::tests::checked;
use crate::config::{Image, PokeTarget, to_json, to_toml};

fn keys(image: &Image) -> Vec<String> {
    image.poke_places().map(|(place, _)| place.key).collect()
}

fn with(pokes: &str) -> Image {
    image(&format!("test = \"t\"\nrelease = \"r.io/x\"\npoke = [{pokes}]"))
}

fn gitlab(url: &str, project: &str, reference: &str) -> String {
    format!("{{ gitlab = {{ url = \"{url}\", project = {project}, ref = \"{reference}\", token_file = \"t\" }} }}")
}

#[test]
fn an_own_list_is_in_the_place_of_the_default() {
    let with = |own: &str| {
        let text = format!(
            "[defaults.image]\npoke = [{{ webhook.url = \"https://h/a\" }}, {{ webhook.url = \"https://h/b\" }}]\n\
             [projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{own}"
        );
        project(&text).images.remove(0).poke
    };
    assert_eq!(with("").len(), 2);
    assert_eq!(with("poke = []"), []);
    let own = with("poke = [{ webhook = { url = \"https://h/c\", secret_file = \"s\" } }]");
    let [PokeTarget::Webhook { url, secret_file }] = own.as_slice() else {
        panic!("{own:?}")
    };
    assert_eq!(url, "https://h/c");
    let file = secret_file.as_ref().unwrap().as_path();
    assert_eq!(file, std::path::Path::new("/etc/pipelined/s"));
}

#[test]
fn places_are_the_same_exactly_if_they_are_told_the_same_way() {
    let place = |poke: &str| keys(&with(poke)).remove(0);
    let first = place(&gitlab("https://h", "\"a/b\"", "main"));
    assert_eq!(place(&gitlab("https://h/", "\"a/b\"", "main")), first);
    let token = gitlab("https://h", "\"a/b\"", "main").replace("\"t\"", "\"other\", variables = { A = \"1\" }");
    assert_eq!(place(&token), first, "how it is told does not say to whom");
    let mut all = vec![first];
    for other in [
        gitlab("https://i", "\"a/b\"", "main"),
        gitlab("https://h", "\"a/c\"", "main"),
        gitlab("https://h", "12", "main"),
        gitlab("https://h", "\"a/b\"", "v1"),
        "{ webhook.url = \"https://h\" }".to_owned(),
        "{ webhook.url = \"https://h?token=a\" }".to_owned(),
        "{ webhook.url = \"https://h?token=b\" }".to_owned(),
    ] {
        all.push(place(&other));
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn entries_for_one_place_are_told_apart_and_keep_their_names() {
    let (a, b) = ("{ webhook.url = \"https://h/a\" }", "{ webhook.url = \"https://h/b\" }");
    let twice = keys(&with(&format!("{a}, {b}, {a}")));
    assert_eq!(twice[2], format!("{}.2", twice[0]));
    let moved = keys(&with(&format!("{b}, {a}, {a}")));
    assert_eq!([&moved[1], &moved[0], &moved[2]], [&twice[0], &twice[1], &twice[2]]);
}

#[test]
fn what_is_shown_of_a_place_is_no_secret() {
    let image = with("{ webhook.url = \"https://h/x?token=hunter2\" }");
    let (place, _) = image.poke_places().next().unwrap();
    let shown = format!("{place} {}", serde_json::to_string(&place).unwrap());
    assert!(!shown.contains("hunter2") && shown.contains("https://h/x?…"), "{shown}");
}

#[test]
fn what_is_shown_means_the_same_again() {
    let text = include_str!("../../../fixtures/config/valid/pokes.toml").replace("hunter2", "$$BUILD");
    let config = checked("p.toml", &text).unwrap().config;
    assert!(to_json(&config).is_ok());
    let shown = to_toml(&config).unwrap();
    let again = checked("p.toml", &shown).unwrap().config;
    let pokes = |config: &crate::config::Config| -> Vec<Vec<PokeTarget>> {
        let images = config.projects.values().flat_map(|project| &project.images);
        images.map(|image| image.poke.clone()).collect()
    };
    let (mut before, after) = (pokes(&config), pokes(&again));
    // What is masked is another.
    for target in before.iter_mut().flatten() {
        match target {
            PokeTarget::Gitlab { variables, .. } => {
                if let Some(token) = variables.get_mut("A_TOKEN") {
                    *token = crate::model::Template::new("***").unwrap();
                }
            }
            PokeTarget::Webhook { url, .. } => *url = url.replace("$$BUILD", "*******"),
        }
    }
    assert_eq!(before, after);
}

#[test]
fn each_mistake_of_pokes_is_told_alone() {
    for (poke, message) in [
        ("{}", "this entry says nobody who is to be told"),
        ("{ webhook.url = \"https://h\", webook = {} }", "unknown key `webook`"),
        ("{ webook = {} }", "unknown key `webook`"),
        ("{ webhook = {} }", "this webhook has no `url`"),
        ("{ webhook.url = 1 }", "expected a string, found an integer"),
        ("{ webhook.url = \"\" }", "not a URL"),
        ("{ webhook.url = \"h/x\" }", "not a URL"),
        ("{ webhook.url = \"file:///x\" }", "not a URL"),
        ("{ webhook.url = \"https://h/ x\" }", "not a URL"),
        ("{ webhook.url = \"https://h/\\tx\" }", "not a URL"),
        (
            "{ webhook.url = \"https://token@h/\" }",
            "a credential has no place in this URL",
        ),
        (
            "{ webhook.url = \"https://:pw@h/\" }",
            "a credential has no place in this URL",
        ),
        (
            "{ webhook.url = \"https://h/#x\" }",
            "nothing that begins with `?` or `#` has a place in this URL",
        ),
        (
            "{ webhook = { url = \"https://h/\", secret_file = \"\" } }",
            "the path is empty",
        ),
        (
            "{ webhook = { url = \"https://h/\", secret_fil = \"a\" } }",
            "unknown key `secret_fil`",
        ),
        (
            &gitlab("https://h?x", "1", "m"),
            "nothing that begins with `?` or `#` has a place in this URL",
        ),
        (
            &gitlab("https://h", "-1", "m"),
            "this number must be from 1 to 999999999",
        ),
        (&gitlab("https://h", "1.5", "m"), "expected a string, found a float"),
        (
            &gitlab("https://h", "\"https://h/a/b\"", "m"),
            "not the path of a project",
        ),
        (&gitlab("https://h", "\"a/\"", "m"), "not the path of a project"),
        (
            &gitlab("https://h", "1", "refs/tags/x"),
            "GitLab takes the short name of a ref",
        ),
        (
            &gitlab("https://h", "1", "-m"),
            "the value begins with `-` and would be taken for an option",
        ),
    ] {
        let lines = format!("test = \"t\"\nrelease = \"r.io/x\"\npoke = [{poke}]");
        let found = said(&format!("[projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{lines}"));
        assert_eq!(found, [message], "{poke}");
    }
}

#[test]
fn what_goes_out_without_tls_is_warned_about() {
    let warned = |url: &str| {
        let lines = format!("test = \"t\"\nrelease = \"r.io/x\"\npoke = [{{ webhook.url = \"{url}\" }}]");
        !said(&format!("[projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{lines}")).is_empty()
    };
    for far in [
        "http://h/",
        "http://10.0.0.1/",
        "http://localhost.example.org/",
        "HTTP://h/",
    ] {
        assert!(warned(far), "{far}");
    }
    for near in [
        "https://h/",
        "http://localhost:1/",
        "http://127.8.0.1/",
        "http://[::1]:8/",
    ] {
        assert!(!warned(near), "{near}");
    }
}
