//! Images that no registry has.

use crate::scene::{Farm, ROOT, on};

fn inspect(farm: &Farm, name: &str, what: &str) -> String {
    let image = format!("localhost/{name}:1");
    farm.podman
        .run(&["image", "inspect", "--format", &format!("{{{{{what}}}}}"), &image])
}

#[track_caller]
fn assert_on(farm: &Farm, name: &str, base: &str) {
    let layers = |name| -> Vec<String> { serde_json::from_str(&inspect(farm, name, "json .RootFS.Layers")).unwrap() };
    assert!(
        layers(name).starts_with(&layers(base)),
        "{name} on {base}: {}",
        farm.story()
    );
    let bases = inspect(farm, name, "json .Config.Labels");
    let id = inspect(farm, base, ".Id");
    assert!(bases.contains(&id), "{name} on {base} {id}: {bases}");
}

#[test]
fn a_chain_in_the_storage() {
    let mut farm = Farm::local(&[("app", &on(&["ruby"])), ("base", ROOT), ("ruby", &on(&["base"]))]);
    farm.start();
    farm.wait_built(0, &["base", "ruby", "app"]);
    assert_on(&farm, "ruby", "base");
    assert_on(&farm, "app", "ruby");
    farm.change("base", "2\n");
    farm.wait_built(3, &["base", "ruby", "app"]);
    assert_on(&farm, "ruby", "base");
    assert_on(&farm, "app", "ruby");
    // Nothing new, and then something: nobody builds on what is not new.
    farm.push("base", &[("README", "1\n")]);
    farm.wait_built(6, &["base"]);
    farm.change("ruby", "2\n");
    farm.wait_built(7, &["ruby", "app"]);
    assert_on(&farm, "app", "ruby");
}
