//! Any text at all: there is a result, and no panic.

use super::LoadError;
use super::tests::{EXAMPLE, checked};
use crate::config::to_toml;
use proptest::prelude::*;

/// Reads and shows; must not panic, whatever the text.
fn exercise(text: &str) {
    match checked("p.toml", text) {
        Ok(loaded) => {
            loaded.source.render(&loaded.warnings, false);
            to_toml(&loaded.config).unwrap();
        }
        Err(LoadError::Invalid(diagnostics)) => {
            assert!(diagnostics.errors().next().is_some());
            diagnostics.render(true);
            diagnostics.to_json();
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn depth_and_number_are_survived() {
    let deep = 20_000;
    exercise(&format!("a = {}", "[".repeat(deep)));
    exercise(&format!("a = {}", "{a=".repeat(deep)));
    exercise(&format!("{}a = 1", "a.".repeat(deep)));
    exercise(&format!("[{}a]", "a.".repeat(deep)));
    exercise(&"x = 1\n= 2\n".repeat(deep));
    exercise(&(0..deep).map(|n| format!("x{n} = 1\n")).collect::<String>());
    // A chain of images, and a circle of them.
    let many = 4_000;
    for last in [many, 0] {
        let needed = |n| if n + 1 == many { last } else { n + 1 };
        let chain = (0..many).map(|n| format!("i{n}.depends_on = \"i{}\"\n", needed(n)));
        let images = chain.chain([format!("i{many} = {{}}\n")]).collect::<String>();
        exercise(&format!(
            "workdir = \"/w\"\n[projects.a]\nremote = \"h:x\"\n[projects.a.images]\n{images}"
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        exercise(&text);
    }

    #[test]
    fn any_toml_like_text_is_survived(parts in prop::collection::vec(prop::sample::select(vec![
        "\n", " ", "=", "[", "]", "[[", "{", "}", ",", ".", "\"", "'", "\"\"\"", "#", "\\", "é", "\u{0}", "\r", "$", "1",
        "true", "projects", "defaults", "image", "remote", "env", "TOKEN", "https://a:b@c", "limit", "workdir", "[projects.a]\n",
        "images", "[projects.a.images.b]\n", "depends_on", "\"b\"", "secrets", "release", "registries", "kaniko", "watch",
    ]), 0..60)) {
        exercise(&parts.concat());
    }

    #[test]
    fn a_damaged_config_is_survived(cut in any::<prop::sample::Index>(), from in any::<prop::sample::Index>(), with in ".{0,3}") {
        let full = include_str!("../../../fixtures/config/valid/full.toml");
        let images = include_str!("../../../fixtures/config/valid/images.toml");
        for text in [EXAMPLE, full, images] {
            let (mut a, mut b) = (cut.index(text.len()), from.index(text.len()));
            if a > b {
                std::mem::swap(&mut a, &mut b);
            }
            let (a, b) = (text.floor_char_boundary(a), text.floor_char_boundary(b));
            exercise(&text[..a]);
            exercise(&format!("{}{with}{}", &text[..a], &text[a..]));
            exercise(&format!("{}{with}{}", &text[..a], &text[b..]));
        }
    }
}
