//! What stands on what over all projects, as far as a config says it: what is written, what is meant.

use super::images::{config, image, said};
use super::tests::checked;
use crate::config::{Chain, Config, Image, Project, diff, to_json, to_toml};

/// Projects of which some have no image, one image, or several; and these lines.
fn fleet(lines: &str) -> String {
    format!(
        "[projects.lib]\nremote = \"h:l\"\n[projects.base]\nremote = \"h:b\"\nimage = {{}}\n\
         [projects.off]\nenabled = false\nremote = \"h:o\"\nimages = {{ x = {{}} }}\n\
         [projects.ruby]\nremote = \"h:r\"\nimages = {{ slim = {{}}, full = {{}}, lib = {{}} }}\n{lines}"
    )
}

fn project<'a>(config: &'a Config, name: &str) -> &'a Project {
    config.projects.values().find(|p| p.name.as_str() == name).unwrap()
}

fn needs(image: &Image) -> String {
    let siblings = image.depends_on.iter().map(ToString::to_string);
    let upstreams: Vec<_> = image.upstreams.iter().map(ToString::to_string).collect();
    format!("{} | {}", siblings.collect::<Vec<_>>().join(" "), upstreams.join(" "))
}

#[test]
fn a_name_is_an_image_of_the_project_or_a_project_or_another_ones_image() {
    let of = |written: &str| {
        let app = format!("[projects.app]\nremote = \"h:a\"\nimages.lib = {{}}\nimages.one.depends_on = {written}");
        let config = config(&fleet(&app));
        let images = &project(&config, "app").images;
        needs(images.iter().find(|image| image.name.as_str() == "one").unwrap())
    };
    for (written, meant) in [
        ("[]", " | "),
        // Both: the image is meant.
        ("\"lib\"", "lib | "),
        ("[\"app/lib\", \"lib\"]", "lib | "),
        ("\"base\"", " | base"),
        ("\"base/base\"", " | base/base"),
        ("\"off\"", " | off"),
        ("\"off/x\"", " | off/x"),
        ("[\"ruby/lib\", \"lib\", \"ruby\", \"ruby\"]", "lib | ruby ruby/lib"),
    ] {
        assert_eq!(of(written), meant, "{written}");
    }
}

#[test]
fn a_project_may_depend_on_others_with_images_or_without() {
    for image in ["", "image = {}", "images = { a = {}, b = {} }"] {
        let config = config(&fleet(&format!(
            "[projects.app]\nremote = \"h:a\"\ndepends_on = [\"ruby/slim\", \"lib\", \"base\"]\n{image}"
        )));
        let app = project(&config, "app");
        let upstreams: Vec<_> = app.upstreams.iter().map(ToString::to_string).collect();
        assert_eq!(upstreams, ["base", "lib", "ruby/slim"]);
        assert!(app.images.iter().all(|image| image.upstreams.is_empty()));
    }
}

#[test]
fn projects_that_depend_on_each_other_are_no_mistake_of_the_config() {
    let text =
        "[projects.a]\nremote = \"h:a\"\nimage.depends_on = \"b\"\n[projects.b]\nremote = \"h:b\"\ndepends_on = \"a\"";
    assert_eq!(said(text), [""; 0]);
}

#[test]
fn defaults_say_what_all_depend_on_that_do_not_say_it() {
    let text = "[defaults]\ndepends_on = \"lib\"\nimage.depends_on = \"base\"\nimage.chain = \"atomic\"\n";
    let config = config(&format!(
        "{text}[projects.lib]\nremote = \"h:l\"\ndepends_on = []\n[projects.base]\nremote = \"h:b\"\nimage.depends_on = []\n\
         [projects.app]\nremote = \"h:a\"\n[projects.app.images]\none = {{}}\ntwo = {{ depends_on = \"one\", chain = \"rolling\" }}"
    ));
    let app = project(&config, "app");
    assert_eq!(app.upstreams.len(), 1);
    assert_eq!(app.images.iter().map(needs).collect::<Vec<_>>(), [" | base", "one | "]);
    let chains: Vec<_> = app.images.iter().map(|image| image.chain).collect();
    assert_eq!(chains, [Chain::Atomic, Chain::Rolling]);
    assert_eq!(
        (
            project(&config, "lib").upstreams.len(),
            project(&config, "base").images.len()
        ),
        (0, 1)
    );
    // And nobody on himself.
    let own = "[defaults]\ndepends_on = \"a\"\n[projects.a]\nremote = \"h:a\"";
    assert_eq!(said(own), ["project a depends on itself"]);
}

#[test]
fn each_mistake_of_chains_is_told_alone() {
    for (lines, message, help) in [
        (
            "image.depends_on = \"app\"",
            "image `app` of project app depends on itself",
            "leave the name out",
        ),
        (
            "image.depends_on = \"app/app\"",
            "image `app` of project app depends on itself",
            "leave the name out",
        ),
        (
            "images.one.depends_on = \"app/one\"",
            "image `one` of project app depends on itself",
            "leave the name out",
        ),
        // All images of the project: itself too.
        (
            "images.one.depends_on = \"app\"\nimages.two = {}",
            "image `one` of project app depends on itself",
            "leave",
        ),
        ("depends_on = \"app\"", "project app depends on itself", "leave it out"),
        (
            "depends_on = \"app/one\"\nimages.one = {}",
            "project app depends on itself",
            "leave it out",
        ),
        (
            "depends_on = \"one\"\nimages.one = {}",
            "there is no project `one`",
            "write the name of a project",
        ),
        (
            "depends_on = \"rubby\"",
            "there is no project `rubby`",
            "did you mean `ruby`?",
        ),
        (
            "depends_on = \"ruby/slin\"",
            "`slin` is no image of project ruby",
            "did you mean `ruby/slim`?",
        ),
        (
            "depends_on = \"rubby/slim\"",
            "there is no project `rubby`",
            "did you mean `ruby/slim`?",
        ),
        (
            "depends_on = \"ruby/zebra\"",
            "`zebra` is no image of project ruby",
            "its images: `full`, `lib`, `slim`",
        ),
        (
            "depends_on = \"lib/lib\"",
            "`lib` is no image of project lib",
            "it has no images: write `lib`",
        ),
        (
            "image.depends_on = \"bsae\"",
            "`bsae` is neither an image of project app nor a project",
            "did you mean `base`?",
        ),
        (
            "image.depends_on = \"zebras\"",
            "`zebras` is neither an image of project app nor a project",
            "its images: `app`",
        ),
        (
            "depends_on = \"ruby/\"",
            "this cannot be the name of an image of another project",
            "write PROJECT/IMAGE",
        ),
        (
            "depends_on = \"/slim\"",
            "this cannot be the name of an image of another project",
            "write PROJECT/IMAGE",
        ),
        (
            "depends_on = \"ruby/slim/x\"",
            "this cannot be the name of an image of another project",
            "write PROJECT/IMAGE",
        ),
        (
            "depends_on = \"\"",
            "this cannot be the name of an image",
            "use 1 to 128",
        ),
        (
            "depends_on = {}",
            "expected a string or an array of strings, found a table",
            "",
        ),
        (
            "depend_on = []",
            "unknown key `depend_on`",
            "did you mean `depends_on`?",
        ),
        (
            "images = { a = { depends_on = \"app/b\" }, b = { depends_on = \"a\" } }",
            "images of project app depend on each other: a -> b -> a",
            "take one",
        ),
        ("image.chain = \"Atomic\"", "expected \"rolling\" or \"atomic\"", ""),
        (
            "image.chain = true",
            "expected \"rolling\" or \"atomic\", found a boolean",
            "",
        ),
        (
            "chain = \"atomic\"",
            "unknown key `chain`",
            "this key belongs in [projects.NAME.image]",
        ),
        (
            "image.chain = \"atomic\"",
            "`chain` has no effect: nothing is released together with an image that is not released",
            "add `release`",
        ),
    ] {
        let text = fleet(&format!("[projects.app]\nremote = \"h:a\"\n{lines}"));
        assert_eq!(said(&text), [message], "{lines}");
        let told = match checked("p.toml", &format!("workdir = \"/w\"\n{text}")) {
            Ok(loaded) => loaded.source.render(&loaded.warnings, false),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(help), "{lines}: {told}");
    }
}

#[test]
fn a_project_with_mistakes_in_it_is_there_still() {
    for bad in [
        "image = 1",
        "images = { one = 1 }",
        "images.one.tags = 1",
        "branches = 1",
    ] {
        let text = format!("[projects.a]\nremote = \"h:a\"\n{bad}\n[projects.b]\nremote = \"h:b\"\ndepends_on = \"a\"");
        assert_eq!(said(&text).len(), 1, "{bad}: {:?}", said(&text));
    }
}

#[test]
fn chains_are_rolling_and_released_ones_may_be_atomic() {
    assert_eq!(image("").chain, Chain::Rolling);
    let released = "test = \"t\"\nrelease = \"r.io/x\"\nchain = \"atomic\"";
    assert_eq!(image(released).chain, Chain::Atomic);
    let text = format!("[projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{released}");
    assert_eq!(said(&text), [""; 0]);
    let in_vain = "[defaults.image]\nchain = \"atomic\"\n[projects.a]\nremote = \"h:x\"\nimage = {}";
    assert_eq!(said(in_vain), [""; 0], "the default is for others too");
    assert_eq!(
        said("[projects.a]\nremote = \"h:x\"\nimage.chain = \"rolling\""),
        [""; 0]
    );
}

#[test]
fn what_is_depended_on_makes_a_project_another_one_and_is_shown() {
    let with = |lines: &str| config(&fleet(&format!("[projects.app]\nremote = \"h:a\"\n{lines}")));
    let bare = with("");
    let all = [
        "depends_on = \"lib\"",
        "depends_on = \"ruby/slim\"",
        "depends_on = [\"lib\", \"ruby\"]",
    ];
    for lines in all {
        let other = with(lines);
        assert_eq!(diff(&bare, &other).to_string(), "changed: app", "{lines}");
        let shown = to_toml(&other).unwrap();
        assert_eq!(checked("p.toml", &shown).unwrap().config, other, "{shown}");
        assert!(to_json(&other).unwrap()["projects"]["app"]["depends_on"][0].is_string());
    }
    // That another project gets an image changes that one only.
    let before = with("depends_on = \"lib\"");
    let text =
        fleet("[projects.app]\nremote = \"h:a\"\ndepends_on = \"lib\"").replace("\"h:l\"", "\"h:l\"\nimage = {}");
    assert_eq!(diff(&before, &config(&text)).to_string(), "changed: lib");
}
