//! Several images to a project and their releases: what is written, what is meant.

use super::tests::checked;
use super::{LoadError, Loaded};
use crate::config::{Config, Image, Project, Pull, diff, to_json, to_toml};
use std::path::Path;

pub(super) fn loaded(text: &str) -> Loaded {
    checked("p.toml", &format!("workdir = \"/w\"\n{text}")).unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub(super) fn config(text: &str) -> Config {
    loaded(text).config
}

/// The first project of a config.
pub(super) fn project(text: &str) -> Project {
    config(text).projects.into_values().next().unwrap()
}

/// A project with these lines in its only image.
pub(super) fn image(lines: &str) -> Image {
    project(&format!("[projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{lines}"))
        .images
        .remove(0)
}

/// Everything that is said of a config, one line each, without its place.
pub(super) fn said(text: &str) -> Vec<String> {
    let text = format!("workdir = \"/w\"\n{text}");
    let list = match checked("p.toml", &text) {
        Ok(loaded) => loaded.warnings,
        Err(LoadError::Invalid(diagnostics)) => diagnostics.list,
        Err(error) => panic!("{error}"),
    };
    list.into_iter().map(|d| d.message).collect()
}

fn names(project: &Project) -> Vec<&str> {
    project.images.iter().map(|image| image.name.as_str()).collect()
}

#[test]
fn a_single_image_has_the_projects_name() {
    let single = project("[projects.a]\nremote = \"h:x\"\nimage = {}\nrun = {}");
    assert_eq!(
        (names(&single), single.run.as_ref().unwrap().image.as_str()),
        (vec!["a"], "a")
    );
    let named = project("[projects.a]\nremote = \"h:x\"\nimages.b = {}\nrun = {}");
    assert_eq!(
        (names(&named), named.run.as_ref().unwrap().image.as_str()),
        (vec!["b"], "b")
    );
}

#[test]
fn defaults_of_an_image_are_as_promised() {
    let image = image("");
    assert_eq!(
        (image.watch, image.depends_on, image.secrets.len()),
        (vec![], vec![], 0)
    );
    assert!(!image.source_date_epoch && image.test.is_none() && image.staging.is_none());
    assert!(image.release.is_empty() && image.release_refs.is_none());
    assert_eq!(image.test_network, "none");
}

#[test]
fn images_come_in_build_order() {
    let several = |lines: &str| {
        let text = format!("[projects.a]\nremote = \"h:x\"\n[projects.a.images]\n{lines}");
        names(&project(&text)).join(" ")
    };
    assert_eq!(several("c = {}\nb = {}\na = {}"), "a b c");
    assert_eq!(several("a = { depends_on = \"z\" }\nz = {}\nb = {}"), "b z a");
    assert_eq!(
        several("a = { depends_on = [\"c\", \"b\", \"c\"] }\nb = { depends_on = [\"c\"] }\nc = {}"),
        "c b a"
    );
    assert_eq!(several(""), "");
}

#[test]
fn defaults_fill_in_for_each_image_and_give_none() {
    let with = |own: &str| {
        project(&format!(
            "[defaults.image]\npull = \"never\"\nbuild_args = {{ A = \"1\", B = \"1\" }}\nlabels.l = \"1\"\n\
             secrets = {{ S = {{ file = \"s\" }}, T = {{ file = \"t\" }} }}\nwatch = \"x\"\ntest = \"t\"\n\
             source_date_epoch = \"commit\"\nrelease_refs = \"main\"\nrelease = \"r.io/${{V}}\"\n\
             [projects.a]\nremote = \"h:x\"\nenv.V = \"v\"\n{own}"
        ))
    };
    assert!(with("").images.is_empty());
    let project = with(
        "images.one = { build_args = { B = \"2\" }, secrets = { T = { file = \"/own\" } } }\n\
         images.two = { pull = \"always\", watch = [], release = [], source_date_epoch = false, labels = { m = \"2\" } }",
    );
    let [one, two] = project.images.as_slice() else {
        panic!("{project:?}")
    };
    let args = |image: &Image| {
        image
            .build_args
            .values()
            .map(|t| t.as_str().to_owned())
            .collect::<String>()
    };
    assert_eq!((args(one), args(two)), ("12".to_owned(), "11".to_owned()));
    assert_eq!((one.pull, two.pull), (Pull::Never, Pull::Always));
    let file = |image: &Image, name: &str| image.secrets[name].as_path().to_owned();
    assert_eq!(file(one, "S"), Path::new("/etc/pipelined/s"));
    assert_eq!(
        (file(one, "T"), file(two, "T")),
        ("/own".into(), "/etc/pipelined/t".into())
    );
    assert_eq!((one.watch.len(), two.watch.len()), (1, 0));
    assert_eq!((one.release.len(), two.release.len()), (1, 0));
    assert!(one.source_date_epoch && !two.source_date_epoch);
    assert_eq!((one.labels.len(), two.labels.len()), (1, 2));
    assert_eq!(two.release_refs.as_ref().unwrap()[0].as_str(), "main");
}

#[test]
fn each_mistake_of_images_is_told_alone() {
    let wrong = |lines: &str, message: &str| {
        let found = said(&format!("[projects.a]\nremote = \"h:x\"\n{lines}"));
        assert_eq!(found, [message], "{lines}");
    };
    let claimed =
        "two images are released as `docker.io/library/x:1`: image `b` of project a and image `c` of project a";
    for (lines, message) in [
        ("image = {}\nimages = {}", "a project has either `image` or `images`"),
        ("images = { \"\" = {} }", "this cannot be the name of an image"),
        ("images = { \".a\" = {} }", "this cannot be the name of an image"),
        ("image.depends_on = \"a\"", "image `a` of project a depends on itself"),
        (
            "image.depends_on = \"b\"",
            "`b` is neither an image of project a nor a project",
        ),
        ("image.depends_on = \"b c\"", "this cannot be the name of an image"),
        (
            "image.depends_on = 1",
            "expected a string or an array of strings, found an integer",
        ),
        (
            "images.b.depends_on = \"c\"\nimages.c.depends_on = \"b\"",
            "images of project a depend on each other: b -> c -> b",
        ),
        ("image.watch = \"../x\"", "no path in the repository can match this"),
        (
            "image.secrets.\"a/b\".file = \"x\"",
            "this cannot be the name of a secret",
        ),
        ("image.secrets.A = {}", "this secret has no `file`"),
        ("image.secrets.A.file = 1", "expected a string, found an integer"),
        ("image.source_date_epoch = \"now\"", "expected \"commit\" or false"),
        ("image.source_date_epoch = 0", "expected \"commit\" or false"),
        (
            "image.test = \"'open\"",
            "a quote is not closed, or a backslash ends the command",
        ),
        ("image.test_network = \"a b\"", "the value must be one word"),
        (
            "image.staging = \"localhost/x\"",
            "`localhost/` is the engine's storage, not a registry",
        ),
        (
            "image.staging = \"localhost/${BUILD_PROJECT}\"",
            "`localhost/` is the engine's storage, not a registry",
        ),
        ("image.staging = \"r.io/${NO}\"", "there is no variable `NO`"),
        (
            "image.staging = \"r.io/x@sha256:1\"",
            "a tag is moved, a digest cannot be",
        ),
        ("image.staging = [\"r.io/x\"]", "expected a string, found an array"),
        (
            "image.release_refs = \"[\"",
            "not a pattern: unclosed character class; missing ']'",
        ),
        ("image.run = {}", "unknown key `run`"),
        (
            "images.b = {}\nimages.c = {}\nrun = {}",
            "this run of project a has no `image`, and there are several",
        ),
        ("image = {}\nrun.image = \"b\"", "`b` is no image of project a"),
        ("images = {}\nrun = {}", "run needs an image"),
        ("run.image = \"a\"", "run needs an image"),
        (
            "images.b = { test = \"t\", release = \"x:1\" }\nimages.c = { test = \"t\", release = \"docker.io/x:1\" }",
            claimed,
        ),
    ] {
        wrong(lines, message);
    }
}

#[test]
fn a_release_belongs_to_one_image() {
    let two = |first: &str, second: &str| {
        said(&format!(
            "[defaults.image]\ntest = \"t\"\n[projects.a]\nremote = \"h:a\"\n{first}\n[projects.b]\nremote = \"h:b\"\n{second}"
        ))
    };
    let release = |reference: &str| format!("image.release = \"{reference}\"");
    for (first, second) in [
        ("r.io/x", "r.io/x:1"),
        ("localhost/x", "x"),
        ("r.io/${BUILD_PROJECT}", "r.io/${BUILD_PROJECT}"),
        // Nobody can tell.
        ("r.io/x:${BUILD_REF_NAME}", "r.io/x:${BUILD_REF_NAME}"),
    ] {
        assert_eq!(two(&release(first), &release(second)), [""; 0], "{first} {second}");
    }
    for (first, second) in [
        ("x", "docker.io/library/x:latest"),
        ("localhost/x", "localhost/x:latest"),
    ] {
        assert_eq!(two(&release(first), &release(second)).len(), 1, "{first} {second}");
    }
    let disabled = format!("enabled = false\n{}", release("x"));
    assert_eq!(two(&release("x"), &disabled), [""; 0]);
    assert_eq!(two("", "image = { release = [\"x\", \"x:latest\"] }").len(), 1);
    // Staged where another is released, in whichever order.
    assert_eq!(two(&release("r.io/x"), "image.staging = \"r.io/x:latest\"").len(), 1);
    assert_eq!(two("image.staging = \"r.io/x:latest\"", &release("r.io/x")).len(), 1);
    assert_eq!(two("image.staging = \"r.io/x\"", "image.staging = \"r.io/x\""), [""; 0]);
    let both = checked(
        "p.toml",
        "workdir = \"/w\"\n[defaults.image]\ntest = \"t\"\nrelease = \"r.io/x\"\n\
         [projects.a]\nremote = \"h:a\"\nimage = {}\n[projects.b]\nremote = \"h:b\"\nimage = {}\n",
    );
    assert!(both.unwrap_err().to_string().contains("both have it from [defaults]"));
}

#[test]
fn every_new_key_makes_a_project_another_one() {
    let with = |lines: &str| {
        config(&format!(
            "[projects.b]\nremote = \"h:y\"\nimage = {{}}\n[projects.a]\nremote = \"h:x\"\n[projects.a.images.other]\n[projects.a.images.i]\ntest = \"t\"\n{lines}"
        ))
    };
    let bare = with("");
    for lines in [
        "watch = \"x\"",
        "depends_on = \"other\"",
        "depends_on = \"b\"",
        "depends_on = \"b/b\"",
        "chain = \"atomic\"",
        "secrets.A.file = \"/a\"",
        "source_date_epoch = \"commit\"",
        "test_network = \"host\"",
        "staging = \"r.io/x\"",
        "release = \"r.io/x\"",
        "release_refs = []",
        "update.base = false",
        "update.packages = \"auto\"",
        "update.packages = [\"auto\"]",
        "update.every = \"1s\"",
        "update.quiet = \"0s\"",
        "update.timeout = \"1h\"",
        "update.network = \"host\"",
        "update.tags = \"v*\"",
        "schedule = \"0 4 * * 1\"",
        "schedule = \"0 4 * * 1 Europe/Berlin\"",
        "poke = [{ webhook = { url = \"https://h/\" } }]",
        "poke = [{ webhook = { url = \"https://h/\", secret_file = \"/s\" } }]",
        "poke = [{ gitlab = { url = \"https://h\", project = 1, ref = \"m\", token_file = \"/t\" } }]",
    ] {
        let other = with(lines);
        assert_eq!(diff(&bare, &other).to_string(), "changed: a", "{lines}");
        assert_eq!(config_of(&to_toml(&other).unwrap()), other, "{lines}");
        assert!(to_json(&other).is_ok());
    }
}

fn config_of(text: &str) -> Config {
    checked("p.toml", text).unwrap_or_else(|e| panic!("{text}: {e}")).config
}

#[test]
fn what_is_shown_means_the_same_again() {
    let text = include_str!("../../../fixtures/config/valid/images.toml");
    let config = config_of(text);
    assert_eq!(config_of(&to_toml(&config).unwrap()), config);
}
