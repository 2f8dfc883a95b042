//! How updates of an image are looked for, and its schedule: what is written, what is meant.

use super::images::{image, project, said};
use super::tests::checked;
use crate::config::{Cron, PackageCheck, Update, to_toml};
use std::time::Duration;

#[test]
fn defaults_of_updates_are_as_promised() {
    let image = image("");
    assert_eq!(image.update, Update::default());
    assert_eq!(image.schedule, None);
    assert_eq!(super::images::image("update = {}").update, Update::default());
    let default = Update::default();
    assert!(default.base && default.packages == PackageCheck::Off && default.tags.is_empty());
    assert_eq!((default.every.as_secs(), default.quiet.as_secs()), (6 * 3600, 300));
    assert_eq!((default.timeout.as_secs(), default.network), (600, None));
}

#[test]
fn packages_are_looked_for_in_four_ways() {
    let argv = |words: &[&str]| PackageCheck::Command(words.iter().map(|w| (*w).to_owned()).collect());
    for (written, meant) in [
        ("false", PackageCheck::Off),
        ("\"auto\"", PackageCheck::Auto),
        ("\" auto \"", PackageCheck::Auto),
        ("\"a 'b c'\"", argv(&["a", "b c"])),
        ("\"auto now\"", argv(&["auto", "now"])),
        ("[\"auto\"]", argv(&["auto"])),
        ("[\"false\", \"\"]", argv(&["false", ""])),
    ] {
        assert_eq!(
            image(&format!("update.packages = {written}")).update.packages,
            meant,
            "{written}"
        );
    }
}

#[test]
fn updates_merge_key_by_key() {
    let with = |own: &str| {
        project(&format!(
            "[defaults.image]\nschedule = \"0 4 * * 1 UTC\"\n[defaults.image.update]\nbase = false\npackages = \"auto\"\n\
             every = \"1h\"\nquiet = \"1s\"\ntimeout = \"2s\"\nnetwork = \"host\"\ntags = \"v*\"\n\
             [projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{own}"
        ))
        .images
        .remove(0)
    };
    let bare = with("");
    assert_eq!(bare.schedule, Cron::new("0 4 * * 1 UTC").ok());
    let Update {
        every, quiet, timeout, ..
    } = bare.update;
    assert_eq!(
        (every, quiet, timeout),
        (
            Duration::from_secs(3600),
            Duration::from_secs(1),
            Duration::from_secs(2)
        )
    );
    let own = with(
        "schedule = false\nupdate = { base = true, packages = false, quiet = \"0s\", tags = [] }\nrelease = \"r.io/x\"",
    );
    assert_eq!(own.schedule, None);
    let expected = Update {
        base: true,
        packages: PackageCheck::Off,
        quiet: Duration::ZERO,
        tags: Vec::new(),
        ..bare.update
    };
    assert_eq!(own.update, expected);
    assert_eq!(with("schedule = \"1 4 * * *\"").schedule.unwrap().as_str(), "1 4 * * *");
}

#[test]
fn each_mistake_of_updates_is_told_alone() {
    for (lines, message) in [
        ("update = true", "expected a table, found a boolean"),
        ("update.bases = true", "unknown key `bases`"),
        ("update.interval = \"1h\"", "unknown key `interval`"),
        ("updates = {}", "unknown key `updates`"),
        ("every = \"1h\"", "unknown key `every`"),
        ("update.base = \"yes\"", "expected true or false, found a string"),
        ("update.packages = true", "expected \"auto\", a command or false"),
        (
            "update.packages = 1",
            "expected \"auto\", a command or false, found an integer",
        ),
        ("update.packages = \"off\"", "this would be run as a command"),
        ("update.packages = \"false\"", "this would be run as a command"),
        ("update.packages = \"Auto\"", "this would be run as a command"),
        ("update.packages = \"\"", "the command is empty"),
        ("update.packages = []", "the command is empty"),
        (
            "update.packages = \"'open\"",
            "a quote is not closed, or a backslash ends the command",
        ),
        ("update.every = 60", "a duration needs a unit"),
        ("update.every = \"0s\"", "a check may be made once a second at most"),
        ("update.every = \"999ms\"", "a check may be made once a second at most"),
        ("update.quiet = \"-1s\"", "not a duration: expected number at 0"),
        ("update.timeout = \"0s\"", "this duration must be longer than zero"),
        ("update.network = \"a b\"", "the value must be one word"),
        ("update.network = \"\"", "the value is empty"),
        ("update.tags = \"\"", "an empty pattern matches nothing"),
        (
            "schedule = true",
            "expected a cron expression or false, found a boolean",
        ),
        ("schedule = 4", "expected a cron expression or false, found an integer"),
        (
            "schedule = \"@weekly\"",
            "not a schedule: it has 1 of the five fields: minute, hour, day of the month, month, day of the week",
        ),
        (
            "schedule = \"0 24 * * *\"",
            "not a schedule: the hour: value must be in range 0 to 23; found 24",
        ),
        ("schedule = \"0 0 30 2 *\"", "not a schedule: it is never due"),
        (
            "schedule = \"0 4 * * 1 Europe/Berlln\"",
            "not a schedule: there is no time zone `Europe/Berlln`",
        ),
    ] {
        let found = said(&format!("[projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{lines}"));
        assert_eq!(found, [message], "{lines}");
    }
}

#[test]
fn what_is_shown_of_updates_says_nothing_new() {
    for release in ["", "test = \"t\"\nrelease = \"r.io/x\""] {
        let text = format!("workdir = \"/w\"\n[projects.a]\nremote = \"h:x\"\n[projects.a.image]\n{release}");
        let shown = to_toml(&checked("p.toml", &text).unwrap().config).unwrap();
        assert!(shown.contains("every = \"6h\""), "{shown}");
        assert_eq!(checked("p.toml", &shown).unwrap().warnings, [], "{shown}");
    }
}

#[test]
fn a_key_with_another_name_is_named() {
    for (key, meant) in [("interval", "every"), ("pakages", "packages"), ("tag", "tags")] {
        let text = format!("workdir = \"/w\"\n[projects.a]\nremote = \"h:x\"\nimage.update.{key} = false");
        let told = checked("p.toml", &text).unwrap_err().to_string();
        assert!(told.contains(&format!("did you mean `{meant}`?")), "{told}");
    }
}

#[test]
fn what_only_released_images_have_is_warned_about() {
    let with = |lines: &str| {
        said(&format!(
            "[projects.a]\nremote = \"h:x\"\n[projects.a.image]\ntest = \"t\"\n{lines}"
        ))
    };
    for key in [
        "base = true",
        "packages = \"auto\"",
        "packages = [\"x\"]",
        "tags = \"v*\"",
    ] {
        let name = key.split(' ').next().unwrap();
        assert_eq!(
            with(&format!("update.{key}")),
            [format!("`{name}` has no effect: only released images are looked at")]
        );
        assert_eq!(with(&format!("update.{key}\nrelease = \"r.io/x\"")), [""; 0], "{key}");
    }
    let harmless = "update = { base = false, packages = false, tags = [], every = \"1h\" }\nschedule = \"0 4 * * *\"";
    assert_eq!(with(harmless), [""; 0]);
    let of_others = "[defaults.image.update]\npackages = \"auto\"\n[projects.a]\nremote = \"h:x\"\nimage = {}";
    assert_eq!(said(of_others), [""; 0]);
    let released_by_default = "[defaults.image]\ntest = \"t\"\nrelease = \"r.io/x\"\n[projects.a]\nremote = \"h:x\"\nimage.update.base = true";
    assert_eq!(said(released_by_default), [""; 0]);
}
