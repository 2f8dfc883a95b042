//! Registries that are down, throttle, or have lost an image: told, waited for, and never an update.

use crate::made::Made;
use crate::scene::{COPY, QUICK, Scene, together};
use crate::support::servers::child::Server;
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::Registry;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::process::Command;

/// Waits until the status has this to say of a check that fails.
#[track_caller]
fn failing(scene: &Scene, words: &str) -> Value {
    scene.wait_status(words, |status| {
        let first = &status["failing"][0];
        let error = first["error"].as_str().unwrap_or_default();
        error.contains(words).then(|| first.clone())
    })
}

#[track_caller]
fn recovered(scene: &Scene) {
    scene.wait_status("no trouble", |status| (status["failing"] == json!([])).then_some(()));
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

#[test]
fn registries_in_trouble() {
    together(&[
        trouble_is_told_and_is_no_update,
        a_registry_that_wants_to_be_left_alone_is_and_others_are_not,
    ]);
}

fn trouble_is_told_and_is_no_update() {
    let mut scene = Scene::empty(COPY);
    scene.configure_project(&format!(
        "[projects.p.images.p]\nbuild_args = {{ BASE = 'HOST/base:1' }}\nrelease = 'HOST/p:1'\n{QUICK}\n\
         [projects.p.images.other]\nbuild_args = {{ BASE = 'HOST/other:1' }}\nrelease = 'HOST/o:1'\n{QUICK}\n"
    ));
    let base = Made::new(&["base"]);
    let digest = scene.base().push(&base);
    scene.repository("other").push(&Made::new(&["other"]));
    scene.released();
    scene.assert_quiet(1);

    // Lost.
    scene.base().delete(&digest);
    failing(&scene, "has no ");
    scene.rounds_of("other", 1);
    let (code, out, _) = scene.run(&["updates"]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("1 image has no updates") && out.contains("has no "),
        "{out}"
    );
    scene.base().push(&base);
    recovered(&scene);
    assert_eq!(scene.jobs().len(), 1);

    // Down, for all of them.
    let file = scene.registry.data().with_file_name("config.yml");
    let port = scene.registry.port();
    let scratch = scene.bench.scratch.join("registry.log");
    // Another one takes its place with us, and it ends.
    scene.registry = Registry::start(&scene.bench.scratch);
    scene.wait_status("both to fail", |status| {
        (status["failing"].as_array().unwrap().len() == 2).then_some(())
    });
    assert_eq!(scene.jobs().len(), 1);
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
    let mut server = Server::start(&mut command, &scratch);
    server.wait_until_accepting(port);
    recovered(&scene);
    scene.assert_quiet(1);
    crate::made::Repository {
        port,
        name: "base".to_owned(),
    }
    .push(&Made::new(&["new"]));
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    drop(server);
}

fn a_registry_that_wants_to_be_left_alone_is_and_others_are_not() {
    let mut scene = Scene::empty(COPY);
    let patient = Faults::start(scene.registry.port(), |_| None);
    let host = patient.host();
    scene.configure_project(&format!(
        "[projects.p.images.p]\nbuild_args = {{ BASE = '{host}/base:1' }}\nrelease = 'HOST/p:1'\n{QUICK}\n\
         [projects.p.images.other]\nbuild_args = {{ BASE = 'HOST/other:1' }}\nrelease = 'HOST/o:1'\n{QUICK}\n\
         [registries.'{host}']\ninsecure = true\n"
    ));
    scene.base().push(&Made::new(&["base"]));
    scene.repository("other").push(&Made::new(&["other"]));
    scene.released();
    scene.rounds_of("other", 1);
    patient.set(|r| {
        let answer = || Fault::Answer(429, "Retry-After: 3600\r\n".to_owned());
        r.is("HEAD", "/base/").then(answer)
    });
    // No look may see this one.
    scene.base().push(&Made::new(&["new"]));
    let told = failing(&scene, "wants to be left alone until ");
    let [last, next, since] = ["last", "next", "failing_since"].map(|name| time(&told[name]));
    assert!(last <= since, "{told}");
    let wait = next.duration_since(since).as_secs_f64();
    assert!((3590.0..3610.0).contains(&wait), "{wait}: {told}");
    assert_eq!(
        (&told["check"], &told["of"]),
        (&json!("base"), &json!(format!("{host}/base:1")))
    );
    let (_, out, _) = scene.run(&["status"]);
    assert!(
        out.contains("(failing since ") && out.contains(", asked again in "),
        "{out}"
    );
    patient.forget();
    scene.rounds_of("other", 1);
    scene.crash();
    scene.start();
    scene.rounds_of("other", 1);
    assert_eq!(patient.count("HEAD", ""), 0);
    assert_eq!(scene.jobs().len(), 1);
}
